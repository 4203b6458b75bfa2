"""What a build of OVMF says of itself: the tables at its end that a hypervisor reads to launch it.

The chain of entries with a GUID ends 32 bytes before the end of the file (edk2, ``OvmfPkg/ResetVector``:
``ResetVectorVtf0.asm``). It leads to the SEV metadata (``OvmfSevMetadata.asm``) and to the TDX metadata
(Intel TDX Virtual Firmware Design Guide, 11). The file is untrusted: every offset is checked.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any
from uuid import UUID

from glasshouse_attestations.errors import MalformedError

__all__ = [
    "PAGE_SIZE",
    "SevMetadata",
    "SevSection",
    "SevSectionType",
    "TdxSection",
    "read_sev_metadata",
    "read_tdx_sections",
]

PAGE_SIZE = 4096

_MAX_SIZE = 64 * 2**20
_MAX_SECTIONS = 64
_FOOTER_OFFSET = 32
_ENTRY_HEADER = struct.Struct("<H16s")
_FOOTER = UUID("96b582de-1fb2-45f7-baea-a366c55a082d")
_SEV_METADATA = UUID("dc886566-984a-4798-a75e-5585a7bf67cc")
_SEV_HASHES_TABLE = UUID("7255371f-3a3b-4b04-927b-1da6efa8d454")
_SEV_RESET_BLOCK = UUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e")
_TDX_METADATA = UUID("e47a6535-984a-4798-865e-4685a7bf8ec2")
_MR_EXTEND, _PAGE_AUG = 1, 2


class SevSectionType(IntEnum):
    """What a range of guest memory is for when an SEV-SNP guest is launched."""

    MEMORY = 1
    SECRETS = 2
    CPUID = 3
    SVSM_CALLING_AREA = 4
    KERNEL_HASHES = 0x10


@dataclass(frozen=True, slots=True, kw_only=True)
class SevSection:
    """A range of guest memory that the hypervisor adds at launch."""

    address: int
    size: int
    type: SevSectionType


@dataclass(frozen=True, slots=True, kw_only=True)
class SevMetadata:
    """How an SEV-SNP guest with this firmware is launched: one that checks what ``-kernel`` brings.

    ``hashes_table`` is the address of the table of hashes, ``reset_vector`` where further processors start.
    """

    sections: tuple[SevSection, ...]
    hashes_table: int
    reset_vector: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxSection:
    """A part of the firmware that is added to a TDX guest: ``size`` bytes of which ``data`` come first."""

    address: int
    size: int
    data: bytes
    is_added: bool
    is_measured: bool


def read_sev_metadata(firmware: bytes) -> SevMetadata:
    """Return the SEV-SNP metadata of a firmware that compares the kernel with measured hashes.

    Raises :class:`MalformedError` for a firmware that does not. A digest could be computed for such a one
    as well, but it would say nothing of the kernel.
    """
    table = _table(firmware)
    sections = _sev_sections(firmware, _u32(table, _SEV_METADATA))
    hashes_table = _u32(table, _SEV_HASHES_TABLE)
    types = [section.type for section in sections]
    needed = (SevSectionType.SECRETS, SevSectionType.CPUID, SevSectionType.KERNEL_HASHES)
    if any(types.count(kind) != 1 for kind in needed):
        raise MalformedError(
            "the firmware does not have one section each for secrets, cpuid and kernel hashes"
        )
    page = sections[types.index(SevSectionType.KERNEL_HASHES)]
    if page.size != PAGE_SIZE or not page.address <= hashes_table < page.address + PAGE_SIZE:
        raise MalformedError("the firmware's table of kernel hashes is not in the section for it")
    return SevMetadata(
        sections=sections, hashes_table=hashes_table, reset_vector=_u32(table, _SEV_RESET_BLOCK)
    )


def read_tdx_sections(firmware: bytes) -> tuple[TdxSection, ...]:
    """Return the sections of the firmware's TDX metadata in their order; raises :class:`MalformedError`."""
    start = len(firmware) - _u32(_table(firmware), _TDX_METADATA)
    signature, length, version, count = _unpack("<4s3I", firmware, start)
    if (signature, version) != (b"TDVF", 1) or not 0 < count <= _MAX_SECTIONS or length != 16 + 32 * count:
        raise MalformedError("the firmware's tdx metadata is malformed")
    return tuple(_tdx_section(firmware, start + 16 + 32 * index) for index in range(count))


def _tdx_section(firmware: bytes, place: int) -> TdxSection:
    offset, stored, address, size, _, attributes = _unpack("<2I2Q2I", firmware, place)
    _check_range(address, size)
    if stored > size or offset + stored > len(firmware) or attributes & ~(_MR_EXTEND | _PAGE_AUG):
        raise MalformedError("a section of the firmware's tdx metadata is malformed")
    return TdxSection(
        address=address,
        size=size,
        data=firmware[offset : offset + stored],
        is_added=not attributes & _PAGE_AUG,
        is_measured=bool(attributes & _MR_EXTEND),
    )


def _sev_sections(firmware: bytes, distance: int) -> tuple[SevSection, ...]:
    start = len(firmware) - distance
    signature, length, version, count = _unpack("<4s3I", firmware, start)
    if (signature, version) != (b"ASEV", 1) or not 0 < count <= _MAX_SECTIONS or length != 16 + 12 * count:
        raise MalformedError("the firmware's sev metadata is malformed")
    sections = []
    for index in range(count):
        address, size, kind = _unpack("<3I", firmware, start + 16 + 12 * index)
        _check_range(address, size)
        try:
            sections.append(SevSection(address=address, size=size, type=SevSectionType(kind)))
        except ValueError as err:
            raise MalformedError(f"the firmware's sev metadata has a section of unknown type {kind}") from err
    return tuple(sections)


def _check_range(address: int, size: int) -> None:
    if address % PAGE_SIZE or size % PAGE_SIZE or not 0 < size <= _MAX_SIZE:
        raise MalformedError("a section of the firmware's metadata is not of whole pages")


def _table(firmware: bytes) -> Mapping[UUID, bytes]:
    """Return the entries with a GUID, read from the last one, the footer, to the first."""
    if len(firmware) % PAGE_SIZE or not PAGE_SIZE <= len(firmware) <= _MAX_SIZE:
        raise MalformedError("the firmware is not of whole pages, or too large")
    end = len(firmware) - _FOOTER_OFFSET
    length, guid = _unpack(_ENTRY_HEADER.format, firmware, end - _ENTRY_HEADER.size)
    start = end - length
    if UUID(bytes_le=guid) != _FOOTER or start < 0:
        raise MalformedError("the firmware has no table of entries at its end")
    entries: dict[UUID, bytes] = {}
    end -= _ENTRY_HEADER.size
    while end > start:
        place = end - _ENTRY_HEADER.size
        length, guid = _unpack(_ENTRY_HEADER.format, firmware, place)
        if not _ENTRY_HEADER.size <= length <= end - start or UUID(bytes_le=guid) in entries:
            raise MalformedError("the firmware's table of entries is malformed")
        entries[UUID(bytes_le=guid)] = firmware[end - length : place]
        end -= length
    return entries


def _u32(table: Mapping[UUID, bytes], guid: UUID) -> int:
    # The entry of the hashes table goes on with a size, and some reset blocks with an address for debugging.
    entry = table.get(guid)
    if entry is None or len(entry) < 4 or not any(entry[:4]):
        raise MalformedError(f"the firmware's table has no entry {guid}, or an empty one")
    return int.from_bytes(entry[:4], "little")


def _unpack(layout: str, data: bytes, offset: int) -> tuple[Any, ...]:
    if offset < 0 or offset + struct.calcsize(layout) > len(data):
        raise MalformedError("the firmware's metadata lies outside of the firmware")
    return struct.unpack_from(layout, data, offset)
