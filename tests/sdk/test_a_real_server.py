"""Connections to a real enclave process: models, predictions, receipts and refusals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from glasshouse import Connection, Outcome, SignedReceipt, errors, verify_receipt
from glasshouse._receipts import check_receipt
from glasshouse._tensors import TensorSpec, encode_inputs
from glasshouse_attestations.keys import SigningKey
from glasshouse_attestations.model_id import ModelId
from glasshouse_attestations.receipt import Receipt, Tensor, tensors_digest
from support import models
from support.chain import NOW
from support.enclave_server import BOB
from support.served import Served

X: npt.NDArray[np.float32] = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_a_connection_shows_a_verdict_in_which_everything_passed(client: Connection) -> None:
    assert client.verdict.outcome is Outcome.VERIFIED
    assert dict(client.verdict.facts)["isolation"] == "loader"
    assert any("read the memory" in item for item in client.verdict.unproven)


@pytest.mark.parametrize("batch", [1, 3, 5, 10])
def test_a_network_of_the_shape_of_resnet18_gives_what_onnxruntime_gives(
    client: Connection, resnet18: bytes, batch: int
) -> None:
    image = np.random.default_rng(batch).standard_normal((batch, 3, 224, 224), dtype=np.float32)
    answer = client.predict("public/resnet18", image).output[0].as_numpy()
    np.testing.assert_allclose(answer, models.run(resnet18, input=image)[0], atol=1e-5)


@pytest.mark.parametrize(
    "inputs",
    [
        X,
        X.tolist(),
        X.ravel().tolist(),
        {"x": X},
        [X],
        (X,),
        X[::-1][::-1],
        np.asfortranarray(X),
        X.astype(">f4"),
    ],
    ids=["array", "nested", "flat", "named", "list", "tuple", "strided", "column-major", "big-endian"],
)
def test_one_input_in_every_form_gives_the_same(client: Connection, inputs: Any) -> None:
    output = client.predict("public/affine", inputs).output[0]
    assert output.as_flat() == [1.0, 3.0, 5.0, 7.0, 9.0, 11.0]
    np.testing.assert_array_equal(output.as_numpy(), 2 * X + 1)


@pytest.mark.parametrize(
    "inputs",
    [
        [X[:, :2], np.ones((2, 2), np.float32), np.array([5])],
        {"shift": [5], "left": X[:, :2], "right": [[1, 1], [1, 1]]},
        [[[0.0, 1.0], [3.0, 4.0]], [[1, 1], [1, 1]], [5]],
        [[0.0, 1.0, 3.0, 4.0], [1, 1, 1, 1], [5]],
    ],
    ids=["several", "named", "lists", "flat lists"],
)
def test_several_inputs_in_order_or_by_name(client: Connection, inputs: Any) -> None:
    assert client.predict("public/adder", inputs).output["total"].as_flat() == [4.0, 5.0, 7.0, 8.0]


def test_outputs_by_name_by_position_and_by_choice(client: Connection) -> None:
    vector = np.array([3.0], np.float32)
    outputs = client.predict("public/two-outputs", vector).output
    assert (outputs.names, len(outputs)) == (("double", "square"), 2)
    assert [each.as_flat() for each in outputs] == [[6.0], [9.0]]
    assert outputs["square"].as_flat() == outputs[-1].as_flat() == [9.0]
    with pytest.raises(KeyError):
        outputs["cube"]
    chosen = client.predict("public/two-outputs", vector, outputs=["square"]).output
    assert chosen.names == ("square",)


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        (np.zeros((2, 4), np.float32), errors.InputShapeError),
        (np.zeros(3, np.float32), errors.InputRankError),
        (np.zeros((2, 3, 1), np.float32), errors.InputRankError),
        (np.zeros((2, 3), np.float64), errors.InputDatatypeError),
        (np.zeros((2, 3), np.int32), errors.InputDatatypeError),
        ({"z": X}, errors.InputNameError),
        ({}, errors.InputNameError),
        ({"x": X, "z": X}, errors.InputNameError),
        ([X, X], errors.InputNameError),
        ([1.0, 2.0], errors.InputShapeError),
        ([[1.0, 2.0, 3.0], [4.0]], errors.InputShapeError),
        (["a", "b", "c"], errors.InputDatatypeError),
        ([1e300, 0.0, 0.0], errors.InputDatatypeError),
        (3.0, errors.InputRankError),
    ],
)
def test_inputs_that_do_not_fit_are_refused_by_their_own_class(
    client: Connection, inputs: Any, error: type[errors.InputError]
) -> None:
    with pytest.raises(error) as caught:
        client.predict("public/affine", inputs)
    assert caught.type is error
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (TensorSpec(name="z", datatype="FP32", shape=(-1, 3)), errors.InputNameError),
        (TensorSpec(name="x", datatype="FP32", shape=(-1, 4)), errors.InputShapeError),
        (TensorSpec(name="x", datatype="FP32", shape=(-1,)), errors.InputRankError),
        (TensorSpec(name="x", datatype="FP64", shape=(-1, 3)), errors.InputDatatypeError),
    ],
)
def test_what_only_the_server_notices_is_the_same_class(
    served: Served, wrong: TensorSpec, error: type[errors.InputError]
) -> None:
    # A client that believes something false about the model gets past its own checks.
    numpy_type = {"FP32": np.float32, "FP64": np.float64}[wrong.datatype]
    array = np.zeros([2 if extent == -1 else extent for extent in wrong.shape], numpy_type)
    with served.connect() as client:
        client._specs["public/affine"] = (wrong,)
        with pytest.raises(error) as caught:
            client.predict("public/affine", array)
    assert caught.value.reason.startswith("input-")


def test_a_model_that_was_replaced_is_asked_again_before_the_client_refuses(served: Served) -> None:
    with served.connect() as client:
        client._specs["public/affine"] = (TensorSpec(name="old", datatype="INT8", shape=(1,)),)
        assert client.predict("public/affine", X).output[0].shape == (2, 3)


def test_an_output_that_the_model_lacks_is_refused(client: Connection) -> None:
    with pytest.raises(errors.OutputNameError):
        client.predict("public/affine", X, outputs=["z"])


def test_a_model_that_is_not_there_is_refused(client: Connection) -> None:
    with pytest.raises(errors.ModelNotFoundError) as caught:
        client.predict("public/none", X)
    assert caught.value.reason == "model-not-found"


@pytest.mark.parametrize("model_id", ["", "A/b", "a/b/c", "../x", "a/"])
def test_a_malformed_model_id_is_the_callers_mistake(client: Connection, model_id: str) -> None:
    with pytest.raises(ValueError, match="not a model id"):
        client.predict(model_id, X)


def test_a_model_comes_and_goes(served: Served, tmp_path: Path) -> None:
    model = models.affine(factor=3.0)
    path = tmp_path / "affine.onnx"
    path.write_bytes(model)
    seen: list[tuple[int, int]] = []
    with served.connect() as client:
        uploaded = client.upload_model(path, model_id="mine", progress=lambda *args: seen.append(args))
        assert uploaded.model_id == "alice/mine"
        assert (uploaded.sha256, uploaded.size) == (hashlib.sha256(model).digest(), len(model))
        assert seen == [(len(model), len(model))]
        assert "alice/mine" in {each.model_id for each in client.list_models()}
        assert client.predict("mine", X).output[0].as_flat() == (3 * X + 1).ravel().tolist()
        client.delete_model("alice/mine")
        assert "alice/mine" not in {each.model_id for each in client.list_models()}
        with pytest.raises(errors.ModelNotFoundError):
            client.delete_model("alice/mine")


def test_a_model_can_be_replaced_by_one_with_other_inputs(served: Served) -> None:
    with served.connect() as client:
        client.upload_model(models.affine(), model_id="alice/changing")
        client.predict("alice/changing", X)
        client.delete_model("alice/changing")
        client.upload_model(models.two_outputs(), model_id="alice/changing")
        assert client.predict("alice/changing", [1.0, 2.0]).output["double"].as_flat() == [2.0, 4.0]
        client.delete_model("alice/changing")


def test_uploads_need_the_right_key(served: Served) -> None:
    model = models.affine()
    for key, reason in [
        (None, "api-key-required"),
        ("gh_" + "A" * 43, "api-key-unknown"),
        (BOB, "namespace-forbidden"),
    ]:
        with served.connect(api_key=key) as client, pytest.raises(errors.AccessError) as caught:
            client.upload_model(model, model_id="alice/x")
        assert caught.value.reason == reason


def test_a_model_over_the_limit_is_refused_before_it_is_read(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)
    with served.connect() as client, pytest.raises(errors.ModelRefusedError) as caught:
        client.upload_model(path, model_id="alice/large")
    assert caught.value.reason == "model-too-large"


def test_a_file_that_is_no_model_is_refused(served: Served) -> None:
    with served.connect() as client, pytest.raises(errors.ModelRefusedError):
        client.upload_model(b"no model", model_id="alice/none")


def test_a_request_over_the_servers_limit_is_not_sent(client: Connection) -> None:
    rows = client.configuration.max_request_bytes // 12 + 1
    with pytest.raises(errors.RequestTooLargeError):
        client.predict("public/affine", np.zeros((rows, 3), np.float32))


def test_five_models_are_queried_in_parallel(client: Connection) -> None:
    vector = np.array([2.0], np.float32)
    calls: list[Callable[[], list[Any]]] = [
        lambda: client.predict("public/affine", X).output[0].as_flat(),
        lambda: client.predict("public/two-outputs", vector).output[0].as_flat(),
        lambda: client.predict("public/widening", [3]).output[0].as_flat(),
        lambda: client.predict("public/adder", [X[:, :2], X[:, 1:], [0]]).output[0].as_flat(),
        lambda: client.predict("public/affine", X + 1).output[0].as_flat(),
    ]
    expected = [call() for call in calls]
    with ThreadPoolExecutor(5) as pool:
        rounds = [[pool.submit(call) for call in calls] for _ in range(8)]
        assert all([each.result() for each in one] == expected for one in rounds)


def test_a_receipt_is_verified_offline_later_by_somebody_else(served: Served, client: Connection) -> None:
    response = client.predict("public/affine", X, receipt=True)
    assert response.receipt is not None
    data = response.receipt.encode()
    verified = verify_receipt(data, served.chain.policy())
    assert verified.server.verdict.outcome is Outcome.VERIFIED
    receipt = verified.receipt
    assert str(receipt.model_id) == "public/affine"
    assert receipt.model_sha256 == hashlib.sha256(models.affine()).digest()
    spec = TensorSpec(name="x", datatype="FP32", shape=(-1, 3))
    assert receipt.inputs_sha256 == tensors_digest(encode_inputs(X, [spec]))
    assert receipt.outputs_sha256 == tensors_digest([response.output[0].to_tensor()])
    assert any("fresh" in item for item in verified.unproven)


def test_a_receipt_by_another_key_or_with_another_attestation_is_refused(
    served: Served, start: Callable[..., Served], client: Connection
) -> None:
    response = client.predict("public/affine", X, receipt=True)
    assert response.receipt is not None
    signed = SignedReceipt.parse(response.receipt.encode())
    other = start(models={"affine": models.affine()})
    with other.connect() as second:
        foreign = second.predict("public/affine", X, receipt=True).receipt
    assert foreign is not None
    mixed = SignedReceipt(envelope=foreign.envelope, attestation=signed.attestation, channel=signed.channel)
    with pytest.raises(errors.ReceiptError):
        verify_receipt(mixed, served.chain.policy())
    # The other server's chain is none that this policy trusts.
    with pytest.raises(errors.ReleaseError):
        verify_receipt(foreign, served.chain.policy())


def test_a_prediction_without_a_receipt_has_none(client: Connection) -> None:
    assert client.predict("public/affine", X).receipt is None


def test_a_server_that_takes_too_long_is_a_deadline(client: Connection) -> None:
    image = np.zeros((10, 3, 224, 224), np.float32)
    with pytest.raises(errors.DeadlineError):
        client.predict("public/resnet18", image, timeout=0.001)


@pytest.mark.parametrize("wrong", ["model", "nonce", "inputs", "outputs", "key", "envelope"])
def test_a_receipt_for_anything_else_is_refused_by_the_client(wrong: str) -> None:
    key, tensor = SigningKey.generate(), Tensor(name="x", datatype="INT8", shape=(1,), contents=b"\x01")
    receipt = Receipt(
        model_id=ModelId.parse("alice/m"),
        model_sha256=bytes(32),
        inputs_sha256=tensors_digest([tensor]),
        outputs_sha256=tensors_digest([tensor]),
        nonce=bytes(32),
        time=NOW,
    )
    asked: dict[str, Any] = {
        "receipt_key": key.private.public_key().public_bytes_raw(),
        "model_id": "alice/m",
        "nonce": bytes(32),
        "inputs": [tensor],
        "outputs": [tensor],
    }
    envelope = receipt.sign(key)
    assert (
        check_receipt(envelope, **asked) == check_receipt(envelope, **{**asked, "model_id": "m"}) == receipt
    )
    changed: dict[str, dict[str, Any]] = {
        "model": {"model_id": "alice/n"},
        "nonce": {"nonce": bytes(31) + b"\x01"},
        "inputs": {"inputs": [replace(tensor, contents=b"\x02")]},
        "outputs": {"outputs": [replace(tensor, datatype="UINT8")]},
        "key": {"receipt_key": SigningKey.generate().private.public_key().public_bytes_raw()},
        "envelope": {},
    }
    data = b"" if wrong == "envelope" else envelope
    error = errors.MalformedError if wrong == "envelope" else errors.ReceiptError
    with pytest.raises(error):
        check_receipt(data, **{**asked, **changed[wrong]})


def test_the_largest_request_limit_that_a_server_may_have_works(start: Callable[..., Served]) -> None:
    served = start(models={"affine": models.affine()}, max_request_bytes=(1 << 31) - 1)
    with served.connect() as client:
        assert client.predict("public/affine", X).output[0].shape == (2, 3)
