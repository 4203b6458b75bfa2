"""Verification of an Azure confidential machine's evidence: the hardware's layer, the binding, the vTPM's."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from .. import dcap, snp
from ..claims import Check, Claims, Outcome
from ..errors import (
    AttributesError,
    IdentityError,
    KeyBindingError,
    MalformedError,
    MeasurementMismatchError,
    PlatformNotAllowedError,
    ProductError,
    UnavailableError,
)
from ..evidence import Evidence
from ..tpm import attestation_key as ak
from ..tpm import pcr
from ..tpm.quote import Quote, verify_quote
from ..tpm.structures import PublicKey
from ..tpm.verify import NOT_REVOKED, QUALIFYING_DATA, describe
from .hcl import HclReport, ReportType, RuntimeData, VmConfiguration
from .policy import Policy

__all__ = ["PLATFORM", "UNPROVEN", "verify"]

PLATFORM = "azure"

UNPROVEN = (
    "that the paravisor is honest: Microsoft's HCL runs inside the machine above the guest, holds the vTPM's "
    "keys and makes the measurements",
)
_UNNAMED_PARAVISOR = "which version of the paravisor it is: the policy names no measurement of one"
_CONFIDENTIAL_MACHINE = ".ConfidentialVM.Azure.windows.net"  # Azure's other machines have .TrustedVM.

_SOURCE = "Microsoft: Azure confidential VMs guest attestation design"
_QUOTE_PARTS = frozenset({"hcl-report", "signature", "pcrs", "ak-certificate", "ak-chain", "event-log"})
_HARDWARE_PARTS = {
    ReportType.SNP: frozenset({"vcek", "vlek", "ask", "ark", "crl", "certificate-table"}),
    ReportType.TDX: frozenset({"td-quote", "collateral"}),
}
_LAUNCH_REGISTERS = {ReportType.SNP: "launch.sha384", ReportType.TDX: "mrtd.sha384"}


def verify(evidence: Evidence, *, policy: Policy, now: datetime) -> Claims:
    """Return the claims of a vTPM's quote whose key genuine confidential hardware vouches for.

    ``evidence.quote`` is the vTPM's TPMS_ATTEST. The endorsements are ``hcl-report``; ``signature``
    (TPMT_SIGNATURE) and ``pcrs`` as for :mod:`~glasshouse_attestations.tpm`; the hardware's, which are those
    of SEV-SNP (``vcek`` …) or ``td-quote`` and ``collateral``; ``ak-certificate`` with ``ak-chain``, which
    only a policy that names paravisors can do without; and if there is one, ``event-log``.

    ``registers`` and ``report_data`` are the quote's (the guest cannot choose the hardware's report data):
    the PCRs, and qualifyingData, which the relying party compares with the SHA-256 of the 64 bytes of report
    data. ``product``, ``identity``, ``tcb_status``, ``debug`` and the like are the hardware's.

    The hardware's steps raise the errors of :func:`glasshouse_attestations.snp.verify` or
    :func:`glasshouse_attestations.dcap.verify`; the binding :class:`KeyBindingError`; the quote those of
    :func:`glasshouse_attestations.tpm.verify`; the configuration :class:`AttributesError`,
    :class:`IdentityError` and :class:`MeasurementMismatchError`.
    """
    # 1. The HCL report is well-formed, and everything that comes with it belongs to it.
    report = HclReport.parse(_require(evidence, "hcl-report"))
    _check_parts(evidence, report)
    # 2. Genuine hardware, in a state that the policy accepts, made the report.
    hardware = _verify_hardware(evidence, report, policy, now)
    # 3. The report binds the runtime data.
    _check_runtime_data(report, hardware)
    runtime = RuntimeData.parse(report.runtime_data)
    # 4. The paravisor, and 5. the machine's configuration, are ones that the policy accepts.
    paravisor = _check_paravisor(report, hardware, policy)
    configuration = _check_configuration(runtime.configuration, policy)
    # 6. Microsoft certified that key as a confidential machine's.
    certified = _check_certificate(evidence, runtime.attestation_key, policy, now)
    # 7. The key that the runtime data name signed the quote, which is as the policy wants it.
    quote = verify_quote(
        evidence.quote,
        signature=_require(evidence, "signature"),
        pcrs=_require(evidence, "pcrs"),
        log=evidence.endorsements.get("event-log"),
        key=runtime.attestation_key,
        scheme=ak.scheme_of(runtime.attestation_key, None),
        policy=policy.quote,
    )
    layers = (_BOUND, paravisor, *configuration, certified, NOT_REVOKED)
    checks = (*layers, *quote.checks, QUALIFYING_DATA)
    return _claims(report, hardware, runtime, quote, checks, policy)


def _require(evidence: Evidence, name: str) -> bytes:
    if name not in evidence.endorsements:
        raise UnavailableError(f"the evidence lacks its endorsement {name!r}")
    return evidence.endorsements[name]


def _check_parts(evidence: Evidence, report: HclReport) -> None:
    if evidence.platform != PLATFORM:
        raise MalformedError("the evidence is not of the azure platform")
    if not evidence.endorsements.keys() <= _QUOTE_PARTS | _HARDWARE_PARTS[report.report_type]:
        raise MalformedError(f"the evidence has an endorsement that is none of {report.report_type.name}")


def _verify_hardware(evidence: Evidence, report: HclReport, policy: Policy, now: datetime) -> Claims:
    """The report, or the quote made of a TDREPORT, verifies as it would anywhere else."""
    if report.report_type is ReportType.SNP:
        if policy.snp is None:
            raise PlatformNotAllowedError("the policy does not accept SEV-SNP below azure")
        names = _HARDWARE_PARTS[ReportType.SNP] & evidence.endorsements.keys()
        below = {name: evidence.endorsements[name] for name in names}
        snp_evidence = Evidence(platform=snp.PLATFORM, quote=report.hardware_report, endorsements=below)
        return snp.verify(snp_evidence, policy=policy.snp, now=now)
    if policy.tdx is None:
        raise PlatformNotAllowedError("the policy does not accept TDX below azure")
    collateral = {"collateral": _require(evidence, "collateral")}
    quote = _require(evidence, "td-quote")
    td_evidence = Evidence(platform=dcap.TDX, quote=quote, endorsements=collateral)
    return dcap.verify(td_evidence, policy=policy.tdx, now=now)


def _check_runtime_data(report: HclReport, hardware: Claims) -> None:
    """The report data are the SHA-256 of the runtime data, then zeros; a TDREPORT has those of the quote."""
    if hardware.report_data != report.runtime_digest:
        raise KeyBindingError("the hardware report does not bind the runtime data, so not the vTPM's key")
    if report.report_type is ReportType.TDX and report.td_report_data != hardware.report_data:
        raise KeyBindingError("the TDREPORT in the hcl report is not the one that was quoted")


def _check_paravisor(report: HclReport, hardware: Claims, policy: Policy) -> Check:
    name = "paravisor measurement"
    if not policy.paravisor_measurements:
        return Check(name=name, outcome=Outcome.NOT_CHECKED, detail="the policy names none", source=_SOURCE)
    if hardware.registers[_LAUNCH_REGISTERS[report.report_type]] not in policy.paravisor_measurements:
        raise MeasurementMismatchError("the paravisor is none that the policy names")
    return Check(name=name, outcome=Outcome.PASSED, detail="one that the policy names", source=_SOURCE)


def _check_configuration(configuration: VmConfiguration, policy: Policy) -> tuple[Check, ...]:
    """The ``vm-configuration`` of the runtime data; the vTPM must be on, or there is nothing to quote."""
    unique = _check_unique_id(configuration.unique_id, policy)
    settings = (
        ("tpm enabled", configuration.tpm_enabled, True),
        ("secure boot", configuration.secure_boot, policy.secure_boot),
        ("tpm persisted", configuration.tpm_persisted, policy.tpm_persisted),
        ("console enabled", configuration.console_enabled, policy.console_enabled),
    )
    return (unique, *(_check_setting(*setting) for setting in settings))


def _check_setting(name: str, found: bool | None, expected: bool | None) -> Check:
    if expected is None:
        return Check(name=name, outcome=Outcome.NOT_CHECKED, detail=f"it is {found}", source=_SOURCE)
    if found is not expected:
        raise AttributesError(f"the machine's configuration says of {name} {found}, not {expected}")
    return Check(name=name, outcome=Outcome.PASSED, detail=f"it is {found}", source=_SOURCE)


def _check_unique_id(unique_id: str | None, policy: Policy) -> Check:
    name = "machine"
    if not policy.unique_ids:
        return Check(name=name, outcome=Outcome.NOT_CHECKED, detail="the policy names none", source=_SOURCE)
    if unique_id not in policy.unique_ids:
        raise IdentityError("the machine is none that the policy names")
    return Check(name=name, outcome=Outcome.PASSED, detail="one that the policy names", source=_SOURCE)


def _check_certificate(evidence: Evidence, key: PublicKey, policy: Policy, now: datetime) -> Check:
    """Microsoft's authority certified the key that the hardware names, as that of a confidential machine.

    A key of Azure's other machines would not do: a guest elsewhere could name it in runtime data of its own.
    """
    name = "attestation key certificate"
    if "ak-certificate" not in evidence.endorsements:
        if policy.require_ak_certificate:
            raise UnavailableError("the policy asks for the attestation key's certificate")
        detail = "none given: the paravisor, which the policy names, vouches for the key"
        return Check(name=name, outcome=Outcome.NOT_APPLICABLE, detail=detail, source=_SOURCE)
    certificate = ak.load_padded_certificate(evidence.endorsements["ak-certificate"])
    issuers = _require(evidence, "ak-chain")
    chain = ak.verify_certificate(certificate, issuers, root_sha256=policy.quote.root_sha256, now=now)
    ak.check_role(certificate)
    if ak.signing_key(certificate) != key:
        raise KeyBindingError("the certificate is of another key than the runtime data's")
    if not certificate.subject.rfc4514_string().endswith(_CONFIDENTIAL_MACHINE):
        raise ProductError("the certificate is not of a confidential machine's key")
    return Check(
        name=name, outcome=Outcome.PASSED, detail=f"{len(chain)} certificates", source="RFC 5280, 6.1"
    )


def _claims(
    report: HclReport,
    hardware: Claims,
    runtime: RuntimeData,
    quote: Quote,
    checks: tuple[Check, ...],
    policy: Policy,
) -> Claims:
    below = tuple(replace(check, name=f"{hardware.platform}: {check.name}") for check in hardware.checks)
    unnamed = () if policy.paravisor_measurements else (_UNNAMED_PARAVISOR,)
    return replace(
        hardware,
        platform=PLATFORM,
        registers=pcr.registers(quote.values, bank=policy.quote.bank),
        report_data=quote.attestation.extra_data,
        checks=(*below, *checks),
        attributes=(
            ("paravisor measurement", hardware.registers[_LAUNCH_REGISTERS[report.report_type]].hex()),
            *_describe_configuration(runtime),
            *describe(quote.attestation),
            *hardware.attributes,
        ),
        unproven=(*UNPROVEN, *unnamed, *hardware.unproven),
    )


def _describe_configuration(runtime: RuntimeData) -> tuple[tuple[str, str], ...]:
    configuration = runtime.configuration
    return (
        ("azure machine", configuration.unique_id or "not said"),
        ("azure secure boot", str(configuration.secure_boot)),
        ("azure console enabled", str(configuration.console_enabled)),
        ("azure tpm persisted", str(configuration.tpm_persisted)),
        ("azure user data", runtime.user_data.hex()),
    )


_BOUND = Check(
    name="runtime data",
    outcome=Outcome.PASSED,
    detail="SHA-256 of the runtime data is the hardware's report data",
    source=_SOURCE,
)
