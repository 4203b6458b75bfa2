"""The MRTD of an Intel TDX guest: what the TDX module measures while the firmware is put into its memory.

Intel TDX Module Base Architecture Specification, "Measurement and Attestation": TDH.MEM.PAGE.ADD hashes the
address of a page, TDH.MR.EXTEND the address and content of 256 bytes. Which pages, and which of them by
content, the firmware's metadata says; in which order, the hypervisor decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from .ovmf import PAGE_SIZE, TdxSection, read_tdx_sections

__all__ = ["Order", "TdxFirmware", "mrtd"]

_CHUNK_SIZE = 256


class Order(Enum):
    """In which order a hypervisor adds pages and extends their content."""

    SECTION_BY_SECTION = "all pages of a section are added, then all are extended"
    PAGE_BY_PAGE = "each page is extended as soon as it is added"


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxFirmware:
    """A build of OVMF as far as the MRTD depends on it: the value for each order."""

    sha256: bytes
    mrtd: Mapping[Order, bytes]


def mrtd(firmware: bytes, order: Order) -> bytes:
    """Return the MRTD of a guest that is launched with ``firmware``; raises :class:`MalformedError`."""
    digest = hashlib.sha384()
    for section in read_tdx_sections(firmware):
        for record in _records(section, order):
            digest.update(record)
    return digest.digest()


def _records(section: TdxSection, order: Order) -> Iterator[bytes]:
    step = PAGE_SIZE if order is Order.PAGE_BY_PAGE else section.size
    for start in range(0, section.size, step):
        if section.is_added:
            for offset in range(start, start + step, PAGE_SIZE):
                yield _record(b"MEM.PAGE.ADD", section.address + offset)
        if section.is_measured:
            for offset in range(start, start + step, _CHUNK_SIZE):
                yield _record(b"MR.EXTEND", section.address + offset)
                yield section.data[offset : offset + _CHUNK_SIZE].ljust(_CHUNK_SIZE, b"\0")


def _record(name: bytes, address: int) -> bytes:
    return name.ljust(16, b"\0") + address.to_bytes(8, "little") + bytes(104)
