"""Nothing that a caller sends reaches the log, whether it is accepted, refused, or breaks something."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from glasshouse_attestations import rpc
from glasshouse_attestations.wire import inference_pb2, models_pb2
from support import models
from support.enclave_calls import header, infer_request, parts
from support.enclave_process import EnclaveProcess
from support.enclave_server import ALICE, Started

_CANARY = "canary7391"


def _marked(model: bytes) -> bytes:
    """Return ``model`` with the canary in every name that it has."""
    proto = onnx.load_from_string(model)
    proto.producer_name = proto.graph.name = proto.doc_string = _CANARY
    for node in proto.graph.node:
        node.name = node.doc_string = _CANARY
        node.input[:] = [_CANARY + name for name in node.input]
        node.output[:] = [_CANARY + name for name in node.output]
    named: tuple[Any, ...] = (*proto.graph.input, *proto.graph.output, *proto.graph.initializer)
    for value in named:
        value.name = _CANARY + value.name
    encoded: bytes = proto.SerializeToString()
    return encoded


def _broken_at_run_time() -> bytes:
    """A model that onnxruntime loads, complains about, and cannot run for inputs of any but 7 elements."""
    node = helper.make_node("Reshape", [_CANARY + "x", _CANARY + "shape"], [_CANARY + "y"], name=_CANARY)
    graph = helper.make_graph(
        [node],
        _CANARY,
        [helper.make_tensor_value_info(_CANARY + "x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info(_CANARY + "y", TensorProto.FLOAT, ["m", 7])],
        [helper.make_tensor(_CANARY + "shape", TensorProto.INT64, [2], [-1, 7])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    encoded: bytes = model.SerializeToString()
    return encoded


def _unknown_operator() -> bytes:
    proto = onnx.load_from_string(_marked(models.affine()))
    proto.graph.node[0].op_type = _CANARY
    proto.graph.node[1].domain = _CANARY
    encoded: bytes = proto.SerializeToString()
    return encoded


def _uploads() -> Iterator[list[models_pb2.UploadRequest]]:
    good = _marked(models.affine())
    for model in (good, good[:-9], _unknown_operator(), models.external(_CANARY), _broken_at_run_time()):
        yield list(parts(_CANARY, model))
    yield list(parts(f"alice/broken-{_CANARY}", _broken_at_run_time()))
    yield list(parts(f"{_CANARY}/{_CANARY}/{_CANARY}", good))
    yield [header(_CANARY, good, sha256=_CANARY.encode() * 4)]
    yield [header(_CANARY, good), models_pb2.UploadRequest(chunk=_CANARY.encode())]


def _inferences() -> Iterator[inference_pb2.ModelInferRequest]:
    numbers = np.frombuffer(_CANARY.encode() * 8, np.float32)
    texts = np.array([_CANARY.encode()], dtype=object)
    for model in (_CANARY, f"alice/{_CANARY}", f"alice/broken-{_CANARY}", f"{_CANARY}//", "affine"):
        for name in (_CANARY + "x", _CANARY, "x"):
            for array in (numbers, numbers.reshape(-1, 2), numbers[:18].reshape(-1, 3), texts):
                yield infer_request(model, {name: array}, outputs=[_CANARY], nonce=_CANARY)
                yield infer_request(model, {name: array})
    request = infer_request("affine", {"x": numbers})
    request.inputs[0].datatype = request.model_version = request.id = _CANARY
    request.parameters[_CANARY].string_param = _CANARY
    yield request


def _raw_calls(enclave: EnclaveProcess) -> Iterator[Callable[[], object]]:
    """Calls below the protocol: unknown paths, metadata, and messages that are not protobuf."""
    metadata = ((_CANARY, _CANARY), ("authorization", f"Bearer {_CANARY}"))
    paths = [f"/{_CANARY}/{_CANARY}", f"/inference.GRPCInferenceService/{_CANARY}"]
    for path in (*paths, *(method.path for method in rpc.METHODS)):
        stub: Any = enclave.channel.unary_unary(path)
        yield partial(stub, _CANARY.encode(), metadata=metadata, timeout=5)
        yield partial(stub, b"\xff" + _CANARY.encode(), timeout=5)
    stub = enclave.channel.unary_unary(rpc.GET_EVIDENCE.path)
    request = rpc.GET_EVIDENCE.request(nonce=_CANARY.encode())
    yield partial(stub, request.SerializeToString(), timeout=5)


@pytest.mark.parametrize("verbosity", ["NONE", "DEBUG"])
def test_no_word_of_a_caller_reaches_the_log(start: Callable[..., Started], verbosity: str) -> None:
    started = start(models={"affine": models.affine()}, environment={"GRPC_VERBOSITY": verbosity})
    enclave = started.enclave
    for upload in _uploads():
        with suppress(grpc.RpcError):
            enclave.call(rpc.UPLOAD, upload, api_key=ALICE)
    answered = 0
    for request in _inferences():
        with suppress(grpc.RpcError):
            enclave.call(rpc.MODEL_INFER, request, api_key=ALICE)
            answered += 1
    assert answered > 0
    for call in _raw_calls(enclave):
        with suppress(grpc.RpcError):
            call()
    assert enclave.stop() == 0
    log = enclave.log
    assert _CANARY not in log
    assert "gh_" not in log
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert events == ["model-loaded", "draining", "stopped"]


def test_no_word_of_a_caller_comes_back_in_a_status(enclave: EnclaveProcess) -> None:
    statuses = []
    for request in _inferences():
        try:
            enclave.call(rpc.MODEL_INFER, request)
        except grpc.RpcError as err:
            statuses.append(err.details() or "")
    assert len(set(statuses)) > 5
    assert not [status for status in statuses if _CANARY in status]
