"""TDX: what a relying party asks of a trust domain (TD) and its module, and checking a report against that.

Source: Intel TDX Module ABI Reference (ATTRIBUTES, XFAM, TDREPORT_STRUCT), and Intel TDX DCAP Quoting
Library API, A.3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..document import Document
from ..errors import (
    AttributesError,
    DebugError,
    MalformedError,
    MeasurementMismatchError,
    MigrationError,
    ModuleIdentityError,
    TcbFloorError,
)
from ..reference_values import Registers
from .checklist import Checklist
from .identities import TcbInfo
from .policy import TcbPolicy, check_sizes, take_bits, take_bytes, take_digests, take_pin
from .quote import TdReport

__all__ = [
    "MIGRATABLE",
    "TdxPolicy",
    "check_module",
    "check_trust_domain",
    "trust_domain_attributes",
    "trust_domain_registers",
]

DEBUG = 0xFF
"""Bits of ATTRIBUTES that let the host look into a TD: DEBUG itself, and the rest of the group TUD."""

SEPT_VE_DISABLE, MIGRATABLE = 1 << 28, 1 << 29
"""Bits of ATTRIBUTES: no #VE that the host can provoke by taking pages away; and migration."""

# Beside those also LASS, PKS, KL, TPA and PERFMON (bits 27, 30, 31, 62, 63), but no reserved bit.
_MAY_BE_ALLOWED = SEPT_VE_DISABLE | MIGRATABLE | 1 << 27 | 1 << 30 | 1 << 31 | 1 << 62 | 1 << 63

_XFAM_FIXED_1 = 0x3
XFAM_FIXED_0 = 0x0006DBE7
"""The bits of XFAM that may be set at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxPolicy:
    """What is asked of a trust domain; the defaults are the strict ones.

    ``required_attributes`` must all be set and ``allowed_attributes`` may be; a debuggable TD is never
    accepted, a migratable one only if ``allowed_attributes`` says so. ``allowed_xfam`` are the processor
    features that the TD may use. ``mr_seams`` are the measurements of TDX modules to accept, any that
    Intel's module identities accept if ``None``. ``minimum_tee_tcb_svn`` holds byte by byte. The pins
    after it are zero unless an owner uses them, and ``None`` for any; ``rtmr3`` is extended by software
    at run time, and ``None`` leaves it to the reference values alone.
    """

    tcb: TcbPolicy = field(default_factory=TcbPolicy)
    required_attributes: int = SEPT_VE_DISABLE
    allowed_attributes: int = SEPT_VE_DISABLE
    allowed_xfam: int = XFAM_FIXED_0
    mr_seams: frozenset[bytes] | None = None
    minimum_tee_tcb_svn: bytes = bytes(16)
    mr_service_td: bytes | None = bytes(48)
    mr_config_id: bytes | None = bytes(48)
    mr_owner: bytes | None = bytes(48)
    mr_owner_config: bytes | None = bytes(48)
    rtmr3: bytes | None = None

    def __post_init__(self) -> None:
        if self.allowed_attributes & ~_MAY_BE_ALLOWED or self.required_attributes & ~self.allowed_attributes:
            raise ValueError("the attributes of a TD include one that is never allowed, or required alone")
        if self.allowed_xfam & ~XFAM_FIXED_0:
            raise ValueError("allowed_xfam has a bit that no TD can have")
        check_sizes(self.mr_seams or (), 48)
        check_sizes((self.minimum_tee_tcb_svn,), 16)

    @classmethod
    def parse(cls, document: Document) -> TdxPolicy:
        """Return the policy written as a table, every field of which may be left out.

        The first five fields are those of :meth:`SgxPolicy.parse`, and then::

            required_attributes = "0000000010000000"
            allowed_attributes = "0000000010000000"
            allowed_xfam = "000000000006dbe7"
            mr_seams = ["<96 hex digits>"]
            minimum_tee_tcb_svn = "<32 hex digits>"
            mr_service_td = "<96 hex digits>"   # or "any", as with the rest
            mr_config_id = "<96 hex digits>"
            mr_owner = "<96 hex digits>"
            mr_owner_config = "<96 hex digits>"
            rtmr3 = "<96 hex digits>"
        """
        default = cls()
        tcb = TcbPolicy.take(document)
        try:
            policy = cls(
                tcb=tcb,
                required_attributes=take_bits(document, "required_attributes", default.required_attributes),
                allowed_attributes=take_bits(document, "allowed_attributes", default.allowed_attributes),
                allowed_xfam=take_bits(document, "allowed_xfam", default.allowed_xfam),
                mr_seams=take_digests(document, "mr_seams", 48),
                minimum_tee_tcb_svn=take_bytes(document, "minimum_tee_tcb_svn", default.minimum_tee_tcb_svn),
                mr_service_td=take_pin(document, "mr_service_td", default.mr_service_td, size=48),
                mr_config_id=take_pin(document, "mr_config_id", default.mr_config_id, size=48),
                mr_owner=take_pin(document, "mr_owner", default.mr_owner, size=48),
                mr_owner_config=take_pin(document, "mr_owner_config", default.mr_owner_config, size=48),
                rtmr3=take_pin(document, "rtmr3", default.rtmr3, size=48),
            )
        except ValueError as err:
            raise MalformedError(str(err)) from err
        document.end()
        return policy


def check_module(report: TdReport, tcb_info: TcbInfo, policy: TdxPolicy, checks: Checklist) -> None:
    """Return if the TDX module under the TD is Intel's, by the identity that Intel states for its version.

    Raises :class:`ModuleIdentityError`, or :class:`TcbFloorError` below ``policy``'s own minimum.
    """
    source = "Intel SGX DCAP QVL, 4.1.2.4.11"
    version = report.tee_tcb_svn[1]
    identity = tcb_info.module(version)
    if identity is None:
        raise ModuleIdentityError(f"Intel states no identity of TDX modules of version {version}")
    if report.mr_signer_seam != identity.mr_signer:
        raise ModuleIdentityError(f"MRSIGNERSEAM is {report.mr_signer_seam.hex()}, not Intel's")
    if report.seam_attributes or identity.attributes & identity.attributes_mask:
        raise ModuleIdentityError(f"SEAMATTRIBUTES is {report.seam_attributes:#x}, not zero as Intel's")
    checks.passed("TDX module identity", f"version {version}, signed by Intel", source)
    _check_seam(report, policy, checks)
    pairs = zip(report.tee_tcb_svn, policy.minimum_tee_tcb_svn, strict=True)
    if any(svn < minimum for svn, minimum in pairs):
        raise TcbFloorError(f"TEE_TCB_SVN is {report.tee_tcb_svn.hex()}, below the policy's minimum")
    if any(policy.minimum_tee_tcb_svn):
        checks.passed("TEE_TCB_SVN", report.tee_tcb_svn.hex(), "policy")
    else:
        checks.not_checked("TEE_TCB_SVN", "the policy has no minimum beside Intel's levels", "policy")


def _check_seam(report: TdReport, policy: TdxPolicy, checks: Checklist) -> None:
    name, source = "MRSEAM", "Intel TDX DCAP Quoting Library API, A.3.2"
    if policy.mr_seams is None:
        checks.not_checked(name, "the policy accepts every module that Intel states", source)
    elif report.mr_seam not in policy.mr_seams:
        raise ModuleIdentityError(f"the policy does not accept the TDX module {report.mr_seam.hex()}")
    else:
        checks.passed(name, report.mr_seam.hex(), source)


def check_trust_domain(report: TdReport, policy: TdxPolicy, checks: Checklist) -> None:
    """Return if the TD is what ``policy`` asks for, its registers aside; write down each check."""
    _check_attributes(report, policy, checks)
    _check_xfam(report, policy, checks)
    _check_service_td(report, policy, checks)
    _check_pins(report, policy, checks)


def _check_attributes(report: TdReport, policy: TdxPolicy, checks: Checklist) -> None:
    source = "Intel TDX Module ABI, ATTRIBUTES"
    if report.attributes & DEBUG:
        raise DebugError("the TD can be debugged: the operator can read its memory")
    checks.passed("debug", "off", source)
    if report.attributes & MIGRATABLE & ~policy.allowed_attributes:
        raise MigrationError("the TD can be migrated, which the policy does not allow")
    checks.passed("migration", "allowed" if report.attributes & MIGRATABLE else "off", source)
    missing = policy.required_attributes & ~report.attributes
    excess = report.attributes & ~policy.allowed_attributes
    if missing or excess:
        raise AttributesError(f"the TD lacks the attributes {missing:#x} and has {excess:#x} too many")
    checks.passed("attributes", f"{report.attributes:#x}", source)


def _check_xfam(report: TdReport, policy: TdxPolicy, checks: Checklist) -> None:
    if report.xfam & ~policy.allowed_xfam or report.xfam & _XFAM_FIXED_1 != _XFAM_FIXED_1:
        raise AttributesError(f"XFAM is {report.xfam:#x}, which the policy does not allow")
    checks.passed("XFAM", f"{report.xfam:#x}", "Intel TDX Module ABI, XFAM")


def _check_service_td(report: TdReport, policy: TdxPolicy, checks: Checklist) -> None:
    name, source = "MRSERVICETD", "Intel TDX Module ABI, TDREPORT_STRUCT"
    if report.mr_service_td is None:
        checks.not_applicable(name, "a TDX 1.0 report does not have it", source)
    elif policy.mr_service_td is None:
        checks.not_checked(name, "the policy accepts any service TD", source)
    elif report.mr_service_td != policy.mr_service_td:
        raise MigrationError(f"the TD is bound to the service TDs {report.mr_service_td.hex()}")
    else:
        checks.passed(name, report.mr_service_td.hex(), source)


def _check_pins(report: TdReport, policy: TdxPolicy, checks: Checklist) -> None:
    source = "Intel TDX Module ABI, TDINFO_STRUCT"
    pins = (
        ("MRCONFIGID", report.mr_config_id, policy.mr_config_id),
        ("MROWNER", report.mr_owner, policy.mr_owner),
        ("MROWNERCONFIG", report.mr_owner_config, policy.mr_owner_config),
        ("RTMR3", report.rtmrs[3], policy.rtmr3),
    )
    for name, found, expected in pins:
        if expected is None:
            checks.not_checked(name, "the policy expects no value", source)
        elif found != expected:
            raise MeasurementMismatchError(f"{name} is {found.hex()}, the policy expects {expected.hex()}")
        else:
            checks.passed(name, found.hex(), source)


def trust_domain_registers(report: TdReport) -> Registers:
    """Return the measurements that the caller compares with the reference values."""
    rtmrs = {f"rtmr{index}.sha384": value for index, value in enumerate(report.rtmrs)}
    return {"mrtd.sha384": report.mrtd, **rtmrs}


def trust_domain_attributes(report: TdReport) -> Iterator[tuple[str, str]]:
    """Yield the facts about the TD that people and policies may want."""
    yield "mrseam", report.mr_seam.hex()
    yield "tee-tcb-svn", report.tee_tcb_svn.hex()
    if report.tee_tcb_svn_2 is not None:
        yield "tee-tcb-svn-2", report.tee_tcb_svn_2.hex()
    yield "attributes", f"{report.attributes:016x}"
    yield "xfam", f"{report.xfam:016x}"
    yield "mrconfigid", report.mr_config_id.hex()
    yield "mrowner", report.mr_owner.hex()
    yield "mrownerconfig", report.mr_owner_config.hex()
