"""Intel's certificate chains, revocation lists and signatures, under the pinned key of Intel's root.

Whatever Intel has signed never changes, so its signatures are verified once and remembered, in bounded
caches keyed by the exact bytes. Whether it is current is asked anew each time, with the caller's ``now``.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509.oid import NameOID

from ..document import format_time
from ..errors import CertificateChainError, CertificateExpiredError, MalformedError, RevocationListError
from ..x509 import (
    Algorithm,
    load_certificate,
    load_revocation_list,
    spki_sha256,
    verify_chain,
    verify_revocation_list,
)
from .pck import SGX_EXTENSIONS, PckExtensions

__all__ = [
    "ROOT_SPKI_SHA256",
    "Chain",
    "load_chain",
    "load_current_revocation_list",
    "pck_extensions",
    "verify_signature",
]

ROOT_SPKI_SHA256 = bytes.fromhex("a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e")
"""SHA-256 of the key of the Intel SGX Root CA, for which Intel has issued more than one certificate."""

# Lines of 64 characters (RFC 7468) or, from some quoting software, of 76 (RFC 2045), and a shorter last one.
_LINES = b"|".join(
    rb"(?:[A-Za-z0-9+/]{%d}\n){1,256}[A-Za-z0-9+/=]{0,%d}" % (width, width) for width in (64, 76)
)
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----\n((?:" + _LINES + rb")\n?)-----END CERTIFICATE-----\n?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain that has been verified up to Intel's root, leaf first, and is valid at some time.

    ``authority`` is whether the leaf is itself a certificate authority.
    """

    certificates: tuple[x509.Certificate, ...]
    start: datetime
    end: datetime
    authority: bool

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate at the bottom."""
        return self.certificates[0]

    @property
    def issuer(self) -> x509.Certificate:
        """The certificate above the leaf."""
        return self.certificates[1]

    @property
    def root(self) -> x509.Certificate:
        """Intel's root."""
        return self.certificates[-1]


def load_chain(
    pem: bytes,
    *,
    names: tuple[Collection[str], ...],
    root_spki_sha256: frozenset[bytes],
    now: datetime,
    authority: bool = False,
) -> Chain:
    """Return the verified chain in ``pem``, which is exactly as long as ``names`` and one root more.

    ``names`` are the common names that each certificate below the root may have, the leaf's first: under
    one root Intel certifies processors and signers of collateral, and neither may stand for the other.
    ``authority`` is whether the leaf has to be a certificate authority, or must not be one.

    Raises :class:`MalformedError`, :class:`CertificateChainError` or :class:`CertificateExpiredError`.
    """
    chain = _verified_chain(pem, len(names) + 1, root_spki_sha256)
    if chain.authority is not authority:
        raise CertificateChainError("the chain's leaf is a certificate authority, or should be one")
    for certificate, allowed in zip(chain.certificates, names, strict=False):
        if _common_name(certificate) not in allowed:
            raise CertificateChainError(f"the chain has another certificate where {min(allowed)} belongs")
    if not chain.start <= now <= chain.end:
        raise CertificateExpiredError(
            f"the chain of {_common_name(chain.leaf)} is valid "
            f"from {format_time(chain.start)} to {format_time(chain.end)}"
        )
    return chain


@lru_cache(maxsize=64)
def _verified_chain(pem: bytes, length: int, root_spki_sha256: frozenset[bytes]) -> Chain:
    certificates = _load_pem(pem, length)
    root = certificates[-1]
    if spki_sha256(root) not in root_spki_sha256:
        raise CertificateChainError("the chain ends in a root whose key is not the pinned one")
    start = max(certificate.not_valid_before_utc for certificate in certificates)
    end = min(certificate.not_valid_after_utc for certificate in certificates)
    verify_chain(
        certificates,
        root_sha256={root.fingerprint(hashes.SHA256())},
        algorithms={Algorithm.ECDSA_P256_SHA256},
        # All are valid at ``start`` if they ever are together; load_chain compares the caller's time.
        now=start,
    )
    return Chain(certificates=certificates, start=start, end=end, authority=_is_authority(certificates[0]))


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound as err:
        raise CertificateChainError("the chain's leaf lacks basic constraints") from err
    return constraints.ca


def _load_pem(pem: bytes, length: int) -> tuple[x509.Certificate, ...]:
    # Quoting enclaves count the text's final NUL as part of it. Everything else must be the certificates
    # in their usual lines, so that no byte of the text escapes the signatures.
    text = pem.removesuffix(b"\0")
    blocks = tuple(_BLOCK.finditer(text))
    if b"".join(block[0] for block in blocks) != text or len(blocks) != length:
        raise MalformedError(f"the certificate chain is not exactly {length} certificates in PEM")
    return tuple(load_certificate(_decode(block[1])) for block in blocks)


def _decode(lines: bytes) -> bytes:
    text = lines.replace(b"\n", b"")
    try:
        der = base64.b64decode(text, validate=True)
    except binascii.Error as err:
        raise MalformedError("a certificate of the chain is not base64") from err
    if base64.b64encode(der) != text:
        raise MalformedError("a certificate of the chain is not canonical base64")
    return der


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value)[:64] if len(names) == 1 else ""


def load_current_revocation_list(
    der: bytes, *, issuer: x509.Certificate, now: datetime
) -> x509.CertificateRevocationList:
    """Return the list in ``der``, which ``issuer`` signed and which is current at ``now``.

    Raises :class:`MalformedError` or :class:`RevocationListError`.
    """
    revoked, start, end = _verified_revocation_list(der, issuer)
    if not start <= now < end:
        raise RevocationListError(
            f"the revocation list of {_common_name(issuer)} is current "
            f"from {format_time(start)} until before {format_time(end)}"
        )
    return revoked


@lru_cache(maxsize=32)
def _verified_revocation_list(
    der: bytes, issuer: x509.Certificate
) -> tuple[x509.CertificateRevocationList, datetime, datetime]:
    revoked = load_revocation_list(der)
    start, end = revoked.last_update_utc, revoked.next_update_utc
    verify_revocation_list(revoked, issuer=issuer, now=start)
    if end is None:
        raise RevocationListError("the revocation list does not say until when it is current")
    # A critical extension limits what the list speaks of (RFC 5280, 5.2); Intel's have none.
    if any(extension.critical for extension in revoked.extensions):
        raise RevocationListError("the revocation list has a critical extension, and its meaning is unknown")
    return revoked, start, end


@lru_cache(maxsize=64)
def pck_extensions(leaf: x509.Certificate) -> PckExtensions:
    """Return the SGX extensions of a PCK certificate; :class:`MalformedError` if it has none."""
    for extension in leaf.extensions:
        if extension.oid == SGX_EXTENSIONS and isinstance(extension.value, x509.UnrecognizedExtension):
            return PckExtensions.parse(extension.value.value)
    raise MalformedError("the PCK certificate has no SGX extensions")


def verify_signature(key: object, signature: bytes, message: bytes) -> None:
    """Return if ``signature``, r and s of 32 bytes each, is the P-256 ``key``'s over ``message``.

    Raises ``InvalidSignature``, which each step turns into its own error.
    """
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidSignature("the key is not on P-256")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
