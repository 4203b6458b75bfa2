"""The verification of SGX and TDX evidence, step by step.

First what the quote itself shows: who signed it, and what it says. Then what Intel's collateral says about
the platform behind it. A step raises the error that is its own, or writes down that it passed. The sections
are those of Intel's own quote verification (Intel SGX DCAP Quote Verification Library, 4.1.2.4).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec

from ..claims import Claims
from ..document import format_time
from ..errors import (
    CollateralError,
    EvidenceSignatureError,
    IdentityError,
    KeyBindingError,
    MalformedError,
    ModuleIdentityError,
    ProductError,
    RevocationListError,
    TcbStatusError,
    UnavailableError,
)
from ..evidence import Evidence
from ..x509 import check_not_revoked, spki_sha256
from .certificates import (
    Chain,
    load_chain,
    load_current_revocation_list,
    pck_extensions,
    verify_signature,
)
from .checklist import Checklist
from .collateral import Collateral
from .enclave import SgxPolicy, check_enclave, enclave_attributes, enclave_registers
from .identities import EnclaveIdentity, TcbInfo
from .pck import PckExtensions
from .policy import TcbPolicy
from .quote import EnclaveReport, Quote, TdReport, Tee
from .tcb import Judgement, judge
from .trust_domain import (
    MIGRATABLE,
    TdxPolicy,
    check_module,
    check_trust_domain,
    trust_domain_attributes,
    trust_domain_registers,
)

__all__ = ["SGX", "TDX", "UNPROVEN", "verify", "verify_collateral"]

SGX, TDX = "sgx", "tdx"
UNPROVEN = (
    "that nobody with access to the machine's memory bus has extracted its keys: no signature shows that",
    "where the machine stands and who operates it, unless the policy names its processor",
)

_QVL = "Intel SGX DCAP QVL, 4.1.2.4"
_PCK_LEAF = frozenset({"Intel SGX PCK Certificate"})
_PCK_AUTHORITIES = frozenset({"Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA"})
_TCB_SIGNER = frozenset({"Intel SGX TCB Signing"})
_QE_IDENTITY_IDS = {Tee.SGX: "QE", Tee.TDX: "TD_QE"}


def verify(evidence: Evidence, *, policy: SgxPolicy | TdxPolicy, now: datetime) -> Claims:
    """Return what an SGX or TDX quote claims, after every step has passed.

    Afterwards the quote is known to be made by Intel's quoting enclave on a processor that Intel
    certified, with firmware of a status that ``policy`` accepts by Intel's own judgement current at
    ``now``, and about an enclave or TD that is not debuggable and is otherwise what ``policy`` asks for.
    Neither the registers nor the report data have been compared with anything.

    The kind of evidence is decided by ``policy``. Raises :class:`MalformedError`,
    :class:`UnavailableError` if there is no collateral, or the error class of the step that failed.
    """
    checks = Checklist()
    quote = _parse_quote(evidence, policy, checks)
    pck_chain = _verify_pck_chain(quote, policy.tcb, now, checks)
    _verify_qe_report(quote, pck_chain, checks)
    _check_attestation_key(quote, checks)
    _verify_quote_signature(quote, checks)
    _check_body(quote, policy, checks)
    pck = _check_platform(pck_chain, policy.tcb, checks)

    collateral = _take_collateral(evidence)
    _check_revocation(pck_chain, collateral, policy.tcb, now, checks)
    tcb_info = _verify_tcb_info(quote, collateral, pck, policy.tcb, now, checks)
    if isinstance(quote.body, TdReport) and isinstance(policy, TdxPolicy):
        check_module(quote.body, tcb_info, policy, checks)
    qe_identity = _verify_qe_identity(quote, collateral, policy.tcb, now, checks)
    _check_quoting_enclave(quote.quoting_enclave, qe_identity, checks)
    judgement = _check_tcb_status(quote, tcb_info, pck, qe_identity, policy.tcb, checks)
    return _claims(quote, pck, tcb_info, judgement, checks)


def verify_collateral(evidence: Evidence, *, policy: TcbPolicy, now: datetime) -> Collateral:
    """Return the evidence's collateral if Intel signed it, it is current, and it is this quote's processor's.

    These are the steps of :func:`verify` that concern the collateral. Neither the quote's signature nor the
    platform's TCB status is looked at: collateral is fetched and kept whatever it says.
    """
    checks = Checklist()
    quote = Quote.parse(evidence.quote)
    pck_chain = _verify_pck_chain(quote, policy, now, checks)
    collateral = _take_collateral(evidence)
    _check_revocation(pck_chain, collateral, policy, now, checks)
    _verify_tcb_info(quote, collateral, pck_extensions(pck_chain.leaf), policy, now, checks)
    _verify_qe_identity(quote, collateral, policy, now, checks)
    return collateral


def _parse_quote(evidence: Evidence, policy: SgxPolicy | TdxPolicy, checks: Checklist) -> Quote:
    platform, tee = (SGX, Tee.SGX) if isinstance(policy, SgxPolicy) else (TDX, Tee.TDX)
    if evidence.platform != platform:
        raise MalformedError(f"the evidence is not of the {platform} platform")
    quote = Quote.parse(evidence.quote)
    if quote.tee is not tee:
        raise MalformedError(f"the quote is of {quote.tee.name}, not of {tee.name}")
    padding = f", {quote.padding} zero bytes after it" if quote.padding else ""
    checks.passed("quote format", f"version {quote.version}{padding}", f"{_QVL}.1 to .3")
    return quote


def _verify_pck_chain(quote: Quote, policy: TcbPolicy, now: datetime, checks: Checklist) -> Chain:
    chain = load_chain(
        quote.pck_chain,
        names=(_PCK_LEAF, _PCK_AUTHORITIES),
        root_spki_sha256=policy.root_spki_sha256,
        now=now,
    )
    detail = f"three certificates up to Intel's pinned root key, until {format_time(chain.end)}"
    checks.passed("PCK certificate chain", detail, f"{_QVL}.4")
    return chain


def _verify_qe_report(quote: Quote, chain: Chain, checks: Checklist) -> None:
    try:
        verify_signature(chain.leaf.public_key(), quote.qe_report_signature, quote.qe_report)
    except InvalidSignature as err:
        raise KeyBindingError(
            "the quoting enclave's report is not signed by the PCK certificate's key"
        ) from err
    checks.passed("quoting enclave's report", "signed by the processor's PCK key", f"{_QVL}.12")


def _check_attestation_key(quote: Quote, checks: Checklist) -> None:
    digest = hashlib.sha256(quote.attestation_key + quote.authentication_data).digest()
    if quote.quoting_enclave.report_data != digest + bytes(32):
        raise KeyBindingError("the attestation key is not the one that the quoting enclave reported")
    checks.passed("attestation key", "reported by the quoting enclave", f"{_QVL}.13")


def _verify_quote_signature(quote: Quote, checks: Checklist) -> None:
    try:
        point = b"\x04" + quote.attestation_key
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        verify_signature(key, quote.signature, quote.signed)
    except ValueError as err:
        raise EvidenceSignatureError("the attestation key is not a point of P-256") from err
    except InvalidSignature as err:
        raise EvidenceSignatureError("the quote is not signed by its attestation key") from err
    checks.passed("quote signature", "over header and body", f"{_QVL}.16")


def _check_body(quote: Quote, policy: SgxPolicy | TdxPolicy, checks: Checklist) -> None:
    if isinstance(quote.body, TdReport) and isinstance(policy, TdxPolicy):
        check_trust_domain(quote.body, policy, checks)
    elif isinstance(quote.body, EnclaveReport) and isinstance(policy, SgxPolicy):
        check_enclave(quote.body, policy, checks)
    else:
        raise MalformedError("the quote's body is not of the kind that the policy is for")


def _check_platform(chain: Chain, policy: TcbPolicy, checks: Checklist) -> PckExtensions:
    source = "Intel SGX PCK Certificate Profile, 1.3.5"
    pck = pck_extensions(chain.leaf)
    if policy.fmspcs is not None and pck.fmspc not in policy.fmspcs:
        raise ProductError(f"the policy does not accept processors of the family {pck.fmspc.hex()}")
    if policy.ppids is None:
        checks.not_checked("processor identity", "the policy accepts any processor", source)
    elif pck.ppid not in policy.ppids:
        raise IdentityError(f"the policy does not accept the processor {pck.ppid.hex()}")
    else:
        checks.passed("processor identity", pck.ppid.hex(), source)
    _check_configuration(pck, policy, checks, source)
    return pck


def _check_configuration(pck: PckExtensions, policy: TcbPolicy, checks: Checklist, source: str) -> None:
    if not policy.forbidden_configuration:
        checks.not_checked("platform configuration", "the policy accepts any", source)
        return
    if pck.configuration is None:
        raise ProductError("the platform does not state its configuration, and the policy forbids some")
    found = pck.configuration & policy.forbidden_configuration
    if found:
        raise ProductError(f"the policy does not accept platforms with {', '.join(sorted(found))}")
    checks.passed("platform configuration", f"without {sorted(policy.forbidden_configuration)}", source)


def _take_collateral(evidence: Evidence) -> Collateral:
    if "collateral" not in evidence.endorsements:
        raise UnavailableError("the evidence has no collateral, so the firmware cannot be judged")
    if len(evidence.endorsements) != 1:
        raise MalformedError("sgx and tdx evidence has collateral as its only endorsement")
    return _parse_collateral(evidence.endorsements["collateral"])


@lru_cache(maxsize=16)
def _parse_collateral(data: bytes) -> Collateral:
    return Collateral.parse(data)


def _check_revocation(
    chain: Chain, collateral: Collateral, policy: TcbPolicy, now: datetime, checks: Checklist
) -> None:
    issuers = load_chain(
        collateral.pck_crl_issuer_chain,
        names=(_PCK_AUTHORITIES,),
        root_spki_sha256=policy.root_spki_sha256,
        now=now,
        authority=True,
    )
    # Intel may renew the authority's certificate; what has to be the same is who it is, and its key.
    if issuers.leaf.subject != chain.issuer.subject or spki_sha256(issuers.leaf) != spki_sha256(chain.issuer):
        raise RevocationListError("the revocation list is of another authority than the PCK certificate")
    root_list = load_current_revocation_list(collateral.root_ca_crl, issuer=chain.root, now=now)
    for authority in {chain.issuer, issuers.leaf}:
        check_not_revoked(authority, root_list)
    pck_list = load_current_revocation_list(collateral.pck_crl, issuer=chain.issuer, now=now)
    check_not_revoked(chain.leaf, pck_list)
    detail = "neither the PCK certificate nor its authority is revoked; both lists are current"
    checks.passed("revocation", detail, f"{_QVL}.5 to .8")


def _verify_tcb_info(
    quote: Quote,
    collateral: Collateral,
    pck: PckExtensions,
    policy: TcbPolicy,
    now: datetime,
    checks: Checklist,
) -> TcbInfo:
    signer = _verify_signer(collateral.tcb_info_issuer_chain, collateral, policy, now)
    info = _signed_tcb_info(collateral.tcb_info, collateral.tcb_info_signature, signer)
    if info.tee != quote.tee.name:
        raise CollateralError(f"the TCB info is for {info.tee}, the quote is of {quote.tee.name}")
    if info.fmspc != pck.fmspc or info.pce_id != pck.pce_id:
        raise CollateralError(f"the TCB info is for the family {info.fmspc.hex()}, not {pck.fmspc.hex()}")
    _check_current("TCB info", info, policy, now)
    detail = f"evaluation {info.evaluation_number}, until before {format_time(info.next_update)}"
    checks.passed("TCB info", detail, f"{_QVL}.9 and .10")
    return info


def _verify_signer(pem: bytes, collateral: Collateral, policy: TcbPolicy, now: datetime) -> x509.Certificate:
    chain = load_chain(pem, names=(_TCB_SIGNER,), root_spki_sha256=policy.root_spki_sha256, now=now)
    root_list = load_current_revocation_list(collateral.root_ca_crl, issuer=chain.root, now=now)
    check_not_revoked(chain.leaf, root_list)
    return chain.leaf


@lru_cache(maxsize=16)
def _signed_tcb_info(data: bytes, signature: bytes, signer: x509.Certificate) -> TcbInfo:
    _check_signed("TCB info", data, signature, signer)
    return TcbInfo.parse(data)


@lru_cache(maxsize=16)
def _signed_identity(data: bytes, signature: bytes, signer: x509.Certificate) -> EnclaveIdentity:
    _check_signed("QE identity", data, signature, signer)
    return EnclaveIdentity.parse(data)


def _check_signed(name: str, data: bytes, signature: bytes, signer: x509.Certificate) -> None:
    try:
        verify_signature(signer.public_key(), signature, data)
    except InvalidSignature as err:
        raise CollateralError(f"the {name} is not signed by Intel") from err


def _check_current(name: str, document: TcbInfo | EnclaveIdentity, policy: TcbPolicy, now: datetime) -> None:
    if not document.issued <= now < document.next_update:
        raise CollateralError(
            f"the {name} is current from {format_time(document.issued)} "
            f"until before {format_time(document.next_update)}"
        )
    if document.evaluation_number < policy.minimum_evaluation_number:
        raise CollateralError(
            f"the {name} is of evaluation {document.evaluation_number}, "
            f"the policy asks for {policy.minimum_evaluation_number}"
        )


def _verify_qe_identity(
    quote: Quote, collateral: Collateral, policy: TcbPolicy, now: datetime, checks: Checklist
) -> EnclaveIdentity:
    signer = _verify_signer(collateral.qe_identity_issuer_chain, collateral, policy, now)
    identity = _signed_identity(collateral.qe_identity, collateral.qe_identity_signature, signer)
    expected = _QE_IDENTITY_IDS[quote.tee]
    if identity.id != expected:
        raise CollateralError(f"the QE identity is of {identity.id}, not of {expected}")
    _check_current("QE identity", identity, policy, now)
    detail = f"evaluation {identity.evaluation_number}, until before {format_time(identity.next_update)}"
    checks.passed("QE identity", detail, f"{_QVL}.14")
    return identity


def _check_quoting_enclave(qe: EnclaveReport, identity: EnclaveIdentity, checks: Checklist) -> None:
    attributes = qe.attributes.to_bytes(8, "little") + qe.xfrm.to_bytes(8, "little")
    same = (
        qe.mrsigner == identity.mr_signer
        and qe.isv_prod_id == identity.isv_prod_id
        and qe.misc_select & identity.misc_select_mask == identity.misc_select
        and _masked(attributes, identity.attributes_mask) == identity.attributes
    )
    if not same:
        raise ModuleIdentityError("the quoting enclave is not the one that Intel states")
    checks.passed("quoting enclave", "signer, product, MISCSELECT and attributes are Intel's", f"{_QVL}.15")


def _masked(value: bytes, mask: bytes) -> bytes:
    return bytes(byte & bits for byte, bits in zip(value, mask, strict=True))


def _check_tcb_status(
    quote: Quote,
    tcb_info: TcbInfo,
    pck: PckExtensions,
    qe_identity: EnclaveIdentity,
    policy: TcbPolicy,
    checks: Checklist,
) -> Judgement:
    judgement = judge(
        tcb_info=tcb_info,
        pck=pck,
        qe_identity=qe_identity,
        qe_isv_svn=quote.quoting_enclave.isv_svn,
        td=quote.body if isinstance(quote.body, TdReport) else None,
    )
    status = judgement.status.value
    accepted = policy.accepted_advisories(judgement.status)
    if accepted is None:
        advisories = ", ".join(judgement.advisory_ids) or "none"
        raise TcbStatusError(f"the TCB status is {status} (advisories: {advisories})")
    excess = set(judgement.advisory_ids) - accepted
    if excess:
        raise TcbStatusError(f"the TCB status is {status} with {', '.join(sorted(excess))}, not accepted")
    checks.passed("TCB status", " ".join((status, *judgement.advisory_ids)), f"{_QVL}.17")
    return judgement


def _claims(
    quote: Quote, pck: PckExtensions, tcb_info: TcbInfo, judgement: Judgement, checks: Checklist
) -> Claims:
    body = quote.body
    td = body if isinstance(body, TdReport) else None
    return Claims(
        platform=TDX if td else SGX,
        registers=enclave_registers(body)
        if isinstance(body, EnclaveReport)
        else trust_domain_registers(body),
        report_data=body.report_data,
        checks=checks.checks(),
        product=f"Intel {quote.tee.name}, FMSPC {pck.fmspc.hex()}",
        identity=pck.ppid,
        tcb_status=judgement.status.value,
        advisory_ids=judgement.advisory_ids,
        debug=False,
        migratable=bool(td.attributes & MIGRATABLE) if td else None,
        attributes=tuple(_attributes(quote, pck, tcb_info)),
        unproven=UNPROVEN,
    )


def _attributes(quote: Quote, pck: PckExtensions, tcb_info: TcbInfo) -> Iterator[tuple[str, str]]:
    body = quote.body
    yield from enclave_attributes(body) if isinstance(body, EnclaveReport) else trust_domain_attributes(body)
    yield "fmspc", pck.fmspc.hex()
    yield "pce-svn", str(pck.pce_svn)
    if pck.platform_instance_id is not None:
        yield "platform-instance-id", pck.platform_instance_id.hex()
    if pck.configuration is not None:
        yield "configuration", ", ".join(sorted(pck.configuration))
    yield "tcb-evaluation-number", str(tcb_info.evaluation_number)
    yield "quoting-enclave-user-data", quote.user_data.hex()
