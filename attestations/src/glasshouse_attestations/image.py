"""Reading the image: the sections of ``enclave.efi`` and the members of its initrd, under explicit limits.

The image is a Unified Kernel Image (UAPI Group specification 5): a PE file whose sections hold the kernel,
its command line, the initrd and so on. This module needs the extra ``glasshouse-attestations[image]``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pefile  # type: ignore[import-untyped]
import zstandard

from .cpio import Archive, Kind, Member
from .errors import MalformedError

__all__ = ["MAX_IMAGE_SIZE", "MAX_INITRD_SIZE", "read_archive", "read_initrd", "read_sections", "unpack"]

MAX_IMAGE_SIZE = 256 * 2**20
MAX_INITRD_SIZE = 1024 * 2**20
_MAX_SECTIONS = 64


def read_sections(image: bytes) -> dict[str, bytes]:
    """Return the content of every PE section by name, in the order of the section table.

    A content is as long as the section in memory (``VirtualSize``), without the padding in the file: that
    is what the stub measures. Raises :class:`MalformedError` for what is no PE file, is too large, names a
    section twice, or has a section that reaches beyond the file.
    """
    if len(image) > MAX_IMAGE_SIZE:
        raise MalformedError(f"image has {len(image)} bytes, at most {MAX_IMAGE_SIZE} are allowed")
    try:
        parsed = pefile.PE(data=image, fast_load=True)
    except pefile.PEFormatError as err:
        raise MalformedError(f"image is not a pe file: {err}") from err
    stated = parsed.FILE_HEADER.NumberOfSections
    if not 0 < stated <= _MAX_SECTIONS or len(parsed.sections) != stated:
        raise MalformedError(f"image states {stated} sections, 1 to {_MAX_SECTIONS} are allowed")
    sections: dict[str, bytes] = {}
    for section in parsed.sections:
        name, content = _section(image, section)
        if name in sections:
            raise MalformedError(f"image has two sections {name}")
        sections[name] = content
    return sections


def _section(image: bytes, section: pefile.SectionStructure) -> tuple[str, bytes]:
    try:
        name = section.Name.rstrip(b"\0").decode("ascii")
    except UnicodeDecodeError as err:
        raise MalformedError("a section's name is not ascii") from err
    start, stored = section.PointerToRawData, section.SizeOfRawData
    if start + stored > len(image):
        raise MalformedError(f"section {name} reaches beyond the end of the image")
    if section.Misc_VirtualSize > stored:
        raise MalformedError(f"section {name} is larger in memory than in the file")
    return name, image[start : start + section.Misc_VirtualSize]


def read_initrd(section: bytes) -> tuple[Member, ...]:
    """Return the members of a compressed initrd, sorted by path; see :func:`read_archive`."""
    return read_archive(section).members


def read_archive(section: bytes) -> Archive:
    """Return the normalised archive in an ``.initrd`` section: one zstd frame that states its size.

    Raises :class:`MalformedError` for anything else, for an initrd of more than ``MAX_INITRD_SIZE`` bytes
    (known before it is decompressed), and for trailing bytes.
    """
    try:
        size = zstandard.frame_content_size(section)
        if not 0 < size <= MAX_INITRD_SIZE:
            raise MalformedError(f"initrd states {size} bytes, 1 to {MAX_INITRD_SIZE} are allowed")
        data = zstandard.ZstdDecompressor().decompress(section, allow_extra_data=False)
    except zstandard.ZstdError as err:
        raise MalformedError(f"initrd is not one zstd frame: {err}") from err
    return Archive.parse(data)


def unpack(members: Iterable[Member], root: Path) -> None:
    """Write the members of one :class:`Archive` below ``root``, a directory that must not exist yet.

    Nothing is written outside it: paths are normalised, no parent is a link, and every file is created
    anew. Modes are the archive's whatever the umask; owner and times are the caller's.
    Raises ``ValueError`` if ``members`` are no archive.
    """
    root.mkdir()
    root.chmod(0o755)
    for member in Archive(mtime=0, members=tuple(members)).members:
        path = root / member.path
        if member.kind is Kind.LINK:
            path.symlink_to(os.fsdecode(member.data))
            continue
        if member.kind is Kind.DIRECTORY:
            path.mkdir()
        else:
            with path.open("xb") as file:
                file.write(member.data)
        path.chmod(member.kind.value & 0o777)
