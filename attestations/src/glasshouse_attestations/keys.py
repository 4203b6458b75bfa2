"""Public keys as policies write them, and the Ed25519 keys that Glasshouse signs with.

A public key's text form is the base64 of its DER SubjectPublicKeyInfo (RFC 5280, 4.1.2.7), which is the
body of the PEM file that openssl prints. Its key id is the SHA-256 of that DER.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TypeAlias, cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from .document import parse_base64
from .errors import MalformedError, SignatureError

__all__ = ["PublicKey", "SigningKey"]

_MAX_SPKI = 256
_MAX_PEM = 4096

# The points of order 1, 2, 4 and 8 by their y coordinate: their encoding without the sign of x.
_P25519 = 2**255 - 19
_ORDER_EIGHT = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_ORDER = frozenset({0, 1, _P25519 - 1, _ORDER_EIGHT, _P25519 - _ORDER_EIGHT})

_Verifier: TypeAlias = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key that can verify: Ed25519 (RFC 8032), or ECDSA over P-256 with SHA-256 or P-384 with SHA-384.

    Two keys are equal when their SubjectPublicKeyInfo is, and it is canonical: an elliptic-curve point stands
    in it uncompressed, an Ed25519 point with y < p. Ed25519 points of small order, under which one signature
    verifies for many messages, are refused.
    """

    spki: bytes

    def __post_init__(self) -> None:
        _load(self.spki)

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Return the key that ``text`` writes as base64 of a DER SubjectPublicKeyInfo."""
        return cls(spki=parse_base64(text, "public key", max_size=_MAX_SPKI))

    def encode(self) -> str:
        """Write the key as :meth:`parse` reads it."""
        return base64.b64encode(self.spki).decode("ascii")

    @property
    def key_id(self) -> str:
        """The SHA-256 of the SubjectPublicKeyInfo in hexadecimal."""
        return hashlib.sha256(self.spki).hexdigest()

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return if ``signature`` is this key's over ``message``; raises :class:`SignatureError` if not."""
        key = _load(self.spki)
        try:
            if isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, message)
            else:
                key.verify(signature, message, ec.ECDSA(_hash_for(key.curve)))
        except InvalidSignature as err:
            raise SignatureError(f"the signature does not verify under key {self.key_id[:16]}") from err


def _load(spki: bytes) -> _Verifier:
    try:
        key = serialization.load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as err:
        raise MalformedError("not a public key: the SubjectPublicKeyInfo does not parse") from err
    is_supported = isinstance(key, ed25519.Ed25519PublicKey) or (
        isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, (ec.SECP256R1, ec.SECP384R1))
    )
    if not is_supported:
        raise MalformedError("public keys are Ed25519 or ECDSA over P-256 or P-384")
    canonical = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if canonical != spki:
        raise MalformedError("the SubjectPublicKeyInfo of a public key is not in its canonical form")
    if isinstance(key, ed25519.Ed25519PublicKey):
        _check_point(key.public_bytes_raw())
    return cast(_Verifier, key)


def _check_point(raw: bytes) -> None:
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _P25519 or y in _SMALL_ORDER:
        raise MalformedError("an Ed25519 public key is not canonical, or has a small order")


def _hash_for(curve: ec.EllipticCurve) -> hashes.HashAlgorithm:
    return hashes.SHA256() if isinstance(curve, ec.SECP256R1) else hashes.SHA384()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SigningKey:
    """An Ed25519 private key. It is never printed, logged or put into an error."""

    private: ed25519.Ed25519PrivateKey

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a fresh key from the operating system's randomness."""
        return cls(private=ed25519.Ed25519PrivateKey.generate())

    @classmethod
    def load_pem(cls, pem: bytes, password: bytes | None = None) -> SigningKey:
        """Return the Ed25519 key in a PKCS #8 PEM file, encrypted if ``password`` is given.

        Raises :class:`MalformedError` if it is none, or if the password does not fit.
        """
        if len(pem) > _MAX_PEM:
            raise MalformedError(f"a private key file has at most {_MAX_PEM} bytes")
        try:
            key = serialization.load_pem_private_key(pem, password)
        except TypeError as err:
            need = "is encrypted: a password is needed" if password is None else "is not encrypted"
            raise MalformedError(f"the private key {need}") from err
        except (ValueError, UnsupportedAlgorithm) as err:
            raise MalformedError("not a private key, or not its password") from err
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise MalformedError("signing keys are Ed25519")
        return cls(private=key)

    def to_pem(self, password: bytes | None = None) -> bytes:
        """Write the key as PKCS #8 PEM, encrypted under ``password`` if one is given.

        Raises ``ValueError`` for an empty password, which would protect nothing.
        """
        encryption: serialization.KeySerializationEncryption = (
            serialization.BestAvailableEncryption(password)
            if password is not None
            else serialization.NoEncryption()
        )
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )

    @property
    def public_key(self) -> PublicKey:
        """The public half."""
        spki = self.private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return PublicKey(spki=spki)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over ``message``."""
        return self.private.sign(message)
