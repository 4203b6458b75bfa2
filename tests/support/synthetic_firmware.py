"""Firmware files made by hand: a page or more with the tables that a hypervisor reads, and no code."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from uuid import UUID

SEV_METADATA = "dc886566-984a-4798-a75e-5585a7bf67cc"
SEV_HASHES_TABLE = "7255371f-3a3b-4b04-927b-1da6efa8d454"
SEV_RESET_BLOCK = "00f771de-1a7e-4fcb-890e-68c77e2fb44e"
TDX_METADATA = "e47a6535-984a-4798-865e-4685a7bf8ec2"
_FOOTER = "96b582de-1fb2-45f7-baea-a366c55a082d"
_TAIL = 32

SEV_SECTIONS = ((0x800000, 0x2000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x810000, 0x1000, 0x10))
"""Address, size and type of what a launch needs."""
TDX_SECTIONS = ((0, 0x1000, 0x10000, 0x1000, 1),)
"""Offset and size in the file, address and size in memory, and attributes."""


def make_firmware(
    *,
    sev: Sequence[tuple[int, int, int]] = SEV_SECTIONS,
    tdx: Sequence[tuple[int, int, int, int, int]] = TDX_SECTIONS,
    entries: Mapping[str, bytes | None] | None = None,
    content: bytes = b"",
    sev_head: bytes = b"ASEV",
    tdx_head: bytes = b"TDVF",
) -> bytes:
    """Return ``content`` and the two metadata, with a table whose entries ``entries`` replaces or removes."""
    sev_metadata = sev_head + struct.pack("<3I", 16 + 12 * len(sev), 1, len(sev))
    sev_metadata += b"".join(struct.pack("<3I", *section) for section in sev)
    tdx_metadata = tdx_head + struct.pack("<3I", 16 + 32 * len(tdx), 1, len(tdx))
    tdx_metadata += b"".join(struct.pack("<2I2Q2I", *section[:4], 0, section[4]) for section in tdx)
    size = -(-(len(content) + len(sev_metadata) + len(tdx_metadata) + 512) // 4096) * 4096
    table: dict[str, bytes | None] = {
        SEV_METADATA: (size - len(content)).to_bytes(4, "little"),
        TDX_METADATA: (size - len(content) - len(sev_metadata)).to_bytes(4, "little"),
        SEV_HASHES_TABLE: struct.pack("<2I", 0x810C00, 0x400),
        SEV_RESET_BLOCK: (0x80B004).to_bytes(4, "little"),
        **(entries or {}),
    }
    body = b"".join(_entry(guid, data) for guid, data in table.items() if data is not None)
    body += struct.pack("<H", len(body) + 18) + UUID(_FOOTER).bytes_le
    head = content + sev_metadata + tdx_metadata
    return head.ljust(size - _TAIL - len(body), b"\0") + body + bytes(_TAIL)


def _entry(guid: str, data: bytes) -> bytes:
    return data + struct.pack("<H", len(data) + 18) + UUID(guid).bytes_le
