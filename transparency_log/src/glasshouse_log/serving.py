"""Running an application on a socket: ready line, clean stop, and no trace of requests in the logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

__all__ = ["bind", "parse_address", "serve"]

_MAX_CONNECTIONS = 512
_DRAIN_SECONDS = 10
_REQUEST_SECONDS = 30.0
_ANSWER_SECONDS = 300.0


class _Protocol(H11Protocol):
    """Gives a place back that a client only occupies: it has time to ask, and time to take the answer.

    uvicorn itself waits without end for the first request, for the rest of any, and for a reader.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._patience = self.loop.call_later(_REQUEST_SECONDS, self._close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_answering():
            self._patience.cancel()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._is_answering():
            self._patience.cancel()
            self._patience = self.loop.call_later(_REQUEST_SECONDS, self._close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.cancel()
        super().connection_lost(exc)

    def _is_answering(self) -> bool:
        # uvicorn's own type leaves out that there is none before the first request.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _close(self) -> None:
        # What the client has not taken of an answer is still sent, for a while.
        self.transport.close()
        self._patience = self.loop.call_later(_ANSWER_SECONDS, self.transport.abort)


class _Server(uvicorn.Server):
    """A server that leaves signals to `serve`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT` or `[IPv6]:PORT`; port 0 means any free one."""
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def bind(address: tuple[str, int]) -> socket.socket:
    """Return a socket bound to the address."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    return listener


async def serve(
    app: Starlette,
    listener: socket.socket,
    *,
    worker: Callable[[], Awaitable[None]] | None = None,
    stop_at_eof: bool = False,
) -> signal.Signals:
    """Serve until SIGINT or SIGTERM, drain, and return the signal; if `worker` ends, raise what ended it.

    When connections are accepted, one JSON line on standard output says where. With `stop_at_eof` the end
    of standard input counts as SIGTERM, so that the process does not outlive the one that started it.
    """
    config = uvicorn.Config(
        app,
        http=_Protocol,
        log_config=None,
        access_log=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        server_header=False,
        lifespan="off",
    )
    server = _Server(config)
    stopped: list[signal.Signals] = []

    def stop(received: signal.Signals) -> None:
        stopped.append(received)
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    if stop_at_eof:
        loop.add_reader(sys.stdin.fileno(), _stop_when_empty, loop, stop)
    listener.listen(_MAX_CONNECTIONS)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    print(json.dumps({"event": "ready", "listen": shown}), flush=True)  # noqa: T201
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    working = asyncio.create_task(_run(worker)) if worker else None
    await asyncio.wait([task for task in (serving, working) if task], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving
    if working is not None:
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
    return stopped[0] if stopped else signal.SIGTERM


async def _run(worker: Callable[[], Awaitable[None]]) -> None:
    await worker()


def _stop_when_empty(loop: asyncio.AbstractEventLoop, stop: Callable[[signal.Signals], None]) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        stop(signal.SIGTERM)
