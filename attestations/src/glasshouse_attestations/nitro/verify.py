"""The verification of Nitro evidence, step by step.

The hypervisor's signing certificate lives for three hours, so a document is judged by two moments. The
chain must be valid at the document's own timestamp, and that timestamp must be close to ``now``: a key that
leaks after its certificate has expired cannot sign a document that passes both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import NameOID

from ..claims import Check, Claims, Outcome
from ..document import format_time
from ..errors import (
    CertificateChainError,
    DebugError,
    EvidenceSignatureError,
    FreshnessError,
    IdentityError,
    KeyBindingError,
    MalformedError,
    MeasurementMismatchError,
    PcrError,
    ReportDataMismatchError,
)
from ..evidence import Evidence
from ..x509 import Algorithm, load_certificate, verify_chain
from .document import PCR_SIZE, AttestationDocument, SignedDocument
from .policy import Policy, register_name

__all__ = ["PLATFORM", "UNPROVEN", "verify"]

PLATFORM = "nitro"
UNPROVEN = (
    "that AWS, which runs the hypervisor and its keys, does not look into the enclave",
    "that the signing certificate is not revoked: AWS asks verifiers not to use its revocation lists",
    "which physical machine runs the enclave",
)
_ZERO_PCR = bytes(PCR_SIZE)
_IMAGE_PCRS = (0, 1, 2)
_PROCESS = "AWS Nitro Enclaves Attestation Process"


@dataclass(frozen=True, slots=True)
class _Case:
    """What each step looks at: the parsed document under one policy at one moment."""

    signed: SignedDocument
    document: AttestationDocument
    chain: tuple[x509.Certificate, ...]
    policy: Policy
    now: datetime


def verify(evidence: Evidence, *, policy: Policy, now: datetime) -> Claims:
    """Return what a Nitro attestation document claims, after every step has passed.

    Afterwards the document is known to be signed by the AWS Nitro root's hierarchy for an enclave that is
    not in debug mode, at most ``policy.max_age`` ago, and to be what ``policy`` expects. The claims'
    ``registers`` are the PCRs that ``policy.pcrs`` names, and ``report_data`` is the document's
    ``user_data``, of whatever length; neither is compared with anything here.

    Raises :class:`MalformedError`, or the error class of the step that failed.
    """
    if evidence.platform != PLATFORM:
        raise MalformedError("the evidence is not of the nitro platform")
    if evidence.endorsements:
        raise MalformedError("nitro evidence has no endorsements: its chain is in the document")
    signed = SignedDocument.parse(evidence.quote)
    document = AttestationDocument.parse(signed.payload)
    ders = (document.certificate, *reversed(document.cabundle))
    case = _Case(signed, document, tuple(load_certificate(der) for der in ders), policy, now)
    checks = [_passed("document", "COSE_Sign1 with ES384; all fields", f"{_PROCESS} 3.1, 3.2.2")]
    checks.extend(step(case) for step in _STEPS)
    return _claims(document, policy, tuple(checks))


def _check_chain(case: _Case) -> Check:
    verify_chain(
        case.chain,
        root_sha256=case.policy.root_sha256,
        algorithms={Algorithm.ECDSA_P384_SHA384},
        now=case.document.timestamp,
    )
    detail = f"{len(case.chain)} certificates, valid at the document's timestamp, up to the pinned root"
    return _passed("certificate chain", detail, f"{_PROCESS} 3.2.3")


def _check_leaf(case: _Case) -> Check:
    leaf = case.chain[0]
    try:
        constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as err:
        raise CertificateChainError("the signing certificate lacks basic constraints or key usage") from err
    if constraints.ca or constraints.path_length is not None or not usage.digital_signature:
        raise CertificateChainError("the signing certificate is not an end entity's for signatures")
    return _passed("signing certificate", "an end entity that signs", f"{_PROCESS} 3.2.3.3")


def _check_signature(case: _Case) -> Check:
    key = case.chain[0].public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise EvidenceSignatureError("the signing certificate's key is not on P-384")
    half = len(case.signed.signature) // 2
    r, s = (
        int.from_bytes(part, "big") for part in (case.signed.signature[:half], case.signed.signature[half:])
    )
    try:
        key.verify(encode_dss_signature(r, s), case.signed.signed_bytes, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature as err:
        raise EvidenceSignatureError("the document is not signed by its certificate's key") from err
    return _passed("document signature", "over the payload's own bytes", "RFC 9052, 4.4")


def _check_module(case: _Case) -> Check:
    names = case.chain[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    module_id = case.document.module_id
    if len(names) != 1 or not str(names[0].value).startswith(f"{module_id}."):
        raise KeyBindingError(f"the signing certificate was not issued to the module {module_id}")
    return _passed("module", "the certificate is this enclave's", f"{_PROCESS} 2.2")


def _check_freshness(case: _Case) -> Check:
    timestamp, now = case.document.timestamp, case.now
    if timestamp > now + case.policy.max_clock_skew:
        raise FreshnessError(f"the document is of {format_time(timestamp)}, in the future")
    if now - timestamp > case.policy.max_age:
        raise FreshnessError(f"the document is of {format_time(timestamp)}, older than {case.policy.max_age}")
    return _passed("timestamp", format_time(timestamp), f"{_PROCESS} 2.2")


def _check_debug(case: _Case) -> Check:
    for index in _IMAGE_PCRS:
        if case.document.pcrs.get(index) == _ZERO_PCR:
            raise DebugError(f"PCR{index} is zero: the enclave runs in debug mode")
    return _passed("debug mode", "off: PCR0 to PCR2 are measured", "AWS Nitro Enclaves User Guide, PCRs")


def _check_registers(case: _Case) -> Check:
    missing = sorted(
        (case.policy.pcrs | case.policy.expected.keys() | set(_IMAGE_PCRS)) - case.document.pcrs.keys()
    )
    if missing:
        raise PcrError(f"the document lacks {', '.join(f'PCR{index}' for index in missing)}")
    return _passed("registers", "every PCR asked for is there", f"{_PROCESS} 3.2.2.2")


def _check_expected(case: _Case) -> Check:
    expected = case.policy.expected
    for index in sorted(expected):
        found = case.document.pcrs[index]
        if found != expected[index]:
            raise MeasurementMismatchError(
                f"PCR{index} is {found.hex()}, the policy expects {expected[index].hex()}"
            )
    name, source = "deployment registers", "AWS Nitro Enclaves User Guide, PCRs"
    if not expected:
        return _not_checked(name, "the policy expects no value of PCR3, PCR4 or PCR8", source)
    return _passed(name, ", ".join(f"PCR{index}" for index in sorted(expected)), source)


def _check_instance(case: _Case) -> Check:
    instance = case.document.instance_id
    if case.document.pcrs.get(4) != hashlib.sha384(_ZERO_PCR + instance.encode("ascii")).digest():
        raise IdentityError(f"PCR4 is not that of the instance {instance}")
    accepted = case.policy.instances
    if accepted is not None and instance not in accepted:
        raise IdentityError(f"the policy does not accept the instance {instance}")
    source = "AWS Nitro Enclaves User Guide, PCR4"
    if accepted is None:
        return _not_checked("parent instance", f"PCR4 is that of {instance}; any is accepted", source)
    return _passed("parent instance", instance, source)


def _check_nonce(case: _Case) -> Check:
    return _compare("nonce", case.document.nonce, case.policy.nonce)


def _check_public_key(case: _Case) -> Check:
    return _compare("public key", case.document.public_key, case.policy.public_key)


def _compare(name: str, found: bytes | None, expected: bytes | None) -> Check:
    source = f"{_PROCESS} 2.2.2"
    if expected is None:
        return _not_checked(name, "the policy expects no value", source)
    if found != expected:
        raise ReportDataMismatchError(f"the document carries another {name} than the policy expects")
    return _passed(name, "as expected, in full", source)


_STEPS: tuple[Callable[[_Case], Check], ...] = (
    _check_chain,
    _check_leaf,
    _check_signature,
    _check_module,
    _check_freshness,
    _check_registers,
    _check_debug,
    _check_expected,
    _check_instance,
    _check_nonce,
    _check_public_key,
)


def _claims(document: AttestationDocument, policy: Policy, checks: tuple[Check, ...]) -> Claims:
    return Claims(
        platform=PLATFORM,
        registers={register_name(index): document.pcrs[index] for index in sorted(policy.pcrs)},
        report_data=document.user_data or b"",
        checks=checks,
        product="AWS Nitro Enclaves",
        identity=document.module_id.encode("ascii"),
        debug=False,
        attributes=tuple(_attributes(document, policy)),
        unproven=UNPROVEN,
    )


def _attributes(document: AttestationDocument, policy: Policy) -> Iterator[tuple[str, str]]:
    yield "timestamp", format_time(document.timestamp)
    for name, value in (("nonce", document.nonce), ("public key", document.public_key)):
        if value:
            yield name, value.hex()
    for index in sorted(document.pcrs.keys() - policy.pcrs):
        if document.pcrs[index] != _ZERO_PCR:
            yield register_name(index), document.pcrs[index].hex()


def _passed(name: str, detail: str, source: str) -> Check:
    return Check(name=name, outcome=Outcome.PASSED, detail=detail, source=source)


def _not_checked(name: str, detail: str, source: str) -> Check:
    return Check(name=name, outcome=Outcome.NOT_CHECKED, detail=detail, source=source)
