"""Offline proofs that a log has an entry (c2sp.org/tlog-proof)."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import MalformedProofError
from .merkle import HASH_SIZE, MAX_PROOF_LENGTH
from .notation import MAX_SIZE, decode_base64, decode_decimal, decode_hash, encode_base64

__all__ = ["MAX_PROOF_SIZE", "Proof"]

MAX_PROOF_SIZE = 65_535
_HEADER = b"c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """An entry's index, its inclusion proof, and the signed checkpoint it leads to, verbatim.

    `extra` is opaque data that nothing authenticates. A parsed proof proves nothing yet:
    `glasshouse_log.verify_entry` checks it against a policy.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index < MAX_SIZE:
            raise MalformedProofError("a proof's index is out of range")
        if len(self.hashes) > MAX_PROOF_LENGTH or any(len(item) != HASH_SIZE for item in self.hashes):
            raise MalformedProofError(f"a proof has at most {MAX_PROOF_LENGTH} hashes of {HASH_SIZE} bytes")

    @classmethod
    def parse(cls, data: bytes) -> Proof:
        """Return the proof in `data`: at most 65,535 bytes, in its one canonical form."""
        if len(data) > MAX_PROOF_SIZE:
            raise MalformedProofError(f"a proof has at most {MAX_PROOF_SIZE} bytes, this one has {len(data)}")
        head, separator, checkpoint = data.partition(b"\n\n")
        header, *lines = head.split(b"\n")
        if not separator or header != _HEADER:
            raise MalformedProofError(f"not a proof of the version {_HEADER.decode()}")
        extra = None
        if lines and lines[0].startswith(b"extra "):
            extra = decode_base64(lines.pop(0)[len(b"extra ") :], "a proof's extra data", MalformedProofError)
        if not lines or not lines[0].startswith(b"index "):
            raise MalformedProofError("a proof has no index line")
        index = decode_decimal(lines.pop(0)[len(b"index ") :], "a proof's index", MalformedProofError)
        if len(lines) > MAX_PROOF_LENGTH:
            raise MalformedProofError(f"a proof has more than {MAX_PROOF_LENGTH} hashes")
        hashes = tuple(decode_hash(line, "a proof's hash", MalformedProofError) for line in lines)
        return cls(index=index, hashes=hashes, checkpoint=checkpoint, extra=extra)

    def encode(self) -> bytes:
        """Write the proof as `parse` reads it."""
        lines = [_HEADER]
        if self.extra is not None:
            lines.append(b"extra " + encode_base64(self.extra))
        lines.append(b"index %d" % self.index)
        lines.extend(encode_base64(item) for item in self.hashes)
        return b"\n".join(lines) + b"\n\n" + self.checkpoint
