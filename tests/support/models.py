"""ONNX models for tests, built from nothing: small ones, and ResNet18 in shape with seeded weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime  # type: ignore[import-untyped]
from onnx import TensorProto, helper, numpy_helper

__all__ = [
    "adder",
    "affine",
    "constant_bomb",
    "external",
    "identity",
    "resnet18",
    "run",
    "sequence_input",
    "sequence_output",
    "sized",
    "slow",
    "two_outputs",
    "widening",
]

_OPSET = 17
# What the oldest supported onnxruntime reads.
_IR_VERSION = 9


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
) -> bytes:
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), list(initializers))
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
    encoded: bytes = model.SerializeToString()
    return encoded


def _value(
    name: str, shape: Sequence[int | str | None] | None, type_: int = TensorProto.FLOAT
) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, type_, shape)


def run(model: bytes, **inputs: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Return what onnxruntime makes of ``inputs`` in this process."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs: list[npt.NDArray[Any]] = session.run(None, inputs)
    return outputs


def identity(type_: int, shape: Sequence[int | str | None] | None = ("n", 3)) -> bytes:
    """A model that returns its input ``x`` as ``y``."""
    node = helper.make_node("Identity", ["x"], ["y"])
    return _model([node], [_value("x", shape, type_)], [_value("y", shape, type_)])


def affine(factor: float = 2.0, offset: float = 1.0) -> bytes:
    """``y = factor * x + offset`` for float32 ``x`` of shape (n, 3)."""
    initializers = [
        numpy_helper.from_array(np.array(factor, dtype=np.float32), "factor"),
        numpy_helper.from_array(np.array(offset, dtype=np.float32), "offset"),
    ]
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["scaled"]),
        helper.make_node("Add", ["scaled", "offset"], ["y"]),
    ]
    return _model(nodes, [_value("x", ["n", 3])], [_value("y", ["n", 3])], initializers)


def adder() -> bytes:
    """``total = left - right + shift``: three inputs whose order matters, the last one of int64."""
    nodes = [
        helper.make_node("Cast", ["shift"], ["shift_float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["left", "right"], ["difference"]),
        helper.make_node("Add", ["difference", "shift_float"], ["total"]),
    ]
    inputs = [_value("left", ["n", 2]), _value("right", ["n", 2]), _value("shift", [1], TensorProto.INT64)]
    return _model(nodes, inputs, [_value("total", ["n", 2])])


def two_outputs() -> bytes:
    """``double = x + x`` and ``square = x * x``."""
    nodes = [
        helper.make_node("Add", ["x", "x"], ["double"]),
        helper.make_node("Mul", ["x", "x"], ["square"]),
    ]
    return _model(nodes, [_value("x", ["n"])], [_value("double", ["n"]), _value("square", ["n"])])


def sized(size: int, *, seed: int = 0) -> bytes:
    """A model of at least ``size`` bytes that adds the sum of its random weights to ``x``."""
    weights = np.random.default_rng(seed).standard_normal(size // 4 + 1, dtype=np.float32)
    nodes = [
        helper.make_node("ReduceSum", ["weights"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    initializers = [numpy_helper.from_array(weights, "weights")]
    return _model(nodes, [_value("x", ["n"])], [_value("y", ["n"])], initializers)


def slow() -> bytes:
    """A loop that runs ``rounds`` (int64) times over a small product, and gives ``y``."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["keep_in"], ["keep_out"]),
            helper.make_node("MatMul", ["state_in", "state_in"], ["product"]),
            helper.make_node("Tanh", ["product"], ["state_out"]),
        ],
        "body",
        [
            _value("round", [], TensorProto.INT64),
            _value("keep_in", [], TensorProto.BOOL),
            _value("state_in", [64, 64]),
        ],
        [_value("keep_out", [], TensorProto.BOOL), _value("state_out", [64, 64])],
    )
    initializers = [
        numpy_helper.from_array(np.array(True), "keep"),
        numpy_helper.from_array(np.eye(64, dtype=np.float32), "start"),
    ]
    node = helper.make_node("Loop", ["rounds", "keep", "start"], ["y"], body=body)
    return _model([node], [_value("rounds", [], TensorProto.INT64)], [_value("y", [64, 64])], initializers)


def widening() -> bytes:
    """A model whose small input ``extent`` (int64, one element) makes a float32 output of that many zeros."""
    node = helper.make_node("ConstantOfShape", ["extent"], ["y"])
    return _model([node], [_value("extent", [1], TensorProto.INT64)], [_value("y", ["n"])])


def constant_bomb(elements: int) -> bytes:
    """A few bytes whose constant part, if it were computed while loading, had that many float32 elements."""
    initializers = [numpy_helper.from_array(np.array([elements], np.int64), "extent")]
    nodes = [
        helper.make_node("ConstantOfShape", ["extent"], ["large"]),
        helper.make_node("ReduceSum", ["large"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    return _model(nodes, [_value("x", ["n"])], [_value("y", ["n"])], initializers)


def sequence_output() -> bytes:
    """A model with a tensor ``y`` and a sequence of tensors ``all``, as some classifiers have."""
    nodes = [
        helper.make_node("Identity", ["x"], ["y"]),
        helper.make_node("SequenceConstruct", ["x"], ["all"]),
    ]
    sequence = helper.make_tensor_sequence_value_info("all", TensorProto.FLOAT, ["n"])
    return _model(nodes, [_value("x", ["n"])], [sequence, _value("y", ["n"])])


def sequence_input() -> bytes:
    """A model that takes a sequence of tensors, for which the protocol has no words."""
    sequence = helper.make_tensor_sequence_value_info("all", TensorProto.FLOAT, ["n"])
    node = helper.make_node("SequenceLength", ["all"], ["count"])
    return _model([node], [sequence], [_value("count", [], TensorProto.INT64)])


def external(location: str) -> bytes:
    """A model whose weights lie in another file."""
    tensor = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[3])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    node = helper.make_node("Add", ["x", "weights"], ["y"])
    return _model([node], [_value("x", ["n", 3])], [_value("y", ["n", 3])], [tensor])


def resnet18(*, seed: int = 18) -> bytes:
    """ResNet18 as published (He et al., 2015) in shape, with seeded weights: (batch, 3, 224, 224) to 1,000.

    Batch normalisation is folded into the convolutions' biases, as exporters do.
    """
    return _ResNet18(seed).build()


class _ResNet18:
    _STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def build(self) -> bytes:
        tensor = self._relu(self._convolve("input", 3, 64, kernel=7, stride=2))
        tensor = self._add("MaxPool", [tensor], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        channels = 64
        for width, stride in self._STAGES:
            tensor = self._block(tensor, channels, width, stride=stride)
            tensor = self._block(tensor, width, width, stride=1)
            channels = width
        tensor = self._add("Flatten", [self._add("GlobalAveragePool", [tensor])])
        weights = self._weights((512, 1000), fan_in=512)
        self._nodes.append(helper.make_node("Gemm", [tensor, weights, self._zeros(1000)], ["output"]))
        inputs = [_value("input", ["batch", 3, 224, 224])]
        return _model(self._nodes, inputs, [_value("output", ["batch", 1000])], self._initializers)

    def _block(self, tensor: str, channels: int, width: int, *, stride: int) -> str:
        inner = self._relu(self._convolve(tensor, channels, width, kernel=3, stride=stride))
        inner = self._convolve(inner, width, width, kernel=3, stride=1)
        if stride != 1:
            tensor = self._convolve(tensor, channels, width, kernel=1, stride=stride)
        return self._relu(self._add("Add", [inner, tensor]))

    def _convolve(self, tensor: str, channels: int, width: int, *, kernel: int, stride: int) -> str:
        weights = self._weights((width, channels, kernel, kernel), fan_in=channels * kernel**2)
        pads, strides = [kernel // 2] * 4, [stride, stride]
        return self._add("Conv", [tensor, weights, self._zeros(width)], pads=pads, strides=strides)

    def _relu(self, tensor: str) -> str:
        return self._add("Relu", [tensor])

    def _add(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        name = f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def _weights(self, shape: tuple[int, ...], *, fan_in: int) -> str:
        values = self._random.standard_normal(shape, dtype=np.float32) * np.float32(fan_in**-0.5)
        return self._initializer(values)

    def _zeros(self, width: int) -> str:
        return self._initializer(np.zeros(width, dtype=np.float32))

    def _initializer(self, values: npt.NDArray[np.float32]) -> str:
        name = f"w{len(self._initializers)}"
        self._initializers.append(numpy_helper.from_array(values, name))
        return name
