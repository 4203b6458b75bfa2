"""The structures of TPM 2.0 that evidence is made of, read strictly (TPM 2.0 Library, Part 2: Structures).

All numbers are big-endian. A structure is read to its last byte: nothing may follow it, and no size field
may say anything but what is there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum, IntFlag

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ..errors import MalformedError

__all__ = [
    "Attestation",
    "ClockInfo",
    "HashAlgorithm",
    "ObjectAttributes",
    "PublicArea",
    "PublicKey",
    "Selection",
    "Signature",
    "SignatureScheme",
]

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

_MAX_STRUCTURE = 4096
_GENERATED_VALUE = 0xFF544347  # TPM_GENERATED_VALUE: the byte 0xFF and "TCG" (6.2)
_ATTEST_QUOTE = 0x8018  # TPM_ST_ATTEST_QUOTE (6.9)
_ALG_RSA, _ALG_ECC, _ALG_NULL = 0x0001, 0x0023, 0x0010  # TPM_ALG_ID (6.3)
_CURVES: dict[int, type[ec.EllipticCurve]] = {
    0x0003: ec.SECP256R1,
    0x0004: ec.SECP384R1,
}  # TPM_ECC_CURVE (6.4)
_DEFAULT_EXPONENT = 65537  # what an exponent of zero means (12.2.3.5)
_MAX_BANKS = 16
_SELECT_SIZE = 3  # sizeofSelect for the 24 registers of a PC Client TPM (10.6.2)


class HashAlgorithm(Enum):
    """The hash algorithms that a quote may rest on, with their TPM_ALG_ID (6.3); SHA-1 is not one of them."""

    SHA256 = 0x000B
    SHA384 = 0x000C
    SHA512 = 0x000D

    @property
    def label(self) -> str:
        """The name in lower case, as in register names: ``sha256``."""
        return self.name.lower()

    @property
    def size(self) -> int:
        """How many bytes a digest has."""
        return int(self.name.removeprefix("SHA")) // 8

    def digest(self, data: bytes) -> bytes:
        """Return the digest of ``data``."""
        return hashlib.new(self.label, data).digest()


class SignatureScheme(Enum):
    """The signature schemes of attestation keys, with their TPM_ALG_ID (6.3)."""

    RSASSA = 0x0014
    RSAPSS = 0x0016
    ECDSA = 0x0018


class ObjectAttributes(IntFlag):
    """TPMA_OBJECT: what a TPM lets a key be used for (8.3)."""

    FIXED_TPM = 1 << 1
    ST_CLEAR = 1 << 2
    FIXED_PARENT = 1 << 4
    SENSITIVE_DATA_ORIGIN = 1 << 5
    USER_WITH_AUTH = 1 << 6
    ADMIN_WITH_POLICY = 1 << 7
    FIRMWARE_LIMITED = 1 << 8
    SVN_LIMITED = 1 << 9
    NO_DA = 1 << 10
    ENCRYPTED_DUPLICATION = 1 << 11
    RESTRICTED = 1 << 16
    DECRYPT = 1 << 17
    SIGN = 1 << 18
    X509_SIGN = 1 << 19


_ALL_ATTRIBUTES = sum(ObjectAttributes)


class _Reader:
    def __init__(self, data: bytes, name: str) -> None:
        if len(data) > _MAX_STRUCTURE:
            raise MalformedError(f"{name} has more than {_MAX_STRUCTURE} bytes")
        self._data, self._name, self._offset = data, name, 0

    def take(self, size: int) -> bytes:
        end = self._offset + size
        if end > len(self._data):
            raise MalformedError(f"{self._name} is truncated")
        taken = self._data[self._offset : end]
        self._offset = end
        return taken

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        """A TPM2B structure: two bytes of size, then as many bytes (10.4)."""
        return self.take(self.integer(2))

    def end(self) -> None:
        if self._offset != len(self._data):
            raise MalformedError(f"{self._name} is followed by other bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """TPMS_PCR_SELECTION: a bank and the registers of it (10.6.2).

    ``hash_id`` is the TPM_ALG_ID as it stands, since a quote may well be over a bank that is not accepted.
    """

    hash_id: int
    registers: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockInfo:
    """TPMS_CLOCK_INFO: how long the TPM has run and how often it was reset (10.11.1)."""

    clock_ms: int
    reset_count: int
    restart_count: int
    safe: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """TPMS_ATTEST of a quote: what the TPM signs (10.12.12), with TPMS_QUOTE_INFO (10.12.4) taken apart."""

    qualified_signer: bytes
    extra_data: bytes
    clock: ClockInfo
    firmware_version: int
    selections: tuple[Selection, ...]
    pcr_digest: bytes

    @classmethod
    def parse(cls, data: bytes) -> Attestation:
        """Return the attestation in ``data``, which is a quote made by a TPM, to its last byte."""
        reader = _Reader(data, "the quote")
        if reader.integer(4) != _GENERATED_VALUE:
            raise MalformedError("the quote does not begin with TPM_GENERATED_VALUE")
        if reader.integer(2) != _ATTEST_QUOTE:
            raise MalformedError("the attestation is of another type than TPM_ST_ATTEST_QUOTE")
        attestation = cls(
            qualified_signer=reader.sized(),
            extra_data=reader.sized(),
            clock=_read_clock(reader),
            firmware_version=reader.integer(8),
            selections=_read_selections(reader),
            pcr_digest=reader.sized(),
        )
        reader.end()
        return attestation


def _read_clock(reader: _Reader) -> ClockInfo:
    clock_ms, reset_count, restart_count = reader.integer(8), reader.integer(4), reader.integer(4)
    safe = reader.integer(1)
    if safe > 1:
        raise MalformedError("the quote's clock is neither safe nor unsafe")  # TPMI_YES_NO (9.2)
    return ClockInfo(clock_ms=clock_ms, reset_count=reset_count, restart_count=restart_count, safe=safe == 1)


def _read_selections(reader: _Reader) -> tuple[Selection, ...]:
    count = reader.integer(4)
    if count > _MAX_BANKS:
        raise MalformedError(f"the quote selects registers of more than {_MAX_BANKS} banks")
    return tuple(_read_selection(reader) for _ in range(count))


def _read_selection(reader: _Reader) -> Selection:
    hash_id = reader.integer(2)
    if reader.integer(1) != _SELECT_SIZE:
        raise MalformedError(f"the quote's selection of registers does not have {_SELECT_SIZE} bytes")
    bits = int.from_bytes(reader.take(_SELECT_SIZE), "little")
    registers = frozenset(index for index in range(8 * _SELECT_SIZE) if bits >> index & 1)
    return Selection(hash_id=hash_id, registers=registers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """TPMT_SIGNATURE by one of the accepted schemes (11.3.4).

    ``numbers`` are the octets of the RSA signature, or of ECDSA's r and s. ``hash_id`` is the TPM_ALG_ID as
    it stands.
    """

    scheme: SignatureScheme
    hash_id: int
    numbers: tuple[bytes, ...]

    @classmethod
    def parse(cls, data: bytes) -> Signature:
        """Return the signature in ``data``, which it fills."""
        reader = _Reader(data, "the quote's signature")
        scheme = _parse_scheme(reader.integer(2))
        hash_id = reader.integer(2)
        count = 2 if scheme is SignatureScheme.ECDSA else 1
        signature = cls(scheme=scheme, hash_id=hash_id, numbers=tuple(reader.sized() for _ in range(count)))
        reader.end()
        return signature


def _parse_scheme(identifier: int) -> SignatureScheme:
    try:
        return SignatureScheme(identifier)
    except ValueError:
        raise MalformedError("the signature scheme is not RSASSA, RSAPSS or ECDSA") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicArea:
    """TPMT_PUBLIC of a signing key (12.2.4): the key, what its TPM lets it do, and its one scheme."""

    name_algorithm: HashAlgorithm
    attributes: ObjectAttributes
    scheme: SignatureScheme
    scheme_hash_id: int
    key: PublicKey
    name: bytes

    @classmethod
    def parse(cls, data: bytes) -> PublicArea:
        """Return the public area in ``data``, a TPM2B_PUBLIC (12.2.5) and nothing else.

        A key that protects other keys (one with a symmetric algorithm) or has no fixed scheme is refused.
        """
        outer = _Reader(data, "the attestation key's public area")
        encoded = outer.sized()
        outer.end()
        reader = _Reader(encoded, "the attestation key's public area")
        kind = reader.integer(2)
        name_algorithm = _parse_hash(reader.integer(2))
        attributes = _parse_attributes(reader.integer(4))
        reader.sized()  # authPolicy: who may use the key, not what it may sign
        if reader.integer(2) != _ALG_NULL:
            raise MalformedError("the attestation key has a symmetric algorithm, so it is a storage key")
        scheme, scheme_hash_id = _parse_scheme(reader.integer(2)), reader.integer(2)
        key = _read_key(reader, kind)
        reader.end()
        return cls(
            name_algorithm=name_algorithm,
            attributes=attributes,
            scheme=scheme,
            scheme_hash_id=scheme_hash_id,
            key=key,
            name=name_algorithm.value.to_bytes(2, "big") + name_algorithm.digest(encoded),
        )


def _parse_hash(identifier: int) -> HashAlgorithm:
    try:
        return HashAlgorithm(identifier)
    except ValueError:
        raise MalformedError("a hash algorithm is not SHA-256, SHA-384 or SHA-512") from None


def _parse_attributes(bits: int) -> ObjectAttributes:
    if bits & ~_ALL_ATTRIBUTES:
        raise MalformedError("the attestation key has reserved attributes")
    return ObjectAttributes(bits)


def _read_key(reader: _Reader, kind: int) -> PublicKey:
    try:
        if kind == _ALG_RSA:
            return _read_rsa_key(reader)
        if kind == _ALG_ECC:
            return _read_ecc_key(reader)
    except ValueError as err:
        raise MalformedError("the attestation key is no valid public key") from err
    raise MalformedError("the attestation key is neither an RSA nor an ECC key")


def _read_rsa_key(reader: _Reader) -> rsa.RSAPublicKey:
    """The rest of TPMS_RSA_PARMS after the scheme (12.2.3.5), then TPM2B_PUBLIC_KEY_RSA (11.2.4.5)."""
    bits, exponent = reader.integer(2), reader.integer(4) or _DEFAULT_EXPONENT
    modulus = reader.sized()
    if 8 * len(modulus) != bits:
        raise MalformedError("the attestation key's modulus is not as long as it says")
    return rsa.RSAPublicNumbers(exponent, int.from_bytes(modulus, "big")).public_key()


def _read_ecc_key(reader: _Reader) -> ec.EllipticCurvePublicKey:
    """The rest of TPMS_ECC_PARMS after the scheme (12.2.3.6), then TPMS_ECC_POINT (11.2.5.2)."""
    curve = _CURVES.get(reader.integer(2))
    if curve is None:
        raise MalformedError("the attestation key's curve is not NIST P-256 or P-384")
    if reader.integer(2) != _ALG_NULL:
        raise MalformedError("the attestation key has a key derivation scheme")
    x, y = (int.from_bytes(reader.sized(), "big") for _ in range(2))
    return ec.EllipticCurvePublicNumbers(x, y, curve()).public_key()
