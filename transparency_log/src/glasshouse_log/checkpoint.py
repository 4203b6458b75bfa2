"""Checkpoints: a log's name, size and root as a note's text (c2sp.org/tlog-checkpoint)."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import MalformedCheckpointError, MalformedKeyError
from .merkle import HASH_SIZE
from .notation import MAX_SIZE, decode_decimal, decode_hash, encode_base64
from .note import Note, NoteSigner, check_name

__all__ = ["Checkpoint", "sign_checkpoint"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state of a log: its origin, how many leaves it has, and their root.

    The origin is also the name of the log's key. Extension lines are refused: monitors cannot audit them.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        try:
            check_name(self.origin)
        except MalformedKeyError as err:
            raise MalformedCheckpointError("a checkpoint's origin cannot be the name of a key") from err
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_SIZE:
            raise MalformedCheckpointError("a checkpoint's size or root is out of range")

    @classmethod
    def parse(cls, text: bytes) -> Checkpoint:
        """Return the checkpoint in a note's text: three lines, each ending in a newline."""
        lines = text.split(b"\n")
        if len(lines) != 4 or lines[3]:
            raise MalformedCheckpointError("a checkpoint does not have exactly three lines")
        try:
            origin = lines[0].decode("utf-8")
        except UnicodeDecodeError as err:
            raise MalformedCheckpointError("a checkpoint's origin is not UTF-8") from err
        return cls(
            origin=origin,
            size=decode_decimal(lines[1], "a checkpoint's size", MalformedCheckpointError),
            root=decode_hash(lines[2], "a checkpoint's root", MalformedCheckpointError),
        )

    def encode(self) -> bytes:
        """Write the text as `parse` reads it."""
        return b"%s\n%d\n%s\n" % (self.origin.encode(), self.size, encode_base64(self.root))


def sign_checkpoint(checkpoint: Checkpoint, signer: NoteSigner) -> Note:
    """Return the note with the log's own signature, whose key must carry the log's name."""
    if signer.name != checkpoint.origin:
        raise ValueError(f"the key of {signer.name} does not sign checkpoints of {checkpoint.origin}")
    text = checkpoint.encode()
    return Note(text=text, signatures=(signer.sign_text(text),))
