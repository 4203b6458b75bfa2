"""Writing a file so that a crash leaves either the old content or the new."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["make_directory", "write_durably"]


def write_durably(path: Path, data: bytes) -> None:
    """Replace a file's content: written beside it, synced, renamed, and the directory synced."""
    make_directory(path.parent)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Create a directory and its parents, each one durably."""
    missing = [parent for parent in (path, *path.parents) if not parent.exists()]
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        _sync_directory(directory.parent)


def _sync_directory(path: Path) -> None:
    # Windows has no handle of a directory to sync; only the servers' promises need it, and they need POSIX.
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
