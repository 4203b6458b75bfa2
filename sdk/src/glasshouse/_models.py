"""Models on their way to the server: a file or bytes, hashed first and then streamed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import BinaryIO, TypeAlias

from glasshouse_attestations.rpc import MAX_CHUNK_SIZE, Refusal
from glasshouse_attestations.wire.models_pb2 import UploadHeader, UploadRequest

from ._refusal import refused

__all__ = ["ModelSource", "Progress", "open_model", "upload_requests"]

ModelSource: TypeAlias = "str | PathLike[str] | bytes"
Progress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes handed over so far and the total."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenModel:
    """A model's bytes, to be read from the start, with their number and SHA-256."""

    file: BinaryIO
    size: int
    sha256: bytes


@contextmanager
def open_model(source: ModelSource, *, max_size: int) -> Iterator[OpenModel]:
    """Open a file, or bytes. What is larger than the server takes is refused before it is read."""
    with BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as file:
        size = file.seek(0, 2)
        if size > max_size:
            raise refused(Refusal.MODEL_TOO_LARGE.reason)
        file.seek(0)
        digest = hashlib.sha256()
        while chunk := file.read(MAX_CHUNK_SIZE):
            digest.update(chunk)
        file.seek(0)
        yield OpenModel(file=file, size=size, sha256=digest.digest())


def upload_requests(model_id: str, model: OpenModel, progress: Progress | None) -> Iterator[UploadRequest]:
    """Yield the stream of an upload: the header, then the chunks."""
    yield UploadRequest(header=UploadHeader(model_id=model_id, size=model.size, sha256=model.sha256))
    sent = 0
    while chunk := model.file.read(MAX_CHUNK_SIZE):
        yield UploadRequest(chunk=chunk)
        sent += len(chunk)
        if progress is not None:
            progress(sent, model.size)
