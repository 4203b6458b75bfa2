"""The bill of materials: valid CycloneDX 1.6, complete, and a function of the locks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from glasshouse_audit.locks import LockedDeb, LockedWheel
from glasshouse_audit.sbom import bill_of_materials, deb_purl, wheel_purl

DEBS = (
    LockedDeb(
        name="libstdc++6",
        version="14.2.0-19",
        pool_path="pool/main/g/gcc-14/libstdc++6_14.2.0-19_amd64.deb",
        size=1,
        sha256=b"\1" * 32,
    ),
    LockedDeb(
        name="zlib1g",
        version="1:1.3.dfsg+really1.3.1-1+deb13u1",
        pool_path="pool/main/z/zlib/zlib1g_1.3.dfsg+really1.3.1-1+deb13u1_amd64.deb",
        size=2,
        sha256=b"\2" * 32,
    ),
)
WHEELS = (LockedWheel(name="numpy", version="2.4.6", sha256=b"\3" * 32),)


def bom(**changes: Any) -> bytes:
    arguments: dict[str, Any] = {
        "version": "1.2.3",
        "image_sha256": b"\x0f" * 32,
        "debs": DEBS,
        "wheels": WHEELS,
        "sources": ("glasshouse-enclave", "glasshouse-attestations"),
        "suite": "trixie",
    }
    return bill_of_materials(**{**arguments, **changes})


def test_the_document_is_valid_cyclonedx() -> None:
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bom().decode())
    assert problem is None, str(problem)


def test_the_validator_would_notice() -> None:
    document = json.loads(bom())
    document["components"][0]["type"] = "potato"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is not None


def test_every_locked_package_is_there_with_its_hash() -> None:
    components = json.loads(bom())["components"]
    hashes = {each["name"]: each["hashes"][0]["content"] for each in components if "hashes" in each}
    assert hashes == {each.name: each.sha256.hex() for each in (*DEBS, *WHEELS)}
    assert [each["name"] for each in components if "hashes" not in each] == [
        "glasshouse-attestations",
        "glasshouse-enclave",
    ]


def test_the_image_depends_on_every_component() -> None:
    document = json.loads(bom())
    references = {each["bom-ref"] for each in document["components"]}
    assert len(references) == len(document["components"])
    assert set(document["dependencies"][0]["dependsOn"]) == references


def test_the_same_locks_give_the_same_bytes() -> None:
    assert bom() == bom()


@pytest.mark.parametrize(
    "change",
    [
        {"version": "1.2.4"},
        {"image_sha256": b"\x0e" * 32},
        {"debs": DEBS[:1]},
        {"wheels": ()},
        {"suite": "sid"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_content_has_another_serial_number(change: dict[str, Any]) -> None:
    assert json.loads(bom(**change))["serialNumber"] != json.loads(bom())["serialNumber"]


def test_package_urls_are_canonical() -> None:
    urls = [deb_purl(deb, "trixie") for deb in DEBS] + [wheel_purl(wheel) for wheel in WHEELS]
    assert [PackageURL.from_string(url).to_string() for url in urls] == urls
    assert PackageURL.from_string(urls[1]).version == "1:1.3.dfsg+really1.3.1-1+deb13u1"
    assert PackageURL.from_string(urls[1]).qualifiers == {"arch": "amd64", "distro": "trixie"}
