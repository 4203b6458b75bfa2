"""What a reader can do about the errors of verification that are other distributions' classes."""

from __future__ import annotations

from glasshouse_attestations.errors import (
    CertificateExpiredError,
    CollateralError,
    DebugError,
    RevocationListError,
    TcbFloorError,
    TcbStatusError,
)

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
    PlatformError,
    PlatformNotAllowedError,
    PlatformNotSupportedError,
    QuorumError,
    ReportDataMismatchError,
    RollbackError,
    UnknownLogError,
    ValidityError,
)

__all__ = ["HINTS", "hint_for"]

_REFRESH = "ask the operator to refresh the server's bundle"
_RENEW = "ask the operator to renew the collateral that the server sends; check that your clock is right"
_NEWER_FIRMWARE = "ask the operator for newer firmware; only your policy decides what is enough for you"
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
    EvidenceSignatureError: "simulated: compare the launcher's key in your policy with the operator's;"
    " hardware: this is no genuine quote, send the server nothing",
    PlatformError: "compare the platform's table in your policy with what the operator promises",
    CertificateExpiredError: _RENEW,
    CollateralError: _RENEW,
    RevocationListError: _RENEW,
    DebugError: "the operator can read this guest's memory: send it nothing",
    TcbFloorError: _NEWER_FIRMWARE,
    TcbStatusError: _NEWER_FIRMWARE,
    MeasurementMismatchError: "the server runs something else than what was released: send it nothing",
    ReportDataMismatchError: "somebody may stand between you and the enclave: send nothing",
}


def hint_for(err: GlasshouseError) -> str | None:
    """Return what can be done about ``err``: its own hint, or that of its class or the nearest one above."""
    kinds = (kind for kind in type(err).__mro__ if kind in HINTS)
    return err.hint or next((HINTS[kind] for kind in kinds), None)
