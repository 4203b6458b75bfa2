"""Signed envelopes after the Dead Simple Signing Envelope, version 1.0.2.

An envelope's encoding is canonical JSON, so that an envelope has one leaf hash in a log. What is verified
is the decoded payload's bytes; nothing is re-serialised first.
"""

from __future__ import annotations

import base64
from collections.abc import Collection
from dataclasses import dataclass

from . import canonical_json
from .document import Document, parse_base64
from .errors import MalformedError, ThresholdError, UntrustedKeyError
from .keys import PublicKey, SigningKey

__all__ = ["MAX_ENVELOPE_SIZE", "Envelope", "Signature", "pre_authentication_encoding", "sign", "verify"]

MAX_ENVELOPE_SIZE = 65_535
_MAX_SIGNATURES = 16
_MAX_SIGNATURE_SIZE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature of an envelope: the id of the key that made it, and its bytes."""

    key_id: str
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A payload, its type, and at least one signature, no two of them by one key."""

    payload: bytes
    payload_type: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, data: bytes) -> Envelope:
        """Return the envelope encoded in ``data``: canonical JSON of at most 65,535 bytes."""
        document = Document(canonical_json.parse(data, max_size=MAX_ENVELOPE_SIZE, max_depth=4), "envelope")
        payload = parse_base64(document.value("payload"), "envelope.payload", max_size=MAX_ENVELOPE_SIZE)
        payload_type = document.text("payloadType", max_length=256)
        signatures = tuple(
            _parse_signature(item) for item in document.documents("signatures", max_count=_MAX_SIGNATURES)
        )
        document.end()
        if not signatures:
            raise MalformedError("envelope.signatures is empty")
        key_ids = [signature.key_id for signature in signatures]
        if key_ids != sorted(set(key_ids)):
            raise MalformedError("envelope.signatures are not sorted by key id, each key once")
        return cls(payload=payload, payload_type=payload_type, signatures=signatures)

    def encode(self) -> bytes:
        """Write the envelope as :meth:`parse` reads it; these bytes are what a log keeps."""
        return canonical_json.encode(
            {
                "payload": _base64(self.payload),
                "payloadType": self.payload_type,
                "signatures": [{"keyid": s.key_id, "sig": _base64(s.signature)} for s in self.signatures],
            },
            max_size=MAX_ENVELOPE_SIZE,
        )


def _parse_signature(document: Document) -> Signature:
    key_id = document.digest("keyid").hex()
    signature = parse_base64(document.value("sig"), "envelope.signatures.sig", max_size=_MAX_SIGNATURE_SIZE)
    document.end()
    return Signature(key_id=key_id, signature=signature)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def pre_authentication_encoding(payload: bytes, payload_type: str) -> bytes:
    """Return the bytes that are signed (DSSE protocol, "Signature Definition")."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, payload_type: str, *signers: SigningKey) -> Envelope:
    """Return an envelope around ``payload`` with one signature by each of ``signers``."""
    if not signers:
        raise ValueError("an envelope needs at least one signer")
    if len({signer.public_key for signer in signers}) != len(signers):
        raise ValueError("an envelope has one signature by each signer")
    message = pre_authentication_encoding(payload, payload_type)
    signatures = [
        Signature(key_id=signer.public_key.key_id, signature=signer.sign(message)) for signer in signers
    ]
    # In one order, so that the same signatures make the same leaf of a log.
    in_order = tuple(sorted(signatures, key=lambda signature: signature.key_id))
    return Envelope(payload=payload, payload_type=payload_type, signatures=in_order)


def verify(
    envelope: Envelope, *, payload_type: str, trusted: Collection[PublicKey], threshold: int = 1
) -> frozenset[PublicKey]:
    """Return the keys of ``trusted`` that signed ``envelope``: at least ``threshold`` distinct ones.

    A signature by a key outside ``trusted`` counts for nothing. One that names a trusted key and does not
    verify refuses the whole envelope.

    Raises :class:`MalformedError` for another payload type, ``SignatureError`` for a broken signature,
    :class:`UntrustedKeyError` if no trusted key signed and :class:`ThresholdError` if too few did.
    """
    if threshold < 1:
        raise ValueError("a threshold is at least 1")
    if envelope.payload_type != payload_type:
        raise MalformedError(f"the envelope's payload type is not {payload_type}")
    by_id = {key.key_id: key for key in trusted}
    message = pre_authentication_encoding(envelope.payload, envelope.payload_type)
    signed = set()
    for signature in envelope.signatures:
        key = by_id.get(signature.key_id)
        if key is not None:
            key.verify(signature.signature, message)
            signed.add(key)
    if not signed:
        raise UntrustedKeyError("no key that the policy trusts has signed the envelope")
    if len(signed) < threshold:
        raise ThresholdError(f"{len(signed)} trusted keys have signed the envelope, {threshold} are needed")
    return frozenset(signed)
