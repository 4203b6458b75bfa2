"""One model, loaded: an onnxruntime session under explicit limits, and what it takes and gives."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnxruntime  # type: ignore[import-untyped]
from onnxruntime.capi import onnxruntime_pybind11_state as state  # type: ignore[import-untyped]

from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.rpc import Refusal

from .errors import RefusedError
from .self_contained import check_self_contained
from .tensors import Array, DataType

__all__ = ["Model", "TensorSpec", "run_options", "session_options"]

# Nothing onnxruntime would say is fit for a log: its messages quote the model.
_SILENT = 4
_INTRA_OP_THREADS = min(4, len(os.sched_getaffinity(0)))
_SETTINGS = {
    # The other format, flatbuffers, is a second parser that nobody here needs.
    "session.load_model_format": "ONNX",
    # Threads that spin after their work would take the cores from other requests.
    "session.intra_op.allow_spinning": "0",
    "session.inter_op.allow_spinning": "0",
    # A small model must not grow without limit while its constants are folded.
    "optimization.constant_folding_max_output_size_in_bytes": str(256 << 20),
}
_ONNXRUNTIME_ERRORS = (
    state.EngineError,
    state.EPFail,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoModel,
    state.NoSuchFile,
    state.NotImplemented,
    state.RuntimeException,
    MemoryError,
    RuntimeError,
    ValueError,
)

onnxruntime.disable_telemetry_events()
onnxruntime.set_default_logger_severity(_SILENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """An input or output of a model. An extent of -1 is free; so is everything in a shape of no extents,
    which is how onnxruntime shows both a scalar and a tensor of any rank."""

    name: str
    type_: DataType
    shape: tuple[int, ...]

    def check(self, array: Array, type_: DataType) -> None:
        """Return if ``array``, of data type ``type_``, can be this input; otherwise refuses it."""
        if type_ is not self.type_:
            raise RefusedError(Refusal.INPUT_DATATYPE)
        if not self.shape:
            return
        if array.ndim != len(self.shape):
            raise RefusedError(Refusal.INPUT_RANK)
        if any(-1 != want != have for want, have in zip(self.shape, array.shape, strict=True)):
            raise RefusedError(Refusal.INPUT_SHAPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that onnxruntime has loaded, with its tensors in the model's own order.

    Outputs that are not tensors (the maps of some classifiers) are left out: the protocol has none.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    session: Any

    @classmethod
    def load(cls, data: bytes, options: Any) -> Model:
        """Return the model in ``data``; refuses what is none, or is not self-contained.

        ``options`` are :func:`session_options`.
        """
        try:
            check_self_contained(data)
            session = _create_session(data, options)
        except (MalformedError, state.ModelLoadCanceled, *_ONNXRUNTIME_ERRORS):
            raise RefusedError(Refusal.MODEL_INVALID) from None
        inputs = tuple(map(_spec, session.get_inputs()))
        outputs = tuple(spec for spec in map(_spec, session.get_outputs()) if spec is not None)
        if not outputs or any(spec is None for spec in inputs):
            raise RefusedError(Refusal.MODEL_INVALID)
        return cls(inputs=tuple(spec for spec in inputs if spec), outputs=outputs, session=session)

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str], options: Any) -> list[Array]:
        """Return the named outputs for inputs that their specs have admitted.

        Blocks, and releases the interpreter's lock meanwhile. ``options`` are :func:`run_options`.
        """
        try:
            arrays: list[Array] = self.session.run(list(outputs), dict(feeds), run_options=options)
        except _ONNXRUNTIME_ERRORS:
            raise RefusedError(Refusal.INFERENCE_FAILED) from None
        return arrays


def run_options() -> Any:
    """Return options for one run, which ends before its next operator once ``terminate`` is true."""
    options = onnxruntime.RunOptions()
    options.log_severity_level = _SILENT
    return options


def session_options() -> Any:
    """Return options for one load, which ``set_load_cancellation_flag`` stops."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _INTRA_OP_THREADS
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _SILENT
    # The memory of a request goes back when the request ends, instead of to an arena that only grows.
    options.enable_cpu_mem_arena = False
    for name, value in _SETTINGS.items():
        options.add_session_config_entry(name, value)
    return options


def _create_session(data: bytes, options: Any) -> Any:
    session = onnxruntime.InferenceSession(
        data,
        options,
        providers=["CPUExecutionProvider"],
        enable_fallback=0,
        read_config_from_model=0,
    )
    # It keeps the model's bytes, for re-creating the session with other providers, which never happens.
    session._model_bytes = None
    return session


def _spec(argument: Any) -> TensorSpec | None:
    type_ = DataType.of_onnxruntime(argument.type)
    if type_ is None:
        return None
    shape = tuple(extent if isinstance(extent, int) else -1 for extent in argument.shape)
    return TensorSpec(name=argument.name, type_=type_, shape=shape)
