"""Making the locks anew: the only thing in the project that decides versions of what is in the image.

Debian's versions come from the package index of a mirror, under the signature of the archive's own keys;
Python's from pip, or from constraints with which the rest of the project keeps in step.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from debian.deb822 import Deb822, Packages, Release
from packaging.utils import parse_wheel_filename

from .errors import RecipeError, ToolError
from .inputs import pip_download
from .locks import LockedDeb, LockedWheel
from .mirror import find_mirror, get
from .recipe import DebianArchive, PythonTarget

__all__ = ["parse_constraints", "resolve_debs", "resolve_wheels", "select_debs"]

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MAX_RELEASE_SIZE = 4 * 2**20
_MAX_INDEX_SIZE = 256 * 2**20
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE | re.ASCII)


def resolve_debs(archive: DebianArchive) -> tuple[LockedDeb, ...]:
    """Return the versions that the archive publishes today, under its signature.

    Raises :class:`ToolError` if the signature cannot be checked here, :class:`RecipeError` if a package is
    not there or the index is not the signed one.
    """
    base = f"{find_mirror()}/dists/{archive.suite}"
    release = Release(_verify_signature(get(f"{base}/InRelease", max_size=_MAX_RELEASE_SIZE)))
    name = f"{archive.component}/binary-{archive.architecture}/Packages.xz"
    listed = [entry for entry in release["SHA256"] if entry["name"] == name]
    if len(listed) != 1 or release["Codename"] != archive.suite:
        raise RecipeError(f"the signed release of {archive.suite} does not list {name}")
    compressed = get(f"{base}/{name}", max_size=int(listed[0]["size"]))
    if hashlib.sha256(compressed).hexdigest() != listed[0]["sha256"]:
        raise RecipeError(f"{name} is not the file that the signed release of {archive.suite} lists")
    index = lzma.LZMADecompressor().decompress(compressed, max_length=_MAX_INDEX_SIZE)
    return select_debs(index.decode("utf-8"), archive)


def select_debs(index: str, archive: DebianArchive) -> tuple[LockedDeb, ...]:
    """Return the recipe's packages from a ``Packages`` index, and what its metapackages stand for."""
    metapackages = _paragraphs(index, set(archive.metapackages))
    concrete = {_first_dependency(paragraph) for paragraph in metapackages.values()}
    wanted = set(archive.packages) | concrete
    found = _paragraphs(index, wanted)
    missing = (wanted | set(archive.metapackages)) - found.keys() - metapackages.keys()
    if missing:
        raise RecipeError(f"{archive.suite} has no package {min(missing)}")
    return tuple(_locked(paragraph) for _, paragraph in sorted(found.items()))


def resolve_wheels(python: PythonTarget, constraints: Mapping[str, str]) -> tuple[LockedWheel, ...]:
    """Return the wheels that pip chooses for the image, in the versions that ``constraints`` names."""
    requirements = []
    for name in python.wheels:
        version = constraints.get(name.lower().replace("_", "-"))
        requirements.append(f"{name}=={version}" if version else name)
    with tempfile.TemporaryDirectory(prefix="glasshouse-") as folder:
        return tuple(map(_locked_wheel, pip_download(requirements, python, Path(folder))))


def parse_constraints(text: str) -> dict[str, str]:
    """Return the versions that lines ``name==version`` of a requirements file pin, by normalised name."""
    return {name.lower().replace("_", "-"): version for name, version in _PIN.findall(text)}


def _verify_signature(signed: bytes) -> str:
    """Return the text that the keys of Debian's archive have signed."""
    gpgv = shutil.which("gpgv")
    if gpgv is None or not _KEYRING.is_file():
        raise ToolError(
            "the signature of the debian archive cannot be checked here",
            hint="install gpgv and debian-archive-keyring; only making the locks anew needs them",
        )
    with tempfile.TemporaryDirectory(prefix="glasshouse-") as folder:
        text = Path(folder, "Release")
        command = [gpgv, "--quiet", "--keyring", str(_KEYRING), "--output", str(text), "-"]
        checked = subprocess.run(command, input=signed, capture_output=True, check=False)
        if checked.returncode:
            raise RecipeError("the release file of the debian archive has no valid signature")
        return text.read_text(encoding="utf-8")


def _paragraphs(index: str, names: set[str]) -> dict[str, Packages]:
    # An index has some 70,000 paragraphs: only those asked for are worth parsing.
    wanted = {f"Package: {name}" for name in names}
    chosen = [text for text in index.split("\n\n") if text.partition("\n")[0] in wanted]
    paragraphs = [Packages(text) for text in chosen]
    if len({paragraph["Package"] for paragraph in paragraphs}) != len(paragraphs):
        raise RecipeError("the package index has several versions of one package")
    return {paragraph["Package"]: paragraph for paragraph in paragraphs}


def _first_dependency(paragraph: Packages) -> str:
    depends: Any = paragraph.relations["depends"]
    if not depends:
        raise RecipeError(f"{paragraph['Package']} depends on nothing")
    return str(depends[0][0]["name"])


def _locked(paragraph: Deb822) -> LockedDeb:
    return LockedDeb(
        name=paragraph["Package"],
        version=paragraph["Version"],
        pool_path=paragraph["Filename"],
        size=int(paragraph["Size"]),
        sha256=bytes.fromhex(paragraph["SHA256"]),
    )


def _locked_wheel(path: Path) -> LockedWheel:
    name, version, _, _ = parse_wheel_filename(path.name)
    return LockedWheel(name=name, version=str(version), sha256=hashlib.sha256(path.read_bytes()).digest())
