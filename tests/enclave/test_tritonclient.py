"""An unmodified client of the Open Inference Protocol, beside our messages in one process."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from glasshouse_attestations.rpc import SERVER_NAME, Refusal
from support.enclave_calls import infer
from support.enclave_process import EnclaveProcess

triton: Any = pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed")
InferenceServerException: Any = pytest.importorskip("tritonclient.utils").InferenceServerException


@pytest.fixture
def client(enclave: EnclaveProcess) -> Iterator[Any]:
    with triton.InferenceServerClient(
        enclave.address,
        creds=grpc.ssl_channel_credentials(enclave.certificate),
        channel_args=[("grpc.ssl_target_name_override", SERVER_NAME)],
    ) as client:
        yield client


def test_it_sees_server_and_model(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("affine")
    assert not client.is_model_ready("missing")
    assert client.get_server_metadata().name == "glasshouse"
    metadata = client.get_model_metadata("public/adder")
    assert [tensor.name for tensor in metadata.inputs] == ["left", "right", "shift"]


def test_it_gets_the_answers_that_our_messages_get(client: Any, enclave: EnclaveProcess) -> None:
    images = np.random.default_rng(5).random((3, 3, 224, 224), dtype=np.float32)
    tensor = triton.InferInput("input", images.shape, "FP32")
    tensor.set_data_from_numpy(images)
    response = client.infer("resnet18", [tensor], outputs=[triton.InferRequestedOutput("output")])
    ours = infer(enclave, "resnet18", {"input": images})["output"]
    np.testing.assert_array_equal(response.as_numpy("output"), ours)
    assert response.get_response().model_name == "public/resnet18"


def test_it_sends_several_inputs_in_any_order(client: Any) -> None:
    shift = triton.InferInput("shift", (1,), "INT64").set_data_from_numpy(np.array([7], np.int64))
    ones, zeros = np.ones((1, 2), np.float32), np.zeros((1, 2), np.float32)
    right = triton.InferInput("right", (1, 2), "FP32").set_data_from_numpy(zeros)
    left = triton.InferInput("left", (1, 2), "FP32").set_data_from_numpy(ones)
    response = client.infer("adder", [shift, right, left])
    np.testing.assert_array_equal(response.as_numpy("total"), [[8, 8]])


def test_it_asks_asynchronously(client: Any) -> None:
    tensor = triton.InferInput("x", (1, 3), "FP32").set_data_from_numpy(np.ones((1, 3), np.float32))
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.async_infer("affine", [tensor], callback=lambda result, error: answers.put((result, error)))
    result, error = answers.get(timeout=20)
    assert error is None
    np.testing.assert_array_equal(result.as_numpy("y"), [[3, 3, 3]])


def test_it_is_told_of_refusals(client: Any) -> None:
    tensor = triton.InferInput("x", (1, 4), "FP32").set_data_from_numpy(np.zeros((1, 4), np.float32))
    with pytest.raises(InferenceServerException) as info:
        client.infer("affine", [tensor])
    assert info.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert info.value.message() == Refusal.INPUT_SHAPE.text
