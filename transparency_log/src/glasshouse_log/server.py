"""The log's HTTP interface: tiles to read (c2sp.org/tlog-tiles), and one call to add an entry.

```
POST /v1/entries                  an envelope; answers with its tlog-proof once it is published
GET  /v1/proof?leaf_hash=<hex>    the tlog-proof of a published entry
GET  /checkpoint                  the published note
GET  /tile/<level>/<index>        and /tile/entries/<index>, full or partial, as far as published
```

Refusals are JSON: `{"code": ..., "message": ...}`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from glasshouse_attestations.errors import GlasshouseError
from glasshouse_attestations.keys import PublicKey

from .admission import check_admission
from .body import read_body
from .errors import (
    AdmissionError,
    LogUnavailableError,
    MalformedEntryError,
    MalformedTileError,
    OverloadedError,
)
from .merkle import HASH_SIZE
from .sequencer import Sequencer
from .storage import Storage
from .tiles import MAX_ENTRY_SIZE, Tile, tile_at

__all__ = ["create_app"]

_TEXT = "text/plain; charset=utf-8"
_REFUSALS: dict[type[GlasshouseError], tuple[int, str]] = {
    MalformedEntryError: (400, "malformed-entry"),
    MalformedTileError: (404, "not-found"),
    AdmissionError: (403, "not-admitted"),
    OverloadedError: (503, "overloaded"),
    LogUnavailableError: (503, "not-published"),
}
_CODES = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}


def create_app(
    storage: Storage,
    sequencer: Sequencer,
    *,
    admitted: Collection[PublicKey] | None,
    add_timeout: float = 30.0,
) -> Starlette:
    """Return the application; `admitted` are the keys whose envelopes are taken, None for everybody's."""

    async def add(request: Request) -> Response:
        entry = await read_body(request, max_size=MAX_ENTRY_SIZE)
        await asyncio.to_thread(check_admission, entry, admitted)
        return Response(await sequencer.add(entry, timeout=add_timeout), media_type=_TEXT)

    async def prove(request: Request) -> Response:
        leaf = _leaf_hash(request.query_params.get("leaf_hash", ""))
        try:
            return Response(await sequencer.prove(leaf), media_type=_TEXT)
        except KeyError as err:
            raise HTTPException(404, "no published entry has this leaf hash") from err

    async def checkpoint(_request: Request) -> Response:
        if storage.published is None:
            raise HTTPException(404, "nothing is published yet")
        headers = {"Cache-Control": "no-store"}
        return Response(storage.published.encode(), media_type=_TEXT, headers=headers)

    async def tile(request: Request) -> Response:
        wanted = Tile.parse_path(f"tile/{request.path_params['path']}")
        published = tile_at(wanted.level, wanted.index, size=storage.published_size)
        if published is None or wanted.width > published.width:
            raise HTTPException(404, "the published tree has no such tile")
        data = await asyncio.to_thread(storage.read_tile, wanted)
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(data, media_type="application/octet-stream", headers=headers)

    return Starlette(
        routes=[
            Route("/v1/entries", add, methods=["POST"]),
            Route("/v1/proof", prove, methods=["GET"]),
            Route("/checkpoint", checkpoint, methods=["GET"]),
            Route("/tile/{path:path}", tile, methods=["GET"]),
        ],
        exception_handlers={GlasshouseError: _refuse, HTTPException: _refuse_http},
    )


def _leaf_hash(text: str) -> bytes:
    try:
        leaf = bytes.fromhex(text)
    except ValueError:
        leaf = b""
    if len(leaf) != HASH_SIZE or leaf.hex() != text:
        raise HTTPException(400, "leaf_hash is not a SHA-256 hash in lower-case hexadecimal")
    return leaf


async def _refuse(_request: Request, error: Exception) -> Response:
    status, code = next(
        (refusal for kind, refusal in _REFUSALS.items() if isinstance(error, kind)),
        (500, "internal-error"),
    )
    message = str(error) if status != 500 else "the log failed to answer"
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse({"code": code, "message": message}, status_code=status, headers=headers)


async def _refuse_http(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = _CODES.get(error.status_code, "bad-request")
    return JSONResponse({"code": code, "message": error.detail}, status_code=error.status_code)
