"""What a reader can do about the errors of verification that are other distributions' classes."""

from __future__ import annotations

from .errors import (
    ConsistencyError,
    EvidenceSignatureError,
    FutureCosignatureError,
    GlasshouseError,
    InclusionError,
    LogSignatureError,
    MalformedError,
    MeasurementMismatchError,
    NoteSignatureError,
    PlatformNotAllowedError,
    PlatformNotSupportedError,
    QuorumError,
    ReportDataMismatchError,
    RollbackError,
    UnknownLogError,
    ValidityError,
)

__all__ = ["HINTS"]

_REFRESH = "ask the operator to refresh the server's bundle"
_NOT_THE_LOGS = "compare the log in your policy with the one that the maintainers publish"

HINTS: dict[type[GlasshouseError], str] = {
    MalformedError: "the server speaks another version, or is none of ours: update this client",
    InclusionError: "the server shows a statement that is not in the log: send it nothing",
    LogSignatureError: _NOT_THE_LOGS,
    NoteSignatureError: _REFRESH,
    UnknownLogError: _NOT_THE_LOGS,
    QuorumError: f"{_REFRESH}, or compare the witnesses in your policy",
    FutureCosignatureError: "check that your clock is right",
    RollbackError: f"{_REFRESH}: this client has seen a newer state of the log",
    ConsistencyError: "keep the server's bundle and tell the log's monitors: its history may have changed",
    ValidityError: "check that your clock is right; the operator has to run a release that is valid now",
    PlatformNotAllowedError: "only your policy decides which platforms are enough for you",
    PlatformNotSupportedError: "update this client once a version supports that platform",
    EvidenceSignatureError: "compare the launcher's key in your policy with the operator's",
    MeasurementMismatchError: "the server runs something else than what was released: send it nothing",
    ReportDataMismatchError: "somebody may stand between you and the enclave: send nothing",
}
