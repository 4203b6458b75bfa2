"""Whose key signed: the attestation key's certificate, its chain, and the attributes its TPM gives it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtensionOID

from ..errors import (
    AttributesError,
    CertificateChainError,
    IdentityError,
    KeyBindingError,
    MalformedError,
)
from ..x509 import Algorithm, load_certificate, load_pem_chain, verify_chain
from .google_instance import EXTENSION, GoogleInstance
from .structures import HashAlgorithm, ObjectAttributes, PublicArea, PublicKey, SignatureScheme

__all__ = [
    "Scheme",
    "check_attributes",
    "check_project",
    "check_public_area",
    "check_qualified_signer",
    "check_role",
    "google_instance",
    "load_padded_certificate",
    "scheme_of",
    "signing_key",
    "verify_certificate",
]

_AK_CERTIFICATE = x509.ObjectIdentifier("2.23.133.8.3")  # tcg-kp-AIKCertificate
_MAX_ISSUERS = 6
_MAX_PADDED_CERTIFICATE = 16 << 10
_MINIMUM_RSA_BITS = 2048

# Clouds and launchers choose their own authorities' algorithms; none of these is weak.
_CHAIN_ALGORITHMS = (
    Algorithm.RSA_PKCS1_SHA256,
    Algorithm.RSA_PKCS1_SHA384,
    Algorithm.RSA_PKCS1_SHA512,
    Algorithm.ECDSA_P256_SHA256,
    Algorithm.ECDSA_P384_SHA384,
)

# The extended key usage is checked here. The alternative name only says which TPM model it is, and the TCG's
# profile makes it critical where the subject is empty.
_UNDERSTOOD = (ExtensionOID.EXTENDED_KEY_USAGE, ExtensionOID.SUBJECT_ALTERNATIVE_NAME)

_REQUIRED = (
    ObjectAttributes.FIXED_TPM
    | ObjectAttributes.FIXED_PARENT
    | ObjectAttributes.SENSITIVE_DATA_ORIGIN
    | ObjectAttributes.RESTRICTED
    | ObjectAttributes.SIGN
)
_FORBIDDEN = ObjectAttributes.DECRYPT | ObjectAttributes.ENCRYPTED_DUPLICATION | ObjectAttributes.X509_SIGN

# TPM_RH_OWNER, TPM_RH_ENDORSEMENT, TPM_RH_PLATFORM: the parents of primary keys (Part 2, 7.4).
_HIERARCHIES = tuple(handle.to_bytes(4, "big") for handle in (0x40000001, 0x4000000B, 0x4000000C))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """How a key signs; fixed by the key, so that a quote cannot choose."""

    scheme: SignatureScheme
    hash: HashAlgorithm


@lru_cache(maxsize=64)
def load_padded_certificate(data: bytes) -> x509.Certificate:
    """Return the certificate in ``data``: DER, then zeros or nothing.

    An area of a TPM's NV memory has a fixed size, and what the certificate leaves of it reads as zeros.
    """
    if len(data) > _MAX_PADDED_CERTIFICATE or data[:2] != b"\x30\x82":
        raise MalformedError("the attestation key's certificate is not DER of a certificate's size")
    end = 4 + int.from_bytes(data[2:4], "big")
    if any(data[end:]):
        raise MalformedError("the attestation key's certificate is followed by other bytes than zeros")
    return load_certificate(data[:end])


def verify_certificate(
    certificate: x509.Certificate, issuers: bytes, *, root_sha256: frozenset[bytes], now: datetime
) -> tuple[x509.Certificate, ...]:
    """Return the chain from the attestation key's certificate to a root of the policy (RFC 5280, 6.1).

    ``issuers`` is PEM, from the certificate's own issuer to the root.
    """
    chain = (certificate, *_load_issuers(issuers))
    verify_chain(
        chain, root_sha256=root_sha256, algorithms=_CHAIN_ALGORITHMS, now=now, understood=_UNDERSTOOD
    )
    return chain


@lru_cache(maxsize=16)
def _load_issuers(pem: bytes) -> tuple[x509.Certificate, ...]:
    # Taking certificates apart is pure, and the same few issuers come again and again; whether they are
    # valid and signed is checked anew each time.
    return load_pem_chain(pem, max_certificates=_MAX_ISSUERS)


def check_role(certificate: x509.Certificate) -> None:
    """Return if the certificate is for an attestation key and for nothing else.

    It is for digital signatures, of no authority, and its extended key usage is tcg-kp-AIKCertificate (TCG
    OID Registry). Google's have no extended key usage, but name the instance.
    """
    extensions = {extension.oid: extension.value for extension in certificate.extensions}
    usage = extensions.get(ExtensionOID.KEY_USAGE)
    if not isinstance(usage, x509.KeyUsage) or not usage.digital_signature or usage.key_cert_sign:
        raise CertificateChainError("the attestation key's certificate is not for digital signatures alone")
    constraints = extensions.get(ExtensionOID.BASIC_CONSTRAINTS)
    if isinstance(constraints, x509.BasicConstraints) and constraints.ca:
        raise CertificateChainError("the attestation key's certificate is an authority's")
    purposes = extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
    if purposes is None and EXTENSION in extensions:
        return
    if not isinstance(purposes, x509.ExtendedKeyUsage) or _AK_CERTIFICATE not in purposes:
        raise CertificateChainError("the certificate is not for an attestation key (tcg-kp-AIKCertificate)")


def google_instance(certificate: x509.Certificate) -> GoogleInstance | None:
    """Return the instance that a certificate of Google's names, or ``None`` if it names none."""
    try:
        value = certificate.extensions.get_extension_for_oid(EXTENSION).value
    except x509.ExtensionNotFound:
        return None
    assert isinstance(value, x509.UnrecognizedExtension)  # noqa: S101 - cryptography knows no such extension
    return GoogleInstance.parse(value.value)


def check_project(instance: GoogleInstance | None, *, projects: frozenset[str]) -> None:
    """Return if the instance belongs to one of ``projects``; else :class:`IdentityError`."""
    if instance is None:
        raise IdentityError("the certificate names no google cloud instance, and the policy asks for one")
    if instance.project_id not in projects:
        raise IdentityError("the google cloud instance is of a project that the policy does not name")


def signing_key(certificate: x509.Certificate) -> PublicKey:
    """Return the certified key, which is RSA of at least 2048 bits or on P-256 or P-384."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _MINIMUM_RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, (ec.SECP256R1, ec.SECP384R1)):
        return key
    raise AttributesError("the attestation key is not RSA of 2048 bits or more, P-256 or P-384")


def check_public_area(area: PublicArea, key: PublicKey) -> None:
    """Return if the public area is of the certified key; else :class:`KeyBindingError`."""
    if area.key != key:
        raise KeyBindingError("the public area is of another key than the certificate")


def check_attributes(area: PublicArea) -> None:
    """Return if the key was made in its TPM, stays there, and signs only what it made (Part 2, 8.3.3)."""
    missing, forbidden = _REQUIRED & ~area.attributes, _FORBIDDEN & area.attributes
    if missing or forbidden:
        raise AttributesError(
            f"the attestation key's attributes are {int(area.attributes):#010x}, "
            f"which lack {int(missing):#x} and must not have {int(forbidden):#x}"
        )


def check_qualified_signer(area: PublicArea, qualified_signer: bytes) -> bool:
    """Whether the quote names the public area as its signer: ``True``, or ``False`` if that cannot be told.

    A qualified name is a hash over the parent's and the key's own name (Part 1, 16). A primary key's parent
    is a hierarchy, so it can be computed; that of another key cannot without its parent. A quote that names a
    key with another name algorithm raises :class:`KeyBindingError`.
    """
    prefix = area.name[:2]
    if qualified_signer[:2] != prefix or len(qualified_signer) != len(area.name):
        raise KeyBindingError("the quote names a signer of another name algorithm than the public area's")
    digest = area.name_algorithm.digest
    return qualified_signer in {prefix + digest(handle + area.name) for handle in _HIERARCHIES}


def scheme_of(key: PublicKey, area: PublicArea | None) -> Scheme:
    """Return the one scheme that the key signs with: its public area's, or without one the usual.

    The usual one is RSASSA with SHA-256, or ECDSA with the hash as long as the curve.
    """
    if area is not None:
        return _scheme_of_area(area)
    if isinstance(key, rsa.RSAPublicKey):
        return Scheme(scheme=SignatureScheme.RSASSA, hash=HashAlgorithm.SHA256)
    fitting = HashAlgorithm.SHA384 if key.key_size == 384 else HashAlgorithm.SHA256
    return Scheme(scheme=SignatureScheme.ECDSA, hash=fitting)


def _scheme_of_area(area: PublicArea) -> Scheme:
    try:
        hash_algorithm = HashAlgorithm(area.scheme_hash_id)
    except ValueError:
        raise AttributesError("the attestation key signs with a hash that is not SHA-256 or longer") from None
    if (area.scheme is SignatureScheme.ECDSA) is not isinstance(area.key, ec.EllipticCurvePublicKey):
        raise AttributesError("the attestation key's scheme is not one of its kind of key")
    return Scheme(scheme=area.scheme, hash=hash_algorithm)
