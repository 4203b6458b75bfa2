"""Images for tests of whoever reads or starts one: real PE files with a real initrd, as small as it gets."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import zstandard

from glasshouse_attestations.cpio import Archive, Kind, Member
from glasshouse_attestations.image import read_initrd, read_sections

_ALIGNMENT = 512
_OPTIONAL_HEADER_SIZE = 240
_PACKAGES = "usr/lib/python3/dist-packages"
# What the probe never imports; every launch of a test is quicker without.
_STANDARD_LIBRARY = "usr/lib/python3.13"
_UNUSED = (
    f"{_PACKAGES}/",
    f"{_STANDARD_LIBRARY}/sitecustomize.py",
    "usr/lib/x86_64-linux-gnu/gconv",
    *(
        f"{_STANDARD_LIBRARY}/{name}"
        for name in ("asyncio", "ctypes", "curses", "distutils", "email", "http", "idlelib", "lib2to3")
    ),
    *(
        f"{_STANDARD_LIBRARY}/{name}"
        for name in ("multiprocessing", "pydoc_data", "sqlite3", "test", "tkinter", "unittest", "xml")
    ),
)
_PROBE = Path(__file__).with_name("probe_enclave.py")


def image_of(archive: bytes) -> bytes:
    """Return a PE file whose section ``.initrd`` is one zstd frame of ``archive``, whatever that is."""
    return pe_file({".initrd": zstandard.ZstdCompressor(level=1).compress(archive)})


def pe_file(sections: dict[str, bytes]) -> bytes:
    """Return a PE32+ file with nothing but ``sections``; no machine would start it."""
    header_size = 64 + 24 + _OPTIONAL_HEADER_SIZE + 40 * len(sections)
    offset = _aligned(header_size)
    table, bodies, address = b"", b"", 0x1000
    for name, content in sections.items():
        stored = _aligned(len(content))
        table += struct.pack(
            "<8sIIIIIIHHI", name.encode(), len(content), address, stored, offset, 0, 0, 0, 0, 0x40000040
        )
        bodies += content.ljust(stored, b"\0")
        offset += stored
        address += (len(content) + 0xFFF) // 0x1000 * 0x1000
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, len(sections), 0, 0, 0, _OPTIONAL_HEADER_SIZE, 0x22)
    optional = struct.pack("<H30xII", 0x20B, 0x1000, _ALIGNMENT).ljust(108, b"\0") + struct.pack("<I", 16)
    headers = dos + coff + optional.ljust(_OPTIONAL_HEADER_SIZE, b"\0") + table
    return headers.ljust(_aligned(header_size), b"\0") + bodies


def probe_image(image: bytes) -> bytes:
    """Return ``image`` with its Python and C library, and the probe in place of the server."""
    members = read_initrd(read_sections(image)[".initrd"])
    kept = [member for member in members if _is_kept(member)]
    server = f"{_PACKAGES}/glasshouse_enclave"
    probe = (
        Member(path=server, kind=Kind.DIRECTORY),
        Member(path=f"{server}/__init__.py", kind=Kind.FILE),
        Member(path=f"{server}/__main__.py", kind=Kind.FILE, data=_PROBE.read_bytes()),
    )
    return image_of(archive([*kept, *probe]).encode())


def archive(members: Iterable[Member]) -> Archive:
    """Return the archive of ``members`` in any order."""
    return Archive(mtime=0, members=tuple(sorted(members, key=lambda member: member.path.encode())))


def _is_kept(member: Member) -> bool:
    return not member.path.startswith(_UNUSED)


def _aligned(size: int) -> int:
    return (size + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
