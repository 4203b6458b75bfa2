"""What the server's machine-readable refusals are for a caller of the SDK."""

from __future__ import annotations

from glasshouse_attestations.rpc import Refusal

from .errors import (
    AccessError,
    BusyError,
    InferenceError,
    InputContentsError,
    InputDatatypeError,
    InputNameError,
    InputRankError,
    InputShapeError,
    ModelNotFoundError,
    ModelRefusedError,
    OutputNameError,
    RefusedError,
    RequestTooLargeError,
)

__all__ = ["ERRORS", "refused"]

ERRORS: dict[Refusal, type[RefusedError]] = {
    Refusal.API_KEY_REQUIRED: AccessError,
    Refusal.API_KEY_UNKNOWN: AccessError,
    Refusal.NAMESPACE_FORBIDDEN: AccessError,
    Refusal.MODEL_NOT_FOUND: ModelNotFoundError,
    Refusal.MODEL_INVALID: ModelRefusedError,
    Refusal.MODEL_TOO_LARGE: ModelRefusedError,
    Refusal.MODELS_TOO_MANY: ModelRefusedError,
    Refusal.MODELS_TOO_LARGE: ModelRefusedError,
    Refusal.MODEL_PRELOADED: ModelRefusedError,
    Refusal.INPUT_NAME: InputNameError,
    Refusal.INPUT_SHAPE: InputShapeError,
    Refusal.INPUT_RANK: InputRankError,
    Refusal.INPUT_DATATYPE: InputDatatypeError,
    Refusal.INPUT_CONTENTS: InputContentsError,
    Refusal.OUTPUT_NAME: OutputNameError,
    Refusal.REQUEST_TOO_LARGE: RequestTooLargeError,
    Refusal.RESPONSE_TOO_LARGE: RequestTooLargeError,
    Refusal.BUSY: BusyError,
    Refusal.INFERENCE_FAILED: InferenceError,
    Refusal.INTERNAL: InferenceError,
}
"""The class of each refusal that a caller would handle by itself; the others are RefusedError."""

_BY_REASON = {refusal.reason: refusal for refusal in Refusal}


def refused(reason: str | bytes) -> RefusedError:
    """Return the error for the reason that a server gave; its text is ours, never the server's."""
    refusal = _BY_REASON.get(reason) if isinstance(reason, str) else None
    if refusal is None:
        return RefusedError("the server refused for a reason that this version does not know", reason="")
    return ERRORS.get(refusal, RefusedError)(refusal.text, reason=refusal.reason)
