"""Holding a report that is known to be genuine against a policy: one function per question."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag

from ..claims import Check, Outcome
from ..errors import (
    AttributesError,
    CertificateRevokedError,
    DebugError,
    IdentityError,
    MigrationError,
    PrivilegeError,
    ProductError,
    TcbFloorError,
)
from .endorsement_key import EndorsementKey, Kind
from .policy import Policy
from .product import Product
from .report import HOST_REQUESTED, GuestFlag, PlatformFlag, Report
from .tcb import Tcb

__all__ = ["appraise", "tcbs"]

_ABI = "SEV-SNP Firmware ABI, 56860"
# Refused by every policy, or checked apart from the flags that policies name.
_FLAGS_WITH_A_CHECK = GuestFlag.RESERVED_ONE | GuestFlag.DEBUG | GuestFlag.MIGRATE_MA


def appraise(report: Report, key: EndorsementKey, policy: Policy) -> tuple[Check, ...]:
    """Return a check per question if the report, signed by ``key``, is as ``policy`` asks.

    Raises the subclass of :class:`PlatformError` that names the first question with another answer.
    """
    found = tcbs(report, key.product)
    return (
        _check_chip(report, key, policy),
        *_check_tcbs(found, policy.minimum_tcb.get(key.product)),
        _check_tcb_order(report, found),
        _check_microcode(report, found, policy),
        _check_firmware(report, policy),
        _check_committed(report, policy),
        _check_debug(report),
        _check_migration(report),
        _check_guest_policy(report),
        _check_minimum_abi(report, policy),
        *_check_guest_flags(report, policy),
        _check_vmpl(report, policy),
        *_check_platform_flags(report, policy),
        _check_unknown_platform_bits(report, policy),
        _check_mitigations(report, policy),
        _check_guest_svn(report, policy),
        *_check_launch_fields(report, policy),
        *_check_owner_keys(report, policy),
    )


def tcbs(report: Report, product: Product) -> dict[str, Tcb]:
    """Return the four TCBs of the report by name, read in the layout of ``product``."""
    return {
        "reported": Tcb.parse(report.reported_tcb, product),
        "committed": Tcb.parse(report.committed_tcb, product),
        "current": Tcb.parse(report.current_tcb, product),
        "launch": Tcb.parse(report.launch_tcb, product),
    }


def _check_chip(report: Report, key: EndorsementKey, policy: Policy) -> Check:
    """The chip is one that the policy names, and none that it bars."""
    name, source = "chip", f"{_ABI}, 7.3 (CHIP_ID); arXiv 2605.12990 for Milan"
    if key.product is Product.MILAN and key.kind is Kind.VCEK and not policy.allowed_chip_ids:
        raise ProductError(
            "a Milan is only accepted if the policy names its chip: its VCEKs can be extracted"
        )
    if not policy.allowed_chip_ids and not policy.denied_chip_ids:
        return Check(name=name, outcome=Outcome.NOT_CHECKED, detail="the policy names no chip", source=source)
    if report.chip_id_masked:
        raise IdentityError("the policy names chips, but the report does not say from which chip it is")
    if report.chip_id in policy.denied_chip_ids:
        raise CertificateRevokedError("the policy bars this chip")
    if policy.allowed_chip_ids and report.chip_id not in policy.allowed_chip_ids:
        raise IdentityError("the chip is none of those that the policy names")
    return Check(name=name, outcome=Outcome.PASSED, source=source)


def _check_tcbs(found: Mapping[str, Tcb], floor: Tcb | None) -> tuple[Check, ...]:
    """No component of any of the four TCBs is below the product's floor."""
    return tuple(_check_tcb(name, tcb, floor) for name, tcb in found.items())


def _check_tcb(name: str, tcb: Tcb, floor: Tcb | None) -> Check:
    source = f"{_ABI}, 2.2 and 7.3"
    if floor is None:
        detail = f"the policy has no floor for this product: {tcb}"
        return Check(name=f"{name} TCB", outcome=Outcome.NOT_CHECKED, detail=detail, source=source)
    if tcb.below(floor):
        raise TcbFloorError(
            f"the {name} TCB ({tcb}) is below the policy's floor in {', '.join(tcb.below(floor))}"
        )
    return Check(name=f"{name} TCB", outcome=Outcome.PASSED, detail=str(tcb), source=source)


def _check_tcb_order(report: Report, found: Mapping[str, Tcb]) -> Check:
    """What is reported is committed, and what is committed runs: no other order is possible."""
    if found["committed"].below(found["reported"]) or found["current"].below(found["committed"]):
        raise TcbFloorError("the TCBs are not in the order reported, committed, current")
    if report.current_firmware < report.committed_firmware:
        raise TcbFloorError("the current firmware is older than the committed firmware")
    return Check(name="order of TCBs", outcome=Outcome.PASSED, source=f"{_ABI}, 3.3 (provisional firmware)")


def _check_microcode(report: Report, found: Mapping[str, Tcb], policy: Policy) -> Check:
    """The microcode's loader is one that only loads AMD's patches."""
    name, source = "microcode", "AMD-SB-3019 and AMD-SB-7033 (CVE-2024-56161)"
    if not policy.minimum_microcode:
        return Check(name=name, outcome=Outcome.NOT_CHECKED, detail="the policy has no floors", source=source)
    if report.processor is None:
        raise TcbFloorError("a report of version 2 names no processor, so the microcode's floor is unknown")
    floor = policy.minimum_microcode.get(report.processor)
    if floor is None:
        raise TcbFloorError(
            f"the policy has no floor for the microcode of processor {report.processor.encode()}"
        )
    for which, tcb in found.items():
        if tcb.microcode < floor:
            raise TcbFloorError(f"the {which} microcode {tcb.microcode} is below the floor {floor}")
    return Check(name=name, outcome=Outcome.PASSED, detail=f"at least {floor}", source=source)


def _check_firmware(report: Report, policy: Policy) -> Check:
    """The SEV firmware, running and committed, is not older than the policy's floor."""
    name, source, floor = "SEV firmware", f"{_ABI}, 7.3 (CURRENT and COMMITTED)", policy.minimum_firmware
    detail = f"current {report.current_firmware}, committed {report.committed_firmware}"
    if floor is None:
        return Check(name=name, outcome=Outcome.NOT_CHECKED, detail=f"no floor: {detail}", source=source)
    if min(report.current_firmware, report.committed_firmware) < floor:
        raise TcbFloorError(f"the SEV firmware is below the floor {floor}: {detail}")
    return Check(name=name, outcome=Outcome.PASSED, detail=detail, source=source)


def _check_committed(report: Report, policy: Policy) -> Check:
    """The running firmware is committed: the host cannot go back to an older one."""
    name, source = "no provisional firmware", f"{_ABI}, 3.3"
    committed = report.current_tcb == report.committed_tcb
    committed = committed and report.current_firmware == report.committed_firmware
    if policy.require_committed and not committed:
        raise TcbFloorError("the current firmware is provisional: the host can return to the committed one")
    if committed:
        return Check(name=name, outcome=Outcome.PASSED, source=source)
    return Check(name=name, outcome=Outcome.NOT_CHECKED, detail="not required, and it is not", source=source)


def _check_debug(report: Report) -> Check:
    """The host cannot read the guest's memory through the firmware's debugging commands."""
    if GuestFlag.DEBUG in report.guest_flags:
        raise DebugError("the guest's policy allows the host to debug it")
    return Check(name="debugging off", outcome=Outcome.PASSED, source=f"{_ABI}, 4.3 (DEBUG)")


def _check_migration(report: Report) -> Check:
    """No migration agent may export the guest's memory."""
    if GuestFlag.MIGRATE_MA in report.guest_flags or report.has_migration_agent:
        raise MigrationError("the guest may be, or is, bound to a migration agent")
    return Check(name="no migration agent", outcome=Outcome.PASSED, source=f"{_ABI}, 4.3 (MIGRATE_MA)")


def _check_guest_policy(report: Report) -> Check:
    """The reserved bits of the guest's policy are as they must be."""
    if GuestFlag.RESERVED_ONE not in report.guest_flags or report.unknown_guest_bits:
        raise AttributesError("a reserved bit of the guest's policy has the wrong value")
    return Check(name="reserved policy bits", outcome=Outcome.PASSED, source=f"{_ABI}, 4.3")


def _check_minimum_abi(report: Report, policy: Policy) -> Check:
    """The guest's owner asked for at least this version of the ABI."""
    name, source = "minimum ABI", f"{_ABI}, 4.3 (ABI_MAJOR, ABI_MINOR)"
    found = ".".join(map(str, report.minimum_abi))
    if policy.minimum_abi is None:
        return Check(name=name, outcome=Outcome.NOT_CHECKED, detail=f"no floor: {found}", source=source)
    if report.minimum_abi < policy.minimum_abi:
        raise AttributesError(f"the guest accepts firmware of ABI {found}, below the policy's floor")
    return Check(name=name, outcome=Outcome.PASSED, detail=found, source=source)


def _check_guest_flags(report: Report, policy: Policy) -> tuple[Check, ...]:
    """Each flag of the guest's policy is as required or forbidden."""
    on = report.guest_flags
    return tuple(
        _check_flag(
            flag,
            on=flag in on,
            required=flag in policy.required_guest_flags,
            forbidden=flag in policy.forbidden_guest_flags,
            source=f"{_ABI}, 4.3",
        )
        for flag in GuestFlag
        if flag not in _FLAGS_WITH_A_CHECK
    )


def _check_vmpl(report: Report, policy: Policy) -> Check:
    """The report was asked for at the expected privilege level of the guest, and not by the host."""
    if report.vmpl == HOST_REQUESTED:
        raise PrivilegeError("the host asked for the report, not the guest")
    if report.vmpl != policy.vmpl:
        raise PrivilegeError(f"the report was asked for at VMPL {report.vmpl}, not {policy.vmpl}")
    return Check(name="VMPL", outcome=Outcome.PASSED, detail=str(report.vmpl), source=f"{_ABI}, 7.3 (VMPL)")


def _check_platform_flags(report: Report, policy: Policy) -> tuple[Check, ...]:
    """Each flag of the platform is as required or forbidden."""
    on = report.platform_flags
    return tuple(
        _check_flag(
            flag,
            on=flag in on,
            required=flag in policy.required_platform_flags,
            forbidden=flag in policy.forbidden_platform_flags,
            source=f"{_ABI}, 7.3 (PLATFORM_INFO)",
        )
        for flag in PlatformFlag
    )


def _check_flag(flag: IntFlag, *, on: bool, required: bool, forbidden: bool, source: str) -> Check:
    state = "on" if on else "off"
    if (required and not on) or (forbidden and on):
        raise AttributesError(f"{flag.name} of the {_owner(flag)} is {state}")
    outcome = Outcome.PASSED if required or forbidden else Outcome.NOT_CHECKED
    return Check(name=f"{_owner(flag)} {flag.name}", outcome=outcome, detail=state, source=source)


def _owner(flag: IntFlag) -> str:
    return "guest policy" if isinstance(flag, GuestFlag) else "platform"


def _check_unknown_platform_bits(report: Report, policy: Policy) -> Check:
    """The platform says nothing of itself that the policy does not know."""
    unknown = report.unknown_platform_bits
    if unknown & ~policy.allowed_unknown_platform_bits:
        raise AttributesError(
            f"the platform has the unknown bits {unknown:#x}, which the policy does not allow"
        )
    detail = f"{unknown:#x}" if unknown else ""
    source = f"{_ABI}, 7.3 (PLATFORM_INFO)"
    return Check(name="unknown platform bits", outcome=Outcome.PASSED, detail=detail, source=source)


def _check_mitigations(report: Report, policy: Policy) -> Check:
    """The mitigations asked for were on at launch and still are."""
    name, source = "mitigations", f"{_ABI}, 7.3 (LAUNCH_MIT_VECTOR, CURRENT_MIT_VECTOR)"
    if policy.minimum_mitigations is None:
        return Check(name=name, outcome=Outcome.NOT_CHECKED, detail="none asked for", source=source)
    if report.launch_mitigations is None or report.current_mitigations is None:
        raise AttributesError(f"a report of version {report.version} does not say which mitigations are on")
    if policy.minimum_mitigations & ~(report.launch_mitigations & report.current_mitigations):
        raise AttributesError("a mitigation that the policy asks for is off, or was off at launch")
    return Check(name=name, outcome=Outcome.PASSED, source=source)


def _check_guest_svn(report: Report, policy: Policy) -> Check:
    """The guest's own security version is not below the floor."""
    name, source = "guest SVN", f"{_ABI}, 7.3 (GUEST_SVN)"
    if policy.minimum_guest_svn is None:
        detail = f"no floor: {report.guest_svn}"
        return Check(name=name, outcome=Outcome.NOT_CHECKED, detail=detail, source=source)
    if report.guest_svn < policy.minimum_guest_svn:
        raise AttributesError(f"the guest SVN {report.guest_svn} is below the policy's floor")
    return Check(name=name, outcome=Outcome.PASSED, detail=str(report.guest_svn), source=source)


def _check_launch_fields(report: Report, policy: Policy) -> tuple[Check, ...]:
    """What was given to the launch beside the measured memory is exactly what the policy asks for."""
    return (
        _check_exact("HOST_DATA", report.host_data, policy.host_data),
        _check_exact("FAMILY_ID", report.family_id, policy.family_id),
        _check_exact("IMAGE_ID", report.image_id, policy.image_id),
    )


def _check_exact(name: str, found: bytes, expected: bytes | None) -> Check:
    source = f"{_ABI}, 7.3 ({name})"
    if expected is None:
        return Check(name=name, outcome=Outcome.NOT_CHECKED, detail="not asked for", source=source)
    if found != expected:
        raise AttributesError(f"{name} is {found.hex()}, not {expected.hex()}")
    return Check(name=name, outcome=Outcome.PASSED, source=source)


def _check_owner_keys(report: Report, policy: Policy) -> tuple[Check, ...]:
    """The guest was launched under a key of its owner that the policy names."""
    author_key_digest = report.author_key_digest if report.author_key_en else bytes(48)
    return (
        _check_one_of("ID_KEY_DIGEST", report.id_key_digest, policy.id_key_digests),
        _check_one_of("AUTHOR_KEY_DIGEST", author_key_digest, policy.author_key_digests),
    )


def _check_one_of(name: str, found: bytes, accepted: frozenset[bytes]) -> Check:
    source = f"{_ABI}, 7.3 ({name})"
    if not accepted:
        return Check(name=name, outcome=Outcome.NOT_CHECKED, detail="not asked for", source=source)
    if found not in accepted:
        raise AttributesError(f"{name} is none of those that the policy names")
    return Check(name=name, outcome=Outcome.PASSED, source=source)
