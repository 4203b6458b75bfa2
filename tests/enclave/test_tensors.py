"""Arrays and contents of the protocol are inverses of each other, and other contents are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_attestations.rpc import Refusal
from glasshouse_attestations.wire.inference_pb2 import InferTensorContents
from glasshouse_enclave.errors import RefusedError
from glasshouse_enclave.tensors import DataType, decode_raw, decode_typed, encode_raw, encode_typed

_INTEGERS = [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
_NAMES = ["BOOL", *_INTEGERS, "FP16", "FP32", "FP64", "BYTES"]
_SHAPES = st.lists(st.integers(0, 4), max_size=4)


@st.composite
def _arrays(draw: st.DrawFn) -> tuple[DataType, np.ndarray[Any, Any]]:
    type_ = DataType.named(draw(st.sampled_from(_NAMES)))
    shape = tuple(draw(_SHAPES))
    count = int(np.prod(shape))
    if type_.name == "BYTES":
        texts = draw(st.lists(st.text(max_size=5), min_size=count, max_size=count))
        array: np.ndarray[Any, Any] = np.empty(count, dtype=object)
        array[:] = texts
        return type_, array.reshape(shape)
    size = count * type_.numpy.itemsize
    raw = draw(st.binary(min_size=size, max_size=size))
    if type_.name == "BOOL":
        raw = bytes(byte & 1 for byte in raw)
    return type_, np.frombuffer(raw, type_.numpy).reshape(shape)


@given(_arrays())
def test_raw_contents_are_read_as_they_were_written(case: tuple[DataType, np.ndarray[Any, Any]]) -> None:
    type_, array = case
    raw = encode_raw(array, type_=type_)
    again = decode_raw(raw, type_=type_, shape=array.shape)
    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert encode_raw(again, type_=type_) == raw
    np.testing.assert_array_equal(again, array)


@given(_arrays())
def test_typed_contents_are_read_as_they_were_written(case: tuple[DataType, np.ndarray[Any, Any]]) -> None:
    type_, array = case
    if type_.contents is None:
        with pytest.raises(ValueError, match="raw only"):
            encode_typed(array, type_=type_)
        return
    again = decode_typed(encode_typed(array, type_=type_), type_=type_, shape=array.shape)
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)


@given(st.sampled_from(_NAMES), _SHAPES, st.binary(max_size=64))
def test_any_raw_contents_are_read_or_refused(name: str, shape: list[int], raw: bytes) -> None:
    type_ = DataType.named(name)
    try:
        array = decode_raw(raw, type_=type_, shape=shape)
    except RefusedError:
        return
    assert array.shape == tuple(shape)
    assert encode_raw(array, type_=type_) == raw


@pytest.mark.parametrize(("name", "bits"), [("INT8", 8), ("INT16", 16), ("UINT8", 8), ("UINT16", 16)])
def test_small_integers_do_not_wrap(name: str, bits: int) -> None:
    type_ = DataType.named(name)
    unsigned = name.startswith("U")

    def contents(value: int) -> InferTensorContents:
        if unsigned:
            return InferTensorContents(uint_contents=[value])
        return InferTensorContents(int_contents=[value])

    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for value in (low, high):
        array = decode_typed(contents(value), type_=type_, shape=[1])
        assert array.tolist() == [value]
    for value in (high + 1, 2**31 - 1) if unsigned else (low - 1, high + 1):
        with pytest.raises(RefusedError) as info:
            decode_typed(contents(value), type_=type_, shape=[1])
        assert info.value.refusal is Refusal.INPUT_CONTENTS


@pytest.mark.parametrize("name", ["", "BF16", "fp32", "FLOAT", "tensor(float)"])
def test_other_data_types_are_refused(name: str) -> None:
    with pytest.raises(RefusedError) as info:
        DataType.named(name)
    assert info.value.refusal is Refusal.INPUT_DATATYPE


def test_outputs_that_are_not_contiguous_are_written_in_row_major_order() -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3).T
    assert encode_raw(array, type_=DataType.named("INT32")) == np.ascontiguousarray(array).tobytes()
