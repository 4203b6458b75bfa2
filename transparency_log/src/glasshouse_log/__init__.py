"""A transparency log after C2SP: what a client needs to check one, offline.

Everything here takes bytes and a time and does no I/O; the servers and the client are in their own
modules (`glasshouse_log.client`, `.server`, `.witness`, `.local`).

>>> from glasshouse_log import TrustPolicy
>>> policy = TrustPolicy.parse(
...     b"log example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\\n"
...     b"quorum none\\n"
... )
>>> policy.logs[0].key.name
'example.com/foo'
"""

from __future__ import annotations

from .checkpoint import Checkpoint
from .merkle import check_consistency, check_inclusion, leaf_hash
from .note import Note, VerifierKey
from .policy import TrustPolicy
from .proof import Proof
from .verification import (
    VerifiedCheckpoint,
    VerifiedEntry,
    check_continues,
    verify_checkpoint,
    verify_entry,
)

__all__ = [
    "Checkpoint",
    "Note",
    "Proof",
    "TrustPolicy",
    "VerifiedCheckpoint",
    "VerifiedEntry",
    "VerifierKey",
    "check_consistency",
    "check_continues",
    "check_inclusion",
    "leaf_hash",
    "verify_checkpoint",
    "verify_entry",
]
