"""Reading a request's body under a limit, before it is all there."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import Request

__all__ = ["read_body"]

_MAX_SECONDS = 30.0


async def read_body(request: Request, *, max_size: int) -> bytes:
    """Return the body, of which never more than `max_size` bytes are kept.

    Raises HTTPException 413, at once if the length is declared, else at the first byte too many; and 408
    if the body is not there after half a minute.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_size:
        raise _too_large(max_size)
    try:
        return await asyncio.wait_for(_read(request, max_size), _MAX_SECONDS)
    except asyncio.TimeoutError as err:
        raise HTTPException(408, "the body did not arrive in time") from err


async def _read(request: Request, max_size: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_size:
            raise _too_large(max_size)
    return bytes(body)


def _too_large(max_size: int) -> HTTPException:
    return HTTPException(413, f"a body has at most {max_size} bytes")
