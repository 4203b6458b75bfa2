"""The attestation report that the AMD secure processor signs (SEV-SNP Firmware ABI, 56860, 7.3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntFlag

from ..errors import MalformedError
from .product import Processor

__all__ = [
    "HOST_REQUESTED",
    "REPORT_SIZE",
    "Firmware",
    "GuestFlag",
    "PlatformFlag",
    "Report",
    "Signer",
]

REPORT_SIZE = 0x4A0
SIGNED_SIZE = 0x2A0
_VERSIONS = frozenset({2, 3, 4, 5})
_ECDSA_P384_SHA384 = 1
_NO_MIGRATION_AGENT = bytes([0xFF]) * 32

# The VMPL of a report that the host asked for, not the guest.
HOST_REQUESTED = 0xFFFFFFFF


class Signer(Enum):
    """SIGNING_KEY: whose key signed the report."""

    VCEK = 0
    VLEK = 1
    NONE = 7


class GuestFlag(IntFlag):
    """What the guest's owner allowed or asked for at launch: POLICY above the ABI version (56860, 4.3).

    ``RESERVED_ONE`` is set in every valid policy.
    """

    SMT = 1 << 16
    RESERVED_ONE = 1 << 17
    MIGRATE_MA = 1 << 18
    DEBUG = 1 << 19
    SINGLE_SOCKET = 1 << 20
    CXL_ALLOW = 1 << 21
    MEM_AES_256_XTS = 1 << 22
    RAPL_DIS = 1 << 23
    CIPHERTEXT_HIDING_DRAM = 1 << 24
    PAGE_SWAP_DISABLE = 1 << 25


class PlatformFlag(IntFlag):
    """What is on in this machine: PLATFORM_INFO (56860, 7.3)."""

    SMT_EN = 1 << 0
    TSME_EN = 1 << 1
    ECC_EN = 1 << 2
    RAPL_DIS = 1 << 3
    CIPHERTEXT_HIDING_DRAM_EN = 1 << 4
    ALIAS_CHECK_COMPLETE = 1 << 5
    TIO_EN = 1 << 7


_GUEST_FLAGS = sum(flag.value for flag in GuestFlag)
_PLATFORM_FLAGS = sum(flag.value for flag in PlatformFlag)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Firmware:
    """The version and build of the SEV firmware; its order is the order of its releases."""

    major: int
    minor: int
    build: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.build}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An attestation report of version 2 to 5, taken apart, nothing of it verified.

    The four TCBs are kept as their 8 bytes, because their layout depends on the product. ``processor`` is
    ``None`` in version 2, and the vectors of mitigations are ``None`` before version 5. ``signed`` is what
    the signature (``r``, ``s``) is over.
    """

    version: int
    guest_svn: int
    policy: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    current_tcb: bytes
    platform_info: int
    author_key_en: bool
    mask_chip_key: bool
    signer: Signer
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    report_id_ma: bytes
    reported_tcb: bytes
    processor: Processor | None
    chip_id: bytes
    committed_tcb: bytes
    current_firmware: Firmware
    committed_firmware: Firmware
    launch_tcb: bytes
    launch_mitigations: int | None
    current_mitigations: int | None
    signed: bytes
    r: int
    s: int

    @classmethod
    def parse(cls, data: bytes) -> Report:
        """Return the report in these 1184 bytes; every reserved byte is zero.

        Reserved bits of POLICY and PLATFORM_INFO are kept, for the policy to judge.
        """
        if len(data) != REPORT_SIZE:
            raise MalformedError(f"an SEV-SNP report has {REPORT_SIZE} bytes")
        version = _integer(data, 0x00, 4)
        if version not in _VERSIONS:
            raise MalformedError("the version of an SEV-SNP report is not 2, 3, 4 or 5")
        if _integer(data, 0x34, 4) != _ECDSA_P384_SHA384:
            raise MalformedError("an SEV-SNP report is not signed with ECDSA P-384 and SHA-384")
        _check_reserved(data, version)
        flags = _integer(data, 0x48, 4)
        return cls(
            version=version,
            guest_svn=_integer(data, 0x04, 4),
            policy=_integer(data, 0x08, 8),
            family_id=data[0x10:0x20],
            image_id=data[0x20:0x30],
            vmpl=_integer(data, 0x30, 4),
            current_tcb=data[0x38:0x40],
            platform_info=_integer(data, 0x40, 8),
            author_key_en=bool(flags & 1),
            mask_chip_key=bool(flags & 2),
            signer=_signer(flags),
            report_data=data[0x50:0x90],
            measurement=data[0x90:0xC0],
            host_data=data[0xC0:0xE0],
            id_key_digest=data[0xE0:0x110],
            author_key_digest=data[0x110:0x140],
            report_id=data[0x140:0x160],
            report_id_ma=data[0x160:0x180],
            reported_tcb=data[0x180:0x188],
            processor=_processor(data) if version >= 3 else None,
            chip_id=data[0x1A0:0x1E0],
            committed_tcb=data[0x1E0:0x1E8],
            current_firmware=_firmware(data, 0x1E8),
            committed_firmware=_firmware(data, 0x1EC),
            launch_tcb=data[0x1F0:0x1F8],
            launch_mitigations=_integer(data, 0x1F8, 8) if version >= 5 else None,
            current_mitigations=_integer(data, 0x200, 8) if version >= 5 else None,
            signed=data[:SIGNED_SIZE],
            r=_integer(data, 0x2A0, 72),
            s=_integer(data, 0x2E8, 72),
        )

    @property
    def guest_flags(self) -> GuestFlag:
        """The bits of POLICY that have a name."""
        return GuestFlag(self.policy & _GUEST_FLAGS)

    @property
    def unknown_guest_bits(self) -> int:
        """The bits of POLICY above the ABI version that have no name."""
        return self.policy & ~0xFFFF & ~_GUEST_FLAGS

    @property
    def minimum_abi(self) -> tuple[int, int]:
        """The lowest major and minor version of the ABI that the guest's owner accepts."""
        return self.policy >> 8 & 0xFF, self.policy & 0xFF

    @property
    def platform_flags(self) -> PlatformFlag:
        """The bits of PLATFORM_INFO that have a name."""
        return PlatformFlag(self.platform_info & _PLATFORM_FLAGS)

    @property
    def unknown_platform_bits(self) -> int:
        """The bits of PLATFORM_INFO that have no name."""
        return self.platform_info & ~_PLATFORM_FLAGS

    @property
    def chip_id_masked(self) -> bool:
        """Whether the host configured the firmware not to name the chip (MASK_CHIP_ID)."""
        return not any(self.chip_id)

    @property
    def has_migration_agent(self) -> bool:
        """Whether a migration agent, whose report REPORT_ID_MA names, is bound to the guest."""
        return self.report_id_ma != _NO_MIGRATION_AGENT


def _check_reserved(data: bytes, version: int) -> None:
    reserved = [(0x4C, 0x50), (0x18B if version >= 3 else 0x188, 0x1A0), (0x1EB, 0x1EC), (0x1EF, 0x1F0)]
    reserved.append((0x208 if version >= 5 else 0x1F8, SIGNED_SIZE))
    # Not signed: the rest of the signature's field. Were it not zero, one report would have many encodings.
    reserved.append((0x330, REPORT_SIZE))
    for start, end in reserved:
        if any(data[start:end]):
            raise MalformedError(
                f"reserved bytes {start:#x} to {end - 1:#x} of an SEV-SNP report are not zero"
            )
    if _integer(data, 0x48, 4) >> 5:
        raise MalformedError("reserved bits of the key information of an SEV-SNP report are not zero")


def _signer(flags: int) -> Signer:
    try:
        return Signer(flags >> 2 & 0b111)
    except ValueError:
        raise MalformedError("an SEV-SNP report is signed by an unknown kind of key") from None


def _processor(data: bytes) -> Processor:
    return Processor(family=data[0x188], model=data[0x189], stepping=data[0x18A])


def _firmware(data: bytes, at: int) -> Firmware:
    return Firmware(build=data[at], minor=data[at + 1], major=data[at + 2])


def _integer(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")
