"""The body of a witness's add-checkpoint call (c2sp.org/tlog-witness)."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import MalformedNoteError, MalformedRequestError
from .merkle import MAX_PROOF_LENGTH
from .notation import decode_decimal, decode_hash, encode_base64
from .note import MAX_NOTE_SIZE, Note

__all__ = ["MAX_REQUEST_SIZE", "AddCheckpoint"]

MAX_REQUEST_SIZE = MAX_NOTE_SIZE + 64 * (MAX_PROOF_LENGTH + 1)
_OLD = b"old "


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheckpoint:
    """A checkpoint for a witness, and the proof that it continues the tree of `old_size`."""

    old_size: int
    proof: tuple[bytes, ...]
    note: Note

    @classmethod
    def parse(cls, body: bytes) -> AddCheckpoint:
        """Return the request in a body. Raises MalformedRequestError."""
        if len(body) > MAX_REQUEST_SIZE:
            raise MalformedRequestError(f"a request has at most {MAX_REQUEST_SIZE} bytes")
        head, separator, note = body.partition(b"\n\n")
        first, *lines = head.split(b"\n")
        if not separator or not first.startswith(_OLD):
            raise MalformedRequestError("a request starts with its old size and has an empty line")
        if len(lines) > MAX_PROOF_LENGTH:
            raise MalformedRequestError(f"a request has at most {MAX_PROOF_LENGTH} hashes")
        try:
            parsed = Note.parse(note)
        except MalformedNoteError as err:
            raise MalformedRequestError(f"the request's checkpoint is malformed: {err}") from err
        return cls(
            old_size=decode_decimal(first[len(_OLD) :], "the old size", MalformedRequestError),
            proof=tuple(decode_hash(line, "a request's hash", MalformedRequestError) for line in lines),
            note=parsed,
        )

    def encode(self) -> bytes:
        """Write the request as `parse` reads it."""
        lines = [_OLD + b"%d" % self.old_size, *(encode_base64(item) for item in self.proof)]
        return b"\n".join(lines) + b"\n\n" + self.note.encode()
