"""The attestation document of the Nitro hypervisor and the COSE_Sign1 around it, parsed but not verified.

Section numbers are those of the "Nitro Enclaves Attestation Process" of the NSM API's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from ..errors import MalformedError
from . import cbor

__all__ = ["MAX_DOCUMENT_SIZE", "PCR_SIZE", "AttestationDocument", "SignedDocument"]

_MAX_PAYLOAD = 16 << 10
MAX_DOCUMENT_SIZE = _MAX_PAYLOAD + 128
PCR_SIZE = 48
_SIGNATURE_SIZE = 96
_TAG_COSE_SIGN1 = b"\xd2"
_PROTECTED = bytes.fromhex("a1013822")  # {1: -35}: the algorithm is ES384
_MAX_CERTIFICATE = 1024
_MAX_PUBLIC_KEY = 1024
_MAX_USER_DATA = 512
_MAX_CABUNDLE = 8
_MAX_TIMESTAMP = 253_402_300_799_999  # the last millisecond of the year 9999
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MODULE_ID = re.compile(r"(i-(?:[0-9a-f]{8}|[0-9a-f]{17}))-enc[0-9a-f]{16}", re.ASCII)
_REQUIRED = frozenset({"module_id", "timestamp", "digest", "pcrs", "certificate", "cabundle"})
_OPTIONAL = frozenset({"public_key", "user_data", "nonce"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedDocument:
    """A COSE_Sign1 (RFC 9052, 4.2) whose protected header says ES384 and nothing else."""

    payload: bytes
    signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> SignedDocument:
        """Return the signed document in ``data``, with or without the tag 18 before it (section 3.1)."""
        parts = cbor.decode(data.removeprefix(_TAG_COSE_SIGN1), max_size=MAX_DOCUMENT_SIZE)
        if not isinstance(parts, tuple) or len(parts) != 4:
            raise MalformedError("a COSE_Sign1 is an array of four")
        protected, unprotected, payload, signature = parts
        if protected != _PROTECTED:
            raise MalformedError("the protected header is not exactly the algorithm ES384")
        if unprotected != {}:
            raise MalformedError("the unprotected header is not empty")
        if not isinstance(payload, bytes) or not isinstance(signature, bytes):
            raise MalformedError("the payload and the signature are byte strings")
        if len(signature) != _SIGNATURE_SIZE:
            raise MalformedError(f"the signature does not have {_SIGNATURE_SIZE} bytes")
        return cls(payload=payload, signature=signature)

    @property
    def signature_halves(self) -> tuple[bytes, bytes]:
        """The numbers r and s of the signature, big-endian and of equal length (RFC 9053, 2.1)."""
        return self.signature[: _SIGNATURE_SIZE // 2], self.signature[_SIGNATURE_SIZE // 2 :]

    @property
    def signed_bytes(self) -> bytes:
        """The Sig_structure over the payload's own bytes, which is what is signed (RFC 9052, 4.4)."""
        header = b"\x84\x6aSignature1" + cbor.encode_bytes(_PROTECTED) + cbor.encode_bytes(b"")
        return header + cbor.encode_bytes(self.payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationDocument:
    """What the hypervisor says of an enclave (section 2.2). ``cabundle`` starts with the root."""

    module_id: str
    instance_id: str
    timestamp: datetime
    pcrs: Mapping[int, bytes]
    certificate: bytes
    cabundle: tuple[bytes, ...]
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None

    @classmethod
    def parse(cls, payload: bytes) -> AttestationDocument:
        """Return the document in ``payload`` if it keeps every rule of section 3.2.2.

        An optional field may also be null, as the hypervisor writes it. A document of NitroTPM, which the
        same root signs, has no ``pcrs`` and another module id, and is refused here.
        """
        fields = cbor.decode(payload, max_size=_MAX_PAYLOAD)
        if not isinstance(fields, dict):
            raise MalformedError("an attestation document is a map")
        _check_names(fields)
        if fields["digest"] != "SHA384":
            raise MalformedError("the digest of an attestation document is SHA384")
        module_id, instance_id = _module_id(fields["module_id"])
        return cls(
            module_id=module_id,
            instance_id=instance_id,
            timestamp=_timestamp(fields["timestamp"]),
            pcrs=_pcrs(fields["pcrs"]),
            certificate=_sized(fields["certificate"], "certificate", 1, _MAX_CERTIFICATE),
            cabundle=_cabundle(fields["cabundle"]),
            public_key=_optional(fields.get("public_key"), "public_key", 1, _MAX_PUBLIC_KEY),
            user_data=_optional(fields.get("user_data"), "user_data", 0, _MAX_USER_DATA),
            nonce=_optional(fields.get("nonce"), "nonce", 0, _MAX_USER_DATA),
        )


def _check_names(fields: dict[int | str, cbor.Value]) -> None:
    missing = sorted(_REQUIRED - fields.keys())
    if missing:
        raise MalformedError(f"the attestation document lacks {', '.join(missing)}")
    if fields.keys() - _REQUIRED - _OPTIONAL:
        raise MalformedError("the attestation document has an unknown field")


def _module_id(value: cbor.Value) -> tuple[str, str]:
    match = _MODULE_ID.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise MalformedError("module_id is not that of an enclave, like i-…-enc…")
    return match[0], match[1]


def _timestamp(value: cbor.Value) -> datetime:
    if not isinstance(value, int) or not 0 < value <= _MAX_TIMESTAMP:
        raise MalformedError("timestamp is not a time in milliseconds")
    return _EPOCH + timedelta(milliseconds=value)


def _pcrs(value: cbor.Value) -> Mapping[int, bytes]:
    if not isinstance(value, dict) or not 0 < len(value) <= 32:
        raise MalformedError("pcrs is not a map of 1 to 32 registers")
    pcrs = {}
    for index, pcr in value.items():
        if not isinstance(index, int) or not 0 <= index < 32:
            raise MalformedError("pcrs has an index that is not from 0 to 31")
        pcrs[index] = _sized(pcr, f"pcrs[{index}]", PCR_SIZE, PCR_SIZE)
    return pcrs


def _cabundle(value: cbor.Value) -> tuple[bytes, ...]:
    if not isinstance(value, tuple) or not 0 < len(value) <= _MAX_CABUNDLE:
        raise MalformedError(f"cabundle is not an array of 1 to {_MAX_CABUNDLE} certificates")
    return tuple(_sized(one, f"cabundle[{index}]", 1, _MAX_CERTIFICATE) for index, one in enumerate(value))


def _optional(value: cbor.Value, name: str, minimum: int, maximum: int) -> bytes | None:
    return None if value is None else _sized(value, name, minimum, maximum)


def _sized(value: cbor.Value, name: str, minimum: int, maximum: int) -> bytes:
    if not isinstance(value, bytes) or not minimum <= len(value) <= maximum:
        size = str(minimum) if minimum == maximum else f"{minimum} to {maximum}"
        raise MalformedError(f"{name} is not a byte string of {size} bytes")
    return value
