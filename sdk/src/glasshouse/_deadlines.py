"""Until when evidence and what endorses it can be verified, and whether its firmware is still good enough.

This is for operators who want to know before their clients do. Nothing is verified here: a deadline is what
a certificate, list or document says of itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from glasshouse_attestations.errors import GlasshouseError, MalformedError
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.x509 import load_certificate, load_pem_chain, load_revocation_list

from ._inspection.tree import printable

if TYPE_CHECKING:
    from glasshouse_attestations.dcap import Quote

__all__ = ["Deadline", "State", "deadlines", "deadlines_of_file"]

_MAX_CHAIN = 8
_PEM = b"-----BEGIN CERTIFICATE-----"


class State(Enum):
    """How one item stands at a time. Everything but ``CURRENT`` asks for somebody to act."""

    CURRENT = "current"
    DUE = "due"
    EXPIRED = "expired"
    BEHIND = "behind"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """One item: until when it is current, or what is wrong with it whatever the time."""

    item: str
    until: datetime | None = None
    problem: str | None = None
    unreadable: bool = False
    note: str = ""

    def state(self, now: datetime, *, within: timedelta) -> State:
        """Return how the item stands at ``now``, looking ``within`` that time ahead."""
        if self.problem is not None:
            return State.UNREADABLE if self.unreadable else State.BEHIND
        if self.until is None:
            return State.CURRENT
        if now >= self.until:
            return State.EXPIRED
        return State.DUE if now + within >= self.until else State.CURRENT


def deadlines_of_file(data: bytes) -> tuple[Deadline, ...]:
    """Return the deadlines of evidence, a raw quote, collateral, certificates or a revocation list."""
    from ._inspection import parse_evidence

    if data.lstrip().startswith(_PEM):
        return tuple(_chain("certificate", load_pem_chain(data, max_certificates=_MAX_CHAIN)))
    if data.startswith(b"\x30"):
        return (_certificate_or_list(data),)
    if data.lstrip().startswith(b"{") and b'"tcb_info"' in data:
        return tuple(_collateral(data))
    return deadlines(parse_evidence(data, {}))


def deadlines(evidence: Evidence) -> tuple[Deadline, ...]:
    """Return the deadlines of all that has one in the evidence, and what is wrong with its firmware."""
    found = list(_of_quote(evidence.platform, evidence.quote, evidence.endorsements.get("collateral")))
    for name, value in sorted(evidence.endorsements.items()):
        found += _readable(name, _of_endorsement(evidence.platform, name, value))
    return tuple(found)


def _of_quote(platform: str, quote: bytes, collateral: bytes | None) -> Iterator[Deadline]:
    if platform in ("sgx", "tdx"):
        yield from _readable("quote", _intel(quote, collateral))
    elif platform == "nitro":
        yield from _readable("quote", _nitro(quote))
    elif platform == "snp":
        yield from _readable("quote", _amd(quote))


def _of_endorsement(platform: str, name: str, value: bytes) -> Iterator[Deadline]:
    if name in ("vcek", "vlek"):
        yield from _endorsement_key(name, value)
    elif name == "collateral":
        yield from _collateral(value)
    elif name == "hcl-report" and platform == "azure":
        yield from _paravisor(value)
    elif name == "td-quote":
        yield from _intel(value, None)
    elif name.startswith("ocsp-"):
        yield _ocsp(name, value)
    elif name == "certificate-table":
        yield from _certificate_table(value)
    elif name in ("ask", "ark", "crl"):
        yield _certificate_or_list(value, name)
    elif name == "ak-certificate":
        yield _padded_certificate(name, value)
    elif value.lstrip().startswith(_PEM):
        yield from _chain(name, load_pem_chain(value, max_certificates=_MAX_CHAIN))


def _readable(item: str, found: Iterable[Deadline]) -> Iterator[Deadline]:
    # What cannot be read cannot be verified either, so an operator has to see it here.
    try:
        yield from found
    except GlasshouseError as err:
        yield Deadline(item=item, problem=str(err), unreadable=True)


def _chain(name: str, certificates: Iterable[x509.Certificate]) -> Iterator[Deadline]:
    for certificate in certificates:
        yield Deadline(item=f"{name}: {_common_name(certificate)}", until=certificate.not_valid_after_utc)


def _certificate_or_list(der: bytes, name: str = "") -> Deadline:
    prefix = f"{name}: " if name else ""
    try:
        certificate = load_certificate(der)
    except MalformedError:
        revoked = load_revocation_list(der)
        if revoked.next_update_utc is None:
            raise MalformedError("a revocation list does not say until when it is current") from None
        issuer = printable(revoked.issuer.rfc4514_string())[:80]
        return Deadline(item=f"{prefix}revocation list of {issuer}", until=revoked.next_update_utc)
    return Deadline(item=f"{prefix}{_common_name(certificate)}", until=certificate.not_valid_after_utc)


def _padded_certificate(name: str, der: bytes) -> Deadline:
    from glasshouse_attestations.tpm.attestation_key import load_padded_certificate

    certificate = load_padded_certificate(der)
    return Deadline(item=f"{name}: {_common_name(certificate)}", until=certificate.not_valid_after_utc)


def _endorsement_key(name: str, der: bytes) -> Iterator[Deadline]:
    from glasshouse_attestations.snp import EndorsementKey

    key = EndorsementKey.parse(der)
    yield Deadline(item=f"{name}: {key.kind.value} of {key.product.value}", until=key.certificate.not_after)


def _certificate_table(table: bytes) -> Iterator[Deadline]:
    from glasshouse_attestations.snp import parse_certificate_table

    for name, value in sorted(parse_certificate_table(table).items()):
        yield from _of_endorsement("snp", name, value)


def _amd(data: bytes) -> Iterator[Deadline]:
    """The report's firmware: the microcode against the floor of a default policy, and what is reported."""
    from glasshouse_attestations.snp import ENTRYSIGN_MICROCODE, Report, Tcb

    report = Report.parse(data)
    if report.processor is None:
        return
    product = report.processor.product
    reported, committed = (Tcb.parse(tcb, product) for tcb in (report.reported_tcb, report.committed_tcb))
    floor = ENTRYSIGN_MICROCODE.get(report.processor)
    name = f"microcode of {product.value} {report.processor.encode()}"
    if floor is not None and reported.microcode < floor:
        problem = f"{reported.microcode:#x} is below {floor:#x}, the first without CVE-2024-56161"
        yield Deadline(item=name, problem=problem)
    else:
        yield Deadline(item=name, note=f"{reported.microcode:#x}")
    if below := reported.below(committed):
        problem = f"{', '.join(below)} below what is committed: {reported}"
        yield Deadline(item="reported TCB", problem=problem)
    else:
        yield Deadline(item="reported TCB", note=str(reported))


def _paravisor(data: bytes) -> Iterator[Deadline]:
    from glasshouse_attestations.azure import HclReport, ReportType

    report = HclReport.parse(data)
    if report.report_type is ReportType.SNP:
        yield from _amd(report.hardware_report)


def _nitro(data: bytes) -> Iterator[Deadline]:
    from glasshouse_attestations.nitro import AttestationDocument, SignedDocument

    document = AttestationDocument.parse(SignedDocument.parse(data).payload)
    ders = (document.certificate, *document.cabundle)
    yield from _chain("document", (load_certificate(der) for der in ders))


def _intel(data: bytes, collateral: bytes | None) -> Iterator[Deadline]:
    """The chain in the quote, and Intel's judgement of the platform if the collateral for it is there."""
    from glasshouse_attestations.dcap import Quote

    quote = Quote.parse(data)
    chain = load_pem_chain(quote.pck_chain.rstrip(b"\0"), max_certificates=_MAX_CHAIN)
    yield from _chain("PCK", chain)
    if collateral is None:
        return
    status, advisories = _intel_status(quote, chain[0], collateral)
    note = " ".join((status, *advisories))
    is_behind = status not in _NOT_BEHIND
    yield Deadline(item="TCB level", problem=note if is_behind else None, note=note)


# Those that a policy may accept by name: what they ask for is a setting or software, not newer firmware.
_NOT_BEHIND = frozenset(
    {"UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded"}
)


def _intel_status(quote: Quote, leaf: x509.Certificate, collateral: bytes) -> tuple[str, tuple[str, ...]]:
    from glasshouse_attestations.dcap import Collateral, EnclaveIdentity, TcbInfo, TdReport
    from glasshouse_attestations.dcap.certificates import pck_extensions
    from glasshouse_attestations.dcap.tcb import judge
    from glasshouse_attestations.errors import ModuleIdentityError, TcbStatusError

    parts = Collateral.parse(collateral)
    try:
        judgement = judge(
            tcb_info=TcbInfo.parse(parts.tcb_info),
            pck=pck_extensions(leaf),
            qe_identity=EnclaveIdentity.parse(parts.qe_identity),
            qe_isv_svn=quote.quoting_enclave.isv_svn,
            td=quote.body if isinstance(quote.body, TdReport) else None,
        )
    except (TcbStatusError, ModuleIdentityError) as err:
        return str(err), ()
    return judgement.status.value, judgement.advisory_ids


def _collateral(data: bytes) -> Iterator[Deadline]:
    from glasshouse_attestations.dcap import Collateral, EnclaveIdentity, TcbInfo, TcbPolicy

    parts = Collateral.parse(data)
    info, identity = TcbInfo.parse(parts.tcb_info), EnclaveIdentity.parse(parts.qe_identity)
    yield Deadline(item=f"collateral: TCB info of {info.tee} {info.fmspc.hex()}", until=info.next_update)
    yield Deadline(item=f"collateral: identity of {identity.id}", until=identity.next_update)
    asked = TcbPolicy().minimum_evaluation_number
    number = min(info.evaluation_number, identity.evaluation_number)
    problem = f"{number} is below {asked}, what a policy asks for if it says nothing"
    item = "collateral: TCB evaluation number"
    yield Deadline(item=item, problem=problem if number < asked else None, note=str(number))
    for name, der in (("PCK", parts.pck_crl), ("root", parts.root_ca_crl)):
        yield _certificate_or_list(der, f"collateral, {name}")
    chains = (parts.pck_crl_issuer_chain, parts.tcb_info_issuer_chain, parts.qe_identity_issuer_chain)
    certificates = {one for pem in chains for one in load_pem_chain(pem, max_certificates=_MAX_CHAIN)}
    yield from _chain("collateral", sorted(certificates, key=_common_name))


def _ocsp(name: str, der: bytes) -> Deadline:
    try:
        until = ocsp.load_der_ocsp_response(der).next_update_utc
    except ValueError as err:
        raise MalformedError(f"{name} is no OCSP response") from err
    return Deadline(item=name, until=until)


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return printable(str(names[0].value) if names else certificate.subject.rfc4514_string())[:80]
