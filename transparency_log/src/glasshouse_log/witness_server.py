"""A witness's HTTP interface (c2sp.org/tlog-witness).

```
POST /add-checkpoint              a consistency proof and a checkpoint; answers with a cosignature
GET  /<origin hash>/checkpoint    the last checkpoint cosigned for a log
```
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .body import read_body
from .request import MAX_REQUEST_SIZE
from .witness import Witness

__all__ = ["create_witness_app"]

_TEXT = "text/plain; charset=utf-8"


def create_witness_app(witness: Witness, *, clock: Callable[[], float] = time.time) -> Starlette:
    """Return the application of one witness."""

    async def add_checkpoint(request: Request) -> Response:
        body = await read_body(request, max_size=MAX_REQUEST_SIZE)
        answer = await asyncio.to_thread(witness.add_checkpoint, body, now=int(clock()))
        headers = {"Content-Type": answer.content_type}
        return Response(answer.body, status_code=answer.status, headers=headers)

    async def checkpoint(request: Request) -> Response:
        note = await asyncio.to_thread(witness.latest, request.path_params["origin_hash"])
        if note is None:
            raise HTTPException(404, "this witness never cosigned a checkpoint of that log")
        return Response(note, media_type=_TEXT, headers={"Cache-Control": "no-store"})

    return Starlette(
        routes=[
            Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
            Route("/{origin_hash}/checkpoint", checkpoint, methods=["GET"]),
        ]
    )
