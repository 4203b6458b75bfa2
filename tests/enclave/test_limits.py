"""Limits on size, time and concurrency: each is kept, is told apart, and leaves the server serving."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import grpc
import numpy as np
import pytest

from glasshouse_attestations import rpc
from glasshouse_attestations.rpc import Refusal
from glasshouse_attestations.wire import inference_pb2
from support import models
from support.enclave_calls import infer, infer_request, refused
from support.enclave_process import EnclaveProcess, refusal_of
from support.enclave_server import Started, start_server

_MAX_REQUEST = 100_000
_FOR_EVER = {"rounds": np.array(2**60, np.int64)}


@pytest.fixture(scope="module")
def tight() -> Iterator[Started]:
    """A server with narrow limits, which each test leaves idle."""
    with ExitStack() as stack:
        yield start_server(
            stack,
            models={
                "slow": models.slow(),
                "widening": models.widening(),
                "affine": models.affine(),
                "bytes": models.identity(8, ["n"]),
            },
            max_request_bytes=_MAX_REQUEST,
            max_concurrent_requests=2,
            inference_timeout_ms=1500,
        )


def _affine(rows: int) -> inference_pb2.ModelInferRequest:
    return infer_request("affine", {"x": np.ones((rows, 3), np.float32)})


def test_a_request_may_be_as_large_as_allowed_and_no_larger(tight: Started) -> None:
    enclave = tight.enclave
    request = _affine(1000)
    request.id = ""
    request.id = "i" * (_MAX_REQUEST - request.ByteSize() - 4)
    assert request.ByteSize() == _MAX_REQUEST
    enclave.call(rpc.MODEL_INFER, request)
    request.id += "i"
    assert refused(lambda: enclave.call(rpc.MODEL_INFER, request)) is Refusal.REQUEST_TOO_LARGE


def test_a_request_far_too_large_is_refused_before_it_is_in_memory(tight: Started) -> None:
    enclave = tight.enclave
    before = enclave.peak_memory
    with enclave.open_channel() as channel, pytest.raises(grpc.RpcError) as info:
        enclave.call(rpc.MODEL_INFER, _affine(5_000_000), channel=channel)
    assert info.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert enclave.peak_memory - before < 20 << 20


def test_a_response_may_be_as_large_as_a_request(tight: Started) -> None:
    assert infer(tight.enclave, "widening", {"extent": np.array([20_000], np.int64)})["y"].nbytes == 80_000
    request = infer_request("widening", {"extent": np.array([25_001], np.int64)})
    assert refused(lambda: tight.enclave.call(rpc.MODEL_INFER, request)) is Refusal.RESPONSE_TOO_LARGE


def test_a_compressed_request_is_refused(tight: Started) -> None:
    channel = grpc.secure_channel(
        tight.enclave.address,
        grpc.ssl_channel_credentials(tight.enclave.certificate),
        options=[("grpc.ssl_target_name_override", rpc.SERVER_NAME)],
        compression=grpc.Compression.Gzip,
    )
    with channel, pytest.raises(grpc.RpcError) as info:
        tight.enclave.call(rpc.MODEL_INFER, _affine(1000), channel=channel)
    assert info.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_call_beyond_the_concurrency_limit_is_refused_and_the_others_end_in_time(tight: Started) -> None:
    enclave = tight.enclave
    with ThreadPoolExecutor(2) as executor:
        begun = time.monotonic()
        endless = [executor.submit(refused, lambda: infer(enclave, "slow", _FOR_EVER)) for _ in range(2)]
        time.sleep(0.5)
        assert refused(lambda: enclave.call(rpc.MODEL_INFER, _affine(1))) is Refusal.BUSY
        # Whoever has no inference to run is served all the same.
        assert enclave.call(rpc.SERVER_READY, rpc.SERVER_READY.request()).ready
        assert [call.result() for call in endless] == [Refusal.INFERENCE_TIMEOUT] * 2
        assert 1.4 < time.monotonic() - begun < 5
    _until_served(enclave)


def test_an_inference_that_its_caller_gives_up_frees_its_place(tight: Started) -> None:
    enclave = tight.enclave
    for _ in range(4):
        with pytest.raises(grpc.RpcError) as info:
            enclave.call(rpc.MODEL_INFER, infer_request("slow", _FOR_EVER), timeout=0.2)
        assert info.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        _until_served(enclave)


def test_a_caller_who_sends_nothing_does_not_keep_a_place(tight: Started) -> None:
    finished = threading.Event()

    def nothing() -> Iterator[bytes]:
        finished.wait(20)
        yield from ()

    with tight.enclave.open_channel() as channel:
        stub: Any = channel.stream_unary(rpc.MODEL_INFER.path)
        refusal = refused(lambda: stub(nothing(), timeout=10))
        finished.set()
    assert refusal is Refusal.INFERENCE_TIMEOUT
    _until_served(tight.enclave)


def _until_served(enclave: EnclaveProcess) -> None:
    """Return once an inference is served: a thread ends only with the operator that it is in."""
    for _ in range(100):
        try:
            enclave.call(rpc.MODEL_INFER, _affine(1))
        except grpc.RpcError as err:
            if refusal_of(err) is not Refusal.BUSY:
                raise
            time.sleep(0.02)
        else:
            return
    raise AssertionError("the places were not freed")


@pytest.mark.parametrize("bodies", [[], [b"", b""], [b"\xff"], [b"\x0a\x05ab"]])
def test_what_is_not_the_one_message_of_the_call_is_refused(tight: Started, bodies: list[bytes]) -> None:
    for method in rpc.METHODS:
        if method is rpc.UPLOAD:
            continue
        stub: Any = tight.enclave.channel.stream_unary(method.path)
        # The messages without fields take any fields as unknown ones, as protobuf does.
        if bodies == [b"\x0a\x05ab"] and not method.request.DESCRIPTOR.fields:
            continue
        call: Callable[[], object] = lambda stub=stub: stub(iter(bodies), timeout=10)  # type: ignore[misc]  # noqa: E731
        expected = Refusal.REQUEST_MALFORMED
        if method is rpc.DELETE:
            expected = Refusal.API_KEY_REQUIRED
        assert refused(call) is expected


def test_an_unknown_method_is_unimplemented(tight: Started) -> None:
    for path in ("/inference.GRPCInferenceService/ModelLoad", "/a.B/C", "/glasshouse.v1.Models/Upload2"):
        stub: Any = tight.enclave.channel.unary_unary(path)
        with pytest.raises(grpc.RpcError) as info:
            stub(b"")
        assert info.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_metadata_beyond_its_limit_are_refused(tight: Started) -> None:
    stub: Any = tight.enclave.channel.unary_unary(rpc.SERVER_LIVE.path)
    with pytest.raises(grpc.RpcError) as info:
        stub(b"", metadata=(("padding", "p" * (17 << 10)),))
    assert info.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_health_is_told_by_service(tight: Started) -> None:
    for service in ("", "inference.GRPCInferenceService", "glasshouse.v1.Attestation"):
        request = rpc.HEALTH_CHECK.request(service=service)
        assert tight.enclave.call(rpc.HEALTH_CHECK, request).status == 1
    request = rpc.HEALTH_CHECK.request(service="other")
    assert refused(lambda: tight.enclave.call(rpc.HEALTH_CHECK, request)) is Refusal.SERVICE_UNKNOWN


def _answers_at_once(enclave: EnclaveProcess, body: bytes) -> Refusal:
    call: Any = enclave.channel.unary_unary(rpc.MODEL_INFER.path)
    start = time.monotonic()
    refusal = refused(lambda: call(body, timeout=30))
    assert time.monotonic() - start < 5
    return refusal


@pytest.mark.parametrize("field", [b"\x2a", b"\x32", b"\x3a", b"\x22"])
def test_a_request_of_very_many_parts_is_refused_before_they_are_in_memory(
    enclave: EnclaveProcess, field: bytes
) -> None:
    # Each part takes two bytes on the wire, and a hundred as a message.
    assert _answers_at_once(enclave, (field + b"\0") * (16 << 20)) is Refusal.REQUEST_MALFORMED


def test_a_tensor_of_very_many_parts_is_refused(enclave: EnclaveProcess) -> None:
    request = inference_pb2.ModelInferRequest(model_name="public/affine")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    tensor = request.inputs[0].SerializeToString() + b"\x22\0" * (4 << 20)
    request.ClearField("inputs")
    size = bytes((0x80 | len(tensor) & 0x7F, 0x80 | len(tensor) >> 7 & 0x7F, 0x80 | len(tensor) >> 14 & 0x7F))
    body = request.SerializeToString() + b"\x2a" + size + bytes((len(tensor) >> 21,)) + tensor
    assert _answers_at_once(enclave, body) is Refusal.REQUEST_MALFORMED


def test_a_shape_of_very_many_extents_is_refused_without_being_multiplied(enclave: EnclaveProcess) -> None:
    request = inference_pb2.ModelInferRequest(model_name="public/affine", raw_input_contents=[b""])
    request.inputs.add(name="x", datatype="FP32", shape=[(1 << 63) - 1] * 500_000)
    assert _answers_at_once(enclave, request.SerializeToString()) is Refusal.INPUT_SHAPE


def test_strings_beyond_the_shape_are_not_read(enclave: EnclaveProcess) -> None:
    request = inference_pb2.ModelInferRequest(
        model_name="public/affine", raw_input_contents=[bytes(60 << 20)]
    )
    request.inputs.add(name="x", datatype="BYTES", shape=[1])
    assert _answers_at_once(enclave, request.SerializeToString()) is Refusal.INPUT_CONTENTS
