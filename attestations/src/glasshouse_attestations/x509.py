"""Certificate chains to a pinned root, and revocation lists, under one strict profile of RFC 5280.

Chains are given whole, leaf first, and are verified link by link as they stand: nothing is searched for,
downloaded or left out, and nothing is trusted but a root whose SHA-256 the caller pins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from .document import format_time
from .errors import (
    CertificateChainError,
    CertificateExpiredError,
    CertificateRevokedError,
    MalformedError,
    RevocationListError,
)

__all__ = [
    "Algorithm",
    "check_not_revoked",
    "load_certificate",
    "load_pem_chain",
    "load_revocation_list",
    "spki_sha256",
    "verify_chain",
    "verify_revocation_list",
]

_MAX_CERTIFICATE = 16 << 10
_MAX_REVOCATION_LIST = 1 << 20
_PEM_BEGIN = b"-----BEGIN CERTIFICATE-----"

# What the library raises for bytes that are no certificate: not all of it is a ValueError.
_UNREADABLE = (
    TypeError,
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

_LIST_HASHES = frozenset({"sha256", "sha384", "sha512"})

# Extensions whose meaning is enforced below; any other critical one refuses the certificate (RFC 5280, 4.2).
_UNDERSTOOD = frozenset({ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE})


class Algorithm(Enum):
    """The signature algorithms that a vendor's chain uses; each technology fixes its own."""

    ECDSA_P256_SHA256 = "ECDSA P-256 with SHA-256"
    ECDSA_P384_SHA384 = "ECDSA P-384 with SHA-384"
    RSA_PSS_SHA384 = "RSASSA-PSS with SHA-384"
    RSA_PKCS1_SHA256 = "RSASSA-PKCS1-v1_5 with SHA-256"
    RSA_PKCS1_SHA384 = "RSASSA-PKCS1-v1_5 with SHA-384"
    RSA_PKCS1_SHA512 = "RSASSA-PKCS1-v1_5 with SHA-512"


@dataclass(frozen=True, slots=True)
class _Scheme:
    oid: x509.ObjectIdentifier
    hash: hashes.HashAlgorithm
    curve: type[ec.EllipticCurve] | None = None


_SCHEMES = {
    Algorithm.ECDSA_P256_SHA256: _Scheme(
        SignatureAlgorithmOID.ECDSA_WITH_SHA256, hashes.SHA256(), ec.SECP256R1
    ),
    Algorithm.ECDSA_P384_SHA384: _Scheme(
        SignatureAlgorithmOID.ECDSA_WITH_SHA384, hashes.SHA384(), ec.SECP384R1
    ),
    Algorithm.RSA_PSS_SHA384: _Scheme(SignatureAlgorithmOID.RSASSA_PSS, hashes.SHA384()),
    Algorithm.RSA_PKCS1_SHA256: _Scheme(SignatureAlgorithmOID.RSA_WITH_SHA256, hashes.SHA256()),
    Algorithm.RSA_PKCS1_SHA384: _Scheme(SignatureAlgorithmOID.RSA_WITH_SHA384, hashes.SHA384()),
    Algorithm.RSA_PKCS1_SHA512: _Scheme(SignatureAlgorithmOID.RSA_WITH_SHA512, hashes.SHA512()),
}


def load_certificate(der: bytes) -> x509.Certificate:
    """Return the certificate in ``der``: DER to the last byte, at most 16 KiB."""
    if len(der) > _MAX_CERTIFICATE:
        raise MalformedError(f"a certificate has at most {_MAX_CERTIFICATE} bytes")
    try:
        certificate = x509.load_der_x509_certificate(der)
        _read_every_field(certificate)
    except _UNREADABLE as err:
        raise MalformedError("a certificate does not parse") from err
    if certificate.public_bytes(serialization.Encoding.DER) != der:
        raise MalformedError("a certificate is followed by other bytes")
    # The bit string of the signature comes last, is not signed, and counts its unused bits: always none.
    if not der.endswith(b"\0" + certificate.signature):
        raise MalformedError("the signature of a certificate is not a whole number of bytes")
    return certificate


def _read_every_field(certificate: x509.Certificate) -> None:
    # They are parsed when first read, and a malformed one must be refused here rather than there.
    _ = certificate.extensions, certificate.subject, certificate.issuer, certificate.public_key()
    _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    _ = certificate.signature_hash_algorithm


def load_pem_chain(pem: bytes, *, max_certificates: int) -> tuple[x509.Certificate, ...]:
    """Return the certificates in ``pem``, at most ``max_certificates`` of them, in their order."""
    if len(pem) > 2 * _MAX_CERTIFICATE * max_certificates or pem.count(_PEM_BEGIN) > max_certificates:
        raise MalformedError(f"a certificate chain has at most {max_certificates} certificates")
    try:
        chain = x509.load_pem_x509_certificates(pem)
    except _UNREADABLE as err:
        raise MalformedError("a certificate chain does not parse") from err
    if len(chain) != pem.count(_PEM_BEGIN):
        # The library leaves out what begins like a certificate and never ends.
        raise MalformedError("a certificate chain is cut off")
    return tuple(load_certificate(one.public_bytes(serialization.Encoding.DER)) for one in chain)


def verify_chain(
    chain: Sequence[x509.Certificate],
    *,
    root_sha256: Collection[bytes],
    algorithms: Collection[Algorithm],
    now: datetime,
    understood: Collection[x509.ObjectIdentifier] = (),
) -> x509.Certificate:
    """Return the leaf, ``chain[0]``, if the chain reaches a pinned root at ``now``.

    Each certificate is signed by the next and names it as issuer, none is there twice, the last signs itself
    and has a SHA-256 among ``root_sha256``; issuers are certificate authorities with key usage and path
    length to match; all are within their period of validity and signed with one of ``algorithms``. A
    critical extension other than basic constraints, key usage and ``understood`` refuses the chain (RFC
    5280, 6.1).

    Raises :class:`CertificateChainError` or :class:`CertificateExpiredError`.
    """
    if len(chain) < 2:
        raise CertificateChainError("a certificate chain has at least a leaf and a root")
    if len(set(chain)) != len(chain):
        raise CertificateChainError("a certificate chain has one certificate twice")
    root = chain[-1]
    if root.fingerprint(hashes.SHA256()) not in root_sha256:
        raise CertificateChainError(f"the chain ends in {_name(root)}, whose SHA-256 is not a pinned root's")
    for certificate in chain:
        _check_period(certificate, now)
        _check_critical_extensions(certificate, understood)
    for certificate, issuer in zip(chain, (*chain[1:], root), strict=True):
        _check_link(certificate, issuer, algorithms)
    for intermediates_below, issuer in enumerate(chain[1:]):
        _check_authority(issuer, intermediates_below)
    return chain[0]


def _check_period(certificate: x509.Certificate, now: datetime) -> None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not start <= now <= end:
        raise CertificateExpiredError(
            f"the certificate of {_name(certificate)} is valid "
            f"from {format_time(start)} to {format_time(end)}"
        )


def _check_critical_extensions(
    certificate: x509.Certificate, understood: Collection[x509.ObjectIdentifier]
) -> None:
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD and extension.oid not in understood:
            raise CertificateChainError(
                f"the certificate of {_name(certificate)} has the unknown critical extension "
                f"{extension.oid.dotted_string}"
            )


def _check_link(
    certificate: x509.Certificate, issuer: x509.Certificate, algorithms: Collection[Algorithm]
) -> None:
    if certificate.issuer != issuer.subject:
        raise CertificateChainError(f"the issuer of {_name(certificate)} is not {_name(issuer)}")
    if not any(_fits(certificate, issuer, algorithm) for algorithm in algorithms):
        raise CertificateChainError(
            f"the certificate of {_name(certificate)} is signed with another algorithm"
        )
    try:
        _verify_signature(certificate, issuer)
    except (InvalidSignature, ValueError, TypeError) as err:
        raise CertificateChainError(
            f"the certificate of {_name(certificate)} is not signed by {_name(issuer)}"
        ) from err


@lru_cache(maxsize=256)
def _verify_signature(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    # Only success is remembered, by the exact bytes of both; nothing about it depends on the moment.
    certificate.verify_directly_issued_by(issuer)


def _fits(certificate: x509.Certificate, issuer: x509.Certificate, algorithm: Algorithm) -> bool:
    scheme = _SCHEMES[algorithm]
    if certificate.signature_algorithm_oid != scheme.oid:
        return False
    used = certificate.signature_hash_algorithm
    if used is None or used.name != scheme.hash.name:
        return False
    key = issuer.public_key()
    if scheme.curve is not None:
        return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, scheme.curve)
    return isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048


def _check_authority(issuer: x509.Certificate, intermediates_below: int) -> None:
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as err:
        raise CertificateChainError(f"{_name(issuer)} lacks basic constraints or key usage") from err
    if not constraints.ca or not usage.key_cert_sign:
        raise CertificateChainError(f"{_name(issuer)} is not a certificate authority")
    if constraints.path_length is not None and constraints.path_length < intermediates_below:
        raise CertificateChainError(f"{_name(issuer)} may not stand so far above the leaf")


def load_revocation_list(der: bytes) -> x509.CertificateRevocationList:
    """Return the revocation list in ``der``: DER to the last byte, at most 1 MiB."""
    if len(der) > _MAX_REVOCATION_LIST:
        raise MalformedError(f"a revocation list has at most {_MAX_REVOCATION_LIST} bytes")
    try:
        revoked = x509.load_der_x509_crl(der)
        _ = revoked.issuer, revoked.extensions, revoked.last_update_utc, revoked.next_update_utc
    except _UNREADABLE as err:
        raise MalformedError("a revocation list does not parse") from err
    if revoked.public_bytes(serialization.Encoding.DER) != der:
        raise MalformedError("a revocation list is followed by other bytes")
    if not der.endswith(b"\0" + revoked.signature):
        raise MalformedError("the signature of a revocation list is not a whole number of bytes")
    return revoked


def verify_revocation_list(
    revoked: x509.CertificateRevocationList, *, issuer: x509.Certificate, now: datetime
) -> None:
    """Return if ``issuer`` signed the list and ``now`` lies in ``thisUpdate <= now < nextUpdate``.

    A critical extension refuses the list: it would say that the list is not of all certificates (RFC 5280,
    5.2.4 and 5.2.5). So does any other hash than SHA-256, 384 or 512. Raises :class:`RevocationListError` for
    anything else (RFC 5280, 6.3.3).
    """
    if revoked.issuer != issuer.subject:
        raise RevocationListError(f"the revocation list is not issued by {_name(issuer)}")
    if any(extension.critical for extension in revoked.extensions):
        raise RevocationListError(
            f"the revocation list of {_name(issuer)} does not speak of every certificate"
        )
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as err:
        raise RevocationListError(f"{_name(issuer)} lacks key usage") from err
    if not usage.crl_sign:
        raise RevocationListError(f"{_name(issuer)} may not sign revocation lists")
    key = issuer.public_key()
    if not isinstance(key, (ec.EllipticCurvePublicKey, rsa.RSAPublicKey)):
        raise RevocationListError(f"the key of {_name(issuer)} is of a kind that signs no revocation list")
    try:
        used = revoked.signature_hash_algorithm
        signed = revoked.is_signature_valid(key) and used is not None and used.name in _LIST_HASHES
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise RevocationListError("the signature of a revocation list cannot be checked") from err
    if not signed:
        raise RevocationListError(f"the revocation list is not signed by {_name(issuer)}")
    start, end = revoked.last_update_utc, revoked.next_update_utc
    if end is None or not start <= now < end:
        raise RevocationListError(f"the revocation list of {_name(issuer)} is not current")


def check_not_revoked(certificate: x509.Certificate, revoked: x509.CertificateRevocationList) -> None:
    """Return if the (verified) list does not name ``certificate``; else :class:`CertificateRevokedError`.

    A list of another issuer says nothing of it: :class:`RevocationListError`.
    """
    if certificate.issuer != revoked.issuer:
        raise RevocationListError(f"the revocation list is not of the issuer of {_name(certificate)}")
    if revoked.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
        raise CertificateRevokedError(f"the certificate of {_name(certificate)} is revoked")


def spki_sha256(certificate: x509.Certificate) -> bytes:
    """Return the SHA-256 of the certificate's SubjectPublicKeyInfo."""
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).digest()


def _name(certificate: x509.Certificate) -> str:
    # Whoever made the certificate chose it, and errors are shown on terminals.
    name = certificate.subject.rfc4514_string()[:120]
    return "".join(each if each.isprintable() else "?" for each in name)
