"""Witness cosignatures of checkpoints, version 1 with Ed25519 (c2sp.org/tlog-cosignature)."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import MalformedCosignatureError
from .notation import MAX_SIZE
from .note import KeyType, NoteSignature, NoteSigner, VerifierKey

__all__ = ["Cosignature", "cosign", "verify_cosignature"]

_TIME_SIZE = 8
_SIGNATURE_SIZE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosignature:
    """The `timestamped_signature` structure: when (POSIX seconds, not zero), and 64 bytes of Ed25519."""

    time: int
    signature: bytes

    def __post_init__(self) -> None:
        if not 0 < self.time <= MAX_SIZE:
            raise MalformedCosignatureError("a cosignature's time is not from 1 to 2**63 - 1")

    @classmethod
    def parse(cls, data: bytes) -> Cosignature:
        """Return the cosignature in a note signature's bytes, those after the key id."""
        if len(data) != _TIME_SIZE + _SIGNATURE_SIZE:
            raise MalformedCosignatureError(
                f"a cosignature has {_TIME_SIZE + _SIGNATURE_SIZE} bytes, not {len(data)}"
            )
        return cls(time=int.from_bytes(data[:_TIME_SIZE], "big"), signature=data[_TIME_SIZE:])

    def encode(self) -> bytes:
        """Write the structure as `parse` reads it."""
        return self.time.to_bytes(_TIME_SIZE, "big") + self.signature


def cosign(text: bytes, signer: NoteSigner, *, time: int) -> NoteSignature:
    """Return a witness's signature line over a checkpoint's text, as of `time` in POSIX seconds."""
    if signer.type is not KeyType.COSIGNATURE_V1:
        raise ValueError(f"a key of type {signer.type.name} does not cosign")
    cosignature = Cosignature(time=time, signature=signer.sign(_message(text, time)))
    return NoteSignature(name=signer.name, key_id=signer.verifier_key.key_id, signature=cosignature.encode())


def verify_cosignature(text: bytes, key: VerifierKey, line: NoteSignature) -> int:
    """Return the time at which the witness cosigned exactly this text.

    Raises MalformedCosignatureError or NoteSignatureError.
    """
    if key.type is not KeyType.COSIGNATURE_V1:
        raise ValueError(f"a key of type {key.type.name} does not cosign")
    cosignature = Cosignature.parse(line.signature)
    key.verify(cosignature.signature, _message(text, cosignature.time))
    return cosignature.time


def _message(text: bytes, time: int) -> bytes:
    """Return what a witness signs; the header line keeps it apart from every checkpoint."""
    return b"cosignature/v1\ntime %d\n" % time + text
