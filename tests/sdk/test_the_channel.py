"""Nothing is sent to anybody but the enclave whose key the quote binds, and nothing in the clear."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glasshouse import Channel, Connection, Status, Step, Verdict, errors
from glasshouse._channel import Address
from glasshouse_attestations.rpc import GET_EVIDENCE, MODEL_INFER, MODEL_METADATA, Refusal
from glasshouse_attestations.wire.attestation_pb2 import GetEvidenceRequest, GetEvidenceResponse
from glasshouse_enclave.identity import Identity
from support.chain import Chain
from support.relay import always, forward_to, relay
from support.served import Served

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def make_chain() -> Chain:
    return Chain(now=datetime.now(timezone.utc).replace(microsecond=0))


def answering(
    chain: Chain, identity: Identity, *, others: Callable[[str, bytes], bytes] | None = None
) -> Callable[[str, bytes], bytes]:
    """An enclave in memory: honest evidence for each nonce, and ``others`` for every other call."""

    def answer(path: str, request: bytes) -> bytes:
        if path != GET_EVIDENCE.path:
            assert others is not None, path
            return others(path, request)
        channel = Channel(
            nonce=GetEvidenceRequest.FromString(request).nonce, tls_spki_sha256=identity.tls_spki_sha256
        )
        shown = chain.attestation(evidence=chain.evidence(channel=channel))
        return GetEvidenceResponse(
            evidence=shown.evidence,
            bundle=shown.bundle,
            receipt_public_key=shown.receipt_public_key,
            configuration=shown.configuration,
        ).SerializeToString()

    return answer


def new_identity() -> Identity:
    return Identity.generate(now=datetime.now(timezone.utc))


def test_genuine_evidence_behind_another_key_is_refused_and_nothing_else_was_sent(served: Served) -> None:
    with relay(forward_to(served.started.enclave.channel)) as middle:
        with pytest.raises(errors.ReportDataMismatchError) as caught:
            Connection(middle.address, policy=served.policy_file, api_key="gh_secret", state=served.state)
        assert [path for path, _, _ in middle.seen] == [GET_EVIDENCE.path]
        _, request, metadata = middle.seen[0]
    parsed = GetEvidenceRequest.FromString(request)
    assert parsed == GetEvidenceRequest(nonce=parsed.nonce)
    assert len(parsed.nonce) == 32
    assert "authorization" not in metadata
    assert "gh_secret" not in str(metadata)
    verdict = caught.value.verdict
    assert isinstance(verdict, Verdict)
    assert verdict[Step.CHANNEL].status is Status.FAIL


def test_evidence_that_answered_an_earlier_nonce_is_refused(tmp_path: Path) -> None:
    chain, identity = make_chain(), new_identity()
    honest = answering(chain, identity)
    kept: dict[str, bytes] = {}
    with relay(
        lambda path, request: kept.setdefault(path, honest(path, request)), identity=identity
    ) as server:
        Connection(server.address, policy=chain.policy(), state=tmp_path).close()
        with pytest.raises(errors.ReportDataMismatchError):
            Connection(server.address, policy=chain.policy(), state=tmp_path)
        nonces = [GetEvidenceRequest.FromString(request).nonce for _, request, _ in server.seen]
    assert len(set(nonces)) == 2


@pytest.mark.parametrize("part", ["evidence", "bundle", "receipt_public_key", "configuration"])
def test_a_server_that_leaves_a_part_out_is_refused(tmp_path: Path, part: str) -> None:
    chain, identity = make_chain(), new_identity()
    honest = answering(chain, identity)

    def without(path: str, request: bytes) -> bytes:
        shown = GetEvidenceResponse.FromString(honest(path, request))
        shown.ClearField(part)
        return shown.SerializeToString()

    refused = pytest.raises((errors.MalformedError, errors.BundleMissingError))
    with relay(without, identity=identity) as server, refused as caught:
        Connection(server.address, policy=chain.policy(), state=tmp_path)
    verdict = caught.value.verdict
    assert isinstance(verdict, Verdict)
    assert verdict[Step.FORMATS].status is not Status.PASS


def test_an_answer_that_is_no_message_or_too_large_is_an_error(tmp_path: Path) -> None:
    chain = make_chain()
    for garbage, error in (
        (b"\xff\xff\xff", errors.AnswerError),
        (bytes(6 << 20), errors.ServerUnavailableError),
    ):
        with relay(always(garbage)) as server, pytest.raises(error):
            Connection(server.address, policy=chain.policy(), state=tmp_path)


def test_a_key_that_changes_after_attestation_ends_the_connection(tmp_path: Path) -> None:
    chain, identity = make_chain(), new_identity()
    with relay(answering(chain, identity), identity=identity) as server:
        client = Connection(server.address, policy=chain.policy(), api_key="gh_secret", state=tmp_path)
        port = int(server.address.rpartition(":")[2])
    with relay(always(b""), port=port) as impostor:
        with pytest.raises(errors.CertificateChangedError):
            client.predict("public/affine", X)
        assert impostor.seen == []
    client.close()


def test_a_server_that_comes_back_with_the_same_key_is_still_the_attested_one(tmp_path: Path) -> None:
    chain, identity = make_chain(), new_identity()
    with relay(answering(chain, identity), identity=identity) as server:
        client = Connection(server.address, policy=chain.policy(), state=tmp_path)
        port = int(server.address.rpartition(":")[2])
    with pytest.raises(errors.ServerUnavailableError):
        client.list_models(timeout=2)
    with relay(always(b""), identity=identity, port=port):
        assert _eventually(client.list_models) == ()
    client.close()


def _eventually(call: Callable[[], Any]) -> Any:
    """gRPC waits a little before it reconnects."""
    for _ in range(50):
        try:
            return call()
        except errors.ServerUnavailableError:
            threading.Event().wait(0.1)
    return call()


def test_a_certificate_that_changes_between_the_two_handshakes_is_noticed(tmp_path: Path) -> None:
    # The first TLS connection ends in one key, those of gRPC in another: the pin holds.
    chain, first, second = make_chain(), new_identity(), new_identity()
    with (
        relay(answering(chain, first), identity=first) as one,
        relay(answering(chain, second), identity=second) as two,
    ):
        refused = pytest.raises(errors.CertificateChangedError)
        with switching_proxy(one.address, two.address) as address, refused:
            Connection(address, policy=chain.policy(), state=tmp_path, timeout=3)
        assert two.seen == []


@contextmanager
def switching_proxy(first: str, then: str) -> Iterator[str]:
    """Forward bytes: the first connection to one address, all later ones to another."""
    listener = socket.create_server(("127.0.0.1", 0))
    targets = iter([first])
    sockets: list[socket.socket] = [listener]

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def accept() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            host, _, port = next(targets, then).rpartition(":")
            far = socket.create_connection((host, int(port)))
            sockets.extend((near, far))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for each in sockets:
            each.close()


def test_there_is_no_fallback_to_plaintext(tmp_path: Path) -> None:
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"

        def serve() -> None:
            for _ in range(1):
                connection, _ = listener.accept()
                with connection:
                    received.append(connection.recv(65536))
                    connection.sendall(b"HTTP/1.1 400 no TLS here\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(errors.ServerUnavailableError):
            Connection(address, policy=make_chain().policy(), api_key="gh_secret", state=tmp_path)
        thread.join()
    assert received[0][:1] == b"\x16", "only a TLS handshake record was sent"
    assert b"gh_secret" not in received[0]


@pytest.mark.parametrize("host", ["a..b", ".", "a" * 64])
def test_a_host_that_has_no_name_in_the_dns_is_a_configuration_error(host: str, tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigurationError):
        Connection(f"{host}:443", policy=make_chain().policy(), state=tmp_path)


@pytest.mark.parametrize("api_key", ["gh_secret\n", " gh_secret", "gh_sécret", "gh_\0secret"])
def test_an_api_key_that_no_header_takes_is_refused_unseen(api_key: str, tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        Connection("127.0.0.1:1", policy=make_chain().policy(), api_key=api_key, state=tmp_path)
    assert "cret" not in str(caught.value)


def test_a_server_that_redirects_leads_nowhere(tmp_path: Path) -> None:
    identity, visited = new_identity(), threading.Event()
    key_and_certificate = tmp_path / "identity.pem"
    key_and_certificate.write_bytes(identity.tls_key_pem + identity.certificate_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(key_and_certificate)
    context.set_alpn_protocols(["h2"])

    def redirect(listener: socket.socket, target: str) -> None:
        reply = f"HTTP/1.1 307 Moved\r\nLocation: https://{target}/\r\nContent-Length: 0\r\n\r\n"
        for _ in range(2):
            connection, _ = listener.accept()
            with suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
                tls.recv(65536)
                tls.sendall(reply.encode())

    def watch(listener: socket.socket) -> None:
        with suppress(OSError):
            listener.accept()
            visited.set()

    with socket.create_server(("127.0.0.1", 0)) as target, socket.create_server(("127.0.0.1", 0)) as here:
        elsewhere = f"127.0.0.1:{target.getsockname()[1]}"
        threads = [
            threading.Thread(target=watch, args=(target,), daemon=True),
            threading.Thread(target=redirect, args=(here, elsewhere), daemon=True),
        ]
        for thread in threads:
            thread.start()
        address = f"127.0.0.1:{here.getsockname()[1]}"
        with pytest.raises(errors.UnavailableError):
            Connection(address, policy=make_chain().policy(), state=tmp_path, timeout=2)
        assert not visited.is_set()


def test_no_verdict_is_kept_for_the_next_connection(tmp_path: Path) -> None:
    chain, identity = make_chain(), new_identity()
    with relay(answering(chain, identity), identity=identity) as server:
        for _ in range(2):
            Connection(server.address, policy=chain.policy(), state=tmp_path).close()
        nonces = [GetEvidenceRequest.FromString(request).nonce for _, request, _ in server.seen]
        assert len(set(nonces)) == 2
        assert all(len(nonce) == 32 for nonce in nonces)
        server.answer = always(b"")
        with pytest.raises(errors.GlasshouseError):
            Connection(server.address, policy=chain.policy(), state=tmp_path)


def test_nobody_there_is_unavailable_and_silence_is_a_deadline(tmp_path: Path) -> None:
    policy = make_chain().policy()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(errors.DeadlineError):
            Connection(address, policy=policy, state=tmp_path, timeout=0.2)
    with pytest.raises(errors.ServerUnavailableError):
        Connection(address, policy=policy, state=tmp_path)


def test_the_api_key_is_sent_only_after_verification(served: Served) -> None:
    with relay(forward_to(served.started.enclave.channel)) as middle:
        for policy in (served.chain.policy(), make_chain().policy()):
            with pytest.raises(errors.VerificationError):
                Connection(middle.address, policy=policy, api_key="gh_secret", state=served.state)
        assert all("gh_secret" not in str(seen) for seen in middle.seen)


def test_a_proxy_of_the_environment_is_not_used(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with served.connect() as client:
        client.list_models()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "host:",
        ":1",
        "host:0",
        "host:65536",
        "https://host:443",
        "host:1/path",
        "unix:/tmp/x",
        "a b:1",
        "::1:443",
    ],
)
def test_what_is_no_address_is_a_configuration_error(text: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="host:port"):
        Address.parse(text)


@pytest.mark.parametrize("text", ["host:1", "enclave.example:50051", "127.0.0.1:443", "[::1]:443"])
def test_an_address_is_written_as_it_was_read(text: str) -> None:
    assert str(Address.parse(text)) == text


def test_every_refusal_of_the_protocol_has_an_error_with_our_text() -> None:
    from glasshouse._refusal import refused

    for refusal in Refusal:
        error = refused(refusal.reason)
        assert (str(error), error.reason) == (refusal.text, refusal.reason)
    assert refused("<script>").reason == ""
    assert "script" not in str(refused("<script>"))


def test_a_server_that_answers_about_other_outputs_is_refused(tmp_path: Path) -> None:
    from glasshouse_attestations.wire.inference_pb2 import ModelInferResponse, ModelMetadataResponse

    def metadata() -> bytes:
        spec = ModelMetadataResponse.TensorMetadata(name="x", datatype="FP32", shape=[-1, 3])
        return ModelMetadataResponse(inputs=[spec]).SerializeToString()

    def output(name: str = "y", datatype: str = "FP32", shape: tuple[int, ...] = (1,)) -> Any:
        return ModelInferResponse.InferOutputTensor(name=name, datatype=datatype, shape=shape)

    wrong = [
        ModelInferResponse(outputs=[output()]),
        ModelInferResponse(outputs=[output()], raw_output_contents=[b"123"]),
        ModelInferResponse(outputs=[output(shape=(-1, -1))], raw_output_contents=[b"1234"]),
        ModelInferResponse(outputs=[output(datatype="FP99")], raw_output_contents=[b"1234"]),
        ModelInferResponse(outputs=[output(datatype="BYTES")], raw_output_contents=[b"\x09\0\0\0"]),
        ModelInferResponse(outputs=[output(), output()], raw_output_contents=[b"1234", b"1234"]),
        ModelInferResponse(outputs=[output("z")], raw_output_contents=[b"1234"]),
    ]
    chain, identity = make_chain(), new_identity()
    answers = iter(wrong)

    def others(path: str, request: bytes) -> bytes:
        assert path in (MODEL_METADATA.path, MODEL_INFER.path)
        return metadata() if path == MODEL_METADATA.path else next(answers).SerializeToString()

    with (
        relay(answering(chain, identity, others=others), identity=identity) as server,
        Connection(server.address, policy=chain.policy(), state=tmp_path) as client,
    ):
        for _ in wrong:
            with pytest.raises(errors.AnswerError):
                client.predict("public/affine", X, outputs=["y"])


def test_a_model_that_arrived_differently_is_noticed(tmp_path: Path) -> None:
    from glasshouse_attestations.wire.models_pb2 import UploadResponse

    chain, identity = make_chain(), new_identity()
    reply = UploadResponse(model_id="alice/x", sha256=hashlib.sha256(b"other").digest())
    server_answer = answering(chain, identity, others=always(reply.SerializeToString()))
    with (
        relay(server_answer, identity=identity) as server,
        Connection(server.address, policy=chain.policy(), state=tmp_path) as client,
        pytest.raises(errors.DigestMismatchError),
    ):
        client.upload_model(b"model", model_id="alice/x")
