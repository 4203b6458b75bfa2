"""The bill of materials of an image: CycloneDX 1.6 JSON, made of the locks alone.

No clock, host or random number enters it: one image of one version has one document, and the release
statement can name its digest. The packages of ``firmware.lock`` are left out, because no byte of them is in
the image: it is booted on such firmware, and the release statement names that lock's digest.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from typing import cast
from urllib.parse import quote

from glasshouse_attestations import canonical_json
from glasshouse_attestations.canonical_json import JSON
from glasshouse_attestations.statement import IMAGE_NAME

from .locks import LockedDeb, LockedWheel

__all__ = ["bill_of_materials", "deb_purl", "wheel_purl"]


def bill_of_materials(
    *,
    version: str,
    image_sha256: bytes,
    debs: Iterable[LockedDeb],
    wheels: Iterable[LockedWheel],
    sources: Iterable[str],
    suite: str,
) -> bytes:
    """Return the CycloneDX document of the image: every package with its purl and SHA-256.

    ``sources`` names our own distributions in the image, which have ``version``. The serial number is
    derived from everything else in the document.
    """
    components = [_component(name, version) for name in sorted(sources)]
    components += [_component(deb.name, deb.version, deb_purl(deb, suite), deb.sha256) for deb in debs]
    components += [_component(w.name, w.version, wheel_purl(w), w.sha256) for w in wheels]
    references = sorted(str(each["bom-ref"]) for each in components)
    document: dict[str, JSON] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _image(version, image_sha256)},
        "components": cast(JSON, components),
        "dependencies": [{"ref": IMAGE_NAME, "dependsOn": cast(JSON, references)}],
    }
    content = hashlib.sha256(canonical_json.encode(document)).hexdigest()
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}"
    return canonical_json.encode(document) + b"\n"


def deb_purl(deb: LockedDeb, suite: str) -> str:
    """Return the package URL of a Debian package of ``suite``."""
    architecture = deb.pool_path.removesuffix(".deb").rpartition("_")[2]
    return f"pkg:deb/debian/{_quote(deb.name)}@{_quote(deb.version)}?arch={architecture}&distro={suite}"


def wheel_purl(wheel: LockedWheel) -> str:
    """Return the package URL of a wheel."""
    return f"pkg:pypi/{_quote(wheel.name)}@{_quote(wheel.version)}"


def _quote(text: str) -> str:
    # The purl specification leaves the colon (of a Debian epoch) as it is.
    return quote(text, safe=":")


def _image(version: str, image_sha256: bytes) -> JSON:
    return {
        "type": "firmware",
        "bom-ref": IMAGE_NAME,
        "name": IMAGE_NAME,
        "version": version,
        "hashes": [{"alg": "SHA-256", "content": image_sha256.hex()}],
    }


def _component(
    name: str, version: str, purl: str | None = None, sha256: bytes | None = None
) -> dict[str, JSON]:
    component: dict[str, JSON] = {
        "type": "library",
        "bom-ref": purl or f"{name}@{version}",
        "name": name,
        "version": version,
    }
    if purl is not None and sha256 is not None:
        component["purl"] = purl
        component["hashes"] = [{"alg": "SHA-256", "content": sha256.hex()}]
    return component
