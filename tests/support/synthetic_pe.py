"""PE32+ files made by hand: small, valid, and independent of the code that reads them."""

from __future__ import annotations

import struct
from collections.abc import Mapping

_FILE_ALIGNMENT = 0x200
_SECTION_ALIGNMENT = 0x1000
_HEADERS_SIZE = 0x600
_PE_OFFSET = 0x40
_OPTIONAL_SIZE = 112 + 16 * 8

SECTION_TABLE = _PE_OFFSET + 24 + _OPTIONAL_SIZE
"""Where the section headers start, 40 bytes each."""
CHECKSUM = _PE_OFFSET + 24 + 64
SECURITY_DIRECTORY = _PE_OFFSET + 24 + 112 + 4 * 8


def make_pe(sections: Mapping[str, bytes], *, certificate: bytes = b"") -> bytes:
    """Return a PE file with the sections in their order, and perhaps a certificate table behind them."""
    table, body = b"", b""
    address = _SECTION_ALIGNMENT
    for name, content in sections.items():
        stored = -(-len(content) // _FILE_ALIGNMENT) * _FILE_ALIGNMENT
        offset = _HEADERS_SIZE + len(body)
        table += struct.pack(
            "<8s6I2HI", name.encode(), len(content), address, stored, offset, 0, 0, 0, 0, 0x40000040
        )
        body += content.ljust(stored, b"\0")
        address += -(-len(content) // _SECTION_ALIGNMENT) * _SECTION_ALIGNMENT
    directories = bytearray(16 * 8)
    if certificate:
        struct.pack_into("<2I", directories, 4 * 8, _HEADERS_SIZE + len(body), len(certificate))
    coff = struct.pack("<2H3I2H", 0x8664, len(sections), 0, 0, 0, _OPTIONAL_SIZE, 0x0206)
    optional = struct.pack("<HBB5I", 0x20B, 2, 0, len(body), 0, 0, _SECTION_ALIGNMENT, _SECTION_ALIGNMENT)
    optional += struct.pack(
        "<Q2I6H4I2H",
        0x14DF90000,
        _SECTION_ALIGNMENT,
        _FILE_ALIGNMENT,
        *[0] * 6,
        0,
        address,
        _HEADERS_SIZE,
        0,
        10,
        0,
    )
    optional += struct.pack("<4Q2I", 0, 0, 0, 0, 0, 16) + directories
    dos = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", _PE_OFFSET)
    head = dos + b"PE\0\0" + coff + optional + table
    return head.ljust(_HEADERS_SIZE, b"\0") + body + certificate
