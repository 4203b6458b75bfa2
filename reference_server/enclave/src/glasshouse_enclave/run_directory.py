"""The directory through which the operator supplies files. None of them is trusted for being there."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from glasshouse_attestations.bundle import MAX_BUNDLE_SIZE
from glasshouse_attestations.volume import ENDORSEMENTS

from . import log
from .errors import StartError

__all__ = ["RunDirectory"]

_MAX_CONFIGURATION_SIZE = 64 << 10
_MAX_ENDORSEMENTS = 8
_MAX_ENDORSEMENT_SIZE = 256 << 10
_ENDORSEMENT = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)


class RunDirectory:
    """Reads the operator's files: regular files only, and never more bytes than the limit of each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bundle = _Bundle()

    def configuration(self) -> bytes:
        """Return the bytes of ``config.json``, whose hash stands in every quote."""
        return self._required("config.json", max_size=_MAX_CONFIGURATION_SIZE)

    def model(self, sha256: bytes, *, max_size: int) -> bytes:
        """Return the model whose SHA-256 is ``sha256``; raises :class:`StartError` if the file is another."""
        name = f"models/{sha256.hex()}.onnx"
        data = self._required(name, max_size=max_size)
        if hashlib.sha256(data).digest() != sha256:
            raise StartError(f"{name} does not have the digest in its name")
        return data

    def bundle(self) -> bytes:
        """Return the bytes of ``bundle.json`` as they are now, or none if there is no such file.

        They are for the client to judge. A file that cannot be read leaves the last good one in place.
        """
        try:
            self._bundle = _read_bundle(self.path / "bundle.json", self._bundle)
        except FileNotFoundError:
            self._bundle = _Bundle()
        except (OSError, StartError) as err:
            log.event("bundle-unreadable", error=type(err).__name__)
        return self._bundle.data

    def endorsements(self) -> Mapping[str, bytes]:
        """Return the endorsements that the operator supplies as they are now, by name; often there are none.

        Each is signed by its vendor, and for the client to judge. One that cannot be read is left out.
        """
        try:
            paths = sorted((self.path / ENDORSEMENTS).iterdir())
        except OSError:
            return {}
        found = {}
        for path in [path for path in paths if _ENDORSEMENT.fullmatch(path.name)][:_MAX_ENDORSEMENTS]:
            try:
                found[path.name] = _read(path, max_size=_MAX_ENDORSEMENT_SIZE)[1]
            except (OSError, StartError) as err:
                log.event("endorsement-unreadable", error=type(err).__name__)
        return found

    def _required(self, name: str, *, max_size: int) -> bytes:
        try:
            return _read(self.path / name, max_size=max_size)[1]
        except OSError as err:
            raise StartError(f"{name} cannot be read: {type(err).__name__}") from err


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bundle:
    data: bytes = b""
    version: tuple[int, ...] = ()


def _read_bundle(path: Path, known: _Bundle) -> _Bundle:
    if _version(path.lstat()) == known.version:
        return known
    status, data = _read(path, max_size=MAX_BUNDLE_SIZE)
    return _Bundle(data=data, version=_version(status))


def _version(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _read(path: Path, *, max_size: int) -> tuple[os.stat_result, bytes]:
    # Without O_NONBLOCK a named pipe in the file's place would hold up the reader for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise StartError(f"{path.name} is not a regular file")
        data = file.read(max_size + 1)
    if len(data) > max_size:
        raise StartError(f"{path.name} has more than {max_size} bytes")
    return status, data
