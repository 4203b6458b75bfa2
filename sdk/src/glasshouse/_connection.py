"""A connection to a verified server. The object exists only once all twelve steps have passed."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from os import PathLike, fspath
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from google.protobuf.message import Message

from glasshouse_attestations import rpc
from glasshouse_attestations.configuration import RuntimeConfiguration
from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.model_id import check_part
from glasshouse_attestations.receipt import NONCE_SIZE, Tensor
from glasshouse_attestations.rpc import Refusal
from glasshouse_attestations.wire.inference_pb2 import (
    InferParameter,
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
)
from glasshouse_attestations.wire.models_pb2 import (
    DeleteRequest,
    DeleteResponse,
    ListRequest,
    ListResponse,
    UploadResponse,
)

from ._attest import attest
from ._channel import Address, PinnedChannel
from ._memory import Memory
from ._models import ModelSource, Progress, open_model, upload_requests
from ._policy import DevelopmentPolicy, Policy, ProductionPolicy, load_policy
from ._receipts import SignedReceipt, check_receipt
from ._refusal import refused
from ._settings import load_settings
from ._tensors import Inputs, Output, Outputs, TensorSpec, check_output, encode_inputs
from ._verdict import Verdict
from .errors import AnswerError, ConfigurationError, DigestMismatchError, InputError

__all__ = ["Connection", "Model", "Response"]

_DEFAULT_TIMEOUT = 30.0
# Room for names, shapes and framing around tensors that are as large as allowed.
_OVERHEAD = 1 << 20
_LARGEST_MESSAGE = (1 << 31) - 1
_VISIBLE = re.compile(r"[!-~]*", re.ASCII)
_Answer = TypeVar("_Answer", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model on the server: its full id, and what the enclave says of its bytes."""

    model_id: str
    sha256: bytes
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The outputs of a prediction, and the receipt for it if one was asked for."""

    output: Outputs
    receipt: SignedReceipt | None


class Connection:
    """A verified server at ``address``. To make one is to verify; a failure raises and sends nothing.

    ``address`` (``host:port``), ``policy`` (a path of a trust.toml, or a parsed policy) and ``api_key`` come
    from the configuration file or the ``GLASSHOUSE_*`` variables if they are not given; ``state`` is the
    directory in which this client remembers what logs have shown it. ``timeout`` is in seconds and holds
    for each call. Several threads may use one connection.

    Every error is a :class:`GlasshouseError`; one that verification raised has the ``verdict`` so far.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        policy: Policy | str | PathLike[str] | None = None,
        api_key: str | None = None,
        state: str | PathLike[str] | None = None,
        timeout: float = _DEFAULT_TIMEOUT,
    ) -> None:
        settings = load_settings()
        where = Address.parse(_given(address or settings.address, "address", "GLASSHOUSE_ADDRESS"))
        self._policy = _load(policy or settings.policy)
        self._api_key = _check_api_key(api_key or settings.api_key)
        self._timeout = timeout
        memory = Memory(Path(state) if state is not None else settings.state)
        self._attested = attest(where, self._policy, memory, timeout=timeout, clock=_utc_now)
        limit = self.configuration.max_request_bytes
        self._channel = PinnedChannel(
            where,
            self._attested.certificate,
            max_request_bytes=min(max(limit, rpc.MAX_CHUNK_SIZE) + _OVERHEAD, _LARGEST_MESSAGE),
            max_response_bytes=min(limit + _OVERHEAD, _LARGEST_MESSAGE),
        )
        self._specs: dict[str, tuple[TensorSpec, ...]] = {}
        self._specs_lock = threading.Lock()

    @property
    def verdict(self) -> Verdict:
        """What was verified before this connection could be used."""
        return self._attested.server.verdict

    @property
    def configuration(self) -> RuntimeConfiguration:
        """What the operator configured, as the quote binds it."""
        return self._attested.server.configuration

    def upload_model(
        self,
        model: ModelSource,
        model_id: str,
        *,
        progress: Progress | None = None,
        timeout: float | None = None,
    ) -> Model:
        """Upload an ONNX model, a path or its bytes, and return it under its full id.

        The enclave's SHA-256 of what it received is that of what was sent, or :class:`DigestMismatchError`.
        ``timeout`` is by default the time that the server allows for an upload.
        """
        check_model_id(model_id)
        allowed = self.configuration.upload_timeout_ms / 1000
        with open_model(model, max_size=self.configuration.max_model_bytes) as opened:
            received = _expect(
                UploadResponse,
                self._channel.call(
                    rpc.UPLOAD,
                    upload_requests(model_id, opened, progress),
                    timeout=allowed if timeout is None else timeout,
                    api_key=self._api_key,
                ),
            )
        self._forget(model_id)
        if received.sha256 != opened.sha256:
            raise DigestMismatchError(
                f"the enclave received {received.sha256.hex()}, sent was {opened.sha256.hex()}"
            )
        return Model(model_id=received.model_id, sha256=opened.sha256, size=opened.size)

    def predict(
        self,
        model_id: str,
        inputs: Inputs,
        *,
        outputs: Sequence[str] | None = None,
        receipt: bool = False,
        timeout: float | None = None,
    ) -> Response:
        """Return what the model gives for ``inputs``; of its outputs, those named in ``outputs`` or all.

        ``inputs`` is one array, a list of several in the model's order, or a mapping from names; each of
        numpy or torch, or a list, nested or flat. What does not fit the model is refused before it is sent.
        With ``receipt`` the response carries a :class:`SignedReceipt`, checked against these tensors.
        """
        check_model_id(model_id)
        encoded = self._encode(model_id, inputs, timeout)
        nonce = secrets.token_bytes(NONCE_SIZE) if receipt else None
        request = _infer_request(model_id, encoded, outputs or (), nonce)
        if request.ByteSize() > self.configuration.max_request_bytes:
            raise refused(Refusal.REQUEST_TOO_LARGE.reason)
        answer = _expect(ModelInferResponse, self._call(rpc.MODEL_INFER, request, timeout))
        given = _decode_outputs(answer, tuple(outputs or ()))
        signed = self._receipt(answer, model_id, nonce, encoded, given) if nonce is not None else None
        return Response(output=Outputs(given), receipt=signed)

    def delete_model(self, model_id: str, *, timeout: float | None = None) -> None:
        """Delete a model from the server."""
        check_model_id(model_id)
        _expect(DeleteResponse, self._call(rpc.DELETE, DeleteRequest(model_id=model_id), timeout))
        self._forget(model_id)

    def list_models(self, *, timeout: float | None = None) -> tuple[Model, ...]:
        """Return the public models, and those in the API key's namespace."""
        answer = _expect(ListResponse, self._call(rpc.LIST, ListRequest(), timeout))
        return tuple(Model(model_id=m.model_id, sha256=m.sha256, size=m.size) for m in answer.models)

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: rpc.Method, request: Message, timeout: float | None) -> Message:
        return self._channel.call(
            method,
            request,
            timeout=self._timeout if timeout is None else timeout,
            api_key=self._api_key,
        )

    def _encode(self, model_id: str, inputs: Inputs, timeout: float | None) -> tuple[Tensor, ...]:
        with self._specs_lock:
            known = self._specs.get(model_id)
        if known is not None:
            try:
                return encode_inputs(inputs, known)
            except InputError:
                # Somebody may have replaced the model since: only what it says now can refuse.
                self._forget(model_id)
        specs = self._ask_for_specs(model_id, timeout)
        encoded = encode_inputs(inputs, specs)
        with self._specs_lock:
            self._specs[model_id] = specs
        return encoded

    def _ask_for_specs(self, model_id: str, timeout: float | None) -> tuple[TensorSpec, ...]:
        request = ModelMetadataRequest(name=model_id)
        answer = _expect(ModelMetadataResponse, self._call(rpc.MODEL_METADATA, request, timeout))
        return tuple(
            TensorSpec(name=each.name, datatype=each.datatype, shape=tuple(each.shape))
            for each in answer.inputs
        )

    def _forget(self, model_id: str) -> None:
        with self._specs_lock:
            self._specs.pop(model_id, None)

    def _receipt(
        self,
        answer: ModelInferResponse,
        model_id: str,
        nonce: bytes,
        inputs: Sequence[Tensor],
        outputs: Sequence[Output],
    ) -> SignedReceipt:
        envelope = answer.parameters[rpc.RECEIPT_PARAMETER].string_param.encode("utf-8")
        check_receipt(
            envelope,
            receipt_key=self._attested.attestation.receipt_public_key,
            model_id=model_id,
            nonce=nonce,
            inputs=inputs,
            outputs=tuple(each.to_tensor() for each in outputs),
        )
        return SignedReceipt(
            envelope=envelope,
            attestation=self._attested.attestation,
            channel=self._attested.channel,
        )


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


def _given(value: str | None, name: str, variable: str) -> str:
    if not value:
        raise ConfigurationError(
            f"no {name} is given or configured",
            hint=f"pass {name}=…, set {variable}, or write it into ~/.config/glasshouse/config.toml",
        )
    return value


def _check_api_key(api_key: str | None) -> str | None:
    # In a header anything else would fail each call, with a status that does not say why.
    if api_key is not None and not _VISIBLE.fullmatch(api_key):
        raise ConfigurationError(
            "the api key has a space, a line break or another character that no api key has",
            hint="copy it without what surrounds it: gh_ and 43 characters",
        )
    return api_key


def _load(policy: Policy | str | PathLike[str] | None) -> Policy:
    if isinstance(policy, (DevelopmentPolicy, ProductionPolicy)):
        return policy
    return load_policy(_given(fspath(policy) if policy else None, "policy", "GLASSHOUSE_POLICY"))


def check_model_id(text: str) -> None:
    """Return if ``text`` is ``namespace/name`` or a bare name, which the server resolves; else ValueError."""
    try:
        for part in text.split("/", 1):
            check_part(part)
    except MalformedError as err:
        raise ValueError(f"{text[:128]!r} is not a model id: {err}") from err


def _expect(kind: type[_Answer], answer: Message) -> _Answer:
    if not isinstance(answer, kind):
        raise TypeError(f"the method answers with {type(answer).__name__}, not {kind.__name__}")
    return answer


def _infer_request(
    model_id: str, inputs: Sequence[Tensor], outputs: Sequence[str], nonce: bytes | None
) -> ModelInferRequest:
    request = ModelInferRequest(
        model_name=model_id,
        inputs=[
            ModelInferRequest.InferInputTensor(name=each.name, datatype=each.datatype, shape=each.shape)
            for each in inputs
        ],
        outputs=[ModelInferRequest.InferRequestedOutputTensor(name=name) for name in outputs],
        raw_input_contents=[each.contents for each in inputs],
    )
    if nonce is not None:
        request.parameters[rpc.RECEIPT_NONCE_PARAMETER].CopyFrom(InferParameter(string_param=nonce.hex()))
    return request


def _decode_outputs(answer: ModelInferResponse, wanted: tuple[str, ...]) -> tuple[Output, ...]:
    if len(answer.outputs) != len(answer.raw_output_contents):
        raise AnswerError("the server's answer has another number of contents than of outputs")
    outputs = tuple(
        check_output(
            Output(name=each.name, datatype=each.datatype, shape=tuple(each.shape), contents=contents)
        )
        for each, contents in zip(answer.outputs, answer.raw_output_contents, strict=True)
    )
    names = [output.name for output in outputs]
    if len(set(names)) != len(names) or (wanted and set(names) != set(wanted)):
        raise AnswerError("the outputs of the server's answer are not those that were asked for")
    return outputs
