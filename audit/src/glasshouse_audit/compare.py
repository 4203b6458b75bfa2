"""Where two images differ, named as precisely as their structure allows.

The comparison descends: sections of the PE file, members of the initrd, lines of a text or an offset in
binary data. What cannot be taken apart is compared as bytes, so that images with no difference are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pefile  # type: ignore[import-untyped]

from glasshouse_attestations.canonical_json import JSON
from glasshouse_attestations.cpio import Archive, Kind, Member
from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.image import read_archive, read_sections

__all__ = ["Comparison", "Difference", "compare", "contents"]

_SCHEMA = "glasshouse/comparison/v1"
_MAX_SHOWN = 100
_CONTEXT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference: ``place`` is a section, or ``.initrd:`` and a path; ``detail`` says how it differs."""

    place: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two digests, and every difference between the images; none means that they are the same bytes."""

    first_sha256: bytes
    second_sha256: bytes
    differences: tuple[Difference, ...]

    @property
    def identical(self) -> bool:
        """Whether the images are the same, byte for byte."""
        return self.first_sha256 == self.second_sha256

    def to_json(self) -> JSON:
        """Return the comparison as a JSON value with a schema, with at most 100 of the differences."""
        shown = self.differences[:_MAX_SHOWN]
        return {
            "schema": _SCHEMA,
            "identical": self.identical,
            "first": {"sha256": self.first_sha256.hex()},
            "second": {"sha256": self.second_sha256.hex()},
            "differenceCount": len(self.differences),
            "differences": [{"place": one.place, "detail": one.detail} for one in shown],
        }


def compare(first: bytes, second: bytes) -> Comparison:
    """Return every difference between two images, the most telling ones first."""
    return Comparison(
        first_sha256=hashlib.sha256(first).digest(),
        second_sha256=hashlib.sha256(second).digest(),
        differences=tuple(_image_differences(first, second)) if first != second else (),
    )


def contents(image: bytes, place: str) -> bytes | None:
    """Return the bytes at the place of a difference; ``None`` if the image has no such file or section."""
    name, _, path = place.partition(":")
    sections = read_sections(image)
    if name not in sections or not path:
        return sections.get(name)
    member = _by_path(read_archive(sections[name])).get(path)
    return None if member is None else member.data


def _image_differences(first: bytes, second: bytes) -> Iterator[Difference]:
    try:
        found = list(_section_differences(read_sections(first), read_sections(second)))
    except MalformedError as err:
        yield Difference(place="image", detail=f"{err}; {_describe_binary(first, second)}")
        return
    yield from found
    # Headers follow the sections' sizes, so that alone is said of them only where no section differs.
    if not found:
        yield Difference(place="headers and padding", detail=_describe_headers(first, second))


def _describe_headers(first: bytes, second: bytes) -> str:
    """Name the fields of the PE headers that differ, and else the first offset that does."""
    ours, theirs = _header_fields(first), _header_fields(second)
    names = sorted(name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name])
    fields = "".join(f"{name} {ours[name]:#x}, then {theirs[name]:#x}; " for name in names[:_CONTEXT])
    return fields + _describe_binary(first, second)


def _header_fields(image: bytes) -> dict[str, int]:
    parsed = pefile.PE(data=image, fast_load=True)
    parts = {"file header": parsed.FILE_HEADER, "optional header": parsed.OPTIONAL_HEADER}
    parts |= {f"section {number}": section for number, section in enumerate(parsed.sections)}
    return {
        f"{part} {name}": value
        for part, structure in parts.items()
        for name, value in vars(structure).items()
        if name[:1].isupper() and isinstance(value, int)
    }


def _section_differences(first: Mapping[str, bytes], second: Mapping[str, bytes]) -> Iterator[Difference]:
    if list(first) != list(second) and first.keys() == second.keys():
        yield Difference(place="section table", detail=f"order {' '.join(first)}, then {' '.join(second)}")
    for name in sorted(first.keys() | second.keys()):
        if name not in first or name not in second:
            yield Difference(place=name, detail=f"only in the {'first' if name in first else 'second'} image")
        elif first[name] != second[name]:
            yield from _content_differences(name, first[name], second[name])


def _content_differences(name: str, first: bytes, second: bytes) -> Iterator[Difference]:
    if name != ".initrd":
        yield Difference(place=name, detail=_describe(first, second))
        return
    try:
        archives = read_archive(first), read_archive(second)
    except MalformedError as err:
        yield Difference(place=name, detail=f"{err}; {_describe_binary(first, second)}")
        return
    found = list(_archive_differences(*archives))
    yield from found
    if not found:
        yield Difference(place=name, detail="the same archive, compressed into other bytes")


def _archive_differences(first: Archive, second: Archive) -> Iterator[Difference]:
    if first.mtime != second.mtime:
        yield Difference(place=".initrd", detail=f"modification time {first.mtime}, then {second.mtime}")
    ours, theirs = _by_path(first), _by_path(second)
    for path in sorted(ours.keys() | theirs.keys()):
        place = f".initrd:{path}"
        if path not in ours or path not in theirs:
            yield Difference(place=place, detail=f"only in the {'first' if path in ours else 'second'} image")
        elif ours[path] != theirs[path]:
            yield Difference(place=place, detail=_describe_member(ours[path], theirs[path]))


def _by_path(archive: Archive) -> dict[str, Member]:
    return {member.path: member for member in archive.members}


def _describe_member(first: Member, second: Member) -> str:
    if first.kind is not second.kind:
        kinds = f"{first.kind.name.lower()}, then {second.kind.name.lower()}"
        is_only_mode = {first.kind, second.kind} == {Kind.FILE, Kind.EXECUTABLE}
        # A changed mode must not hide a changed content.
        changed = is_only_mode and first.data != second.data
        return f"{kinds}; {_describe(first.data, second.data)}" if changed else kinds
    if first.kind is Kind.LINK:
        return f"links to {first.data!r}, then {second.data!r}"
    return _describe(first.data, second.data)


def _describe(first: bytes, second: bytes) -> str:
    """Name the first differing line if both are texts, else the first differing offset."""
    try:
        lines = first.decode("utf-8").splitlines(), second.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return _describe_binary(first, second)
    if any(not line.replace("\t", " ").isprintable() for text in lines for line in text):
        return _describe_binary(first, second)
    for number, pair in enumerate(zip(*lines, strict=False), start=1):
        if pair[0] != pair[1]:
            return f"line {number}: {pair[0][:200]!r}, then {pair[1][:200]!r}"
    if len(lines[0]) == len(lines[1]):
        return _describe_binary(first, second)
    return f"{len(lines[0])} lines, then {len(lines[1])}, the same as far as both go"


def _describe_binary(first: bytes, second: bytes) -> str:
    offset = _first_difference(first, second)
    near = slice(max(offset - _CONTEXT, 0), offset + _CONTEXT)
    sizes = "" if len(first) == len(second) else f"{len(first)} bytes, then {len(second)}; "
    return f"{sizes}at offset {offset:#x}: {first[near].hex()}, then {second[near].hex()}"


def _first_difference(first: bytes, second: bytes) -> int:
    """Return the first offset at which the two differ, by halving, as Python has no such comparison."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
