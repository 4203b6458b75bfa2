"""Verifying an SEV-SNP report, from the pinned AMD root to the last bit of its policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from ..claims import Check, Claims, Outcome
from ..errors import (
    EvidenceSignatureError,
    IdentityError,
    KeyBindingError,
    MalformedError,
    ProductError,
    UnavailableError,
)
from ..evidence import Evidence
from .appraisal import appraise, tcbs
from .certificate_table import parse_certificate_table
from .certificates import (
    verify_authorities,
    verify_leaf,
    verify_not_revoked,
)
from .endorsement_key import EndorsementKey, Kind
from .policy import Policy
from .product import ROOT_SHA256, Product
from .report import GuestFlag, Report, Signer
from .tcb import Tcb

__all__ = ["PLATFORM", "UNPROVEN", "verify"]

PLATFORM = "snp"
UNPROVEN = (
    "that nobody has opened the machine: an interposer on the memory bus can read and replay memory",
    "that AMD has not withdrawn this chip's key: no revocation list can name a VCEK or a VLEK",
    "what the guest loaded after its launch, unless what was measured checks it",
    "HOST_DATA, unless measured code enforces it: the host chooses it",
)
_UNPROVEN_VLEK = ("on which chip the guest runs: one VLEK serves a provider's whole fleet",)

_ABI = "SEV-SNP Firmware ABI, 56860"
_KDS = "VCEK Certificate and KDS Interface, 57230"

# Taking a certificate apart is pure and always gives the same; whether it is valid, signed and the report's
# own is checked anew each time.
_read_key = lru_cache(maxsize=64)(EndorsementKey.parse)

_NAMES = frozenset({"vcek", "vlek", "ask", "ark", "crl"})
_TABLE = "certificate-table"


def verify(evidence: Evidence, *, policy: Policy, now: datetime) -> Claims:
    """Return the claims of a report that a genuine AMD processor signed and that is as ``policy`` asks.

    The quote is the 1184 bytes of the report. The endorsements are ``vcek`` or ``vlek``, ``ask`` (for a
    VLEK: the ASVK), ``ark`` and ``crl`` as DER, or some of them in a ``certificate-table``. Measurement and
    report data are returned, and compared with nothing.

    Raises :class:`MalformedError`, :class:`UnavailableError` for a missing endorsement,
    :class:`EvidenceSignatureError`, or the subclass of :class:`PlatformError` that names the step.
    """
    # 1. The report and what endorses it are well-formed.
    report = _parse_report(evidence)
    endorsements = _Endorsements.collect(evidence.endorsements)
    # 2. The report says which kind of key signed it, and that kind is acceptable.
    kind = _check_signer(report, policy)
    key = _parse_key(endorsements.need(kind.value.lower()), kind)
    # 3. Report and certificate speak of one product, which the policy accepts.
    product = _check_product(report, key, policy)
    # 4. The product's pinned root vouches for the intermediate, and 5. has not withdrawn it.
    ask, ark = _verify_authorities(endorsements, product, kind, policy, now)
    revocation = _check_revocation(ask, ark, endorsements, policy, now)
    # 6. The intermediate vouches for the key, and 7. the key signed the report.
    public_key = verify_leaf(key, ask=ask, now=now)
    _check_signature(report, public_key)
    # 8. The key belongs to the firmware, and 9. to the chip or provider, that the report names.
    _check_tcb_binding(report, key)
    identity = _check_identity(report, key, policy)
    # 10. The platform and the guest's configuration are as the policy asks.
    appraised = appraise(report, key, policy)
    return Claims(
        platform=PLATFORM,
        registers={"launch.sha384": report.measurement},
        report_data=report.report_data,
        checks=(*_endorsed(kind), revocation, identity, *appraised),
        product=product.value,
        identity=None if report.chip_id_masked else report.chip_id,
        debug=GuestFlag.DEBUG in report.guest_flags,
        migratable=GuestFlag.MIGRATE_MA in report.guest_flags or report.has_migration_agent,
        attributes=_attributes(report, key),
        unproven=UNPROVEN + (_UNPROVEN_VLEK if kind is Kind.VLEK else ()),
    )


@dataclass(frozen=True, slots=True)
class _Endorsements:
    """The endorsements of one report by name, of which each is there at most once."""

    _by_name: Mapping[str, bytes]

    @classmethod
    def collect(cls, given: Mapping[str, bytes]) -> _Endorsements:
        found = {name: value for name, value in given.items() if name != _TABLE}
        if not found.keys() <= _NAMES:
            raise MalformedError("SEV-SNP evidence has an endorsement of an unknown name")
        table = parse_certificate_table(given[_TABLE]) if _TABLE in given else {}
        if table.keys() & found.keys():
            raise MalformedError("an endorsement stands both in the certificate table and beside it")
        return cls({**found, **table})

    def need(self, name: str) -> bytes:
        value = self._by_name.get(name)
        if value is None:
            raise UnavailableError(f"the evidence lacks the endorsement {name}")
        return value

    def get(self, name: str) -> bytes | None:
        return self._by_name.get(name)


def _parse_report(evidence: Evidence) -> Report:
    """Step 1: the evidence is a report of a known version, reserved bytes zero (56860, 7.3)."""
    if evidence.platform != PLATFORM:
        raise MalformedError("the evidence is not of the SEV-SNP platform")
    return Report.parse(evidence.quote)


def _check_signer(report: Report, policy: Policy) -> Kind:
    """Step 2: a key signed the report, and the policy accepts its kind (56860, 7.3, SIGNING_KEY)."""
    if report.signer is Signer.NONE:
        raise EvidenceSignatureError("the firmware did not sign the report")
    if report.signer is Signer.VLEK and not policy.vlek_providers:
        raise IdentityError("a provider's VLEK signed the report, and the policy names no provider")
    return Kind[report.signer.name]


def _parse_key(der: bytes, kind: Kind) -> EndorsementKey:
    """Step 2: the certificate is one of that kind of key."""
    key = _read_key(der)
    if key.kind is not kind:
        raise KeyBindingError(
            f"a {kind.value} signed the report, the certificate is that of a {key.kind.value}"
        )
    return key


def _check_product(report: Report, key: EndorsementKey, policy: Policy) -> Product:
    """Step 3: the processor in the report, and the certificate's product, are one that the policy accepts.

    A report of version 2 does not name its processor: the certificate alone does (57230, 3.1).
    """
    product = key.product if report.processor is None else report.processor.product
    if key.product is not product:
        raise ProductError(f"the endorsement is for {key.product.value}, the report of {product.value}")
    if product not in policy.products:
        raise ProductError(f"the policy does not accept {product.value}")
    return product


def _verify_authorities(
    endorsements: _Endorsements, product: Product, kind: Kind, policy: Policy, now: datetime
) -> tuple[x509.Certificate, x509.Certificate]:
    """Step 4: the product's pinned root signed the intermediate, both valid (57230, chapter 3)."""
    return verify_authorities(
        endorsements.need("ask"),
        endorsements.need("ark"),
        product=product,
        kind=kind,
        root_sha256=[ROOT_SHA256[product] if policy.root_sha256 is None else policy.root_sha256],
        now=now,
    )


def _check_revocation(
    ask: x509.Certificate,
    ark: x509.Certificate,
    endorsements: _Endorsements,
    policy: Policy,
    now: datetime,
) -> Check:
    """Step 5: the root's own, current revocation list names neither intermediate nor root (57230, 4)."""
    name, source = "revocation of the intermediate", f"{_KDS}, chapter 4 (CRL); RFC 5280, 6.3"
    revoked = endorsements.get("crl")
    if revoked is not None:
        verify_not_revoked(ask, ark, revoked, now=now)
        return Check(name=name, outcome=Outcome.PASSED, source=source)
    if policy.require_revocation_list:
        raise UnavailableError("the evidence lacks the revocation list that the policy requires")
    return Check(name=name, outcome=Outcome.NOT_CHECKED, detail="no list given", source=source)


def _check_signature(report: Report, public_key: ec.EllipticCurvePublicKey) -> None:
    """Step 7: the endorsed key signed bytes 0 to 0x29F of the report (56860, chapter 10)."""
    try:
        public_key.verify(encode_dss_signature(report.r, report.s), report.signed, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature as err:
        raise EvidenceSignatureError("the report is not signed by the endorsed key") from err


def _check_tcb_binding(report: Report, key: EndorsementKey) -> None:
    """Step 8: the key was derived from the very TCB that the report reports (57230, chapter 3)."""
    reported = Tcb.parse(report.reported_tcb, key.product)
    if reported != key.tcb:
        raise KeyBindingError(f"the {key.kind.value} is for the TCB {key.tcb}, the report of {reported}")


def _check_identity(report: Report, key: EndorsementKey, policy: Policy) -> Check:
    """Step 9: the VCEK is that of the report's chip, or the VLEK that of a provider of the policy."""
    if key.hardware_id is not None:
        if report.chip_id_masked:
            raise IdentityError(
                "the report hides its chip, so it cannot be known that the VCEK is the chip's"
            )
        if report.chip_id != key.hardware_id.ljust(64, b"\x00"):
            raise IdentityError("the VCEK is that of another chip")
        return Check(name="VCEK of this chip", outcome=Outcome.PASSED, source=f"{_KDS}, chapter 3 (HWID)")
    if key.provider not in policy.vlek_providers:
        raise IdentityError("the VLEK is that of a provider whom the policy does not name")
    return Check(
        name="VLEK of a named provider",
        outcome=Outcome.PASSED,
        detail=key.provider,
        source=f"{_KDS}, chapter 3 (CSP_ID)",
    )


def _endorsed(kind: Kind) -> tuple[Check, ...]:
    """The steps that end in an error or pass, in their order."""
    steps = (
        ("report format", f"{_ABI}, 7.3"),
        ("signing key", f"{_ABI}, 7.3 (SIGNING_KEY)"),
        ("product", f"{_KDS}, chapter 3 (productName)"),
        ("certificates to the pinned root", f"{_KDS}, chapter 3; RFC 5280, 6.1"),
        (f"{kind.value} certificate", f"{_KDS}, chapter 3"),
        ("report signature", f"{_ABI}, chapter 10"),
        ("key of the reported TCB", f"{_KDS}, chapter 3"),
    )
    return tuple(Check(name=name, outcome=Outcome.PASSED, source=source) for name, source in steps)


def _attributes(report: Report, key: EndorsementKey) -> tuple[tuple[str, str], ...]:
    processor = (("processor", report.processor.encode()),) if report.processor else ()
    provider = (("provider", key.provider),) if key.provider else ()
    return (
        ("report version", str(report.version)),
        ("signing key", key.kind.value),
        *provider,
        *processor,
        *((f"{name} TCB", str(tcb)) for name, tcb in tcbs(report, key.product).items()),
        ("current firmware", str(report.current_firmware)),
        ("committed firmware", str(report.committed_firmware)),
        ("guest policy", f"{report.policy:#018x}"),
        ("platform info", f"{report.platform_info:#018x}"),
        ("VMPL", str(report.vmpl)),
        ("guest SVN", str(report.guest_svn)),
        ("family id", report.family_id.hex()),
        ("image id", report.image_id.hex()),
        ("host data", report.host_data.hex()),
        ("id key digest", report.id_key_digest.hex()),
        ("author key digest", report.author_key_digest.hex()),
        ("report id", report.report_id.hex()),
        ("VCEK masked", "yes" if report.mask_chip_key else "no"),
    )
