"""What a client remembers between connections, so that a log cannot take back what it has once shown.

One file in the state directory holds the newest checkpoint seen of each log, and every revocation seen. It
is written only for what has been verified, replaced atomically, readable by its owner only, and locked
while a verification is under way. A file that does not parse is an error: starting anew in silence would
be just what an attacker wants.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from glasshouse_attestations import canonical_json
from glasshouse_attestations.document import Document
from glasshouse_log import Checkpoint, Note

from ._log import Remembered
from ._replacement import replace_file
from ._statements import parse_statements
from .errors import MalformedError, MemoryUnusableError, SplitViewError

__all__ = ["Memory"]

_SCHEMA = "glasshouse/memory/v1"
_MAX_SIZE = 16 << 20
_MAX_LOGS = 256
_MAX_REVOCATIONS = 4096


class Memory:
    """The memory in one state directory, which is made when something is first remembered."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / "memory.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other clients with the same state directory from reading and writing meanwhile."""
        with self._usable("locked"):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            with self._usable("locked"):
                _lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def recall(self) -> Remembered:
        """Return what is remembered; nothing if there is no file. Raises :class:`MemoryUnusableError`."""
        with self._usable("read"):
            try:
                with self._file.open("rb") as file:
                    data = file.read(_MAX_SIZE + 1)
            except FileNotFoundError:
                return Remembered()
        try:
            return _parse(data)
        except MalformedError as err:
            raise MemoryUnusableError(
                f"the memory of past checkpoints is corrupt: {err}",
                hint=f"restore {self._file}, or delete it if you accept that a rollback goes unnoticed once",
            ) from err

    def remember(
        self, remembered: Remembered, *, log_key: str, checkpoint: bytes, revocations: tuple[bytes, ...]
    ) -> None:
        """Add a verified checkpoint, in place of the one it continues, and revocations to ``remembered``."""
        self._write(
            Remembered(
                checkpoints={**remembered.checkpoints, log_key: checkpoint},
                revocations=_union(remembered.revocations, revocations),
            )
        )

    def remember_revocations(self, remembered: Remembered, revocations: tuple[bytes, ...]) -> None:
        """Add revocations alone: their signatures are all they need, so a failed verification may add one."""
        self._write(
            Remembered(
                checkpoints=remembered.checkpoints,
                revocations=_union(remembered.revocations, revocations),
            )
        )

    def keep_evidence(self, error: SplitViewError) -> tuple[Path, Path]:
        """Write both checkpoints of a split view to files of their own, which nothing overwrites."""
        with self._usable("written"):
            folder = Path(tempfile.mkdtemp(prefix="split-view-", dir=self._directory))
            kept = folder / "remembered.txt", folder / "offered.txt"
            for path, note in zip(kept, (error.remembered, error.offered), strict=True):
                path.write_bytes(note)
        return kept

    def _write(self, remembered: Remembered) -> None:
        data = _encode(remembered)
        try:
            _parse(data)
        except MalformedError as err:
            # Written all the same, it would be taken for corrupt and refuse every server from then on.
            raise MemoryUnusableError(
                f"the memory of past checkpoints has no room for more: {err}",
                hint=f"keep {self._file} as it is, and name another state directory with GLASSHOUSE_STATE",
            ) from err
        with self._usable("written"):
            replace_file(self._file, data)

    @contextmanager
    def _usable(self, participle: str) -> Iterator[None]:
        try:
            yield
        except OSError as err:
            raise MemoryUnusableError(
                f"the memory of past checkpoints cannot be {participle}: {err.strerror}",
                hint=f"make {self._directory} a writable directory, or name another with GLASSHOUSE_STATE",
            ) from err


def _parse(data: bytes) -> Remembered:
    document = Document(canonical_json.parse(data, max_size=_MAX_SIZE, max_depth=2), "memory")
    document.constant("schema", _SCHEMA)
    notes = document.document("checkpoints")
    checkpoints = {key: _text(notes.value(key)) for key in notes.names()}
    revocations = tuple(map(_text, document.list("revocations", max_count=_MAX_REVOCATIONS)))
    document.end()
    if len(checkpoints) > _MAX_LOGS:
        raise MalformedError(f"memory.checkpoints has more than {_MAX_LOGS} members")
    for note in checkpoints.values():
        Checkpoint.parse(Note.parse(note).text)
    parse_statements(revocations)
    return Remembered(checkpoints=checkpoints, revocations=revocations)


def _text(value: canonical_json.JSON) -> bytes:
    if not isinstance(value, str):
        raise MalformedError("the memory holds something that is no text")
    return value.encode("utf-8")


def _encode(remembered: Remembered) -> bytes:
    checkpoints: Mapping[str, bytes] = remembered.checkpoints
    return canonical_json.encode(
        {
            "schema": _SCHEMA,
            "checkpoints": {key: note.decode("utf-8") for key, note in checkpoints.items()},
            "revocations": [envelope.decode("utf-8") for envelope in remembered.revocations],
        }
    )


def _union(known: tuple[bytes, ...], new: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return known + tuple(envelope for envelope in new if envelope not in known)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
