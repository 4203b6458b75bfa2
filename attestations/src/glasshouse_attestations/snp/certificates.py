"""From a pinned AMD root to the key that signs reports (VCEK Certificate and KDS Interface, 57230, 3).

The root (ARK) signs one intermediate per kind of endorsement key: the ASK for VCEKs, the ASVK for VLEKs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
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
from .endorsement_key import EndorsementKey, Kind
from .product import ROOT_SHA256, Product

__all__ = ["verify_authorities", "verify_leaf", "verify_not_revoked"]

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
    intermediate = _load_intermediate(ask, ark)
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


@lru_cache(maxsize=16)
def _load_intermediate(ask: bytes, ark: bytes) -> x509.Certificate:
    """The intermediate that the root, which must be pinned, signed; neither depends on the time."""
    certificate = Certificate.parse(ask)
    if certificate.serial_number == 0:
        raise MalformedError("the intermediate has no serial number")
    _check_signature(certificate, _load_certificate(ark))
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
