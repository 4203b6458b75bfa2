"""What callers have, as tensors of the protocol and back, without any server."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from glasshouse import Output, Outputs, errors
from glasshouse._tensors import TensorSpec, check_output, encode_inputs

DATATYPES = {
    "BOOL": "?",
    "INT8": "i1",
    "INT16": "i2",
    "INT32": "i4",
    "INT64": "i8",
    "UINT8": "u1",
    "UINT16": "u2",
    "UINT32": "u4",
    "UINT64": "u8",
    "FP16": "f2",
    "FP32": "f4",
    "FP64": "f8",
}


def spec(datatype: str = "FP32", *shape: int, name: str = "x") -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape)


def back(tensor: Any) -> Output:
    return check_output(
        Output(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape, contents=tensor.contents)
    )


@given(st.data(), st.sampled_from(sorted(DATATYPES)))
def test_every_array_survives_the_way_there_and_back(data: st.DataObject, datatype: str) -> None:
    shapes = hypothesis_numpy.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    array = data.draw(hypothesis_numpy.arrays(np.dtype(DATATYPES[datatype]), shapes))
    (tensor,) = encode_inputs(array, [spec(datatype)])
    result = back(tensor).as_numpy()
    assert result.dtype == array.dtype
    assert result.flags.writeable
    np.testing.assert_array_equal(result, array)
    np.testing.assert_array_equal(np.array(back(tensor).as_flat()).reshape(array.shape), array)


@given(st.lists(st.text(max_size=20) | st.binary(max_size=20), max_size=8))
def test_strings_survive_the_way_there_and_back(items: list[str | bytes]) -> None:
    (tensor,) = encode_inputs({"x": items}, [spec("BYTES", -1)])
    assert back(tensor).as_flat() == [i.encode() if isinstance(i, str) else i for i in items]


@pytest.mark.parametrize(
    ("values", "shape", "expected"),
    [
        ([1, 2, 3, 4, 5, 6], (2, 3), (2, 3)),
        ([1, 2, 3, 4, 5, 6], (-1, 3), (2, 3)),
        ([1, 2, 3, 4, 5, 6], (3, -1), (3, 2)),
        ([1, 2, 3, 4, 5, 6], (-1,), (6,)),
        ([[1, 2], [3, 4]], (-1, -1), (2, 2)),
        ([], (-1, 3), (0, 3)),
        ([7], (), (1,)),
    ],
)
def test_a_list_takes_the_models_shape(
    values: Any, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert encode_inputs(values, [spec("FP32", *shape)])[0].shape == expected


@pytest.mark.parametrize(
    ("values", "datatype", "shape", "error"),
    [
        ([1, 2, 3], "FP32", (-1, -1), errors.InputShapeError),
        ([1, 2, 3], "FP32", (-1, 2), errors.InputShapeError),
        ([1, 2, 3], "FP32", (2, 2), errors.InputShapeError),
        ([1.5], "INT64", (-1,), errors.InputDatatypeError),
        ([True], "FP32", (-1,), errors.InputDatatypeError),
        ([1], "BOOL", (-1,), errors.InputDatatypeError),
        ([300], "UINT8", (-1,), errors.InputDatatypeError),
        ([-1], "UINT8", (-1,), errors.InputDatatypeError),
        ([2**70], "INT64", (-1,), errors.InputDatatypeError),
        ([1e5], "FP16", (-1,), errors.InputDatatypeError),
        ([None], "FP32", (-1,), errors.InputDatatypeError),
        ([1], "BYTES", (-1,), errors.InputContentsError),
        ([1.0], "FP8", (-1,), errors.InputDatatypeError),
        (np.array([1]), "BYTES", (-1,), errors.InputDatatypeError),
    ],
)
def test_a_list_that_would_lose_something_is_refused(
    values: Any, datatype: str, shape: tuple[int, ...], error: type[errors.InputError]
) -> None:
    with pytest.raises(error) as caught:
        encode_inputs(values, [spec(datatype, *shape)])
    assert caught.type is error


def test_infinities_and_integers_may_become_floats() -> None:
    tensor = encode_inputs([float("inf"), 2, float("nan")], [spec("FP16", -1)])[0]
    np.testing.assert_array_equal(back(tensor).as_numpy(), np.array([np.inf, 2, np.nan], np.float16))


def test_a_list_is_of_several_inputs_only_where_the_model_has_as_many() -> None:
    two = [spec("FP32", -1, name="a"), spec("FP32", -1, name="b")]
    assert [t.contents for t in encode_inputs([[1.0], [1.0]], two)] == [b"\0\0\x80?"] * 2
    assert encode_inputs([[1.0], [1.0]], [spec("FP32", -1, -1)])[0].shape == (2, 1)
    with pytest.raises(errors.InputNameError):
        encode_inputs([[1.0], [1.0], [1.0]], two)


def test_inputs_go_in_the_models_order_whatever_the_mappings() -> None:
    two = [spec("FP32", -1, name="a"), spec("FP32", -1, name="b")]
    assert [t.name for t in encode_inputs({"b": [1.0], "a": [2.0]}, two)] == ["a", "b"]


def test_what_a_caller_sends_is_in_no_error() -> None:
    for values in ([1.5, 4242.25], ["4242.25"], [[4242.25], [1, 2]]):
        with pytest.raises(errors.InputError) as caught:
            encode_inputs(values, [spec("INT64", -1)])
        assert "4242" not in str(caught.value)


def test_outputs_show_their_shape_and_not_their_contents() -> None:
    outputs = Outputs([Output(name="y", datatype="INT8", shape=(1,), contents=b"\x2a")])
    assert repr(outputs) == "<Outputs y: INT8[1]>"
    assert outputs[0:1] == (outputs[0],)
