"""A real enclave server in a child process, with a simulated launcher's socket in this one."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from google.protobuf.message import Message

from glasshouse_attestations.configuration import RuntimeConfiguration
from glasshouse_attestations.keys import SigningKey
from glasshouse_attestations.rpc import REFUSAL_METADATA, SERVER_NAME, Method, Refusal
from glasshouse_attestations.simulated import Isolation, sign_quote

__all__ = ["EnclaveProcess", "Launcher", "bearer", "refusal_of", "run_directory"]

_START_SECONDS = 30
_STOP_SECONDS = 20


class Launcher:
    """Answers on ``attester.sock`` as the simulated platform's launcher does.

    ``answer`` can be replaced, to answer as no launcher should.
    """

    image_sha256 = bytes(range(32))
    image_sha384 = bytes(range(48))

    def __init__(self, directory: Path) -> None:
        self.key = SigningKey.generate()
        self.answer: Callable[[bytes], bytes] = self._quote
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(directory / "attester.sock"))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                report_data = connection.recv(64, socket.MSG_WAITALL)
                connection.sendall(self.answer(report_data))

    def _quote(self, report_data: bytes) -> bytes:
        evidence = sign_quote(
            self.key,
            image_sha256=self.image_sha256,
            image_sha384=self.image_sha384,
            isolation=Isolation.LOADER,
            report_data=report_data,
            time=datetime.now(timezone.utc),
        ).encode()
        return len(evidence).to_bytes(4, "big") + evidence


class EnclaveProcess:
    """``python -I -m glasshouse_enclave`` in a child, ready to be called over TLS."""

    def __init__(self, directory: Path, *, environment: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self._errors = directory.parent / f"stderr-{secrets.token_hex(4)}"
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-m", "glasshouse_enclave", *_arguments(directory)],
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **(environment or {})},
            )
        self.address = self._read_address()
        self.certificate = ssl.get_server_certificate(self._host_and_port(), timeout=10).encode()
        self.channel = self.open_channel()

    def open_channel(self, **options: int) -> grpc.Channel:
        """Return another channel that trusts this server's certificate and nothing else."""
        return grpc.secure_channel(
            self.address,
            grpc.ssl_channel_credentials(self.certificate),
            options=[
                ("grpc.ssl_target_name_override", SERVER_NAME),
                ("grpc.max_receive_message_length", -1),
                ("grpc.use_local_subchannel_pool", 1),
                *options.items(),
            ],
        )

    def call(
        self,
        method: Method,
        request: Message | Iterable[Message],
        *,
        api_key: str | None = None,
        timeout: float = 60,
        channel: grpc.Channel | None = None,
    ) -> Any:
        """Return the server's answer; raises ``grpc.RpcError`` (see :func:`refusal_of`)."""
        channel = channel or self.channel
        kind = channel.stream_unary if method.streams_requests else channel.unary_unary
        stub = kind(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        sent: Any = iter(request) if not isinstance(request, Message) else request
        return stub(sent, metadata=bearer(api_key), timeout=timeout)

    @property
    def log(self) -> str:
        """Everything that the server has written to standard error."""
        return self._errors.read_text(encoding="utf-8")

    @property
    def peak_memory(self) -> int:
        """The most bytes of memory that the server has had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) << 10

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the server, and return its exit code."""
        self.channel.close()
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the server's end, and return its exit code."""
        code = self.process.wait(_STOP_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def __enter__(self) -> EnclaveProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.channel.close()
        if self.process.poll() is None:
            self.process.kill()
        self.wait()

    def _read_address(self) -> str:
        assert self.process.stdout is not None
        timer = threading.Timer(_START_SECONDS, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        if not line:
            self.wait()
            raise RuntimeError(f"the enclave did not start: {self.log}")
        address: str = json.loads(line)["listen"]
        return address

    def _host_and_port(self) -> tuple[str, int]:
        host, _, port = self.address.rpartition(":")
        return host, int(port)


def _arguments(directory: Path, platform: str = "simulated") -> list[str]:
    return ["--platform", platform, "--listen", "127.0.0.1:0", "--run-dir", str(directory)]


@contextmanager
def run_directory(
    configuration: RuntimeConfiguration, *, models: Sequence[bytes] = (), bundle: bytes | None = None
) -> Iterator[Path]:
    """Yield a run directory with a short path, as Unix sockets need it, and remove it afterwards."""
    root = Path(tempfile.mkdtemp(prefix="gh-"))
    try:
        directory = root / "run"
        (directory / "models").mkdir(parents=True)
        (directory / "config.json").write_bytes(configuration.encode())
        for preloaded, model in zip(configuration.models, models, strict=True):
            (directory / "models" / f"{preloaded.sha256.hex()}.onnx").write_bytes(model)
        if bundle is not None:
            (directory / "bundle.json").write_bytes(bundle)
        yield directory
    finally:
        shutil.rmtree(root)


def bearer(api_key: str | None) -> tuple[tuple[str, str], ...]:
    """Return the metadata that shows ``api_key``."""
    return () if api_key is None else (("authorization", f"Bearer {api_key}"),)


def refusal_of(err: grpc.RpcError) -> Refusal:
    """Return the refusal behind ``err``, whose status and text must be that refusal's."""
    metadata: Any = err.trailing_metadata() or ()
    reasons = [value for name, value in metadata if name == REFUSAL_METADATA]
    assert len(reasons) == 1, f"no refusal in {err.code()}: {err.details()}"
    refusal = next(item for item in Refusal if item.reason == reasons[0])
    assert (err.code().name, err.details()) == (refusal.status, refusal.text)
    return refusal
