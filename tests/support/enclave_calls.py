"""The calls that tests make to an enclave, below the SDK: the wire protocol's own messages."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest

from glasshouse_attestations import rpc
from glasshouse_attestations.rpc import Refusal
from glasshouse_attestations.wire import inference_pb2, models_pb2
from support.enclave_process import EnclaveProcess, refusal_of

__all__ = ["CHUNK", "header", "infer", "infer_request", "outputs_of", "parts", "refused", "upload"]

Array = npt.NDArray[Any]
CHUNK = 64 << 10
_DATATYPES = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "object": "BYTES",
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
_NUMPY = {name: numpy for numpy, name in _DATATYPES.items()}


def refused(call: Callable[[], object]) -> Refusal:
    """Return the refusal that ``call`` meets; it must meet one."""
    with pytest.raises(grpc.RpcError) as info:
        call()
    return refusal_of(info.value)


def header(model_id: str, model: bytes, **changes: Any) -> models_pb2.UploadRequest:
    """Return an upload's first part, with fields of the header replaced by ``changes``."""
    fields: dict[str, Any] = {"size": len(model), "sha256": hashlib.sha256(model).digest(), **changes}
    return models_pb2.UploadRequest(header=models_pb2.UploadHeader(model_id=model_id, **fields))


def parts(model_id: str, model: bytes, *, chunk_size: int = CHUNK) -> Iterator[models_pb2.UploadRequest]:
    """Yield an upload's parts."""
    yield header(model_id, model)
    for start in range(0, len(model), chunk_size):
        yield models_pb2.UploadRequest(chunk=model[start : start + chunk_size])


def upload(
    enclave: EnclaveProcess, model_id: str, model: bytes, *, api_key: str
) -> models_pb2.UploadResponse:
    """Upload ``model``."""
    response: models_pb2.UploadResponse = enclave.call(
        rpc.UPLOAD, parts(model_id, model, chunk_size=rpc.MAX_CHUNK_SIZE), api_key=api_key
    )
    return response


def infer_request(
    model_id: str,
    inputs: Mapping[str, Array],
    *,
    outputs: Sequence[str] = (),
    nonce: str | None = None,
) -> inference_pb2.ModelInferRequest:
    """Return a request with raw contents."""
    request = inference_pb2.ModelInferRequest(model_name=model_id, id="request-1")
    for name, array in inputs.items():
        request.inputs.add(name=name, datatype=_DATATYPES[array.dtype.name], shape=array.shape)
        request.raw_input_contents.append(_encode(array))
    for name in outputs:
        request.outputs.add(name=name)
    if nonce is not None:
        request.parameters[rpc.RECEIPT_NONCE_PARAMETER].string_param = nonce
    return request


def infer(
    enclave: EnclaveProcess, model_id: str, inputs: Mapping[str, Array], **options: Any
) -> dict[str, Array]:
    """Return a model's outputs by name."""
    return outputs_of(enclave.call(rpc.MODEL_INFER, infer_request(model_id, inputs, **options)))


def outputs_of(response: inference_pb2.ModelInferResponse) -> dict[str, Array]:
    """Return the raw outputs of a response by name."""
    assert len(response.outputs) == len(response.raw_output_contents)
    return {
        output.name: _decode(raw, output.datatype).reshape(tuple(output.shape))
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def _encode(array: Array) -> bytes:
    if array.dtype != object:
        return array.tobytes()
    return b"".join(struct.pack("<I", len(item)) + item for item in array.ravel())


def _decode(raw: bytes, datatype: str) -> Array:
    if datatype != "BYTES":
        return np.frombuffer(raw, dtype=_NUMPY[datatype])
    items = []
    while raw:
        (size,) = struct.unpack_from("<I", raw)
        items.append(raw[4 : 4 + size])
        raw = raw[4 + size :]
    return np.array(items, dtype=object)
