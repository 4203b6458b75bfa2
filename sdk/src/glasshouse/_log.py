"""What the transparency log and its witnesses say about the statements (steps 4 to 7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from glasshouse_attestations.bundle import Bundle
from glasshouse_log import (
    Checkpoint,
    Note,
    Proof,
    TrustPolicy,
    VerifiedCheckpoint,
    check_continues,
    check_inclusion,
    leaf_hash,
    verify_checkpoint,
)

from ._policy import NO_QUORUM, LogTrust
from .errors import ConsistencyUnavailableError, MalformedError, StaleCheckpointError

__all__ = [
    "Claimed",
    "Remembered",
    "check_continuity",
    "check_freshness",
    "check_log_signature",
    "check_statements_included",
    "parse_proofs",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What a client has seen before: the newest checkpoint of each log, and revocations of any image.

    ``checkpoints`` are signed notes by the text form of the log's key; ``revocations`` are envelopes.
    """

    checkpoints: Mapping[str, bytes] = field(default_factory=dict)
    revocations: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """Each statement's proof, and the one checkpoint that they all lead to. Nothing is verified yet."""

    proofs: tuple[Proof, ...]
    note: bytes
    checkpoint: Checkpoint


def parse_proofs(bundle: Bundle) -> Claimed:
    """Return the bundle's proofs, which must all lead to one and the same signed checkpoint."""
    proofs = tuple(Proof.parse(entry.proof) for entry in bundle.entries)
    notes = {proof.checkpoint for proof in proofs}
    if len(notes) != 1:
        raise MalformedError("the proofs of a bundle lead to different checkpoints")
    note = notes.pop()
    return Claimed(proofs=proofs, note=note, checkpoint=Checkpoint.parse(Note.parse(note).text))


def check_statements_included(bundle: Bundle, claimed: Claimed) -> None:
    """Return if every envelope of the bundle is a leaf of the claimed tree; raises ``InclusionError``.

    The leaf's hash is computed from the very bytes that were parsed and whose signatures are checked.
    """
    size, root = claimed.checkpoint.size, claimed.checkpoint.root
    for entry, proof in zip(bundle.entries, claimed.proofs, strict=True):
        check_inclusion(leaf_hash(entry.envelope), proof.index, proof.hashes, size=size, root=root)


def check_log_signature(note: bytes, policy: TrustPolicy, *, now: datetime) -> str:
    """Return the text form of the log's key if a log of the policy signed the checkpoint."""
    # Without witnesses in the policy, what remains to fail is the log's own signature.
    alone = replace(policy, witnesses=(), groups=(), quorum=NO_QUORUM)
    checkpoint = verify_checkpoint(note, alone, now=now)
    return next(log.key.encode() for log in policy.logs if log.key.name == checkpoint.origin)


def check_freshness(checkpoint: VerifiedCheckpoint, trust: LogTrust, *, now: datetime) -> datetime | None:
    """Return when the quorum last stood behind the checkpoint: the k-th newest cosignature, not too old.

    None if the policy asks for no quorum. Raises :class:`StaleCheckpointError`.
    """
    time = checkpoint.witnessed_at
    if trust.max_checkpoint_age is None or time is None:
        return None
    if now - time > trust.max_checkpoint_age:
        raise StaleCheckpointError(
            f"the quorum cosigned at {time:%Y-%m-%dT%H:%M:%SZ}, more than {trust.max_checkpoint_age} ago"
        )
    return time


def check_continuity(remembered: bytes, checkpoint: VerifiedCheckpoint, bundle: Bundle) -> int:
    """Return the remembered tree's size if the checkpoint's tree begins with it.

    Raises ``RollbackError``, ``SplitViewError``, ``ConsistencyError``, or
    :class:`ConsistencyUnavailableError` if the bundle has no proof from the remembered size.
    """
    size = Checkpoint.parse(Note.parse(remembered).text).size
    proofs = {proof.size: proof.hashes for proof in bundle.consistency}
    if size < checkpoint.size and size not in proofs:
        raise ConsistencyUnavailableError(
            f"the bundle has no proof that leads from {size} entries, which this client has seen,"
            f" to {checkpoint.size}"
        )
    check_continues(remembered, checkpoint, proofs[size] if size < checkpoint.size else ())
    return size
