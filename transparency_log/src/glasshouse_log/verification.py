"""The verification of a checkpoint, and of an entry's proof, against a trust policy.

Bytes, the policy and the time come in; a verified value comes out, or one named error. No I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from .checkpoint import Checkpoint
from .cosignature import verify_cosignature
from .errors import (
    ConsistencyError,
    FutureCosignatureError,
    LogSignatureError,
    QuorumError,
    RollbackError,
    SplitViewError,
    UnknownLogError,
)
from .merkle import EMPTY_ROOT, check_consistency, check_inclusion, leaf_hash
from .note import Note
from .policy import NO_QUORUM, TrustPolicy
from .proof import Proof

__all__ = [
    "MAX_CLOCK_SKEW",
    "VerifiedCheckpoint",
    "VerifiedEntry",
    "check_continues",
    "verify_checkpoint",
    "verify_entry",
]

MAX_CLOCK_SKEW = timedelta(minutes=5)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedCheckpoint:
    """A checkpoint that the log signed and the policy's quorum of witnesses cosigned.

    `cosigned` lists each known witness's policy name with its time, the newest first. `raw` is the note as
    it was verified, which is what a client remembers and shows as evidence. `witnessed_at` is the k-th newest
    cosignature time, the one the quorum rests on; None under `quorum none`.
    """

    origin: str
    size: int
    root: bytes
    cosigned: tuple[tuple[str, datetime], ...]
    quorum: str
    witnessed_at: datetime | None
    raw: bytes

    @property
    def is_witnessed(self) -> bool:
        """Whether a quorum of witnesses stands behind this; False only under an explicit `quorum none`."""
        return self.witnessed_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedEntry:
    """An entry that is in the log: where, and in which checkpoint."""

    index: int
    checkpoint: VerifiedCheckpoint


def verify_checkpoint(note_bytes: bytes, policy: TrustPolicy, *, now: datetime) -> VerifiedCheckpoint:
    """Return the checkpoint if a log of the policy signed it and the quorum cosigned it.

    1. The note and its text are in their formats. 2. The origin is a log of the policy. 3. Exactly one
    signature line has the log's name, is by a key of the policy, and verifies. 4. Every line by a known
    witness verifies, none twice, none later than `now` plus five minutes; other lines are ignored.
    5. The witnesses make up the quorum.
    """
    if now.tzinfo is None:
        raise ValueError("the time of verification needs a time zone")
    note = Note.parse(note_bytes)
    checkpoint = Checkpoint.parse(note.text)
    _verify_log_signature(note, checkpoint.origin, policy)
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        raise ConsistencyError("the checkpoint of an empty tree has another root than the empty tree's")
    times = _verify_cosignatures(note, policy, now)
    witnessed = policy.quorum_time(times)
    if witnessed is None and policy.quorum != NO_QUORUM:
        found = ", ".join(sorted(times)) or "no known witness"
        raise QuorumError(f"the quorum {policy.quorum!r} is not met: cosigned by {found}")
    newest_first = sorted(times.items(), key=lambda item: (-item[1], item[0]))
    return VerifiedCheckpoint(
        origin=checkpoint.origin,
        size=checkpoint.size,
        root=checkpoint.root,
        cosigned=tuple((name, _moment(time)) for name, time in newest_first),
        quorum=policy.quorum,
        witnessed_at=None if witnessed is None else _moment(witnessed),
        raw=note_bytes,
    )


def verify_entry(entry: bytes, proof: bytes, policy: TrustPolicy, *, now: datetime) -> VerifiedEntry:
    """Return where the log has exactly this entry, proved by a tlog-proof against the policy.

    The leaf hash is computed here from the entry's bytes. Raises what `verify_checkpoint` raises,
    MalformedProofError and InclusionError.
    """
    parsed = Proof.parse(proof)
    checkpoint = verify_checkpoint(parsed.checkpoint, policy, now=now)
    check_inclusion(leaf_hash(entry), parsed.index, parsed.hashes, size=checkpoint.size, root=checkpoint.root)
    return VerifiedEntry(index=parsed.index, checkpoint=checkpoint)


def check_continues(remembered: bytes, checkpoint: VerifiedCheckpoint, proof: Sequence[bytes]) -> None:
    """Prove that a checkpoint continues the one remembered, a note that was verified when it was stored.

    `proof` is the consistency proof between them, empty if their sizes are equal. Raises RollbackError,
    SplitViewError (which keeps both notes), ConsistencyError, or UnknownLogError if it is another log.
    """
    old = Checkpoint.parse(Note.parse(remembered).text)
    if old.origin != checkpoint.origin:
        raise UnknownLogError(f"the remembered checkpoint is of {old.origin!r}, not {checkpoint.origin!r}")
    if checkpoint.size < old.size:
        raise RollbackError(f"the log went from {old.size} entries back to {checkpoint.size}")
    if checkpoint.size == old.size and checkpoint.root != old.root:
        raise SplitViewError(
            f"the log signed two roots for {old.size} entries", remembered=remembered, offered=checkpoint.raw
        )
    if old.size:
        check_consistency(old.size, old.root, proof, size=checkpoint.size, root=checkpoint.root)


def _verify_log_signature(note: Note, origin: str, policy: TrustPolicy) -> None:
    keys = [log.key for log in policy.logs if log.key.name == origin]
    if not keys:
        raise UnknownLogError(f"the checkpoint is of {origin!r}, which is no log of the policy")
    lines = [line for line in note.signatures if line.name == origin]
    if len(lines) != 1:
        raise LogSignatureError(f"the checkpoint has {len(lines)} signature lines of the log, not one")
    known = [key for key in keys if lines[0].names(key)]
    if not known:
        raise LogSignatureError("the checkpoint's log signature is by a key that the policy does not know")
    for key in known:
        key.verify(lines[0].signature, note.text)


def _verify_cosignatures(note: Note, policy: TrustPolicy, now: datetime) -> dict[str, int]:
    """Return the POSIX time at which each known witness cosigned."""
    names = {witness.key: witness.name for witness in policy.witnesses}
    latest = (now + MAX_CLOCK_SKEW - _EPOCH) // timedelta(seconds=1)
    times = {}
    for key, line in note.lines_by(names):
        time = verify_cosignature(note.text, key, line)
        if time > latest:
            raise FutureCosignatureError(f"witness {names[key]!r} cosigned in the future, at {time}")
        times[names[key]] = time
    return times


def _moment(time: int) -> datetime:
    return _EPOCH + timedelta(seconds=time)
