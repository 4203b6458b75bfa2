"""Tensors between the Open Inference Protocol (version 2) and numpy.

Everything here is checked against the caller's own words first: contents that do not have exactly the
elements which shape and data type announce are refused before an array is made of them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from glasshouse_attestations.rpc import Refusal
from glasshouse_attestations.wire.inference_pb2 import InferTensorContents

from .errors import RefusedError

__all__ = ["Array", "DataType", "decode_raw", "decode_typed", "encode_raw", "encode_typed"]

_MAX_RANK = 32

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataType:
    """A data type under its three names, and the field of ``InferTensorContents`` that carries it.

    Half-precision floats have no such field and travel raw only. bfloat16 is not here: numpy has no such
    type, so that onnxruntime's Python interface cannot return it.
    """

    name: str
    onnxruntime: str
    numpy: np.dtype[Any]
    contents: str | None

    @staticmethod
    def named(name: str) -> DataType:
        """Return the data type that the protocol calls ``name``; anything else is refused."""
        try:
            return _BY_NAME[name]
        except KeyError:
            raise RefusedError(Refusal.INPUT_DATATYPE) from None

    @staticmethod
    def of_onnxruntime(type_: str) -> DataType | None:
        """Return the data type of a model's tensor, or ``None`` for what the protocol does not have."""
        return _BY_ONNXRUNTIME.get(type_)


def _data_type(name: str, element: str, numpy: str, contents: str | None) -> DataType:
    return DataType(name=name, onnxruntime=f"tensor({element})", numpy=np.dtype(numpy), contents=contents)


_DATA_TYPES = (
    _data_type("BOOL", "bool", "?", "bool_contents"),
    _data_type("INT8", "int8", "<i1", "int_contents"),
    _data_type("INT16", "int16", "<i2", "int_contents"),
    _data_type("INT32", "int32", "<i4", "int_contents"),
    _data_type("INT64", "int64", "<i8", "int64_contents"),
    _data_type("UINT8", "uint8", "<u1", "uint_contents"),
    _data_type("UINT16", "uint16", "<u2", "uint_contents"),
    _data_type("UINT32", "uint32", "<u4", "uint_contents"),
    _data_type("UINT64", "uint64", "<u8", "uint64_contents"),
    _data_type("FP16", "float16", "<f2", None),
    _data_type("FP32", "float", "<f4", "fp32_contents"),
    _data_type("FP64", "double", "<f8", "fp64_contents"),
    _data_type("BYTES", "string", "O", "bytes_contents"),
)
_WIDTHS = {"int_contents": np.dtype("<i4"), "uint_contents": np.dtype("<u4")}
_BY_NAME = {type_.name: type_ for type_ in _DATA_TYPES}
_BY_ONNXRUNTIME = {type_.onnxruntime: type_ for type_ in _DATA_TYPES}


def decode_raw(raw: bytes, *, type_: DataType, shape: Sequence[int]) -> Array:
    """Return the array in ``raw``: little-endian, row-major; each element of BYTES behind its length."""
    count = _count(shape)
    if type_.name == "BYTES":
        return _strings(tuple(islice(_split_strings(raw), count + 1)), count, shape)
    if len(raw) != count * type_.numpy.itemsize:
        raise RefusedError(Refusal.INPUT_CONTENTS)
    if type_.name == "BOOL" and raw.translate(None, b"\0\1"):
        # Any other byte in an array of booleans is undefined behaviour further on.
        raise RefusedError(Refusal.INPUT_CONTENTS)
    return _reshape(np.frombuffer(raw, dtype=type_.numpy), shape)


def encode_raw(array: Array, *, type_: DataType) -> bytes:
    """Write ``array`` as :func:`decode_raw` reads it."""
    if type_.name != "BYTES":
        return np.ascontiguousarray(array, dtype=type_.numpy).tobytes()
    return b"".join(struct.pack("<I", len(item)) + item for item in _encoded_strings(array))


def decode_typed(contents: InferTensorContents, *, type_: DataType, shape: Sequence[int]) -> Array:
    """Return the array in the one field of ``contents`` that the data type uses."""
    if type_.contents is None or any(field.name != type_.contents for field, _ in contents.ListFields()):
        raise RefusedError(Refusal.INPUT_CONTENTS)
    items = getattr(contents, type_.contents)
    count = _count(shape)
    if len(items) != count:
        raise RefusedError(Refusal.INPUT_CONTENTS)
    if type_.name == "BYTES":
        return _strings(tuple(items), count, shape)
    return _reshape(_narrowed(items, type_), shape)


def encode_typed(array: Array, *, type_: DataType) -> InferTensorContents:
    """Write ``array``, whose data type has a field, as :func:`decode_typed` reads it."""
    if type_.contents is None:
        raise ValueError(f"{type_.name} travels raw only")
    items = list(_encoded_strings(array)) if type_.name == "BYTES" else array.ravel().tolist()
    contents = InferTensorContents()
    getattr(contents, type_.contents).extend(items)
    return contents


def _narrowed(items: Sequence[int | float], type_: DataType) -> Array:
    """Return ``items`` as an array; small integers travel as 32 bits and must fit the smaller type."""
    wide = np.array(items, dtype=_WIDTHS.get(type_.contents or "", type_.numpy))
    array = wide.astype(type_.numpy, copy=False)
    if type_.contents in _WIDTHS and not np.array_equal(array, wide):
        raise RefusedError(Refusal.INPUT_CONTENTS)
    return array


def _count(shape: Sequence[int]) -> int:
    # The product of a long shape is a number so large that nothing else would run for hours.
    if len(shape) > _MAX_RANK or any(extent < 0 for extent in shape):
        raise RefusedError(Refusal.INPUT_SHAPE)
    return math.prod(shape)


def _reshape(array: Array, shape: Sequence[int]) -> Array:
    try:
        return array.reshape(tuple(shape))
    except ValueError:
        # More dimensions than numpy has, or extents beyond its indices beside an extent of zero.
        raise RefusedError(Refusal.INPUT_SHAPE) from None


def _split_strings(raw: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(raw):
        end = start + 4 + int.from_bytes(raw[start : start + 4], "little")
        if start + 4 > len(raw) or end > len(raw):
            raise RefusedError(Refusal.INPUT_CONTENTS)
        yield raw[start + 4 : end]
        start = end


def _strings(items: Sequence[bytes], count: int, shape: Sequence[int]) -> Array:
    if len(items) != count:
        raise RefusedError(Refusal.INPUT_CONTENTS)
    array = np.empty(count, dtype=object)
    try:
        # onnxruntime's strings are Unicode in Python.
        array[:] = [item.decode("utf-8") for item in items]
    except UnicodeDecodeError:
        raise RefusedError(Refusal.INPUT_CONTENTS) from None
    return _reshape(array, shape)


def _encoded_strings(array: Array) -> Iterator[bytes]:
    return (str(item).encode("utf-8", "surrogateescape") for item in array.ravel())
