"""Inference over the Open Inference Protocol, against onnxruntime in this process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from glasshouse_attestations import rpc
from glasshouse_attestations.keys import SigningKey
from glasshouse_attestations.receipt import Receipt, Tensor, receipt_public_key, tensors_digest
from glasshouse_attestations.rpc import Refusal
from glasshouse_attestations.wire import attestation_pb2, inference_pb2
from support import models
from support.enclave_calls import infer, infer_request, outputs_of, refused, upload
from support.enclave_process import EnclaveProcess

_X = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32)


def _infer_refused(enclave: EnclaveProcess, request: inference_pb2.ModelInferRequest) -> Refusal:
    return refused(lambda: enclave.call(rpc.MODEL_INFER, request))


@pytest.mark.parametrize("batch", [1, 3, 5, 10])
def test_resnet18_answers_as_onnxruntime_does(enclave: EnclaveProcess, resnet18: bytes, batch: int) -> None:
    images = np.random.default_rng(batch).random((batch, 3, 224, 224), dtype=np.float32)
    answer = infer(enclave, "resnet18", {"input": images})["output"]
    expected = models.run(resnet18, input=images)[0]
    assert answer.shape == (batch, 1000)
    assert expected.std() > 0.1
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("array", "refusal"),
    [
        (np.zeros((1, 3, 224, 223), np.float32), Refusal.INPUT_SHAPE),
        (np.zeros((3, 224, 224), np.float32), Refusal.INPUT_RANK),
        (np.zeros((1, 1, 3, 224, 224), np.float32), Refusal.INPUT_RANK),
        (np.zeros((1, 3, 224, 224), np.float64), Refusal.INPUT_DATATYPE),
        (np.zeros((1, 3, 224, 224), np.uint8), Refusal.INPUT_DATATYPE),
    ],
)
def test_an_input_that_does_not_fit_the_model_is_refused(
    enclave: EnclaveProcess, array: np.ndarray[Any, Any], refusal: Refusal
) -> None:
    assert _infer_refused(enclave, infer_request("resnet18", {"input": array})) is refusal


@pytest.mark.parametrize("names", [(), ("y",), ("x", "y"), ("X",)])
def test_inputs_of_other_names_than_the_models_are_refused(
    enclave: EnclaveProcess, names: tuple[str, ...]
) -> None:
    request = infer_request("affine", dict.fromkeys(names, _X))
    assert _infer_refused(enclave, request) is Refusal.INPUT_NAME


def test_an_input_given_twice_is_refused(enclave: EnclaveProcess) -> None:
    request = infer_request("affine", {"x": _X})
    request.inputs.append(request.inputs[0])
    request.raw_input_contents.append(request.raw_input_contents[0])
    assert _infer_refused(enclave, request) is Refusal.INPUT_NAME


@pytest.mark.parametrize("order", [("left", "right", "shift"), ("shift", "right", "left")])
def test_several_inputs_are_told_apart_by_name_in_any_order(
    enclave: EnclaveProcess, order: tuple[str, ...]
) -> None:
    inputs: dict[str, np.ndarray[Any, Any]] = {
        "left": np.array([[10, 20]], np.float32),
        "right": np.array([[1, 2]], np.float32),
        "shift": np.array([100], np.int64),
    }
    answer = infer(enclave, "adder", {name: inputs[name] for name in order})
    np.testing.assert_array_equal(answer["total"], [[109, 118]])


def test_outputs_come_in_the_order_asked_for(enclave: EnclaveProcess) -> None:
    x = np.array([3, 4], np.float32)
    assert list(infer(enclave, "two-outputs", {"x": x})) == ["double", "square"]
    answer = infer(enclave, "two-outputs", {"x": x}, outputs=["square", "double"])
    assert list(answer) == ["square", "double"]
    np.testing.assert_array_equal(answer["square"], [9, 16])
    assert list(infer(enclave, "two-outputs", {"x": x}, outputs=["square"])) == ["square"]


@pytest.mark.parametrize("outputs", [["cube"], ["square", "cube"], ["square", "square"], [""]])
def test_outputs_that_the_model_does_not_have_are_refused(
    enclave: EnclaveProcess, outputs: list[str]
) -> None:
    request = infer_request("two-outputs", {"x": np.zeros(1, np.float32)}, outputs=outputs)
    assert _infer_refused(enclave, request) is Refusal.OUTPUT_NAME


@pytest.mark.parametrize(
    ("model", "refusal"),
    [
        ("missing", Refusal.MODEL_NOT_FOUND),
        ("alice/affine", Refusal.MODEL_NOT_FOUND),
        ("", Refusal.MODEL_ID_MALFORMED),
        ("a/b/c", Refusal.MODEL_ID_MALFORMED),
        ("../affine", Refusal.MODEL_ID_MALFORMED),
        ("public/", Refusal.MODEL_ID_MALFORMED),
    ],
)
def test_a_model_that_is_not_there_is_refused(enclave: EnclaveProcess, model: str, refusal: Refusal) -> None:
    assert _infer_refused(enclave, infer_request(model, {"x": _X})) is refusal


def test_a_bare_name_means_the_callers_own_model_and_then_the_public_one(
    enclave: EnclaveProcess, alice: str, bob: str
) -> None:
    upload(enclave, "alice/affine", models.affine(factor=100), api_key=alice)
    try:
        answers = {
            key: enclave.call(rpc.MODEL_INFER, infer_request("affine", {"x": _X}), api_key=key)
            for key in (None, alice, bob)
        }
        assert {key: answer.model_name for key, answer in answers.items()} == {
            None: "public/affine",
            alice: "alice/affine",
            bob: "public/affine",
        }
        np.testing.assert_array_equal(outputs_of(answers[alice])["y"], 100 * _X + 1)
        full = enclave.call(rpc.MODEL_INFER, infer_request("alice/affine", {"x": _X}))
        assert full.model_name == "alice/affine"
    finally:
        enclave.call(rpc.DELETE, rpc.DELETE.request(model_id="affine"), api_key=alice)


@pytest.mark.parametrize("api_key", ["gh_" + "A" * 43, "gh_", "", "gh_ " + "A" * 42])
def test_an_unknown_api_key_is_refused_even_where_none_is_needed(
    enclave: EnclaveProcess, api_key: str
) -> None:
    request = infer_request("affine", {"x": _X})
    refusal = refused(lambda: enclave.call(rpc.MODEL_INFER, request, api_key=api_key))
    assert refusal is Refusal.API_KEY_UNKNOWN


def _typed(datatype: str, shape: list[int], **contents: Any) -> inference_pb2.ModelInferRequest:
    request = inference_pb2.ModelInferRequest(model_name="affine")
    tensor = request.inputs.add(name="x", datatype=datatype, shape=shape)
    tensor.contents.CopyFrom(inference_pb2.InferTensorContents(**contents))
    return request


def test_typed_inputs_get_typed_outputs(enclave: EnclaveProcess) -> None:
    response = enclave.call(rpc.MODEL_INFER, _typed("FP32", [1, 3], fp32_contents=[1, 2, 3]))
    assert list(response.outputs[0].contents.fp32_contents) == [3, 5, 7]
    assert not response.raw_output_contents


@pytest.mark.parametrize(
    "request_",
    [
        _typed("FP32", [1, 3], fp32_contents=[1, 2]),
        _typed("FP32", [1, 3], fp32_contents=[1, 2, 3, 4]),
        _typed("FP32", [1, 3], fp64_contents=[1, 2, 3]),
        _typed("FP32", [1, 3], fp32_contents=[1, 2, 3], int_contents=[1]),
        _typed("FP32", [1, 3]),
        _typed("FP16", [1, 3], fp32_contents=[1, 2, 3]),
        _typed("INT8", [1, 1], int_contents=[128]),
        _typed("UINT16", [1, 1], uint_contents=[65536]),
        _typed("BYTES", [1, 1], bytes_contents=[b"\xff"]),
    ],
)
def test_typed_contents_that_do_not_fit_are_refused(
    enclave: EnclaveProcess, request_: inference_pb2.ModelInferRequest
) -> None:
    assert _infer_refused(enclave, request_) is Refusal.INPUT_CONTENTS


def _raw(datatype: str, shape: list[int], *raw: bytes) -> inference_pb2.ModelInferRequest:
    request = inference_pb2.ModelInferRequest(model_name="affine", raw_input_contents=raw)
    request.inputs.add(name="x", datatype=datatype, shape=shape)
    return request


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        (_raw("FP32", [1, 3], bytes(11)), Refusal.INPUT_CONTENTS),
        (_raw("FP32", [1, 3], bytes(13)), Refusal.INPUT_CONTENTS),
        (_raw("FP32", [1, 3], bytes(12), bytes(12)), Refusal.INPUT_CONTENTS),
        (_raw("FP32", [2**40, 2**40], bytes(12)), Refusal.INPUT_CONTENTS),
        (_raw("BOOL", [1, 3], b"\0\1\2"), Refusal.INPUT_CONTENTS),
        (_raw("BYTES", [1], b"\1\0\0"), Refusal.INPUT_CONTENTS),
        (_raw("BYTES", [1], b"\2\0\0\0a"), Refusal.INPUT_CONTENTS),
        (_raw("BYTES", [2], b"\1\0\0\0a"), Refusal.INPUT_CONTENTS),
        (_raw("BYTES", [1], b"\1\0\0\0\xff"), Refusal.INPUT_CONTENTS),
        (_raw("FP32", [-1, -3], bytes(12)), Refusal.INPUT_SHAPE),
        (_raw("FP32", [0, 2**62, 2**62], b"\0" * 0), Refusal.INPUT_SHAPE),
        (_raw("FP32", [1] * 65 + [3], bytes(12)), Refusal.INPUT_SHAPE),
        (_raw("BF16", [1, 3], bytes(6)), Refusal.INPUT_DATATYPE),
        (_raw("", [1, 3], bytes(6)), Refusal.INPUT_DATATYPE),
        (_raw("fp32", [1, 3], bytes(12)), Refusal.INPUT_DATATYPE),
    ],
)
def test_raw_contents_that_do_not_fit_are_refused(
    enclave: EnclaveProcess, request_: inference_pb2.ModelInferRequest, refusal: Refusal
) -> None:
    assert _infer_refused(enclave, request_) is refusal


def test_raw_and_typed_contents_together_are_refused(enclave: EnclaveProcess) -> None:
    request = _typed("FP32", [1, 3], fp32_contents=[1, 2, 3])
    request.raw_input_contents.append(bytes(12))
    assert _infer_refused(enclave, request) is Refusal.INPUT_CONTENTS


_BYTES = np.array([[b"", "déjà".encode(), b"a\0b"]], dtype=object)


@pytest.mark.parametrize(
    ("type_", "array"),
    [
        (TensorProto.BOOL, np.array([[True, False, True]])),
        (TensorProto.INT8, np.array([[-128, 0, 127]], np.int8)),
        (TensorProto.INT16, np.array([[-32768, 0, 32767]], np.int16)),
        (TensorProto.INT32, np.array([[-(2**31), 0, 2**31 - 1]], np.int32)),
        (TensorProto.INT64, np.array([[-(2**63), 0, 2**63 - 1]], np.int64)),
        (TensorProto.UINT8, np.array([[0, 1, 255]], np.uint8)),
        (TensorProto.UINT16, np.array([[0, 1, 65535]], np.uint16)),
        (TensorProto.UINT32, np.array([[0, 1, 2**32 - 1]], np.uint32)),
        (TensorProto.UINT64, np.array([[0, 1, 2**64 - 1]], np.uint64)),
        (TensorProto.FLOAT16, np.array([[0.5, -1, np.inf]], np.float16)),
        (TensorProto.FLOAT, np.array([[0.5, -1, np.nan]], np.float32)),
        (TensorProto.DOUBLE, np.array([[0.1, -1, np.inf]], np.float64)),
        (TensorProto.STRING, _BYTES),
    ],
)
def test_every_data_type_travels_unchanged(
    enclave: EnclaveProcess, alice: str, type_: int, array: np.ndarray[Any, Any]
) -> None:
    upload(enclave, "alice/identity", models.identity(type_), api_key=alice)
    answer = infer(enclave, "alice/identity", {"x": array})["y"]
    assert answer.dtype == array.dtype
    np.testing.assert_array_equal(answer, array)
    metadata = enclave.call(rpc.MODEL_METADATA, rpc.MODEL_METADATA.request(name="alice/identity"))
    assert metadata.inputs[0].datatype == infer_request("m", {"x": array}).inputs[0].datatype
    enclave.call(rpc.DELETE, rpc.DELETE.request(model_id="identity"), api_key=alice)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_a_free_extent_takes_any_size(enclave: EnclaveProcess, rows: int) -> None:
    x = np.ones((rows, 3), np.float32)
    np.testing.assert_array_equal(infer(enclave, "affine", {"x": x})["y"], 2 * x + 1)


def test_a_models_metadata_name_its_tensors_with_free_extents_as_minus_one(enclave: EnclaveProcess) -> None:
    metadata = enclave.call(rpc.MODEL_METADATA, rpc.MODEL_METADATA.request(name="adder"))
    assert (metadata.name, list(metadata.versions)) == ("public/adder", ["1"])
    assert [(item.name, item.datatype, list(item.shape)) for item in metadata.inputs] == [
        ("left", "FP32", [-1, 2]),
        ("right", "FP32", [-1, 2]),
        ("shift", "INT64", [1]),
    ]
    assert [item.name for item in metadata.outputs] == ["total"]


def test_readiness_is_told_by_model_and_version(enclave: EnclaveProcess) -> None:
    assert enclave.call(rpc.SERVER_LIVE, rpc.SERVER_LIVE.request()).live
    assert enclave.call(rpc.SERVER_READY, rpc.SERVER_READY.request()).ready
    assert enclave.call(rpc.SERVER_METADATA, rpc.SERVER_METADATA.request()).name == "glasshouse"
    for name, version, ready in [("affine", "", True), ("affine", "1", True), ("affine", "2", False)]:
        request = rpc.MODEL_READY.request(name=name, version=version)
        assert enclave.call(rpc.MODEL_READY, request).ready is ready
    request = rpc.MODEL_READY.request(name="a/b/c")
    assert refused(lambda: enclave.call(rpc.MODEL_READY, request)) is Refusal.MODEL_ID_MALFORMED


def test_parameters_that_the_server_does_not_know_are_refused(enclave: EnclaveProcess) -> None:
    for place in ("request", "input", "output"):
        request = infer_request("affine", {"x": _X}, outputs=["y"])
        holder: Any = {"request": request, "input": request.inputs[0], "output": request.outputs[0]}[place]
        holder.parameters["binary_data"].bool_param = True
        assert _infer_refused(enclave, request) is Refusal.PARAMETER


@pytest.mark.parametrize("nonce", ["", "00" * 31, "00" * 33, "AB" * 32, "zz" * 32])
def test_a_malformed_receipt_nonce_is_refused(enclave: EnclaveProcess, nonce: str) -> None:
    request = infer_request("affine", {"x": _X}, nonce=nonce)
    assert _infer_refused(enclave, request) is Refusal.PARAMETER


def test_a_receipt_binds_model_inputs_outputs_and_nonce(enclave: EnclaveProcess) -> None:
    evidence = enclave.call(rpc.GET_EVIDENCE, attestation_pb2.GetEvidenceRequest(nonce=bytes(32)))
    request = infer_request("affine", {"x": _X}, nonce="5a" * 32)
    response = enclave.call(rpc.MODEL_INFER, request)
    key = receipt_public_key(evidence.receipt_public_key)
    signed = response.parameters[rpc.RECEIPT_PARAMETER].string_param.encode()
    receipt = Receipt.verify(signed, receipt_key=key)
    y = response.raw_output_contents[0]
    assert str(receipt.model_id) == "public/affine"
    listed = enclave.call(rpc.LIST, rpc.LIST.request()).models
    assert receipt.model_sha256 == next(m.sha256 for m in listed if m.model_id == "public/affine")
    assert receipt.nonce == b"\x5a" * 32
    assert receipt.inputs_sha256 == tensors_digest([_float_tensor("x", _X.tobytes())])
    assert receipt.outputs_sha256 == tensors_digest([_float_tensor("y", y)])
    assert receipt.outputs_sha256 != tensors_digest([_float_tensor("y", _X.tobytes())])
    assert key != SigningKey.generate().public_key


def _float_tensor(name: str, contents: bytes) -> Tensor:
    return Tensor(name=name, datatype="FP32", shape=(2, 3), contents=contents)


def test_a_receipt_is_the_same_for_typed_and_raw_inputs(enclave: EnclaveProcess) -> None:
    raw = infer_request("affine", {"x": _X[:1]}, nonce="00" * 32)
    typed = _typed("FP32", [1, 3], fp32_contents=[1, 2, 3])
    typed.parameters[rpc.RECEIPT_NONCE_PARAMETER].string_param = "00" * 32
    evidence = enclave.call(rpc.GET_EVIDENCE, attestation_pb2.GetEvidenceRequest(nonce=bytes(32)))
    key = receipt_public_key(evidence.receipt_public_key)
    first, second = (
        Receipt.verify(
            enclave.call(rpc.MODEL_INFER, request).parameters["receipt"].string_param.encode(),
            receipt_key=key,
        )
        for request in (raw, typed)
    )
    assert first.inputs_sha256 == second.inputs_sha256
    assert first.outputs_sha256 == second.outputs_sha256


def test_no_receipt_comes_unasked(enclave: EnclaveProcess) -> None:
    response = enclave.call(rpc.MODEL_INFER, infer_request("affine", {"x": _X}))
    assert not response.parameters
    assert response.id == "request-1"


def test_five_models_answer_in_parallel(enclave: EnclaveProcess, alice: str) -> None:
    for index in range(5):
        upload(enclave, f"alice/m{index}", models.affine(factor=index, offset=10 * index), api_key=alice)

    def check(round_: int) -> None:
        index = round_ % 5
        x = np.full((2, 3), round_, np.float32)
        answer = infer(enclave, f"alice/m{index}", {"x": x})["y"]
        np.testing.assert_array_equal(answer, index * x + 10 * index)

    with ThreadPoolExecutor(5) as executor:
        list(executor.map(check, range(100)))
    for index in range(5):
        enclave.call(rpc.DELETE, rpc.DELETE.request(model_id=f"m{index}"), api_key=alice)


@pytest.mark.parametrize("extent", [-5, 1 << 40])
def test_a_model_that_fails_on_its_inputs_says_no_more_than_that(
    enclave: EnclaveProcess, extent: int
) -> None:
    request = infer_request("widening", {"extent": np.array([extent], np.int64)})
    assert _infer_refused(enclave, request) is Refusal.INFERENCE_FAILED
