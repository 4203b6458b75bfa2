"""The two builds of OVMF that predictions are for, as the few facts that enter the predictions.

They are kept here and not read from the packages of ``firmware.lock`` during a build: an image then has the
same predictions on a machine that cannot have the packages, and years later. A test reads the facts out of
the packages and compares.
"""

from __future__ import annotations

from .ovmf import SevMetadata, SevSection, SevSectionType
from .snp import SnpFirmware
from .tdx import Order, TdxFirmware

__all__ = ["OVMF_AMDSEV", "OVMF_INTELTDX"]

OVMF_AMDSEV = SnpFirmware(
    sha256=bytes.fromhex("3e4fd0b3fe3b2dbe481c3d9e99418a034174f26cbe1f55aa212b0f18c12d2d6f"),
    digest=bytes.fromhex(
        "9d0dd8be18c86e3fe3bf0038ed75ebf5340bee69fd2632c8ff9409964575960ae1f7e84be387d2e3467bc3508d1e4806"
    ),
    metadata=SevMetadata(
        sections=(
            SevSection(address=0x800000, size=0x9000, type=SevSectionType.MEMORY),
            SevSection(address=0x80A000, size=0x3000, type=SevSectionType.MEMORY),
            SevSection(address=0x80D000, size=0x1000, type=SevSectionType.SECRETS),
            SevSection(address=0x80E000, size=0x1000, type=SevSectionType.CPUID),
            SevSection(address=0x80F000, size=0x1000, type=SevSectionType.SVSM_CALLING_AREA),
            SevSection(address=0x811000, size=0x1F000, type=SevSectionType.MEMORY),
            SevSection(address=0x810000, size=0x1000, type=SevSectionType.KERNEL_HASHES),
        ),
        hashes_table=0x810C00,
        reset_vector=0x80B004,
    ),
)
"""``OVMF.amdsev.fd`` of the package ``ovmf-amdsev``."""

OVMF_INTELTDX = TdxFirmware(
    sha256=bytes.fromhex("a265075b4147a096109e501e76196df1ec8a18659c26f7401492c597ec88f312"),
    mrtd={
        Order.SECTION_BY_SECTION: bytes.fromhex(
            "b90b236113eb4c0d4df4ef590568c14e6028a3a31d7e8ac63dee9845df5008d3ebf82d4f5974e933798f65d7a279b9a9"
        ),
        Order.PAGE_BY_PAGE: bytes.fromhex(
            "a7a1f751abc454f9cbab198ca8d2edb2821935df525c74182b5e776cb0929e8c59aefecce725b0d08a5e9d3d3183bd08"
        ),
    },
)
"""``OVMF.inteltdx.ms.fd`` of the package ``ovmf-inteltdx``; its variable store does not enter the MRTD."""
