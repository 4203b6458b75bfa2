"""SGX: what a relying party asks of an enclave, and checking its report against that.

Source: Intel SDM, volume 3D, chapter 35 (enclave data structures: ATTRIBUTES, MISCSELECT, REPORT).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..document import Document
from ..errors import AttributesError, DebugError, IdentityError, MalformedError, TcbFloorError
from ..reference_values import Registers
from .checklist import Checklist
from .policy import (
    TcbPolicy,
    check_sizes,
    take_bits,
    take_digests,
    take_integer,
    take_optional_integer,
    take_pin,
)
from .quote import EnclaveReport

__all__ = ["DEBUG", "SgxPolicy", "check_enclave", "enclave_attributes", "enclave_registers"]

INIT, DEBUG, MODE64, KSS = 1 << 0, 1 << 1, 1 << 2, 1 << 7
"""Bits of an enclave's ATTRIBUTES."""

# Beside those also CET (bit 6) and AEX-Notify (bit 10), but neither of the two keys of provisioning
# enclaves (bits 4 and 5), nor any reserved bit.
_MAY_BE_ALLOWED = INIT | MODE64 | KSS | 1 << 6 | 1 << 10
_X87_AND_SSE = 0b11


@dataclass(frozen=True, slots=True, kw_only=True)
class SgxPolicy:
    """What is asked of an enclave; the defaults are the strict ones.

    ``allowed_attributes``, ``allowed_xfrm`` and ``allowed_misc_select`` are the bits that may be set;
    debugging and the provisioning keys never are. ``mr_signers``, ``isv_prod_id`` and ``minimum_isv_svn``
    are not checked if ``None``: the enclave's own measurement is stronger, and is compared by the caller.
    The last four are those of Key Separation and Sharing, zero unless an enclave uses it; ``None`` is any.
    """

    tcb: TcbPolicy = field(default_factory=TcbPolicy)
    allowed_attributes: int = INIT | MODE64 | KSS
    allowed_xfrm: int = 0x000602E7
    allowed_misc_select: int = 0
    mr_signers: frozenset[bytes] | None = None
    isv_prod_id: int | None = None
    minimum_isv_svn: int | None = None
    config_id: bytes | None = bytes(64)
    config_svn: int = 0
    isv_ext_prod_id: bytes | None = bytes(16)
    isv_family_id: bytes | None = bytes(16)

    def __post_init__(self) -> None:
        if self.allowed_attributes & ~_MAY_BE_ALLOWED:
            raise ValueError("allowed_attributes has a bit that no enclave may have here")
        check_sizes(self.mr_signers or (), 32)

    @classmethod
    def parse(cls, document: Document) -> SgxPolicy:
        """Return the policy written as a table, every field of which may be left out.

        ::

            minimum_evaluation_number = 19
            accepted_statuses = { SWHardeningNeeded = ["INTEL-SA-00615"] }
            ppids = ["<32 hex digits>"]
            fmspcs = ["00606a000000"]
            forbidden_configuration = ["smt"]
            allowed_attributes = "0000000000000085"
            allowed_xfrm = "00000000000602e7"
            allowed_misc_select = 0
            mr_signers = ["<64 hex digits>"]
            isv_prod_id = 1
            minimum_isv_svn = 3
            config_id = "<128 hex digits>"      # or "any", as with the last two
            config_svn = 0
            isv_ext_prod_id = "<32 hex digits>"
            isv_family_id = "<32 hex digits>"
        """
        default = cls()
        tcb = TcbPolicy.take(document)
        try:
            policy = cls(
                tcb=tcb,
                allowed_attributes=take_bits(document, "allowed_attributes", default.allowed_attributes),
                allowed_xfrm=take_bits(document, "allowed_xfrm", default.allowed_xfrm),
                allowed_misc_select=take_integer(document, "allowed_misc_select", 0, 0xFFFFFFFF),
                mr_signers=take_digests(document, "mr_signers", 32),
                isv_prod_id=take_optional_integer(document, "isv_prod_id"),
                minimum_isv_svn=take_optional_integer(document, "minimum_isv_svn"),
                config_id=take_pin(document, "config_id", default.config_id, size=64),
                config_svn=take_integer(document, "config_svn", default.config_svn),
                isv_ext_prod_id=take_pin(document, "isv_ext_prod_id", default.isv_ext_prod_id, size=16),
                isv_family_id=take_pin(document, "isv_family_id", default.isv_family_id, size=16),
            )
        except ValueError as err:
            raise MalformedError(str(err)) from err
        document.end()
        return policy


def check_enclave(report: EnclaveReport, policy: SgxPolicy, checks: Checklist) -> None:
    """Return if the enclave is what ``policy`` asks for, its measurement aside; write down each check."""
    _check_attributes(report, policy, checks)
    _check_extended_features(report, policy, checks)
    _check_signer(report, policy, checks)
    _check_version(report, policy, checks)
    _check_key_separation(report, policy, checks)


def _check_attributes(report: EnclaveReport, policy: SgxPolicy, checks: Checklist) -> None:
    source = "Intel SDM 3D, 35.7.1"
    if report.attributes & DEBUG:
        raise DebugError("the enclave is a debug enclave: the operator can read its memory")
    checks.passed("debug", "off", source)
    if not report.attributes & INIT:
        raise AttributesError("the enclave is not initialised")
    excess = report.attributes & ~policy.allowed_attributes
    if excess:
        raise AttributesError(f"the enclave has the attributes {excess:#x}, which the policy does not allow")
    checks.passed("attributes", f"{report.attributes:#x}", source)


def _check_extended_features(report: EnclaveReport, policy: SgxPolicy, checks: Checklist) -> None:
    if report.xfrm & ~policy.allowed_xfrm or report.xfrm & _X87_AND_SSE != _X87_AND_SSE:
        raise AttributesError(f"the enclave's XFRM is {report.xfrm:#x}, which the policy does not allow")
    checks.passed("XFRM", f"{report.xfrm:#x}", "Intel SDM 3D, 35.7.2.1")
    if report.misc_select & ~policy.allowed_misc_select:
        raise AttributesError(f"MISCSELECT is {report.misc_select:#x}, which the policy does not allow")
    checks.passed("MISCSELECT", f"{report.misc_select:#x}", "Intel SDM 3D, 35.7.2")


def _check_signer(report: EnclaveReport, policy: SgxPolicy, checks: Checklist) -> None:
    name, source = "MRSIGNER", "Intel SDM 3D, 35.15"
    if policy.mr_signers is None:
        checks.not_checked(name, "the policy accepts any signer", source)
        return
    if report.mrsigner not in policy.mr_signers:
        raise IdentityError(f"the policy does not accept the enclave's signer {report.mrsigner.hex()}")
    checks.passed(name, report.mrsigner.hex(), source)


def _check_version(report: EnclaveReport, policy: SgxPolicy, checks: Checklist) -> None:
    source = "Intel SDM 3D, 35.15"
    if policy.isv_prod_id is None:
        checks.not_checked("ISVPRODID", "the policy accepts any product", source)
    elif report.isv_prod_id != policy.isv_prod_id:
        raise IdentityError(f"ISVPRODID is {report.isv_prod_id}, the policy expects {policy.isv_prod_id}")
    else:
        checks.passed("ISVPRODID", str(report.isv_prod_id), source)
    if policy.minimum_isv_svn is None:
        checks.not_checked("ISVSVN", "the policy accepts any version", source)
    elif report.isv_svn < policy.minimum_isv_svn:
        raise TcbFloorError(f"ISVSVN is {report.isv_svn}, the policy asks for {policy.minimum_isv_svn}")
    else:
        checks.passed("ISVSVN", f"{report.isv_svn}, at least {policy.minimum_isv_svn}", source)


def _check_key_separation(report: EnclaveReport, policy: SgxPolicy, checks: Checklist) -> None:
    source = "Intel SDM 3D, 35.15"
    pins = (
        ("CONFIGID", report.config_id, policy.config_id),
        ("ISVEXTPRODID", report.isv_ext_prod_id, policy.isv_ext_prod_id),
        ("ISVFAMILYID", report.isv_family_id, policy.isv_family_id),
    )
    for name, found, expected in pins:
        if expected is None:
            checks.not_checked(name, "the policy accepts any value", source)
        elif found != expected:
            raise IdentityError(f"{name} is {found.hex()}, the policy expects {expected.hex()}")
        else:
            checks.passed(name, found.hex(), source)
    if report.config_svn != policy.config_svn:
        raise IdentityError(f"CONFIGSVN is {report.config_svn}, the policy expects {policy.config_svn}")
    checks.passed("CONFIGSVN", str(report.config_svn), source)


def enclave_registers(report: EnclaveReport) -> Registers:
    """Return the measurement that the caller compares with the reference values."""
    return {"mrenclave.sha256": report.mrenclave}


def enclave_attributes(report: EnclaveReport) -> Iterator[tuple[str, str]]:
    """Yield the facts about the enclave that people and policies may want."""
    yield "mrsigner", report.mrsigner.hex()
    yield "isvprodid", str(report.isv_prod_id)
    yield "isvsvn", str(report.isv_svn)
    yield "attributes", f"{report.attributes:016x}"
    yield "xfrm", f"{report.xfrm:016x}"
    yield "miscselect", f"{report.misc_select:08x}"
