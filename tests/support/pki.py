"""Certificates of generated authorities: what the test infrastructures of the vendors are made of.

Everything issued here is made up by the tests; nothing of it was signed by a vendor.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

SubjectKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A certificate and the key that it certifies."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def distinguished(common_name: str) -> x509.Name:
    """Return a name of one part."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    """Return the usages that attestation knows: to sign data, or certificates and revocation lists."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=key_cert_sign,
        encipher_only=False,
        decipher_only=False,
    )


def certify(
    subject: x509.Name,
    public_key: SubjectKey,
    *,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    digest: hashes.SHA256 | hashes.SHA384,
    start: datetime,
    end: datetime,
    critical: Iterable[x509.ExtensionType],
    extensions: Iterable[x509.ExtensionType] = (),
) -> x509.Certificate:
    """Return a certificate for ``public_key`` in the name of ``issuer``, signed with ``signer``."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    for extension in critical:
        builder = builder.add_extension(extension, critical=True)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer, digest)


def issue(
    subject: x509.Name,
    issuer: Holder | None,
    *,
    key: ec.EllipticCurvePrivateKey,
    digest: hashes.SHA256 | hashes.SHA384,
    start: datetime,
    end: datetime,
    critical: Iterable[x509.ExtensionType],
    extensions: Iterable[x509.ExtensionType] = (),
) -> Holder:
    """Return the holder of a certificate for ``key``, signed by ``issuer`` or by itself."""
    certificate = certify(
        subject,
        key.public_key(),
        issuer=issuer.certificate.subject if issuer else subject,
        signer=issuer.key if issuer else key,
        digest=digest,
        start=start,
        end=end,
        critical=critical,
        extensions=extensions,
    )
    return Holder(certificate=certificate, key=key)
