"""The enclave's keys. They are made at start, live in memory only, and end with the process.

What makes them trustworthy is that a quote binds them; the certificate is merely the form in which TLS
carries the public key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from glasshouse_attestations.keys import SigningKey
from glasshouse_attestations.rpc import SERVER_NAME

__all__ = ["Identity"]

_CLOCK_SKEW = timedelta(days=1)
_VALIDITY = timedelta(days=3650)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Identity:
    """A TLS key (ECDSA P-256, which every TLS library speaks) and a receipt key (Ed25519)."""

    tls_key_pem: bytes
    certificate_pem: bytes
    tls_spki_sha256: bytes
    receipt_key: SigningKey

    @classmethod
    def generate(cls, *, now: datetime) -> Identity:
        """Return fresh keys from the operating system's randomness, and a certificate around the TLS key."""
        key = ec.generate_private_key(ec.SECP256R1())
        spki = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return cls(
            tls_key_pem=pem,
            certificate_pem=_certificate(key, now).public_bytes(serialization.Encoding.PEM),
            tls_spki_sha256=hashlib.sha256(spki).digest(),
            receipt_key=SigningKey.generate(),
        )

    @property
    def receipt_public_key(self) -> bytes:
        """The receipt key's public half as 32 raw bytes (RFC 8032, 5.1.5)."""
        return self.receipt_key.private.public_key().public_bytes_raw()


def _certificate(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    """Return a self-signed certificate of the one name that every enclave has (RFC 5280).

    Its period of validity is wide, since it proves nothing: the enclave's clock is the operator's, and
    freshness is the business of the nonce in the quote.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER_NAME)])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALIDITY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_SIGNATURES_ONLY, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


_SIGNATURES_ONLY = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
