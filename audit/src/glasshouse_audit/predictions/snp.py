"""The launch digest of an AMD SEV-SNP guest: what its secure processor signs as MEASUREMENT.

The digest is a chain over every page that the hypervisor adds before the guest runs (SEV Secure Nested
Paging Firmware ABI Specification, publication 56860, 8.17.2): the firmware's pages, the ranges that its
metadata names, among them the page with the hashes of kernel, initrd and command line, and one page of
initial register values for each virtual processor.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from .ovmf import PAGE_SIZE, SevMetadata, SevSection, SevSectionType

__all__ = [
    "PROCESSORS",
    "PROCESSOR_COUNTS",
    "KernelHashes",
    "SnpFirmware",
    "firmware_digest",
    "launch_digests",
]

PROCESSORS = {
    "EPYC-v4": 0x00800F12,
    "EPYC-Milan": 0x00A00F11,
    "EPYC-Genoa": 0x00A10F10,
    "EPYC-Turin": 0x00B00F00,
}
"""QEMU's processor types, and the signature (CPUID Fn0000_0001_EAX) that a processor has in EDX at reset."""

PROCESSOR_COUNTS = (1, 2, 4, 8, 16, 32, 64)

_GUEST_FEATURES = 1  # SNPActive, and nothing else (SEV_FEATURES, publication 24593, table B-4)
_TOP_OF_FIRMWARE = 1 << 32
_VMSA_ADDRESS = 0xFFFFFFFFF000
_BOOT_RESET_VECTOR = 0xFFFFFFF0
_PAGE_NORMAL, _PAGE_VMSA, _PAGE_ZERO, _PAGE_SECRETS, _PAGE_CPUID = 1, 2, 3, 5, 6

_HASHES_TABLE = UUID("9438d606-4f22-4cc9-b479-a793d411fd21")
_KERNEL = UUID("4de79437-abd2-427f-b835-d5b172d2045b")
_INITRD = UUID("44baf731-3a2f-4bd7-9af1-41e29169781d")
_COMMAND_LINE = UUID("97d02dd8-bd20-4c94-aa78-e7714d36ab2a")


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpFirmware:
    """A build of OVMF as far as the launch digest depends on it.

    ``digest`` is the launch digest after the firmware's own pages, before anything that its metadata names.
    """

    sha256: bytes
    digest: bytes
    metadata: SevMetadata


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelHashes:
    """SHA-256 of what the hypervisor hands to the firmware: of the command line with its closing NUL."""

    kernel: bytes
    initrd: bytes
    command_line: bytes

    @classmethod
    def of_kernel_alone(cls, kernel_sha256: bytes) -> KernelHashes:
        """Return the hashes for a kernel that is started without an initrd and without a command line."""
        empty, nul = hashlib.sha256(), hashlib.sha256(b"\0")
        return cls(kernel=kernel_sha256, initrd=empty.digest(), command_line=nul.digest())

    def page(self, offset: int) -> bytes:
        """Return the page that has the table of hashes at ``offset``, laid out as QEMU does."""
        entries = (_COMMAND_LINE, self.command_line), (_INITRD, self.initrd), (_KERNEL, self.kernel)
        body = b"".join(_hashes_entry(guid, digest) for guid, digest in entries)
        return (bytes(offset) + _hashes_entry(_HASHES_TABLE, body)).ljust(PAGE_SIZE, b"\0")


def firmware_digest(firmware: bytes) -> bytes:
    """Return the launch digest after the pages of ``firmware``, which ends at 4 GiB."""
    base = _TOP_OF_FIRMWARE - len(firmware)
    digest = bytes(48)
    for offset in range(0, len(firmware), PAGE_SIZE):
        page = firmware[offset : offset + PAGE_SIZE]
        digest = _extend(digest, _PAGE_NORMAL, base + offset, hashlib.sha384(page).digest())
    return digest


def launch_digests(
    firmware: SnpFirmware, hashes: KernelHashes, *, signature: int, counts: Iterable[int]
) -> Iterator[bytes]:
    """Yield the launch digest for each number of virtual processors in ``counts``, which ascend."""
    digest = firmware.digest
    for section in firmware.metadata.sections:
        digest = _extend_section(digest, section, hashes, firmware.metadata.hashes_table)
    reset_vector, added = _BOOT_RESET_VECTOR, 0
    for count in counts:
        for _ in range(count - added):
            page = hashlib.sha384(_initial_state(reset_vector, signature)).digest()
            digest = _extend(digest, _PAGE_VMSA, _VMSA_ADDRESS, page)
            reset_vector = firmware.metadata.reset_vector
        added = count
        yield digest


def _extend_section(digest: bytes, section: SevSection, hashes: KernelHashes, table: int) -> bytes:
    if section.type is SevSectionType.KERNEL_HASHES:
        page = hashlib.sha384(hashes.page(table - section.address)).digest()
        return _extend(digest, _PAGE_NORMAL, section.address, page)
    kind = {SevSectionType.SECRETS: _PAGE_SECRETS, SevSectionType.CPUID: _PAGE_CPUID}.get(
        section.type, _PAGE_ZERO
    )
    for address in range(section.address, section.address + section.size, PAGE_SIZE):
        digest = _extend(digest, kind, address, bytes(48))
    return digest


def _extend(digest: bytes, kind: int, address: int, contents: bytes) -> bytes:
    # IMI page and the permissions of VMPL 3 to 1 are zero at launch, as is the reserved byte.
    page_info = digest + contents + struct.pack("<HB5xQ", 0x70, kind, address)
    return hashlib.sha384(page_info).digest()


def _hashes_entry(guid: UUID, content: bytes) -> bytes:
    return guid.bytes_le + struct.pack("<H", 18 + len(content)) + content


def _initial_state(reset_vector: int, signature: int) -> bytes:
    """Return the save area that QEMU and KVM give a processor (publication 24593, table B-4)."""
    page = bytearray(PAGE_SIZE)
    segments = {
        0x00: (0, 0x93, 0),  # es
        0x10: (0xF000, 0x9B, reset_vector & 0xFFFF0000),  # cs
        0x20: (0, 0x93, 0),  # ss
        0x30: (0, 0x93, 0),  # ds
        0x40: (0, 0x93, 0),  # fs
        0x50: (0, 0x93, 0),  # gs
        0x60: (0, 0, 0),  # gdtr
        0x70: (0, 0x82, 0),  # ldtr
        0x80: (0, 0, 0),  # idtr
        0x90: (0, 0x8B, 0),  # tr
    }
    for offset, (selector, attributes, base) in segments.items():
        struct.pack_into("<HHIQ", page, offset, selector, attributes, 0xFFFF, base)
    registers = {
        0x0D0: 0x1000,  # efer: SVME
        0x148: 0x40,  # cr4: MCE
        0x158: 0x10,  # cr0: ET
        0x160: 0x400,  # dr7
        0x168: 0xFFFF0FF0,  # dr6
        0x170: 0x2,  # rflags
        0x178: reset_vector & 0xFFFF,  # rip
        0x268: 0x0007040600070406,  # g_pat
        0x310: signature,  # rdx
        0x3B0: _GUEST_FEATURES,  # sev_features
        0x3E8: 0x1,  # xcr0
    }
    for offset, value in registers.items():
        struct.pack_into("<Q", page, offset, value)
    struct.pack_into("<I", page, 0x408, 0x1F80)  # mxcsr
    struct.pack_into("<H", page, 0x410, 0x37F)  # x87 control word
    return bytes(page)
