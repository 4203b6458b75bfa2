"""From a pinned AMD root to the key that signs reports (VCEK Certificate and KDS Interface, 57230, 3).

The root (ARK) signs one intermediate per kind of endorsement key: the ASK for VCEKs, the ASVK for VLEKs. The
leaf's extensions say to which chip, or provider, and to which versions of the firmware the key belongs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtensionOID

from ..document import format_time
from ..errors import (
    CertificateChainError,
    CertificateExpiredError,
    MalformedError,
    ProductError,
    RevocationListError,
)
from ..x509 import (
    Algorithm,
    check_not_revoked,
    load_certificate,
    load_revocation_list,
    verify_chain,
    verify_revocation_list,
)
from .der import Certificate, Reader
from .product import ROOT_SHA256, Product
from .tcb import Tcb

__all__ = [
    "EndorsementKey",
    "Kind",
    "verify_authorities",
    "verify_leaf",
    "verify_not_revoked",
]

_EXTENSION = "1.3.6.1.4.1.3704.1."
_STRUCT_VERSION, _PRODUCT_NAME, _HWID, _CSP_ID = (_EXTENSION + arc for arc in ("1", "2", "4", "5"))
_BOOTLOADER, _TEE, _SNP, _MICROCODE, _FMC = (_EXTENSION + f"3.{arc}" for arc in (1, 2, 3, 8, 9))
_RESERVED = tuple(_EXTENSION + f"3.{arc}" for arc in (4, 5, 6, 7))

# RSASSA-PSS with SHA-384, MGF1 with SHA-384 and 48 bytes of salt. AMD's older certificates also write out
# the trailer field, which is the default.
_PSS_PARAMETERS = bytes.fromhex(
    "a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130"
)
_PSS_OID = bytes.fromhex("06092a864886f70d01010a")
_ALGORITHMS = frozenset(
    {
        b"\x30\x41" + _PSS_OID + b"\x30\x34" + _PSS_PARAMETERS,
        b"\x30\x46" + _PSS_OID + b"\x30\x39" + _PSS_PARAMETERS + bytes.fromhex("a303020101"),
    }
)
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=48)

# SubjectPublicKeyInfo of P-384 up to the coordinates: an uncompressed point and nothing else.
_P384_SPKI = bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004")
_P384_SPKI_SIZE = len(_P384_SPKI) + 96


class Kind(Enum):
    """The two kinds of key that sign reports: of one chip, or of one provider's whole fleet."""

    VCEK = "VCEK"
    VLEK = "VLEK"

    @property
    def subject(self) -> str:
        """The common name of every such certificate."""
        return f"SEV-{self.value}"

    def issuer(self, product: Product) -> str:
        """The common name of the intermediate that signs these certificates of ``product``."""
        return f"SEV-{product.value}" if self is Kind.VCEK else f"SEV-VLEK-{product.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndorsementKey:
    """What a VCEK's or VLEK's certificate says; true once :func:`verify_leaf` returned.

    ``tcb`` are the versions of the firmware from which the key was derived. A VCEK has a ``hardware_id``
    (64 bytes, 8 on Turin), a VLEK a ``provider``.
    """

    kind: Kind
    product: Product
    tcb: Tcb
    hardware_id: bytes | None
    provider: str | None
    certificate: Certificate

    @classmethod
    def parse(cls, der: bytes) -> EndorsementKey:
        """Return what the certificate in ``der`` says, with every extension that its kind must have."""
        certificate = Certificate.parse(der)
        kind = _kind(certificate)
        product = Product.of_certificate(_text(certificate, _PRODUCT_NAME))
        if _number(certificate, _STRUCT_VERSION) > 1:
            raise MalformedError("an endorsement key's certificate has an unknown version of extensions")
        if any(_number(certificate, oid) for oid in _RESERVED if oid in certificate.extensions):
            raise MalformedError("a reserved component of an endorsement key's TCB is not zero")
        if (_HWID in certificate.extensions) is (kind is Kind.VLEK):
            raise MalformedError("a VCEK's certificate names a chip, and a VLEK's does not")
        if (_CSP_ID in certificate.extensions) is (kind is Kind.VCEK):
            raise MalformedError("a VLEK's certificate names a provider, and a VCEK's does not")
        return cls(
            kind=kind,
            product=product,
            tcb=_tcb(certificate, product),
            hardware_id=_hardware_id(certificate, product) if kind is Kind.VCEK else None,
            provider=_text(certificate, _CSP_ID) if kind is Kind.VLEK else None,
            certificate=certificate,
        )

    @property
    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The P-384 key that signs reports."""
        spki = self.certificate.public_key
        if not spki.startswith(_P384_SPKI) or len(spki) != _P384_SPKI_SIZE:
            raise CertificateChainError(f"the key of a {self.kind.value} is not on the curve P-384")
        try:
            key = serialization.load_der_public_key(spki)
        except ValueError as err:
            raise CertificateChainError(f"the key of a {self.kind.value} is not a point of P-384") from err
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise CertificateChainError(f"the key of a {self.kind.value} is not on the curve P-384")
        return key


def verify_authorities(
    ask: bytes,
    ark: bytes,
    *,
    product: Product,
    kind: Kind,
    root_sha256: Collection[bytes],
    now: datetime,
) -> tuple[x509.Certificate, x509.Certificate]:
    """Return intermediate and root if ``ark`` is pinned and signed ``ask``, the issuer of ``kind``.

    Both are valid at ``now``. Raises :class:`ProductError` for the chain of another product, else
    :class:`CertificateChainError` or :class:`CertificateExpiredError`.
    """
    root = _load_root(ark, product, root_sha256)
    intermediate = _load_intermediate(ask, root)
    verify_chain(
        (intermediate, root), root_sha256=root_sha256, algorithms=[Algorithm.RSA_PSS_SHA384], now=now
    )
    if _subject(intermediate) != kind.issuer(product):
        raise CertificateChainError(f"the intermediate certificate is not that of {kind.issuer(product)}")
    _check_may_sign_certificates(intermediate)
    return intermediate, root


def verify_not_revoked(ask: x509.Certificate, ark: x509.Certificate, crl: bytes, *, now: datetime) -> None:
    """Return if the list is the root's own, current at ``now``, and names neither certificate.

    Raises :class:`RevocationListError` or :class:`CertificateRevokedError`. The list cannot name a leaf,
    since all leaves have the serial number 0.
    """
    usage = ark.extensions.get_extension_for_class(x509.KeyUsage).value
    if not usage.crl_sign:
        raise RevocationListError("the root may not sign revocation lists")
    revoked = _load_revocation_list(crl, ark)
    if any(extension.critical for extension in revoked.extensions) or _is_delta(revoked):
        raise RevocationListError("the revocation list is limited in a way that is not understood")
    verify_revocation_list(revoked, issuer=ark, now=now)
    check_not_revoked(ask, revoked)
    check_not_revoked(ark, revoked)


def verify_leaf(key: EndorsementKey, *, ask: x509.Certificate, now: datetime) -> ec.EllipticCurvePublicKey:
    """Return the public key of the VCEK or VLEK if ``ask``, already verified, issued it and it is valid.

    Raises :class:`CertificateChainError` or :class:`CertificateExpiredError`.
    """
    certificate = key.certificate
    if certificate.issuer != ask.subject.public_bytes():
        raise CertificateChainError(f"the issuer of the {key.kind.value} is not the intermediate given")
    if certificate.critical:
        raise CertificateChainError(f"the {key.kind.value} has an unknown critical extension")
    _check_signature(certificate, ask)
    if not certificate.not_before <= now <= certificate.not_after:
        start, end = format_time(certificate.not_before), format_time(certificate.not_after)
        raise CertificateExpiredError(f"the {key.kind.value} is valid from {start} to {end}")
    return key.public_key


# The library warns of, or half accepts, some of what is malformed in a certificate or a list. So it reads
# only what is pinned or signed; signatures are checked on what the strict reader found before that.
_load_certificate = lru_cache(maxsize=16)(load_certificate)


def _load_root(ark: bytes, product: Product, root_sha256: Collection[bytes]) -> x509.Certificate:
    fingerprint = hashlib.sha256(ark).digest()
    if fingerprint in root_sha256:
        return _load_certificate(ark)
    for other, pinned in ROOT_SHA256.items():
        if fingerprint == pinned:
            raise ProductError(f"the root is that of {other.value}, the evidence that of {product.value}")
    raise CertificateChainError("the SHA-256 of the root is not that of the pinned root")


def _load_intermediate(ask: bytes, root: x509.Certificate) -> x509.Certificate:
    certificate = Certificate.parse(ask)
    if certificate.serial_number == 0:
        raise MalformedError("the intermediate has no serial number")
    _check_signature(certificate, root)
    return _load_certificate(ask)


def _check_signature(certificate: Certificate, issuer: x509.Certificate) -> None:
    if certificate.algorithm not in _ALGORITHMS:
        raise CertificateChainError("a certificate is signed with another algorithm")
    try:
        _verify_pss(issuer, certificate.signature, certificate.to_be_signed)
    except InvalidSignature as err:
        raise CertificateChainError(f"a certificate is not signed by {_subject(issuer)}") from err


def _verify_pss(issuer: x509.Certificate, signature: bytes, message: bytes) -> None:
    key = issuer.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise CertificateChainError(f"the key of {_subject(issuer)} is not an RSA key")
    key.verify(signature, message, _PSS, hashes.SHA384())


def _check_may_sign_certificates(ask: x509.Certificate) -> None:
    try:
        constraints = ask.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = ask.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as err:
        raise CertificateChainError("the intermediate lacks basic constraints or key usage") from err
    if not constraints.ca or not usage.key_cert_sign:
        raise CertificateChainError("the intermediate is not a certificate authority")


def _load_revocation_list(der: bytes, ark: x509.Certificate) -> x509.CertificateRevocationList:
    outermost = Reader(der)
    outer = outermost.sequence()
    outermost.end()
    to_be_signed, algorithm, signature = outer.sequence_raw(), outer.sequence_raw(), outer.bit_string()
    outer.end()
    if algorithm not in _ALGORITHMS:
        raise RevocationListError("the revocation list is signed with another algorithm")
    try:
        _verify_pss(ark, signature, to_be_signed)
    except InvalidSignature as err:
        raise RevocationListError(f"the revocation list is not signed by {_subject(ark)}") from err
    return load_revocation_list(der)


def _is_delta(revoked: x509.CertificateRevocationList) -> bool:
    limits = {ExtensionOID.DELTA_CRL_INDICATOR, ExtensionOID.ISSUING_DISTRIBUTION_POINT}
    return any(extension.oid in limits for extension in revoked.extensions)


def _subject(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


def _kind(certificate: Certificate) -> Kind:
    for kind in Kind:
        if certificate.common_name == kind.subject:
            return kind
    raise CertificateChainError("the endorsement's subject is neither SEV-VCEK nor SEV-VLEK")


def _tcb(certificate: Certificate, product: Product) -> Tcb:
    turin = product is Product.TURIN
    if not turin and _FMC in certificate.extensions:
        raise MalformedError("an endorsement key before Turin has a component fmc")
    return Tcb(
        fmc=_number(certificate, _FMC) if turin else 0,
        bootloader=_number(certificate, _BOOTLOADER),
        tee=_number(certificate, _TEE),
        snp=_number(certificate, _SNP),
        microcode=_number(certificate, _MICROCODE),
    )


def _hardware_id(certificate: Certificate, product: Product) -> bytes:
    """The chip's identity, which AMD writes bare or, in newer certificates, wrapped as an OCTET STRING."""
    value, size = certificate.extensions[_HWID], 8 if product is Product.TURIN else 64
    if len(value) == size + 2:
        reader = Reader(value)
        value = reader.octets()
        reader.end()
    if len(value) != size:
        raise MalformedError(f"the hardware identity of {product.value} does not have {size} bytes")
    return value


def _number(certificate: Certificate, oid: str) -> int:
    reader = _extension(certificate, oid)
    number = reader.integer()
    reader.end()
    if number > 0xFF:
        raise MalformedError(f"the extension {oid} of an endorsement key is more than one byte")
    return number


def _text(certificate: Certificate, oid: str) -> str:
    reader = _extension(certificate, oid)
    text = reader.ia5()
    reader.end()
    if not 1 <= len(text) <= 256:
        raise MalformedError(f"the extension {oid} of an endorsement key is empty or too long")
    return text


def _extension(certificate: Certificate, oid: str) -> Reader:
    try:
        return Reader(certificate.extensions[oid])
    except KeyError:
        raise MalformedError(f"the extension {oid} of an endorsement key is missing") from None
