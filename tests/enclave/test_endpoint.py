"""What becomes of a handler's errors: fixed texts for callers, and for the log neither texts nor values."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from glasshouse_attestations import rpc
from glasshouse_attestations.configuration import RuntimeConfiguration
from glasshouse_attestations.rpc import Refusal
from glasshouse_enclave.endpoint import Call, Endpoint, generic_handlers
from glasshouse_enclave.errors import AttestationUnavailableError, RefusedError
from glasshouse_enclave.gate import Gate
from support.enclave_process import refusal_of

_CANARY = "canary7391"


def _answer(handle: Callable[[Call], Awaitable[Message]], *, gate: Gate) -> Refusal | None:
    """Serve one call with ``handle`` in this process, and return the refusal that it meets."""
    endpoint = Endpoint(method=rpc.SERVER_LIVE, handle=handle, gate=gate, timeout=0.3)

    async def run() -> Refusal | None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(generic_handlers([endpoint], RuntimeConfiguration()))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = channel.unary_unary(rpc.SERVER_LIVE.path)
            try:
                await stub(b"", timeout=10)
            except grpc.aio.AioRpcError as err:
                return refusal_of(err)
            finally:
                await server.stop(None)
        return None

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("raised", "refusal"),
    [
        (RefusedError(Refusal.INPUT_RANK), Refusal.INPUT_RANK),
        (AttestationUnavailableError(_CANARY), Refusal.ATTESTATION_UNAVAILABLE),
        (ValueError(_CANARY), Refusal.INTERNAL),
        (KeyError(_CANARY), Refusal.INTERNAL),
        (MemoryError(_CANARY), Refusal.INTERNAL),
        (UnicodeDecodeError("utf-8", _CANARY.encode(), 0, 1, _CANARY), Refusal.INTERNAL),
    ],
)
def test_an_error_becomes_its_refusal_and_frees_its_place(
    capsys: pytest.CaptureFixture[str], raised: Exception, refusal: Refusal
) -> None:
    async def fail(call: Call) -> Message:
        await call.body()
        raise raised

    gate = Gate(1)
    assert _answer(fail, gate=gate) is refusal
    assert _answer(fail, gate=gate) is refusal
    log = capsys.readouterr().err
    assert _CANARY not in log
    failures = [json.loads(line) for line in log.splitlines()]
    expected = [type(raised).__name__] * 2 if refusal is Refusal.INTERNAL else []
    assert [line["error"] for line in failures] == expected
    assert all(line["where"].startswith("test_endpoint.py:") for line in failures)


def test_a_handler_that_takes_too_long_is_given_up() -> None:
    cancelled = []

    async def wait(_: Call) -> Message:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        raise AssertionError("not reached")

    assert _answer(wait, gate=Gate(1)) is Refusal.REQUEST_TIMEOUT
    assert cancelled


def test_a_handler_that_answers_is_not_refused() -> None:
    async def live(call: Call) -> Message:
        return await call.message(rpc.SERVER_LIVE.request)

    assert _answer(live, gate=Gate(1)) is None


def test_libraries_are_silent_once_told_so() -> None:
    """Checked in another process, since it cannot be undone."""
    script = (
        "import logging, warnings; from glasshouse_enclave import log; {}"
        "logging.getLogger('grpc').error('said'); warnings.warn('said')"
    )
    said, silent = (
        subprocess.run(
            [sys.executable, "-c", script.format(first)], capture_output=True, text=True, check=True
        )
        for first in ("", "log.silence_libraries(); ")
    )
    assert "said" in said.stderr
    assert (silent.stdout, silent.stderr) == ("", "")
    assert logging.root.manager.disable == 0
