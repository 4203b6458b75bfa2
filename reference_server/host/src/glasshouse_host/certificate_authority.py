"""The operator's certificate authority: it certifies the attestation keys of the vTPMs that a launcher makes.

A client that names its root in a policy believes this operator about what was booted. Cloud providers have
such authorities of their own; a launcher's is for machines that the operator runs.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509.oid import NameOID

from . import files
from .errors import InputFileError

__all__ = ["CertificateAuthority"]

_KEY_NAME, _CERTIFICATE_NAME = "ca.key", "ca.pem"
_MAX_PEM = 16 << 10
_CLOCK_SKEW = timedelta(days=1)
_ROOT_VALIDITY = timedelta(days=3650)
_KEY_VALIDITY = timedelta(days=365)
_ATTESTATION_KEY = x509.ObjectIdentifier("2.23.133.8.3")  # tcg-kp-AIKCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateAuthority:
    """A root certificate, ECDSA P-256, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def generate(cls, *, now: datetime) -> CertificateAuthority:
        """Return a fresh authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        # A name of its own tells the roots of two operators apart, in errors and stores.
        name = _name(f"Glasshouse vTPM authority {os.urandom(4).hex()}")
        certificate = (
            _builder(name, name, key.public_key(), now=now, validity=_ROOT_VALIDITY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(key_cert_sign=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate=certificate, key=key)

    @classmethod
    def load(cls, folder: Path) -> CertificateAuthority:
        """Return the authority in ``folder``; :class:`InputFileError`, also if others may read its key."""
        path = folder / _KEY_NAME
        pem = files.read(path, max_size=_MAX_PEM)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise InputFileError(f"others may read {path}: an authority's key has mode 0600")
        try:
            key = load_pem_private_key(pem, password=None)
            certificate = x509.load_pem_x509_certificate(
                files.read(folder / _CERTIFICATE_NAME, max_size=_MAX_PEM)
            )
        except (ValueError, TypeError) as err:
            raise InputFileError(f"{folder} does not hold an authority: {err}") from err
        if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
            raise InputFileError(f"the key in {folder} is not that of the certificate")
        return cls(certificate=certificate, key=key)

    def write(self, folder: Path) -> None:
        """Write the authority to ``folder``, which must not have one yet; the key is for its owner alone."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (folder / _KEY_NAME).exists():
            raise InputFileError(f"{folder} has an authority already")
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        files.write_atomically(folder / _KEY_NAME, pem, mode=0o600)
        files.write_atomically(folder / _CERTIFICATE_NAME, self.pem)

    @property
    def pem(self) -> bytes:
        """The chain above a certified key: the root alone."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def root_sha256(self) -> bytes:
        """What a policy names under ``platforms.tpm``: the SHA-256 of the root certificate's DER."""
        return self.certificate.fingerprint(hashes.SHA256())

    def certify(self, public_key_pem: bytes, *, now: datetime) -> bytes:
        """Return the DER certificate of an attestation key (TCG EK Credential Profile, 3.2, by analogy).

        That the key is restricted, and in the vTPM, is known first-hand: the launcher had it made.
        """
        key = load_pem_public_key(public_key_pem)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise InputFileError("the attestation key is not on an elliptic curve")
        subject, issuer = _name("vTPM attestation key"), self.certificate.subject
        certificate = (
            _builder(subject, issuer, key, now=now, validity=_KEY_VALIDITY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([_ATTESTATION_KEY]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.DER)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    now: datetime,
    validity: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + validity)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
