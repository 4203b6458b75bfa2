"""A witness: it cosigns a log's checkpoint only if it continues the last one it cosigned (tlog-witness).

The rules are here, with their state on disk and without HTTP; `glasshouse_log.witness_server` serves them.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from glasshouse_attestations.errors import MalformedError

from .checkpoint import Checkpoint
from .cosignature import cosign
from .durable import write_durably
from .errors import (
    ConsistencyError,
    DuplicateSignatureError,
    NoteSignatureError,
    StoreCorruptError,
)
from .merkle import EMPTY_ROOT, check_consistency
from .note import KeyType, Note, NoteSignature, NoteSigner, VerifierKey
from .request import AddCheckpoint
from .storage import LockedDirectory

__all__ = ["Answer", "Witness", "origin_hash"]

_TEXT = "text/plain; charset=utf-8"
_MAX_EVIDENCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the witness answers: an HTTP status, a body, and its content type."""

    status: int
    body: bytes
    content_type: str = _TEXT


def origin_hash(origin: str) -> str:
    """Return the name under which a witness keeps and serves a log's checkpoint."""
    return hashlib.sha256(origin.encode()).hexdigest()


class Witness:
    """One witness's key, the logs it watches, and the last checkpoint it cosigned of each.

    For every log, what it cosigned is one growing tree: a checkpoint is on disk before its cosignature
    leaves, and comparing and replacing are one step. Signed checkpoints that contradict it are kept, each
    beside the one it contradicts, in `<origin hash>/evidence`: as `split-<hash>.txt` if the two convict the
    log by themselves, as `unproved-<hash>.txt` if only a proof is missing. Anybody can send the second
    kind, so it has a limit of its own and cannot keep out the first.
    """

    def __init__(self, signer: NoteSigner, logs: Sequence[VerifierKey], state: Path) -> None:
        """Open the state directory, which no other process may use meanwhile."""
        if signer.type is not KeyType.COSIGNATURE_V1 or any(k.type is not KeyType.ED25519 for k in logs):
            raise ValueError("a witness has a cosignature/v1 key and watches logs with Ed25519 keys")
        self._signer = signer
        self._keys: Mapping[str, list[VerifierKey]] = {
            name: [key for key in logs if key.name == name] for name in {key.name for key in logs}
        }
        self._state = state
        self._directory = LockedDirectory(state)
        self._locks = {name: threading.Lock() for name in self._keys}

    def close(self) -> None:
        """Let another process open the state directory."""
        self._directory.close()

    def add_checkpoint(self, body: bytes, *, now: int) -> Answer:
        """Answer an add-checkpoint request, as of `now` in POSIX seconds."""
        try:
            request = AddCheckpoint.parse(body)
            offered = Checkpoint.parse(request.note.text)
        except MalformedError as err:
            return _refusal(400, str(err))
        if offered.origin not in self._keys:
            return _refusal(404, "this witness does not watch that log")
        try:
            log_lines = self._verified_lines(request.note, offered.origin)
        except (NoteSignatureError, DuplicateSignatureError) as err:
            return _refusal(403, str(err))
        if not log_lines:
            return _refusal(403, "no key of that log signed the checkpoint")
        if request.old_size > offered.size:
            return _refusal(400, "the old size is larger than the checkpoint's")
        with self._locks[offered.origin]:
            return self._compare_and_cosign(request, offered, log_lines, now)

    def latest(self, name: str) -> bytes | None:
        """Return the last cosigned checkpoint of the log with this origin hash, or None."""
        if name not in {origin_hash(origin) for origin in self._keys}:
            return None
        path = self._state / name / "checkpoint"
        return path.read_bytes() if path.exists() else None

    def _verified_lines(self, note: Note, origin: str) -> tuple[NoteSignature, ...]:
        """Return the lines by the log's known keys; all of them must verify, others are ignored."""
        found = note.lines_by(self._keys[origin])
        for key, line in found:
            key.verify(line.signature, note.text)
        return tuple(line for _, line in found)

    def _compare_and_cosign(
        self, request: AddCheckpoint, offered: Checkpoint, log_lines: tuple[NoteSignature, ...], now: int
    ) -> Answer:
        known_note, known = self._load(offered.origin)
        if offered.size == known.size and offered.root != known.root and known_note:
            self._keep_evidence("split", offered.origin, known_note, request.note)
        if request.old_size != known.size:
            return Answer(status=409, body=b"%d\n" % known.size, content_type="text/x.tlog.size")
        try:
            _check_continues(known, offered, request.proof)
        except ConsistencyError as err:
            if known_note and offered.size > known.size:
                self._keep_evidence("unproved", offered.origin, known_note, request.note)
            return _refusal(422, str(err))
        line = cosign(request.note.text, self._signer, time=now)
        note = Note(text=request.note.text, signatures=(*log_lines, line))
        write_durably(self._state / origin_hash(offered.origin) / "checkpoint", note.encode())
        return Answer(status=200, body=line.encode())

    def _load(self, origin: str) -> tuple[Note | None, Checkpoint]:
        data = self.latest(origin_hash(origin))
        if data is None:
            return None, Checkpoint(origin=origin, size=0, root=EMPTY_ROOT)
        try:
            note = Note.parse(data)
            checkpoint = Checkpoint.parse(note.text)
        except MalformedError as err:
            raise StoreCorruptError("the witness's remembered checkpoint does not parse") from err
        if checkpoint.origin != origin:
            raise StoreCorruptError("the witness's remembered checkpoint is of another log")
        return note, checkpoint

    def _keep_evidence(self, kind: str, origin: str, known: Note, offered: Note) -> None:
        """Keep two signed checkpoints that no honest log would both have signed, or that await a proof."""
        directory = self._state / origin_hash(origin) / "evidence"
        path = directory / f"{kind}-{hashlib.sha256(known.text + offered.text).hexdigest()}.txt"
        if path.exists() or len(list(directory.glob(f"{kind}-*"))) >= _MAX_EVIDENCE:
            return
        write_durably(path, known.encode() + b"\n" + offered.encode())


def _check_continues(known: Checkpoint, offered: Checkpoint, proof: Sequence[bytes]) -> None:
    """Prove that the offered tree continues the known one; an empty one is continued by any, unproved."""
    if offered.size == 0 and offered.root != EMPTY_ROOT:
        raise ConsistencyError("the root of an empty tree is the hash of nothing")
    if known.size == 0:
        if proof:
            raise ConsistencyError("nothing can be proved of an empty tree, so its proof is empty")
        return
    check_consistency(known.size, known.root, proof, size=offered.size, root=offered.root)


def _refusal(status: int, reason: str) -> Answer:
    return Answer(status=status, body=reason.encode() + b"\n")
