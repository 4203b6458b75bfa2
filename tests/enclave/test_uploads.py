"""Uploading, listing and deleting models: who may, how much, and what is refused before it is read."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

import grpc
import numpy as np
import pytest
from onnx import TensorProto

from glasshouse_attestations import rpc
from glasshouse_attestations.configuration import ApiKey, generate_api_key
from glasshouse_attestations.rpc import Refusal
from glasshouse_attestations.wire import models_pb2
from support import models
from support.enclave_calls import CHUNK, header, infer, infer_request, parts, refused, upload
from support.enclave_process import EnclaveProcess, refusal_of
from support.enclave_server import Started

_X = {"x": np.ones((1, 3), np.float32)}
_AFFINE = models.affine()


def _ids(enclave: EnclaveProcess, api_key: str | None) -> set[str]:
    listed = enclave.call(rpc.LIST, rpc.LIST.request(), api_key=api_key).models
    return {model.model_id for model in listed}


def _delete(enclave: EnclaveProcess, model_id: str, api_key: str | None) -> None:
    enclave.call(rpc.DELETE, rpc.DELETE.request(model_id=model_id), api_key=api_key)


def test_an_uploaded_model_is_listed_with_its_digest_answers_and_can_be_deleted(
    enclave: EnclaveProcess, alice: str, bob: str
) -> None:
    response = upload(enclave, "mine", _AFFINE, api_key=alice)
    assert (response.model_id, response.sha256) == ("alice/mine", hashlib.sha256(_AFFINE).digest())
    assert "alice/mine" in _ids(enclave, alice)
    assert not {"alice/mine"} & (_ids(enclave, bob) | _ids(enclave, None))
    assert "public/affine" in _ids(enclave, None)
    np.testing.assert_array_equal(infer(enclave, "alice/mine", _X)["y"], [[3, 3, 3]])
    _delete(enclave, "alice/mine", alice)
    assert refused(lambda: infer(enclave, "alice/mine", _X)) is Refusal.MODEL_NOT_FOUND
    assert refused(lambda: _delete(enclave, "alice/mine", alice)) is Refusal.MODEL_NOT_FOUND


def test_an_upload_to_an_id_in_use_replaces_its_model(enclave: EnclaveProcess, alice: str) -> None:
    upload(enclave, "mine", _AFFINE, api_key=alice)
    upload(enclave, "mine", models.affine(offset=5), api_key=alice)
    np.testing.assert_array_equal(infer(enclave, "alice/mine", _X)["y"], [[7, 7, 7]])
    _delete(enclave, "mine", alice)


def test_a_failed_upload_leaves_the_model_in_its_place(enclave: EnclaveProcess, alice: str) -> None:
    upload(enclave, "mine", _AFFINE, api_key=alice)
    assert refused(lambda: upload(enclave, "mine", b"nonsense", api_key=alice)) is Refusal.MODEL_INVALID
    np.testing.assert_array_equal(infer(enclave, "alice/mine", _X)["y"], [[3, 3, 3]])
    _delete(enclave, "mine", alice)


def test_a_preloaded_model_stays_what_the_quote_says_even_for_a_key_of_its_namespace(
    start: Callable[..., Started],
) -> None:
    api_key = generate_api_key()
    server = start(
        models={"affine": _AFFINE}, api_keys=(ApiKey.of(api_key, namespace="public"),), max_models=4
    )
    enclave = server.enclave
    for call in (
        lambda: upload(enclave, "affine", models.affine(offset=5), api_key=api_key),
        lambda: upload(enclave, "public/affine", _AFFINE, api_key=api_key),
        lambda: _delete(enclave, "affine", api_key),
        lambda: _delete(enclave, "public/affine", api_key),
    ):
        assert refused(call) is Refusal.MODEL_PRELOADED
    listed = enclave.call(rpc.LIST, rpc.LIST.request()).models
    assert [(m.model_id, m.sha256) for m in listed] == [
        (str(m.model_id), m.sha256) for m in server.configuration.models
    ]
    np.testing.assert_array_equal(infer(enclave, "public/affine", _X)["y"], [[3, 3, 3]])


@pytest.mark.parametrize(
    ("api_key", "model_id", "refusal"),
    [
        (None, "alice/mine", Refusal.API_KEY_REQUIRED),
        (generate_api_key(), "alice/mine", Refusal.API_KEY_UNKNOWN),
        ("bob", "alice/mine", Refusal.NAMESPACE_FORBIDDEN),
        ("bob", "public/mine", Refusal.NAMESPACE_FORBIDDEN),
        ("bob", "bob/a/b", Refusal.MODEL_ID_MALFORMED),
        ("bob", "", Refusal.MODEL_ID_MALFORMED),
        ("bob", "../mine", Refusal.MODEL_ID_MALFORMED),
        ("bob", "bob/" + "a" * 64, Refusal.MODEL_ID_MALFORMED),
    ],
)
def test_models_change_only_within_the_api_keys_namespace(
    enclave: EnclaveProcess, bob: str, api_key: str | None, model_id: str, refusal: Refusal
) -> None:
    key = bob if api_key == "bob" else api_key
    assert refused(lambda: upload(enclave, model_id, _AFFINE, api_key=key)) is refusal  # type: ignore[arg-type]
    assert refused(lambda: _delete(enclave, model_id, key)) is refusal


def test_a_key_in_another_scheme_or_shown_twice_is_refused(enclave: EnclaveProcess, alice: str) -> None:
    stub = enclave.channel.unary_unary(
        rpc.LIST.path,
        request_serializer=rpc.LIST.request.SerializeToString,
        response_deserializer=rpc.LIST.response.FromString,
    )
    bearer = ("authorization", f"Bearer {alice}")
    stub(rpc.LIST.request(), metadata=(bearer,))
    for metadata in [(("authorization", f"Basic {alice}"),), (("authorization", alice),), (bearer, bearer)]:
        with pytest.raises(grpc.RpcError) as info:
            stub(rpc.LIST.request(), metadata=metadata)
        assert refusal_of(info.value) is Refusal.API_KEY_UNKNOWN


class _Counted:
    """An upload that counts the parts that gRPC took from it, and would go on for ever."""

    def __init__(self, first: models_pb2.UploadRequest) -> None:
        self.taken = 0
        self._first = first

    def __iter__(self) -> Iterator[models_pb2.UploadRequest]:
        yield self._first
        while True:
            self.taken += 1
            yield models_pb2.UploadRequest(chunk=bytes(rpc.MAX_CHUNK_SIZE))


@pytest.mark.parametrize("case", ["too large", "no key", "malformed"])
def test_an_upload_that_will_be_refused_is_not_read(enclave: EnclaveProcess, alice: str, case: str) -> None:
    size = (64 << 20) + 1 if case == "too large" else 1 << 20
    first = header("mine", b"", size=size, sha256=b"" if case == "malformed" else bytes(32))
    counted = _Counted(first)
    api_key = None if case == "no key" else alice
    refusal = refused(lambda: enclave.call(rpc.UPLOAD, iter(counted), api_key=api_key))
    assert (
        refusal
        is {
            "too large": Refusal.MODEL_TOO_LARGE,
            "no key": Refusal.API_KEY_REQUIRED,
            "malformed": Refusal.UPLOAD_MALFORMED,
        }[case]
    )
    # What is under way when the answer arrives is bounded by flow control, not by the upload's size.
    assert counted.taken <= 16


def test_an_upload_is_cut_off_at_the_first_byte_beyond_its_announced_size(
    enclave: EnclaveProcess, alice: str
) -> None:
    counted = _Counted(header("mine", b"", size=(1 << 20) + 1))
    assert refused(lambda: enclave.call(rpc.UPLOAD, iter(counted), api_key=alice)) is Refusal.UPLOAD_MALFORMED
    assert counted.taken <= 16


def _chunk(data: bytes) -> models_pb2.UploadRequest:
    return models_pb2.UploadRequest(chunk=data)


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [models_pb2.UploadRequest()],
        [_chunk(_AFFINE)],
        [_chunk(_AFFINE), header("mine", _AFFINE)],
        [header("mine", _AFFINE)],
        [header("mine", _AFFINE), _chunk(_AFFINE[:-1])],
        [header("mine", _AFFINE), _chunk(_AFFINE), _chunk(b"\0")],
        [header("mine", _AFFINE), header("mine", _AFFINE), _chunk(_AFFINE)],
        [header("mine", _AFFINE), _chunk(b""), _chunk(_AFFINE)],
        [header("mine", _AFFINE), models_pb2.UploadRequest(), _chunk(_AFFINE)],
        [header("mine", _AFFINE, size=0)],
        [header("mine", _AFFINE, sha256=b"\0" * 31), _chunk(_AFFINE)],
        [header("mine", b"", size=2 << 20), _chunk(bytes((1 << 20) + 1))],
    ],
)
def test_parts_out_of_order_missing_or_too_many_are_refused(
    enclave: EnclaveProcess, alice: str, sent: list[models_pb2.UploadRequest]
) -> None:
    assert refused(lambda: enclave.call(rpc.UPLOAD, sent, api_key=alice)) is Refusal.UPLOAD_MALFORMED


def test_bytes_of_another_digest_are_refused(enclave: EnclaveProcess, alice: str) -> None:
    changed = _AFFINE[:-1] + bytes([_AFFINE[-1] ^ 1])
    sent = [header("mine", _AFFINE), _chunk(changed)]
    assert refused(lambda: enclave.call(rpc.UPLOAD, sent, api_key=alice)) is Refusal.UPLOAD_DIGEST


@pytest.mark.parametrize(
    "model",
    [
        b"\0",
        b"ORTM" + bytes(64),
        _AFFINE[:-20],
        np.random.default_rng(1).bytes(4096),
        models.sequence_input(),
        models.identity(TensorProto.BFLOAT16),
        models.external("weights.bin"),
        models.external("../config.json"),
        models.external("/etc/passwd"),
        models.external("*/_ORT_MEM_ADDR_/*"),
    ],
)
def test_what_is_no_self_contained_model_is_refused(
    enclave: EnclaveProcess, alice: str, model: bytes
) -> None:
    assert refused(lambda: upload(enclave, "mine", model, api_key=alice)) is Refusal.MODEL_INVALID


def test_outputs_that_are_no_tensors_are_left_out(enclave: EnclaveProcess, alice: str) -> None:
    upload(enclave, "mine", models.sequence_output(), api_key=alice)
    x = {"x": np.array([1, 2], np.float32)}
    assert list(infer(enclave, "alice/mine", x)) == ["y"]
    refusal = refused(lambda: infer(enclave, "alice/mine", x, outputs=["all"]))
    assert refusal is Refusal.OUTPUT_NAME
    _delete(enclave, "mine", alice)


def test_a_small_model_does_not_grow_while_it_is_loaded(start: Callable[..., Started], alice: str) -> None:
    enclave = start().enclave
    upload(enclave, "before", _AFFINE, api_key=alice)
    before = enclave.peak_memory
    upload(enclave, "bomb", models.constant_bomb(1 << 28), api_key=alice)
    assert enclave.peak_memory - before < 100 << 20


def test_models_that_are_too_many_are_refused(start: Callable[..., Started], alice: str, bob: str) -> None:
    enclave = start(max_models=3, models={"affine": _AFFINE}).enclave
    upload(enclave, "a", _AFFINE, api_key=alice)
    upload(enclave, "b", _AFFINE, api_key=bob)
    assert refused(lambda: upload(enclave, "c", _AFFINE, api_key=alice)) is Refusal.MODELS_TOO_MANY
    upload(enclave, "a", models.affine(offset=2), api_key=alice)
    _delete(enclave, "b", bob)
    upload(enclave, "c", _AFFINE, api_key=alice)


def test_models_that_together_are_too_large_are_refused(start: Callable[..., Started], alice: str) -> None:
    enclave = start(max_model_bytes=300_000, max_total_model_bytes=500_000).enclave
    upload(enclave, "a", models.sized(250_000), api_key=alice)
    assert (
        refused(lambda: upload(enclave, "b", models.sized(250_000), api_key=alice))
        is Refusal.MODELS_TOO_LARGE
    )
    assert (
        refused(lambda: upload(enclave, "b", models.sized(300_000), api_key=alice)) is Refusal.MODEL_TOO_LARGE
    )
    _delete(enclave, "a", alice)
    upload(enclave, "b", models.sized(250_000), api_key=alice)


def test_racing_uploads_do_not_exceed_the_limits(start: Callable[..., Started], alice: str) -> None:
    model = models.sized(200_000)
    enclave = start(max_models=3, max_total_model_bytes=3 * len(model)).enclave
    together, others_are_refused = threading.Barrier(6), threading.Event()

    def race(index: int) -> Refusal | None:
        def sent() -> Iterator[models_pb2.UploadRequest]:
            yield header(f"m{index}", model)
            # gRPC does not ask a refused upload for more, so nothing may wait for all six to get here.
            others_are_refused.wait(20)
            yield from list(parts(f"m{index}", model))[1:]

        together.wait(20)
        return _outcome(lambda: enclave.call(rpc.UPLOAD, sent(), api_key=alice))

    with ThreadPoolExecutor(6) as executor:
        uploads = [executor.submit(race, index) for index in range(6)]
        first = [upload.result() for upload in itertools.islice(as_completed(uploads, timeout=20), 3)]
        others_are_refused.set()
        outcomes = [upload.result() for upload in uploads]
    # All six announced themselves before a byte of any model was sent.
    assert first == [Refusal.MODELS_TOO_MANY] * 3
    assert outcomes.count(None) == outcomes.count(Refusal.MODELS_TOO_MANY) == 3
    assert len(_ids(enclave, alice)) == 3


def test_two_uploads_to_one_id_do_not_mix(enclave: EnclaveProcess, alice: str) -> None:
    reserved, second_is_done = threading.Event(), threading.Event()

    def slow_parts() -> Iterator[models_pb2.UploadRequest]:
        yield header("twice", _AFFINE)
        reserved.set()
        second_is_done.wait(20)
        yield _chunk(_AFFINE)

    with ThreadPoolExecutor(1) as executor:
        first = executor.submit(enclave.call, rpc.UPLOAD, slow_parts(), api_key=alice)
        reserved.wait(20)
        outcome = _until_refused(lambda: upload(enclave, "twice", _AFFINE, api_key=alice))
        second_is_done.set()
        assert first.result(20).model_id == "alice/twice"
    assert outcome is Refusal.BUSY
    _delete(enclave, "twice", alice)


def _outcome(call: Callable[[], object]) -> Refusal | None:
    try:
        call()
    except grpc.RpcError as err:
        return refusal_of(err)
    return None


def _until_refused(call: Callable[[], object]) -> Refusal:
    """Call until the first upload's header has surely arrived, which nobody can see from outside."""
    for _ in range(100):
        if (outcome := _outcome(call)) is not None:
            return outcome
        time.sleep(0.02)
    raise AssertionError("never refused")


def test_an_upload_that_takes_too_long_is_refused_and_its_room_is_free_again(
    start: Callable[..., Started], alice: str
) -> None:
    enclave = start(upload_timeout_ms=700, max_models=1).enclave
    finished = threading.Event()

    def stalled() -> Iterator[models_pb2.UploadRequest]:
        yield header("slow", _AFFINE)
        finished.wait(20)

    begun = time.monotonic()
    refusal = refused(lambda: enclave.call(rpc.UPLOAD, stalled(), api_key=alice))
    finished.set()
    assert refusal is Refusal.UPLOAD_TIMEOUT
    assert time.monotonic() - begun < 5
    upload(enclave, "quick", _AFFINE, api_key=alice)


def test_an_upload_that_its_caller_gives_up_frees_its_room(start: Callable[..., Started], alice: str) -> None:
    enclave = start(max_models=1).enclave
    finished = threading.Event()

    def stalled() -> Iterator[models_pb2.UploadRequest]:
        yield header("left", _AFFINE)
        finished.wait(20)

    with pytest.raises(grpc.RpcError) as info:
        enclave.call(rpc.UPLOAD, stalled(), api_key=alice, timeout=0.5)
    finished.set()
    assert info.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    deadline = time.monotonic() + 10
    while (outcome := _outcome(lambda: upload(enclave, "quick", _AFFINE, api_key=alice))) is not None:
        assert outcome is Refusal.MODELS_TOO_MANY
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert _ids(enclave, alice) == {"alice/quick"}


def test_inferences_go_on_while_a_large_model_is_loaded(
    enclave: EnclaveProcess, alice: str, resnet18: bytes
) -> None:
    with ThreadPoolExecutor(1) as executor:
        loading = executor.submit(upload, enclave, "large", resnet18[:], api_key=alice)
        answered = 0
        while not loading.done():
            infer(enclave, "affine", _X)
            answered += 1
        loading.result()
    assert answered > 3
    _delete(enclave, "large", alice)


def test_small_chunks_make_the_same_model(enclave: EnclaveProcess, alice: str) -> None:
    model = models.sized(3 * CHUNK)
    response = enclave.call(rpc.UPLOAD, parts("chunks", model, chunk_size=999), api_key=alice)
    assert response.sha256 == hashlib.sha256(model).digest()
    request = infer_request("alice/chunks", {"x": np.zeros(1, np.float32)})
    enclave.call(rpc.MODEL_INFER, request)
    _delete(enclave, "chunks", alice)
