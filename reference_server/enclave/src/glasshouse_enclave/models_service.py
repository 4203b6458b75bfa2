"""The service ``glasshouse.v1.Models``: uploading, listing and deleting models."""

from __future__ import annotations

import hashlib
import hmac
import io
from collections.abc import AsyncIterator

from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.model_id import ModelId
from glasshouse_attestations.rpc import MAX_CHUNK_SIZE, Refusal
from glasshouse_attestations.wire import models_pb2 as wire

from .endpoint import Call, decode
from .engine import Engine
from .errors import RefusedError
from .model_store import ModelStore, StoredModel

__all__ = ["ModelsService"]


class ModelsService:
    """Changes the store on behalf of those who show an API key, within the namespace of that key."""

    def __init__(self, *, models: ModelStore, engine: Engine) -> None:
        self._models = models
        self._engine = engine

    async def upload(self, call: Call) -> wire.UploadResponse:
        """Receive a model, load it, and then put it in the place of the one that had its id, if one did.

        The key is checked before anything is read, and the size that the header announces before the model
        is. What has another size or digest than announced is not loaded.
        """
        namespace = call.own_namespace
        parts = (decode(wire.UploadRequest, body) async for body in call.bodies)
        header = await _header(parts)
        model_id = _own_id(header.model_id, namespace)
        with self._models.reserved(model_id, size=header.size):
            data = await _chunks(parts, size=header.size)
            sha256 = hashlib.sha256(data).digest()
            if not hmac.compare_digest(sha256, header.sha256):
                raise RefusedError(Refusal.UPLOAD_DIGEST)
            model = await self._engine.load(data)
            self._models.put(StoredModel(model_id=model_id, sha256=sha256, size=header.size, model=model))
        return wire.UploadResponse(model_id=str(model_id), sha256=sha256)

    async def list(self, call: Call) -> wire.ListResponse:
        """List the public models, and those of the namespace whose API key was shown."""
        await call.message(wire.ListRequest)
        models = self._models.listed(namespace=call.namespace)
        return wire.ListResponse(
            models=[
                wire.Model(model_id=str(model.model_id), sha256=model.sha256, size=model.size)
                for model in models
            ]
        )

    async def delete(self, call: Call) -> wire.DeleteResponse:
        """Remove a model of the namespace whose API key was shown."""
        namespace = call.own_namespace
        request = await call.message(wire.DeleteRequest)
        self._models.delete(_own_id(request.model_id, namespace))
        return wire.DeleteResponse()


def _own_id(text: str, namespace: str) -> ModelId:
    try:
        model_id = ModelId.parse(text if "/" in text else f"{namespace}/{text}")
    except MalformedError:
        raise RefusedError(Refusal.MODEL_ID_MALFORMED) from None
    if model_id.namespace != namespace:
        raise RefusedError(Refusal.NAMESPACE_FORBIDDEN)
    return model_id


async def _header(parts: AsyncIterator[wire.UploadRequest]) -> wire.UploadHeader:
    async for part in parts:
        header = part.header
        if part.WhichOneof("part") == "header" and header.size > 0 and len(header.sha256) == 32:
            return header
        break
    raise RefusedError(Refusal.UPLOAD_MALFORMED)


async def _chunks(parts: AsyncIterator[wire.UploadRequest], *, size: int) -> bytes:
    """Return the bytes of the chunks, if there are ``size`` of them; stops at the first one too many."""
    # A BytesIO gives its buffer away without copying it.
    buffer = io.BytesIO()
    async for part in parts:
        chunk = part.chunk
        if not 0 < len(chunk) <= min(MAX_CHUNK_SIZE, size - buffer.tell()):
            raise RefusedError(Refusal.UPLOAD_MALFORMED)
        buffer.write(chunk)
    if buffer.tell() != size:
        raise RefusedError(Refusal.UPLOAD_MALFORMED)
    return buffer.getvalue()
