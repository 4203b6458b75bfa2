"""What is in an image, byte for byte, and where each byte comes from.

The file is cut into regions that lie end to end: headers, sections, and the padding between. The initrd is
one compressed archive in its normalised form, so that its members are all of it. A region or member is
accounted for if the source tree and its locks, put together anew, give exactly the same; an image with
anything else is not what its sources say.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pefile  # type: ignore[import-untyped]

from glasshouse_attestations.canonical_json import JSON
from glasshouse_attestations.cpio import Kind
from glasshouse_attestations.image import read_archive, read_sections

from .build import Parts

__all__ = ["File", "Inspection", "Region", "cut", "inspect"]

_SCHEMA = "glasshouse/inspection/v1"
_FOLDER = "folder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Some bytes of the image file; ``origin`` is ``None`` where nothing accounts for them."""

    name: str
    start: int
    size: int
    sha256: bytes
    origin: str | None

    def to_json(self) -> JSON:
        """Return the region as a JSON value."""
        where: dict[str, JSON] = {"name": self.name, "start": self.start, "size": self.size}
        return {**where, "sha256": self.sha256.hex(), "origin": self.origin}


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One member of the initrd; ``origin`` is ``None`` where it is not what the sources put there."""

    path: str
    kind: Kind
    size: int
    sha256: bytes
    origin: str | None

    def to_json(self) -> JSON:
        """Return the member as a JSON value."""
        what: dict[str, JSON] = {"path": self.path, "kind": self.kind.name.lower(), "size": self.size}
        return {**what, "sha256": self.sha256.hex(), "origin": self.origin}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """An image's parts, and what of it is unaccounted for.

    ``archive_size`` counts the archive before compression: the contents of all files, and ``framing``, the
    format's own headers and padding. ``missing`` are paths that the sources have and the image has not.
    """

    size: int
    sha256: bytes
    kernel: str
    command_line: str
    regions: tuple[Region, ...]
    files: tuple[File, ...]
    archive_size: int
    missing: tuple[str, ...]

    @property
    def framing(self) -> int:
        """The bytes of the archive that are no file's content."""
        return self.archive_size - sum(one.size for one in self.files)

    @property
    def unaccounted(self) -> tuple[str, ...]:
        """The names of what nothing accounts for; empty if the sources account for every byte."""
        regions = [f"{one.name} at {one.start:#x}" for one in self.regions if one.origin is None]
        files = [f".initrd:{one.path}" for one in self.files if one.origin is None]
        return (*regions, *files, *(f".initrd:{path}, which is missing" for path in self.missing))

    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """Return for each origin of files how many there are and how many bytes they have."""
        counts, sizes = Counter[str](), Counter[str]()
        for one in self.files:
            if one.kind is not Kind.DIRECTORY:
                counts[one.origin or "unaccounted"] += 1
                sizes[one.origin or "unaccounted"] += one.size
        return {origin: (counts[origin], sizes[origin]) for origin in sorted(counts)}

    def to_json(self, *, with_files: bool) -> JSON:
        """Return the inspection as a JSON value with a schema."""
        files: list[JSON] = [one.to_json() for one in self.files]
        regions: list[JSON] = [one.to_json() for one in self.regions]
        return {
            "schema": _SCHEMA,
            "image": {"sha256": self.sha256.hex(), "size": self.size},
            "kernel": self.kernel,
            "commandLine": self.command_line,
            "regions": regions,
            "initrd": {"size": self.archive_size, "framing": self.framing, "members": len(files)},
            "unaccounted": list(self.unaccounted),
            **({"files": files} if with_files else {}),
        }


def inspect(image: bytes, parts: Parts, rebuilt: bytes) -> Inspection:
    """Return what ``image`` consists of; ``rebuilt`` is the image that ``parts`` were put together to.

    Raises ``MalformedError`` for what is no image.
    """
    sections = read_sections(image)
    files = tuple(_files(sections.get(".initrd", b""), parts))
    found = {one.path for one in files}
    return Inspection(
        size=len(image),
        sha256=hashlib.sha256(image).digest(),
        kernel=sections.get(".uname", b"").decode("ascii", "backslashreplace"),
        command_line=sections.get(".cmdline", b"").decode("ascii", "backslashreplace"),
        regions=tuple(_regions(image, parts, rebuilt)),
        files=files,
        archive_size=read_archive(sections[".initrd"]).size,
        missing=tuple(member.path for member in parts.archive.members if member.path not in found),
    )


def cut(image: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield the name, start and end of regions that cover ``image`` from its first byte to its last."""
    read_sections(image)
    parsed = pefile.PE(data=image, fast_load=True)
    end = min(int(parsed.OPTIONAL_HEADER.SizeOfHeaders), len(image))
    yield "headers", 0, end
    for section in sorted(parsed.sections, key=lambda one: int(one.PointerToRawData)):
        start, size = int(section.PointerToRawData), int(section.Misc_VirtualSize)
        # A section inside another one, or in the headers, is cut to what is behind them.
        if start > end:
            yield "padding", end, start
        if start + size > end:
            yield section.Name.rstrip(b"\0").decode("ascii"), max(start, end), start + size
            end = start + size
    if end < len(image):
        yield "padding", end, len(image)


def _regions(image: bytes, parts: Parts, rebuilt: bytes) -> Iterator[Region]:
    expected = {(name, rebuilt[start:end]) for name, start, end in cut(rebuilt)}
    for name, start, end in cut(image):
        content = image[start:end]
        # Padding is of any length, since what is before it may be; where the sections lie is in the headers.
        is_expected = (name, content) in expected or (name == "padding" and not content.strip(b"\0"))
        yield Region(
            name=name,
            start=start,
            size=end - start,
            sha256=hashlib.sha256(content).digest(),
            origin=_origin_of_region(name, parts) if is_expected else None,
        )


def _origin_of_region(name: str, parts: Parts) -> str:
    stub, kernel = parts.origins[parts.stub.path], parts.origins[parts.kernel.path]
    made = {
        "headers": f"{stub}, with the sections added",
        "padding": "zeros",
        ".osrel": parts.origins[parts.recipe.os_release],
        ".cmdline": "recipe",
        ".uname": kernel,
        ".initrd": "the files listed",
        ".linux": kernel,
    }
    return made.get(name, stub)


def _files(initrd: bytes, parts: Parts) -> Iterator[File]:
    expected = {member.path: member for member in parts.archive.members}
    archive = read_archive(initrd)
    for member in archive.members:
        is_expected = expected.get(member.path) == member and archive.mtime == parts.archive.mtime
        origin = parts.origins.get(member.path, _FOLDER)
        yield File(
            path=member.path,
            kind=member.kind,
            size=len(member.data),
            sha256=hashlib.sha256(member.data).digest(),
            origin=origin if is_expected else None,
        )
