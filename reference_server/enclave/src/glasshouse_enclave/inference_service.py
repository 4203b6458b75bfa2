"""The service ``inference.GRPCInferenceService``: the Open Inference Protocol, version 2.

Translation only: what a message says becomes arrays, a model runs, and arrays become a message. All of an
inference but reading it from the network happens on a thread of the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from typing import Any

from glasshouse_attestations import receipt
from glasshouse_attestations.document import parse_hex
from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.keys import SigningKey
from glasshouse_attestations.receipt import Receipt, tensors_digest
from glasshouse_attestations.rpc import RECEIPT_NONCE_PARAMETER, RECEIPT_PARAMETER, Refusal
from glasshouse_attestations.wire import inference_pb2 as wire

from .endpoint import Call, decode
from .engine import Engine
from .errors import RefusedError
from .model import TensorSpec
from .model_store import ModelStore, StoredModel
from .self_contained import protobuf_fields
from .tensors import Array, DataType, decode_raw, decode_typed, encode_raw, encode_typed

__all__ = ["InferenceService"]

_PLATFORM = "onnxruntime_onnx"
_VERSION = "1"
# What a response may have beside its tensors, so that outputs can be as large as the inputs were.
_FRAME_SIZE = 64 << 10
# Names, shapes, parameters and contents of all tensors together.
_MAX_PARTS = 16_384
_INPUT_FIELD = wire.ModelInferRequest.DESCRIPTOR.fields_by_name["inputs"].number
_EXTENSIONS = ("glasshouse.v1.Attestation", "glasshouse.v1.Models")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    name: str
    type_: DataType
    array: Array


class InferenceService:
    """Answers the protocol's calls. None needs an API key; with one, bare names mean its models."""

    def __init__(
        self, *, models: ModelStore, engine: Engine, receipt_key: SigningKey, max_response_bytes: int
    ) -> None:
        self._models = models
        self._engine = engine
        self._receipt_key = receipt_key
        self._max_response_bytes = max_response_bytes

    async def server_live(self, call: Call) -> wire.ServerLiveResponse:
        """Say that the server runs."""
        await call.message(wire.ServerLiveRequest)
        return wire.ServerLiveResponse(live=True)

    async def server_ready(self, call: Call) -> wire.ServerReadyResponse:
        """Say that the server serves: it does as soon as it accepts calls."""
        await call.message(wire.ServerReadyRequest)
        return wire.ServerReadyResponse(ready=True)

    async def server_metadata(self, call: Call) -> wire.ServerMetadataResponse:
        """Say what the server is. Its evidence says it better."""
        await call.message(wire.ServerMetadataRequest)
        return wire.ServerMetadataResponse(
            name="glasshouse", version=_package_version(), extensions=_EXTENSIONS
        )

    async def model_ready(self, call: Call) -> wire.ModelReadyResponse:
        """Say whether there is such a model."""
        request = await call.message(wire.ModelReadyRequest)
        try:
            self._find(request.name, request.version, call.namespace)
        except RefusedError as err:
            if err.refusal is not Refusal.MODEL_NOT_FOUND:
                raise
            return wire.ModelReadyResponse(ready=False)
        return wire.ModelReadyResponse(ready=True)

    async def model_metadata(self, call: Call) -> wire.ModelMetadataResponse:
        """Describe a model's inputs and outputs; a free extent is -1."""
        request = await call.message(wire.ModelMetadataRequest)
        stored = self._find(request.name, request.version, call.namespace)
        return wire.ModelMetadataResponse(
            name=str(stored.model_id),
            versions=(_VERSION,),
            platform=_PLATFORM,
            inputs=map(_metadata, stored.model.inputs),
            outputs=map(_metadata, stored.model.outputs),
        )

    async def model_infer(self, call: Call) -> wire.ModelInferResponse:
        """Run a model; outputs are raw if the inputs were, and typed if they were typed."""
        namespace = call.namespace
        body = await call.body()
        return await self._engine.infer(lambda options: self._infer(body, namespace, options))

    def _infer(self, body: bytes, namespace: str | None, options: Any) -> wire.ModelInferResponse:
        _check_extent(body)
        request = decode(wire.ModelInferRequest, body)
        nonce = _receipt_nonce(request.parameters)
        stored = self._find(request.model_name, request.model_version, namespace)
        inputs = _decode_inputs(request)
        specs = _requested_outputs(request, stored.model.outputs)
        feeds = _check_inputs(inputs, stored.model.inputs)
        arrays = stored.model.run(feeds, [spec.name for spec in specs], options)
        outputs = [
            _Tensor(name=spec.name, type_=spec.type_, array=array)
            for spec, array in zip(specs, arrays, strict=True)
        ]
        self._check_size(sum(tensor.array.nbytes for tensor in outputs))
        response = _encode_outputs(outputs, raw=_is_raw(request, outputs))
        response.model_name, response.model_version, response.id = str(stored.model_id), _VERSION, request.id
        if nonce is not None:
            signed = self._receipt(stored, nonce, inputs, outputs)
            response.parameters[RECEIPT_PARAMETER].string_param = signed.decode("utf-8")
        self._check_size(response.ByteSize() - _FRAME_SIZE)
        return response

    def _find(self, name: str, version: str, namespace: str | None) -> StoredModel:
        stored = self._models.find(name, namespace=namespace)
        if version not in ("", _VERSION):
            raise RefusedError(Refusal.MODEL_NOT_FOUND)
        return stored

    def _check_size(self, size: int) -> None:
        if size > self._max_response_bytes:
            raise RefusedError(Refusal.RESPONSE_TOO_LARGE)

    def _receipt(
        self, stored: StoredModel, nonce: bytes, inputs: Sequence[_Tensor], outputs: Sequence[_Tensor]
    ) -> bytes:
        signed = Receipt(
            model_id=stored.model_id,
            model_sha256=stored.sha256,
            inputs_sha256=tensors_digest(map(_as_travelled, inputs)),
            outputs_sha256=tensors_digest(map(_as_travelled, outputs)),
            nonce=nonce,
            time=datetime.now(timezone.utc),
        )
        return signed.sign(self._receipt_key)


def _check_extent(body: bytes) -> None:
    """Return if a request has no more parts than a real one; a part of two bytes becomes a hundred in memory.

    The contents of tensors are skipped: in memory they are at most eight times as large as they travel.
    """
    count = 0
    try:
        for number, value in protobuf_fields(memoryview(body)):
            inner = value if number == _INPUT_FIELD and isinstance(value, memoryview) else memoryview(b"")
            for _ in chain((number,), protobuf_fields(inner)):
                count += 1
                if count > _MAX_PARTS:
                    raise RefusedError(Refusal.REQUEST_MALFORMED)
    except MalformedError:
        raise RefusedError(Refusal.REQUEST_MALFORMED) from None


def _package_version() -> str:
    try:
        return version("glasshouse-enclave")
    except PackageNotFoundError:
        # The image holds the sources without the metadata of an installation.
        return ""


def _metadata(spec: TensorSpec) -> wire.ModelMetadataResponse.TensorMetadata:
    return wire.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=spec.type_.name, shape=spec.shape
    )


def _receipt_nonce(parameters: Mapping[str, wire.InferParameter]) -> bytes | None:
    if not parameters:
        return None
    if set(parameters) != {RECEIPT_NONCE_PARAMETER}:
        raise RefusedError(Refusal.PARAMETER)
    try:
        text = parameters[RECEIPT_NONCE_PARAMETER].string_param
        return parse_hex(text, RECEIPT_NONCE_PARAMETER, receipt.NONCE_SIZE)
    except MalformedError:
        raise RefusedError(Refusal.PARAMETER) from None


def _decode_inputs(request: wire.ModelInferRequest) -> list[_Tensor]:
    if any(tensor.parameters for tensor in request.inputs):
        raise RefusedError(Refusal.PARAMETER)
    if not request.raw_input_contents:
        return [
            _tensor(tensor, decode_typed(tensor.contents, type_=_type(tensor), shape=tensor.shape))
            for tensor in request.inputs
        ]
    is_mixed = any(tensor.HasField("contents") for tensor in request.inputs)
    if is_mixed or len(request.raw_input_contents) != len(request.inputs):
        raise RefusedError(Refusal.INPUT_CONTENTS)
    return [
        _tensor(tensor, decode_raw(raw, type_=_type(tensor), shape=tensor.shape))
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
    ]


def _type(tensor: wire.ModelInferRequest.InferInputTensor) -> DataType:
    return DataType.named(tensor.datatype)


def _tensor(tensor: wire.ModelInferRequest.InferInputTensor, array: Array) -> _Tensor:
    return _Tensor(name=tensor.name, type_=_type(tensor), array=array)


def _check_inputs(inputs: Sequence[_Tensor], specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Return what onnxruntime is fed, if there is exactly one tensor for each input, in any order."""
    by_name = {tensor.name: tensor for tensor in inputs}
    if len(inputs) != len(by_name) or set(by_name) != {spec.name for spec in specs}:
        raise RefusedError(Refusal.INPUT_NAME)
    for spec in specs:
        spec.check(by_name[spec.name].array, by_name[spec.name].type_)
    return {name: tensor.array for name, tensor in by_name.items()}


def _requested_outputs(request: wire.ModelInferRequest, specs: Sequence[TensorSpec]) -> Sequence[TensorSpec]:
    """Return the specs of the outputs asked for, in the order asked for; all of them if none was named."""
    if not request.outputs:
        return specs
    if any(output.parameters for output in request.outputs):
        raise RefusedError(Refusal.PARAMETER)
    by_name = {spec.name: spec for spec in specs}
    names = [output.name for output in request.outputs]
    if len(set(names)) != len(names) or not by_name.keys() >= set(names):
        raise RefusedError(Refusal.OUTPUT_NAME)
    return [by_name[name] for name in names]


def _is_raw(request: wire.ModelInferRequest, outputs: Sequence[_Tensor]) -> bool:
    # A response is raw or typed as a whole, and half-precision floats travel raw only.
    return bool(request.raw_input_contents) or any(tensor.type_.contents is None for tensor in outputs)


def _encode_outputs(outputs: Sequence[_Tensor], *, raw: bool) -> wire.ModelInferResponse:
    response = wire.ModelInferResponse()
    for tensor in outputs:
        output = response.outputs.add(name=tensor.name, datatype=tensor.type_.name, shape=tensor.array.shape)
        if raw:
            response.raw_output_contents.append(encode_raw(tensor.array, type_=tensor.type_))
        else:
            output.contents.CopyFrom(encode_typed(tensor.array, type_=tensor.type_))
    return response


def _as_travelled(tensor: _Tensor) -> receipt.Tensor:
    return receipt.Tensor(
        name=tensor.name,
        datatype=tensor.type_.name,
        shape=tensor.array.shape,
        contents=encode_raw(tensor.array, type_=tensor.type_),
    )
