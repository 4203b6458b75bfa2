"""Connections that only occupy a place: a server closes them, and lets nobody else wait for it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from glasshouse_log import serving

LARGE = bytes(64 << 20)
REQUEST = b"GET /%s HTTP/1.1\r\nHost: log\r\n\r\n"

Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def served(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``client`` talk to a server that waits 0.3 seconds for requests, and as long for readers."""
    monkeypatch.setattr(serving, "_REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(serving, "_ANSWER_SECONDS", 0.3)

    async def slow(_: Request) -> Response:
        await asyncio.sleep(1)
        return Response(b"slow but there")

    async def large(_: Request) -> Response:
        return Response(LARGE)

    listener = serving.bind(("127.0.0.1", 0))

    async def talk() -> None:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        await asyncio.wait_for(client(reader, writer), 10)
        writer.close()

    app = Starlette(routes=[Route("/slow", slow), Route("/large", large)])
    asyncio.run(_serve(app, listener, talk))


async def _serve(app: Starlette, listener: socket.socket, talk: Callable[[], Awaitable[None]]) -> None:
    done: list[bool] = []

    async def worker() -> None:
        await talk()
        done.append(True)

    await serving.serve(app, listener, worker=worker)
    assert done


def test_a_connection_that_asks_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def client(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        assert await reader.read() == b""

    served(client, monkeypatch)


def test_a_request_that_never_ends_is_closed_however_often_a_byte_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = asyncio.create_task(reader.read())
        writer.write(b"GET /slow HTTP/1.1\r\nX: ")
        for _ in range(40):
            await asyncio.sleep(0.05)
            if end.done():
                break
            writer.write(b"x")
        assert end.done()

    served(client, monkeypatch)


def test_a_request_is_answered_however_long_that_takes_and_then_the_place_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            writer.write(REQUEST % b"slow")
            assert b"200" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(14) == b"slow but there"
        assert await reader.read() == b""

    served(client, monkeypatch)


def test_an_answer_that_nobody_takes_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(REQUEST % b"large")
        await asyncio.sleep(2)
        taken = 0
        try:
            while chunk := await reader.read(1 << 20):
                taken += len(chunk)
        except ConnectionResetError:
            pass
        assert taken < len(LARGE)

    served(client, monkeypatch)
