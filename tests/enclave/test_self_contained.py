"""Models that reach outside of themselves are told from those that do not, wherever the tensor stands."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from glasshouse_attestations.errors import MalformedError
from glasshouse_enclave.self_contained import check_self_contained
from support import models


def _elsewhere() -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="file")
    return tensor


def _in_initializer(graph: GraphProto) -> None:
    graph.initializer.append(_elsewhere())


def _in_sparse_values(graph: GraphProto) -> None:
    graph.sparse_initializer.add().values.CopyFrom(_elsewhere())


def _in_sparse_indices(graph: GraphProto) -> None:
    graph.sparse_initializer.add().indices.CopyFrom(_elsewhere())


def _attribute(graph: GraphProto) -> AttributeProto:
    attribute: AttributeProto = graph.node.add().attribute.add()
    return attribute


def _in_constant(graph: GraphProto) -> None:
    _attribute(graph).t.CopyFrom(_elsewhere())


def _in_tensors(graph: GraphProto) -> None:
    _attribute(graph).tensors.append(_elsewhere())


def _in_sparse_tensor(graph: GraphProto) -> None:
    _attribute(graph).sparse_tensor.values.CopyFrom(_elsewhere())


def _in_sparse_tensors(graph: GraphProto) -> None:
    _attribute(graph).sparse_tensors.add().indices.CopyFrom(_elsewhere())


def _in_subgraph(graph: GraphProto) -> None:
    _in_constant(_attribute(graph).g)


def _in_subgraphs(graph: GraphProto) -> None:
    _in_initializer(_attribute(graph).graphs.add())


_PLACES = [
    _in_initializer,
    _in_sparse_values,
    _in_sparse_indices,
    _in_constant,
    _in_tensors,
    _in_sparse_tensor,
    _in_sparse_tensors,
    _in_subgraph,
    _in_subgraphs,
]


@pytest.mark.parametrize("place", _PLACES)
def test_a_tensor_that_lies_elsewhere_is_found_wherever_a_graph_holds_it(
    place: Callable[[GraphProto], None],
) -> None:
    model = onnx.load_from_string(models.affine())
    check_self_contained(model.SerializeToString())
    place(model.graph)
    with pytest.raises(MalformedError, match="outside"):
        check_self_contained(model.SerializeToString())


def test_a_tensor_that_lies_elsewhere_is_found_in_functions_and_training_graphs() -> None:
    in_function, in_default, in_training = ModelProto(), ModelProto(), ModelProto()
    node = NodeProto(attribute=[AttributeProto(t=_elsewhere())])
    in_function.functions.add().node.append(node)
    in_default.functions.add().attribute_proto.append(node.attribute[0])
    _in_initializer(in_training.training_info.add().algorithm)
    for model in (in_function, in_default, in_training):
        with pytest.raises(MalformedError, match="outside"):
            check_self_contained(model.SerializeToString())


@pytest.mark.parametrize("part", ["data_location", "external_data"])
def test_either_sign_of_another_place_is_enough(part: str) -> None:
    tensor = _elsewhere()
    tensor.ClearField("external_data" if part == "data_location" else "data_location")
    model = ModelProto(graph=GraphProto(initializer=[tensor]))
    with pytest.raises(MalformedError, match="outside"):
        check_self_contained(model.SerializeToString())


def test_an_explicit_default_location_is_none() -> None:
    tensor = TensorProto(name="w", data_location=TensorProto.DEFAULT)
    check_self_contained(ModelProto(graph=GraphProto(initializer=[tensor])).SerializeToString())


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))


def test_a_message_in_two_pieces_hides_nothing() -> None:
    tensor = _elsewhere().SerializeToString()
    model = models.affine() + _field(7, _field(5, b"") + _field(5, tensor))
    with pytest.raises(MalformedError, match="outside"):
        check_self_contained(model)


@pytest.mark.parametrize(
    "model",
    [
        b"\xff",
        b"\xff" * 11,
        b"\x3a\x05abc",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0b\x0c",
        b"\x0e",
        b"\x09" + bytes(7),
        b"\x0d" + bytes(3),
        b"\x38\x01",
        b"\x00\x00",
        _varint((7 << 3 | 2) + (1 << 32)) + b"\x00",
    ],
)
def test_what_is_not_the_encoding_of_a_model_is_malformed(model: bytes) -> None:
    with pytest.raises(MalformedError):
        check_self_contained(model)


def test_nesting_is_bounded() -> None:
    graph = b""
    for _ in range(40):
        graph = _field(1, _field(5, _field(6, graph)))
    with pytest.raises(MalformedError, match="deeper"):
        check_self_contained(_field(7, graph))


def test_the_number_of_fields_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glasshouse_enclave.self_contained._MAX_FIELDS", 1000)
    check_self_contained(b"\x08\x01" * 1000)
    with pytest.raises(MalformedError, match="fields"):
        check_self_contained(b"\x08\x01" * 1001)


@given(st.binary(max_size=200))
def test_any_bytes_are_judged_and_never_break_the_check(data: bytes) -> None:
    try:
        check_self_contained(data)
    except MalformedError:
        return
    # What passes is at least no tensor elsewhere to the reader that onnx itself uses.
    try:
        model = onnx.load_from_string(data)
    except Exception:  # noqa: BLE001 - whatever that reader raises, it did not read a model
        return
    assert not any(tensor.external_data for tensor in model.graph.initializer)
