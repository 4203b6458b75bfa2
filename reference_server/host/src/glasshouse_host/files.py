"""Reading what the operator names, and writing what others read, without a moment of half a file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .errors import InputFileError

__all__ = ["read", "write_atomically"]


def read(path: Path, *, max_size: int) -> bytes:
    """Return the whole content of the file at ``path``, read once.

    Raises :class:`InputFileError` if it cannot be read or has more than ``max_size`` bytes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(max_size + 1)
    except OSError as err:
        raise InputFileError(f"cannot read {path}: {err.strerror}") from err
    if len(content) > max_size:
        raise InputFileError(f"{path} has more than the {max_size} bytes that are allowed")
    return content


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Leave ``content`` at ``path``; whoever reads meanwhile sees the old content or the new one.

    ``path`` has permissions ``mode`` from its first moment, whatever the umask.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
