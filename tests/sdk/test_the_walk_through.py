"""The walk-through that users of confidential inference know, line by line, and torch's tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import glasshouse
from glasshouse import Connection, errors
from support import models
from support.enclave_server import ALICE
from support.served import Served

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed (GLASSHOUSE_TEST_TORCH=1 does)")


def test_the_walk_through(
    start: Callable[..., Served], resnet18: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = start()
    monkeypatch.setenv("GLASSHOUSE_ADDRESS", served.address)
    monkeypatch.setenv("GLASSHOUSE_POLICY", str(served.policy_file))
    monkeypatch.setenv("GLASSHOUSE_STATE", str(served.state))
    monkeypatch.chdir(tmp_path)
    Path("resnet18.onnx").write_bytes(resnet18)
    api_key, model_id = ALICE, "alice/resnet18"
    input_batch = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))

    with glasshouse.Connection(api_key=api_key) as client:
        client.upload_model("resnet18.onnx", model_id=model_id)

    with glasshouse.Connection(api_key=api_key) as client:
        prediction = client.predict(model_id, input_batch)

    output = prediction.output[0].as_torch()
    probabilities = torch.nn.functional.softmax(output[0], dim=0)
    assert probabilities.shape == (1000,)
    assert float(probabilities.sum()) == pytest.approx(1.0, abs=1e-5)
    expected = models.run(resnet18, input=input_batch.numpy())[0]
    np.testing.assert_allclose(output.numpy(), expected, atol=1e-5)


X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.from_numpy(X),
        torch.from_numpy(X).requires_grad_(),
        torch.from_numpy(X.T.copy()).T,
    ],
    ids=["plain", "with a gradient", "transposed"],
)
def test_a_tensor_gives_what_the_array_gives(client: Connection, tensor: Any) -> None:
    for inputs in (tensor, [tensor], {"x": tensor}):
        output = client.predict("public/affine", inputs).output[0]
        assert torch.equal(output.as_torch(), torch.from_numpy(2 * X + 1))
        np.testing.assert_array_equal(output.as_torch().numpy(), output.as_numpy())


def test_several_tensors_and_arrays_mix(client: Connection) -> None:
    inputs = [torch.ones(2, 2), np.zeros((2, 2), np.float32), torch.tensor([5])]
    assert client.predict("public/adder", inputs).output[0].as_torch().tolist() == [[6.0, 6.0], [6.0, 6.0]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.int32, torch.bfloat16, torch.complex64])
def test_a_tensor_of_another_type_is_refused(client: Connection, dtype: Any) -> None:
    with pytest.raises(errors.InputDatatypeError):
        client.predict("public/affine", torch.ones(2, 3).to(dtype))


def test_an_output_as_a_tensor_has_memory_of_its_own(client: Connection) -> None:
    output = client.predict("public/affine", X).output[0]
    output.as_torch().zero_()
    assert output.as_flat()[0] == 1.0
