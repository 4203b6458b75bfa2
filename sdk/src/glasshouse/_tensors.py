"""Tensors between what callers have (numpy, torch, lists) and the Open Inference Protocol, version 2.

Arrays keep their element type and shape, and must have the model's. Lists have neither: they take the
model's; integers may become floats, but no value may leave the type's range.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from glasshouse_attestations.receipt import Tensor

from .errors import (
    AnswerError,
    InputContentsError,
    InputDatatypeError,
    InputError,
    InputNameError,
    InputRankError,
    InputShapeError,
)

if TYPE_CHECKING:
    import torch

__all__ = ["Inputs", "Output", "Outputs", "TensorSpec", "encode_inputs"]

Array: TypeAlias = npt.NDArray[Any]
Inputs: TypeAlias = "Array | torch.Tensor | Sequence[Any] | Mapping[str, Any] | float"

# As many as numpy has.
_MAX_RANK = 64
_DATATYPES = {
    "BOOL": "?",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_STRINGS = "BYTES"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """What a model says of an input or output. An extent of -1 is free, and so is all of an empty shape."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def encode_inputs(inputs: Inputs, specs: Sequence[TensorSpec]) -> tuple[Tensor, ...]:
    """Return the inputs as they travel, in the model's order, checked against what the model says.

    ``inputs`` is one array, a list of arrays in the model's order, or a mapping from names. An array is of
    numpy or torch, or a list, nested or flat. Raises an :class:`InputError` of the kind that is wrong.
    """
    named = _by_name(inputs, specs)
    if named.keys() != {spec.name for spec in specs}:
        raise _error(InputNameError, f"the model's inputs are {_names(specs)}, given were {_list(named)}")
    return tuple(_encode(named[spec.name], spec) for spec in specs)


def _by_name(inputs: Inputs, specs: Sequence[TensorSpec]) -> Mapping[str, Any]:
    if isinstance(inputs, Mapping):
        return inputs
    several = list(cast(Sequence[Any], inputs)) if _is_several(inputs, len(specs)) else [inputs]
    if len(several) != len(specs):
        raise _error(InputNameError, f"the model's inputs are {_names(specs)}, given were {len(several)}")
    return {spec.name: value for spec, value in zip(specs, several, strict=True)}


def _is_several(inputs: Inputs, count: int) -> bool:
    """Whether a list is one of inputs: of arrays, or of lists where the model has as many inputs."""
    if not isinstance(inputs, (list, tuple)):
        return False
    if any(isinstance(item, np.ndarray) or _is_torch(item) for item in inputs):
        return True
    return count > 1 and len(inputs) == count and all(isinstance(item, (list, tuple)) for item in inputs)


def _encode(value: Any, spec: TensorSpec) -> Tensor:
    if _is_torch(value):
        array = _from_torch(value, spec)
    elif isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
    else:
        array = _from_list(value, spec)
    _check_datatype(array, spec)
    _check_shape(array.shape, spec)
    return Tensor(
        name=spec.name, datatype=spec.datatype, shape=array.shape, contents=_contents(array, spec.datatype)
    )


def _is_torch(value: Any) -> bool:
    # A tensor can only be one if its caller has imported torch; the client never does so unasked.
    torch_module = sys.modules.get("torch")
    return torch_module is not None and isinstance(value, torch_module.Tensor)


def _from_torch(value: Any, spec: TensorSpec) -> Array:
    try:
        array: Array = value.detach().cpu().resolve_conj().resolve_neg().numpy()
    except (TypeError, RuntimeError) as err:
        raise _error(
            InputDatatypeError, f"input {spec.name} is a {value.dtype} tensor, which has no numpy form"
        ) from err
    return array


def _from_list(value: Any, spec: TensorSpec) -> Array:
    """Make an array of a list: of the model's type, and of its shape if at most one extent is free."""
    try:
        array = np.array(value, dtype=object if spec.datatype == _STRINGS else None)
    except (ValueError, OverflowError) as err:
        raise _error(InputShapeError, f"input {spec.name} is a list of uneven lists") from err
    if spec.datatype != _STRINGS:
        array = _convert(array, spec)
    is_flat = array.ndim == 1 and len(spec.shape) != 1
    return array.reshape(_fill_in(array.size, spec)) if is_flat and spec.shape else array


def _convert(array: Array, spec: TensorSpec) -> Array:
    wanted = _numpy_type(spec)
    if array.size == 0:
        return array.astype(wanted)
    is_number = array.dtype.kind in "iuf" and wanted.kind in "iuf"
    is_kind_kept = array.dtype.kind == wanted.kind or (is_number and array.dtype.kind in "iu")
    if not is_kind_kept:
        raise _error(
            InputDatatypeError, f"input {spec.name} is {spec.datatype}, a list of {array.dtype} was given"
        )
    if wanted.kind in "iu":
        bounds = np.iinfo(wanted)
        if int(array.min()) < bounds.min or int(array.max()) > bounds.max:
            raise _error(InputDatatypeError, f"input {spec.name} has a number outside {spec.datatype}")
    with np.errstate(over="ignore"):
        converted = array.astype(wanted)
    if wanted.kind == "f" and not np.array_equal(np.isfinite(array), np.isfinite(converted)):
        raise _error(InputDatatypeError, f"input {spec.name} has a number outside {spec.datatype}")
    return converted


def _fill_in(size: int, spec: TensorSpec) -> tuple[int, ...]:
    """Return the shape of ``size`` elements that the model's shape determines."""
    known = math.prod(extent for extent in spec.shape if extent != -1)
    free = spec.shape.count(-1)
    if free > 1:
        raise _error(
            InputShapeError, f"input {spec.name} has {free} free extents: give an array, not a flat list"
        )
    if known == 0 or size % known or (free == 0 and size != known):
        raise _error(InputShapeError, f"{size} elements do not fill the shape {_shape(spec)} of {spec.name}")
    return tuple(size // known if extent == -1 else extent for extent in spec.shape)


def _check_datatype(array: Array, spec: TensorSpec) -> None:
    if spec.datatype == _STRINGS:
        if array.dtype.kind not in "OSU":
            raise _error(InputDatatypeError, f"input {spec.name} is BYTES, {array.dtype} was given")
    elif array.dtype.newbyteorder("<") != _numpy_type(spec).newbyteorder("<"):
        raise _error(InputDatatypeError, f"input {spec.name} is {spec.datatype}, {array.dtype} was given")


def _check_shape(shape: tuple[int, ...], spec: TensorSpec) -> None:
    if not spec.shape:
        return
    if len(shape) != len(spec.shape):
        raise _error(
            InputRankError, f"input {spec.name} has {len(spec.shape)} dimensions, {len(shape)} were given"
        )
    if any(want not in (-1, have) for want, have in zip(spec.shape, shape, strict=True)):
        raise _error(InputShapeError, f"input {spec.name} has the shape {_shape(spec)}, {shape} was given")


def _contents(array: Array, datatype: str) -> bytes:
    if datatype == _STRINGS:
        return b"".join(struct.pack("<I", len(item)) + item for item in map(_string, array.ravel()))
    return np.ascontiguousarray(array, dtype=np.dtype(_DATATYPES[datatype])).tobytes()


def _string(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode("utf-8")
    if isinstance(item, bytes):
        return item
    raise _error(InputContentsError, "an input of strings has an element that is neither str nor bytes")


def _numpy_type(spec: TensorSpec) -> np.dtype[Any]:
    try:
        return np.dtype(_DATATYPES[spec.datatype])
    except KeyError:
        raise _error(InputDatatypeError, f"this version cannot send {spec.datatype[:16]!r} tensors") from None


def _error(kind: type[InputError], message: str) -> InputError:
    return kind(message, reason="")


def _names(specs: Sequence[TensorSpec]) -> str:
    return _list(spec.name for spec in specs)


def _list(names: Any) -> str:
    return ", ".join(repr(str(name)[:64]) for name in names) or "none"


def _shape(spec: TensorSpec) -> str:
    return "[" + ", ".join("any" if extent == -1 else str(extent) for extent in spec.shape) + "]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output of a model: its name, protocol data type, shape and raw contents."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    contents: bytes

    def to_tensor(self) -> Tensor:
        """Return the output as receipts digest it."""
        return Tensor(name=self.name, datatype=self.datatype, shape=self.shape, contents=self.contents)

    def as_numpy(self) -> Array:
        """Return a fresh numpy array; of BYTES, an array of ``bytes`` objects."""
        if self.datatype == _STRINGS:
            items = np.empty(math.prod(self.shape), dtype=object)
            items[:] = list(_split_strings(self.contents))
            return items.reshape(self.shape)
        kind = np.dtype(_DATATYPES[self.datatype])
        return np.frombuffer(self.contents, dtype=kind).reshape(self.shape).astype(kind.newbyteorder("="))

    def as_torch(self) -> torch.Tensor:
        """Return a torch tensor with memory of its own. Raises ``ImportError`` without torch."""
        import torch

        return torch.from_numpy(self.as_numpy())

    def as_flat(self) -> list[Any]:
        """Return the elements in row-major order, as Python's own numbers, booleans or ``bytes``."""
        return cast("list[Any]", self.as_numpy().ravel().tolist())


class Outputs(Sequence[Output]):
    """The outputs of one prediction, by position or by name."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self._outputs = tuple(outputs)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(output.name for output in self._outputs)

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return self._outputs[key]
        for output in self._outputs:
            if output.name == key:
                return output
        raise KeyError(key)

    def __len__(self) -> int:
        return len(self._outputs)

    def __iter__(self) -> Iterator[Output]:
        return iter(self._outputs)

    def __repr__(self) -> str:
        described = (f"{each.name}: {each.datatype}{list(each.shape)}" for each in self._outputs)
        return f"<Outputs {', '.join(described)}>"


def check_output(output: Output) -> Output:
    """Return ``output`` if its contents have exactly the elements that its shape and type announce."""
    if any(extent < 0 for extent in output.shape) or len(output.shape) > _MAX_RANK:
        raise AnswerError("the server's answer has an impossible shape")
    count = math.prod(output.shape)
    if output.datatype == _STRINGS:
        found = sum(1 for _ in _split_strings(output.contents))
    elif output.datatype in _DATATYPES:
        size = np.dtype(_DATATYPES[output.datatype]).itemsize
        found = len(output.contents) // size if len(output.contents) % size == 0 else -1
    else:
        raise AnswerError("the server's answer has an unknown data type")
    if found != count:
        raise AnswerError("the contents of the server's answer do not fit their shape")
    return output


def _split_strings(raw: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(raw):
        end = start + 4 + int.from_bytes(raw[start : start + 4], "little")
        if start + 4 > len(raw) or end > len(raw):
            raise AnswerError("the strings of the server's answer break off")
        yield raw[start + 4 : end]
        start = end
