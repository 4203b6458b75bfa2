"""What can go wrong for a client, one class for each reason, and the step of verification it belongs to.

::

    GlasshouseError                         .hint: what to do; .verdict: how far verification had come
    ├── MalformedError                      1  evidence, bundle or configuration is not in its format
    │   ├── PolicyError                        trust.toml is not a policy
    │   └── AnswerError                        the server's answer is not one to the question asked
    ├── VerificationError
    │   ├── ReleaseError                    2  not exactly one release, of this source and by the maintainers
    │   ├── AuditError                      3  fewer organisations than required reproduced the release
    │   ├── InclusionError                  4  a statement is not in the log
    │   ├── LogSignatureError               5  the log did not sign the checkpoint
    │   ├── UnknownLogError                 5  the checkpoint is of no log of the policy
    │   ├── NoteSignatureError              5  (6) a signature by a known log (witness) does not verify
    │   ├── QuorumError                     6  too few witnesses cosigned
    │   ├── FutureCosignatureError          6  a witness claims a time that has not come
    │   ├── StaleCheckpointError            7  the newest quorum of cosignatures is too old
    │   ├── ConsistencyError                7  the checkpoint does not continue the one remembered
    │   │   ├── RollbackError               7  it is of a smaller tree
    │   │   └── SplitViewError              7  it has another root for the same size; carries both notes
    │   ├── RevokedError                    8  the maintainers, or enough auditors, revoked the image
    │   ├── ValidityError                   8  outside the release's period of validity
    │   ├── PlatformNotAllowedError         9  the policy does not accept evidence of this platform
    │   ├── EvidenceSignatureError          9  the platform did not sign the quote
    │   ├── PlatformError                   9  the platform is not in a state that the policy trusts
    │   ├── MeasurementMismatchError       10  the registers are not the release's reference values
    │   ├── ReportDataMismatchError        11  the quote binds another channel, key, configuration or nonce
    │   ├── ConfigurationRefusedError      12  the operator's configuration is outside the policy
    │   ├── CertificateChangedError            the server's key is no longer the one that was attested
    │   ├── DigestMismatchError                the server received another model than was sent
    │   └── ReceiptError                       a receipt is not for these tensors, this nonce or this model
    └── UnavailableError                    could not be checked or done
        ├── ConfigurationError                 the client lacks an address, a policy or the like
        ├── PlatformNotSupportedError       9  this version cannot verify evidence of this platform
        ├── BundleMissingError              1  the server staples no bundle
        ├── ConsistencyUnavailableError     7  no proof leads from the remembered checkpoint to this one
        ├── MemoryUnusableError             7  what this client remembers cannot be read or kept
        ├── ServerUnavailableError             the server does not answer
        ├── DeadlineError                      it did not answer in time
        └── RefusedError                       it answered that it will not, and why: .reason
            ├── AccessError                    the API key is missing, unknown, or for another namespace
            ├── ModelNotFoundError
            ├── ModelRefusedError              the model is too large, not loadable, or one too many
            ├── InputError (ValueError)        the inputs do not fit the model
            │   ├── InputNameError
            │   ├── InputShapeError
            │   ├── InputRankError
            │   ├── InputDatatypeError
            │   └── InputContentsError
            ├── OutputNameError (ValueError)   the model has no output of that name
            ├── RequestTooLargeError
            ├── BusyError
            └── InferenceError                 the model failed on these inputs

``PlatformError`` has one subclass for each step of hardware evidence (certificates, revocation, firmware,
debugging and so on): :mod:`glasshouse_attestations.errors` draws them.
"""

from __future__ import annotations

from glasshouse_attestations.errors import (
    EvidenceSignatureError,
    GlasshouseError,
    MalformedError,
    MeasurementMismatchError,
    PlatformError,
    PlatformNotAllowedError,
    PlatformNotSupportedError,
    ReportDataMismatchError,
    SignatureError,
    ThresholdError,
    UnavailableError,
    UntrustedKeyError,
    ValidityError,
    VerificationError,
)
from glasshouse_log.errors import (
    ConsistencyError,
    FutureCosignatureError,
    InclusionError,
    LogSignatureError,
    NoteSignatureError,
    QuorumError,
    RollbackError,
    SplitViewError,
    UnknownLogError,
)

__all__ = [
    "AccessError",
    "AnswerError",
    "AuditError",
    "BundleMissingError",
    "BusyError",
    "CertificateChangedError",
    "ConfigurationError",
    "ConfigurationRefusedError",
    "ConsistencyError",
    "ConsistencyUnavailableError",
    "DeadlineError",
    "DigestMismatchError",
    "EvidenceSignatureError",
    "FutureCosignatureError",
    "GlasshouseError",
    "InclusionError",
    "InferenceError",
    "InputContentsError",
    "InputDatatypeError",
    "InputError",
    "InputNameError",
    "InputRankError",
    "InputShapeError",
    "LogSignatureError",
    "MalformedError",
    "MeasurementMismatchError",
    "MemoryUnusableError",
    "ModelNotFoundError",
    "ModelRefusedError",
    "NoteSignatureError",
    "OutputNameError",
    "PlatformError",
    "PlatformNotAllowedError",
    "PlatformNotSupportedError",
    "PolicyError",
    "QuorumError",
    "ReceiptError",
    "RefusedError",
    "ReleaseError",
    "ReportDataMismatchError",
    "RequestTooLargeError",
    "RevokedError",
    "RollbackError",
    "ServerUnavailableError",
    "SignatureError",
    "SplitViewError",
    "StaleCheckpointError",
    "ThresholdError",
    "UnavailableError",
    "UnknownLogError",
    "UntrustedKeyError",
    "ValidityError",
    "VerificationError",
]


class PolicyError(MalformedError):
    """The text is not a policy; the message names the field."""

    hint = "docs/sdk.md describes trust.toml field by field"


class AnswerError(MalformedError):
    """The server's answer is not well-formed, or not one to the question that was asked."""


class ReleaseError(VerificationError):
    """The bundle has no single release, of the policy's source, that enough maintainers signed."""

    hint = "the server runs something that your policy's maintainers did not release: send it nothing"


class AuditError(VerificationError):
    """Fewer organisations of the policy than it requires have reproduced the release."""

    hint = "wait for more audits of this release, or ask the operator to refresh the server's bundle"


class StaleCheckpointError(VerificationError):
    """The newest quorum of cosignatures is older than the policy's ``max_checkpoint_age``."""

    hint = "ask the operator to refresh the server's bundle, and check that your clock is right"


class RevokedError(VerificationError):
    """The image is revoked. ``revocations`` holds the signed envelopes that say so."""

    hint = "do not use this server until it runs another release"

    def __init__(self, message: str, *, revocations: tuple[bytes, ...]) -> None:
        """Keep the envelopes: they are proof enough for anybody with the same policy."""
        super().__init__(message)
        self.revocations = revocations


class ConfigurationRefusedError(VerificationError):
    """What the operator configured is outside what the policy accepts."""

    hint = "ask the operator for other limits, or change [configuration] in your policy"


class CertificateChangedError(VerificationError):
    """The server no longer has the TLS key that was attested; nothing was sent to the new one."""

    hint = "the server may have been restarted: open a new connection, which verifies it anew"


class DigestMismatchError(VerificationError):
    """The enclave received other bytes than were sent."""


class ReceiptError(VerificationError):
    """The receipt is genuine, but not for these tensors, this nonce or this model."""


class ConfigurationError(UnavailableError):
    """The client does not know where to connect or whom to trust."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class BundleMissingError(UnavailableError):
    """The server staples no bundle, so that nothing about its image can be checked."""

    hint = "ask the operator to give the server the release's bundle"


class ConsistencyUnavailableError(UnavailableError):
    """The bundle has no proof that leads from the remembered checkpoint to its own."""

    hint = "ask the operator to refresh the server's bundle; it proves consistency with the log's last sizes"


class MemoryUnusableError(UnavailableError):
    """What this client remembers of the log cannot be read or kept; it is never started anew silently."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class ServerUnavailableError(UnavailableError):
    """The server does not answer, or its answer broke off."""


class DeadlineError(UnavailableError):
    """The server did not answer within the time allowed."""


class RefusedError(UnavailableError):
    """The server did not do what it was asked to; ``reason`` is its machine-readable word for why."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class AccessError(RefusedError):
    """The call needs an API key, or another one."""

    hint = "api_key=… or GLASSHOUSE_API_KEY: the operator gives out a key for each namespace"


class ModelNotFoundError(RefusedError):
    """The server has no model of that name."""


class ModelRefusedError(RefusedError):
    """The server does not take the model (too large, not loadable, one too many), or keeps the one it has."""


class InputError(RefusedError, ValueError):
    """The inputs do not fit the model. Found by the client before sending, or else by the server."""


class InputNameError(InputError):
    """The inputs' names or number are not the model's."""


class InputShapeError(InputError):
    """An input's shape does not fit the model."""


class InputRankError(InputError):
    """An input has another number of dimensions than the model's."""


class InputDatatypeError(InputError):
    """An input's element type is not the model's, and converting it could lose something."""


class InputContentsError(InputError):
    """An input's contents do not fit its own shape and type."""


class OutputNameError(RefusedError, ValueError):
    """The model has no output of that name."""


class RequestTooLargeError(RefusedError, ValueError):
    """The request, or its answer, is larger than the server's configuration allows."""


class BusyError(RefusedError):
    """The server has as many requests under way as it allows."""

    hint = "try again later"


class InferenceError(RefusedError):
    """The model failed on these inputs, or the server itself did."""
