"""The Unified Kernel Image: systemd's EFI stub with the kernel, command line and initrd as further sections.

The names of the sections are those of UAPI Group specification 5; the layout is that of the Microsoft
PE format specification, sections 3 and 4.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import pefile  # type: ignore[import-untyped]

from .errors import RecipeError

__all__ = ["assemble"]

_SECTION_HEADER_SIZE = 40
_INITIALIZED_READABLE_DATA = 0x40000040


def assemble(stub: bytes, sections: Mapping[str, bytes]) -> bytes:
    """Return ``stub`` with ``sections`` appended in their order, each padded in the file as the stub asks.

    Their addresses count from the stub's image base and follow its last section. The result depends on the
    arguments alone: no time stamp, no checksum. Raises :class:`RecipeError` if the stub has no room.
    """
    try:
        image = pefile.PE(data=stub, fast_load=True)
    except pefile.PEFormatError as err:
        raise RecipeError(f"the stub is not a pe file: {err}") from err
    optional = image.OPTIONAL_HEADER
    last = image.sections[-1]
    table_end = last.get_file_offset() + _SECTION_HEADER_SIZE
    if table_end + len(sections) * _SECTION_HEADER_SIZE > optional.SizeOfHeaders:
        raise RecipeError(f"the stub has no room for {len(sections)} more sections")
    if {section.Name.rstrip(b"\0").decode("ascii") for section in image.sections} & sections.keys():
        raise RecipeError("the stub has one of the sections already")
    address = _align(last.VirtualAddress + last.Misc_VirtualSize, optional.SectionAlignment)
    body = [stub.ljust(_align(len(stub), optional.FileAlignment), b"\0")]
    offset, table = len(body[0]), b""
    for name, content in sections.items():
        stored = _align(len(content), optional.FileAlignment)
        table += _section_header(name, size=len(content), address=address, stored=stored, offset=offset)
        body.append(content.ljust(stored, b"\0"))
        offset += stored
        address = _align(address + len(content), optional.SectionAlignment)
        optional.SizeOfInitializedData += stored
    image.FILE_HEADER.NumberOfSections += len(sections)
    optional.SizeOfImage = address
    headers = bytearray(image.write()[: len(stub)])
    headers[table_end : table_end + len(table)] = table
    body[0] = bytes(headers).ljust(len(body[0]), b"\0")
    return b"".join(body)


def _section_header(name: str, *, size: int, address: int, stored: int, offset: int) -> bytes:
    encoded = name.encode("ascii")
    if len(encoded) > 8 or not size:
        raise RecipeError(f"section {name!r} is empty or has too long a name")
    return struct.pack(
        "<8s6I2HI", encoded, size, address, stored, offset, 0, 0, 0, 0, _INITIALIZED_READABLE_DATA
    )


def _align(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
