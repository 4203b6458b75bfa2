"""Keeping the staple fresh: the operator's bundle is taken over again whenever its file changes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from glasshouse_attestations.bundle import MAX_BUNDLE_SIZE, Bundle
from glasshouse_attestations.errors import MalformedError

from . import files
from .errors import InputFileError

__all__ = ["following"]

_POLL_SECONDS = 1.0

_Version: TypeAlias = "tuple[int, ...] | None"


@contextlib.contextmanager
def following(
    source: Path | None, write: Callable[[bytes], None], log: Callable[[str], None]
) -> Iterator[None]:
    """Hand the bundle in ``source`` to ``write``, and again when that changes; without a source, never.

    Raises :class:`InputFileError` if it is no bundle now; one that breaks later changes nothing.
    """
    if source is None:
        yield
        return
    seen = _version(source)
    write(_read_bundle(source))
    stop = threading.Event()
    thread = threading.Thread(target=_follow, args=(source, seen, write, stop, log), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _follow(
    source: Path,
    seen: _Version,
    write: Callable[[bytes], None],
    stop: threading.Event,
    log: Callable[[str], None],
) -> None:
    while not stop.wait(_POLL_SECONDS):
        version = _version(source)
        if version in (seen, None):
            continue
        seen = version
        try:
            write(_read_bundle(source))
            log(f"stapled the changed bundle {source}")
        except (MalformedError, OSError) as err:
            log(f"kept the old bundle: {err}")


def _read_bundle(source: Path) -> bytes:
    content = files.read(source, max_size=MAX_BUNDLE_SIZE)
    try:
        Bundle.parse(content)
    except MalformedError as err:
        raise InputFileError(f"{source} is not a bundle: {err}") from err
    return content


def _version(source: Path) -> _Version:
    try:
        found = source.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)
