"""Verification of a TPM 2.0 quote and of the chain behind its key, step by step."""

from __future__ import annotations

from datetime import datetime

from cryptography import x509

from ..claims import Check, Claims, Outcome
from ..errors import MalformedError, UnavailableError
from ..evidence import Evidence
from ..x509 import spki_sha256
from . import attestation_key as ak
from . import pcr
from .google_instance import GoogleInstance
from .policy import Policy
from .quote import Quote, verify_quote
from .structures import Attestation, PublicArea, PublicKey

__all__ = ["PLATFORM", "UNPROVEN", "describe", "verify"]

PLATFORM = "tpm"

UNPROVEN = (
    "that the operator cannot read the memory: a TPM shows what was booted, and is no confidential computing",
    "that the TPM is honest: a virtual one is software of the machine's operator or cloud",
    "what ran after the last measurement: registers record what was started, not what it did",
)

_ENDORSEMENTS = frozenset({"signature", "pcrs", "ak-certificate", "ak-chain", "ak-public", "event-log"})


def verify(evidence: Evidence, *, policy: Policy, now: datetime) -> Claims:
    """Return the claims of a quote that a certified key signed over exactly the registers of the policy.

    ``evidence.quote`` is a TPMS_ATTEST. The endorsements are ``signature`` (TPMT_SIGNATURE), ``pcrs``
    (canonical JSON ``{"sha256": {"4": hex}}``), ``ak-certificate`` (DER, zeros may follow), ``ak-chain``
    (PEM, issuers up to the root), and if there are any ``ak-public`` (TPM2B_PUBLIC) and ``event-log``.

    ``report_data`` of the claims is the quote's qualifyingData as it stands: the relying party compares it,
    for Glasshouse with the SHA-256 (32 bytes) of the 64 bytes of report data, since not every TPM takes 64.
    ``registers`` are named ``pcr4.sha256`` and so on, and are compared with the release's reference values.

    Each step raises its own error: :class:`MalformedError` and :class:`UnavailableError` for what cannot be
    read or is missing; then, in this order, of the certificate :class:`CertificateExpiredError`,
    :class:`CertificateChainError` and :class:`IdentityError`; of its key :class:`AttributesError` and
    :class:`KeyBindingError`; of the quote :class:`EvidenceSignatureError`, :class:`PcrError`,
    :class:`OverrideRegisterError`, :class:`FreshnessError` and :class:`EventLogError`.
    """
    parts = _parts(evidence)
    # 1. The certificate of the attestation key reaches a root of the policy.
    certificate = ak.load_padded_certificate(parts["ak-certificate"])
    chain = ak.verify_certificate(certificate, parts["ak-chain"], root_sha256=policy.root_sha256, now=now)
    # 2. It is a certificate for attestation keys.
    ak.check_role(certificate)
    # 3. It is of an instance that the policy names.
    instance = ak.google_instance(certificate)
    instance_check = _check_instance(instance, policy)
    # 4. The key is the TPM's own and signs nothing but what the TPM made.
    key = ak.signing_key(certificate)
    area, attributes_check = _check_attributes(parts.get("ak-public"), key, policy)
    # 5. to 10. The key signed the quote, and the quote is over the registers shown, as the policy wants them.
    quote = verify_quote(
        evidence.quote,
        signature=parts["signature"],
        pcrs=parts["pcrs"],
        log=parts.get("event-log"),
        key=key,
        scheme=ak.scheme_of(key, area),
        policy=policy,
    )
    signer_check = _check_signer(area, quote.attestation)
    key_checks = (_chain_check(chain), NOT_REVOKED, _ROLE, instance_check, attributes_check, signer_check)
    checks = (*key_checks, *quote.checks)
    return _claims(quote, checks, certificate, instance, policy)


def _parts(evidence: Evidence) -> dict[str, bytes]:
    if evidence.platform != PLATFORM:
        raise MalformedError("the evidence is not of the tpm platform")
    parts = dict(evidence.endorsements)
    if not parts.keys() <= _ENDORSEMENTS:
        raise MalformedError("the evidence has an endorsement that tpm evidence does not have")
    for name in ("signature", "pcrs", "ak-certificate", "ak-chain"):
        if name not in parts:
            raise UnavailableError(f"the evidence lacks its endorsement {name!r}")
    return parts


def _chain_check(chain: tuple[x509.Certificate, ...]) -> Check:
    root = chain[-1].subject.rfc4514_string()[:120]
    return _passed("attestation key certificate", f"{len(chain)} certificates, up to {root}", "RFC 5280, 6.1")


def _check_instance(instance: GoogleInstance | None, policy: Policy) -> Check:
    name, source = "google cloud instance", "Google: extension 1.3.6.1.4.1.11129.2.1.21"
    if policy.google_projects:
        ak.check_project(instance, projects=policy.google_projects)
        return _passed(name, "of a project that the policy names", source)
    if instance is None:
        return Check(name=name, outcome=Outcome.NOT_APPLICABLE, detail="no google certificate", source=source)
    detail = "the policy names no project"
    return Check(name=name, outcome=Outcome.NOT_CHECKED, detail=detail, source=source)


def _check_attributes(
    public: bytes | None, key: PublicKey, policy: Policy
) -> tuple[PublicArea | None, Check]:
    name, source = "attestation key attributes", "TPM 2.0 Part 2, 8.3 and 12.2.4"
    if public is None:
        if policy.require_ak_public:
            raise UnavailableError("the policy asks for the attestation key's public area")
        detail = "no public area given: the certificate alone says that the key is a TPM's"
        return None, Check(name=name, outcome=Outcome.NOT_CHECKED, detail=detail, source=source)
    area = PublicArea.parse(public)
    ak.check_public_area(area, key)
    ak.check_attributes(area)
    return area, _passed(name, "restricted, signing, fixed to its TPM and made there", source)


def _check_signer(area: PublicArea | None, attestation: Attestation) -> Check:
    name, source = "qualified signer", "TPM 2.0 Part 1, 16; Part 2, 10.12.12"
    if area is not None and ak.check_qualified_signer(area, attestation.qualified_signer):
        return _passed(name, "the quote names the public area's primary key", source)
    detail = "no public area given" if area is None else "not a primary key: its parent is not known"
    return Check(name=name, outcome=Outcome.NOT_CHECKED, detail=detail, source=source)


def _claims(
    quote: Quote,
    checks: tuple[Check, ...],
    certificate: x509.Certificate,
    instance: GoogleInstance | None,
    policy: Policy,
) -> Claims:
    return Claims(
        platform=PLATFORM,
        registers=pcr.registers(quote.values, bank=policy.bank),
        report_data=quote.attestation.extra_data,
        checks=(*checks, QUALIFYING_DATA),
        product=certificate.subject.rfc4514_string()[:120] or None,
        identity=spki_sha256(certificate),
        attributes=(*describe(quote.attestation), *_describe_instance(instance)),
        unproven=UNPROVEN,
    )


def describe(attestation: Attestation) -> tuple[tuple[str, str], ...]:
    """Return what a quote says besides registers and qualifyingData, for people."""
    clock = attestation.clock
    return (
        ("tpm firmware version", f"{attestation.firmware_version:#018x}"),
        ("tpm clock (ms)", str(clock.clock_ms)),
        ("tpm clock safe", "yes" if clock.safe else "no"),
        ("tpm resets", str(clock.reset_count)),
        ("tpm restarts", str(clock.restart_count)),
    )


def _describe_instance(instance: GoogleInstance | None) -> tuple[tuple[str, str], ...]:
    if instance is None:
        return ()
    return (
        ("google project", f"{instance.project_id} ({instance.project_number})"),
        ("google zone", instance.zone),
        ("google instance", f"{instance.instance_name} ({instance.instance_id})"),
    )


def _passed(name: str, detail: str, source: str) -> Check:
    return Check(name=name, outcome=Outcome.PASSED, detail=detail, source=source)


_ROLE = _passed(
    "attestation key role", "a certificate for attestation keys", "TCG OID Registry, tcg-kp-AIKCertificate"
)

NOT_REVOKED = Check(
    name="attestation key revocation",
    outcome=Outcome.NOT_CHECKED,
    detail="no revocation list of the authorities is part of the evidence",
    source="RFC 5280, 6.3",
)
"""What becomes of a key whose certificate was withdrawn: nobody publishes that in a form that travels."""

QUALIFYING_DATA = Check(
    name="qualifying data",
    outcome=Outcome.NOT_CHECKED,
    detail="for the relying party to compare: the quote's qualifyingData, in full",
    source="TPM 2.0 Part 2, 10.12.12",
)
"""What a verifier of the quote alone leaves to whoever sent the nonce."""
