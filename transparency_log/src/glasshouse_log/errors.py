"""What can go wrong in the log, one class for each reason.

```
GlasshouseError                         (glasshouse_attestations.errors)
├── MalformedError                      not in the format
│   ├── MalformedKeyError               a verifier key (vkey) or a key file
│   ├── MalformedNoteError              a signed note
│   ├── MalformedCheckpointError        a note's text that is no checkpoint
│   ├── MalformedCosignatureError       a timestamped signature
│   ├── MalformedProofError             a tlog-proof
│   ├── MalformedTileError              a tile, an entry bundle, or a tile's path
│   ├── MalformedTrustPolicyError       a tlog-policy text
│   ├── MalformedRequestError           a witness request
│   └── MalformedEntryError             what was offered to the log is no canonical envelope
├── VerificationError                   well-formed, but not what it claims
│   ├── NoteSignatureError              a signature by a known key does not verify
│   ├── DuplicateSignatureError         one known key signed a note twice
│   ├── UnknownLogError                 the origin is none of the policy's logs
│   ├── LogSignatureError               none, or more than one, signature line of the log
│   ├── FutureCosignatureError          a witness claims a time that has not come
│   ├── QuorumError                     too few witnesses cosigned
│   ├── InclusionError                  the entry is not in the tree at this place
│   ├── ConsistencyError                one tree is not the beginning of the other
│   │   ├── RollbackError               the newer checkpoint is of a smaller tree
│   │   └── SplitViewError              two roots for one size; carries both checkpoints
│   └── AdmissionError                  no admitted key signed the entry
└── UnavailableError                    could not be checked or done
    ├── LogUnavailableError             the log does not answer, or not with success
    ├── WitnessUnavailableError         a witness does not answer, or refuses
    ├── QuorumUnavailableError          too few witnesses answered to publish
    ├── OverloadedError                 the queue of entries is full
    ├── StoreLockedError                another process has the store open
    └── StoreCorruptError               the store does not hold the tree its checkpoint names
```
"""

from __future__ import annotations

from glasshouse_attestations.errors import MalformedError, UnavailableError, VerificationError


class MalformedKeyError(MalformedError):
    """A verifier key or a key file is not in its format, or of an unsupported type."""


class MalformedNoteError(MalformedError):
    """The bytes are not a signed note within the limits."""


class MalformedCheckpointError(MalformedError):
    """The text is not a checkpoint of three canonical lines."""


class MalformedCosignatureError(MalformedError):
    """The signature bytes are not a timestamped Ed25519 signature."""


class MalformedProofError(MalformedError):
    """The bytes are not a tlog-proof."""


class MalformedTileError(MalformedError):
    """The bytes or the path are not those of a tile or an entry bundle."""


class MalformedTrustPolicyError(MalformedError):
    """The text is not a tlog-policy; the message names the line."""


class MalformedRequestError(MalformedError):
    """The body is not an add-checkpoint request."""


class MalformedEntryError(MalformedError):
    """The entry is not a canonical DSSE envelope within the size limit."""


class NoteSignatureError(VerificationError):
    """A signature line names a known key, and its signature does not verify."""


class DuplicateSignatureError(VerificationError):
    """A note carries two signature lines of one known key."""


class UnknownLogError(VerificationError):
    """The checkpoint's origin is none of the logs of the policy."""


class LogSignatureError(VerificationError):
    """Not exactly one signature line carries the log's name, or it is by an unknown key."""


class FutureCosignatureError(VerificationError):
    """A witness's cosignature claims a time later than the verifier's clock allows."""


class QuorumError(VerificationError):
    """The witnesses that cosigned do not make up the policy's quorum."""


class InclusionError(VerificationError):
    """The proof does not show this leaf at this place in this tree."""


class ConsistencyError(VerificationError):
    """The proof does not show the older tree to be the beginning of the newer."""


class RollbackError(ConsistencyError):
    """The checkpoint that should be newer is of a smaller tree than the one remembered."""


class SplitViewError(ConsistencyError):
    """Two checkpoints give different roots for one size: evidence that the log misbehaved."""

    def __init__(self, message: str, *, remembered: bytes, offered: bytes) -> None:
        """Keep both signed notes, since together they are the proof."""
        super().__init__(message)
        self.remembered = remembered
        self.offered = offered


class AdmissionError(VerificationError):
    """None of the keys that the log admits signed this entry."""


class LogUnavailableError(UnavailableError):
    """The log did not answer, or answered that it cannot."""


class WitnessUnavailableError(UnavailableError):
    """The witness did not answer, or did not cosign."""


class QuorumUnavailableError(UnavailableError):
    """Too few witnesses cosigned in time; nothing was published, and nothing is lost."""


class OverloadedError(UnavailableError):
    """More entries wait than the log keeps; try again later."""


class StoreLockedError(UnavailableError):
    """Another process has this store open for writing."""


class StoreCorruptError(UnavailableError):
    """The store does not hold the tree that its own checkpoint names."""
