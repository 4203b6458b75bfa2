"""SEV-SNP reports, field by field (SEV-SNP Firmware ABI, 56860, 7.3, ATTESTATION_REPORT)."""

from __future__ import annotations

from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.snp import GuestFlag, PlatformFlag, Processor, Product, Report, Tcb

from .tree import Node, bits, branch, leaf

__all__ = ["describe"]


def describe(data: bytes) -> Node:
    """Return the report's fields by AMD's names, in their order."""
    report = Report.parse(data)
    major, minor = report.minimum_abi
    guest = bits("POLICY", report.policy & ~0xFFFF, GuestFlag)
    below = (
        leaf("VERSION", report.version),
        leaf("GUEST_SVN", report.guest_svn),
        branch("POLICY", (leaf("ABI", f"{major}.{minor}"), *guest.below), f"{report.policy:#018x}"),
        leaf("FAMILY_ID", report.family_id),
        leaf("IMAGE_ID", report.image_id),
        leaf("VMPL", report.vmpl),
        _tcb("CURRENT_TCB", report.current_tcb, report.processor),
        bits("PLATFORM_INFO", report.platform_info, PlatformFlag),
        leaf("AUTHOR_KEY_EN", report.author_key_en),
        leaf("MASK_CHIP_KEY", report.mask_chip_key),
        leaf("SIGNING_KEY", report.signer.name),
        leaf("REPORT_DATA", report.report_data),
        leaf("MEASUREMENT", report.measurement),
        leaf("HOST_DATA", report.host_data),
        leaf("ID_KEY_DIGEST", report.id_key_digest),
        leaf("AUTHOR_KEY_DIGEST", report.author_key_digest),
        leaf("REPORT_ID", report.report_id),
        leaf("REPORT_ID_MA", report.report_id_ma),
        _tcb("REPORTED_TCB", report.reported_tcb, report.processor),
        leaf("CPUID_FAM_ID, CPUID_MOD_ID, CPUID_STEP", _processor(report.processor)),
        leaf("CHIP_ID", report.chip_id),
        _tcb("COMMITTED_TCB", report.committed_tcb, report.processor),
        leaf("CURRENT_MAJOR.MINOR.BUILD", str(report.current_firmware)),
        leaf("COMMITTED_MAJOR.MINOR.BUILD", str(report.committed_firmware)),
        _tcb("LAUNCH_TCB", report.launch_tcb, report.processor),
        leaf("LAUNCH_MIT_VECTOR", report.launch_mitigations),
        leaf("CURRENT_MIT_VECTOR", report.current_mitigations),
        branch("SIGNATURE", (leaf("R", f"{report.r:096x}"), leaf("S", f"{report.s:096x}"))),
    )
    return branch("ATTESTATION_REPORT", below)


def _tcb(name: str, data: bytes, processor: Processor | None) -> Node:
    """A TCB's bytes, and its components if the report says of which product it is."""
    product = _product(processor)
    if product is None:
        return leaf(name, data)
    try:
        components = Tcb.parse(data, product).components()
    except MalformedError as err:
        return branch(name, (leaf("unreadable", str(err)),), data)
    return branch(name, (leaf(each.upper(), svn) for each, svn in components), data)


def _product(processor: Processor | None) -> Product | None:
    try:
        return None if processor is None else processor.product
    except MalformedError:
        return None


def _processor(processor: Processor | None) -> str | None:
    return None if processor is None else processor.encode()
