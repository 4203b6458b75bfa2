"""The directory of one launch: nobody else's, locked while its launcher lives, and removed after it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["private_directory", "remove_stale"]

_PREFIX = "glasshouse-host-"


@contextlib.contextmanager
def private_directory(base: Path | None = None) -> Iterator[Path]:
    """Make a directory for one launch below ``base`` (the system's temporary directory), and remove it after.

    It has mode 0700 and is locked as long as this process lives, so that :func:`remove_stale` of another
    launcher can tell it from one whose launcher was killed.
    """
    base = Path(base or tempfile.gettempdir()).resolve()
    # Locked under a name that nobody sweeps, then renamed: it is never seen unlocked.
    unlocked = Path(tempfile.mkdtemp(dir=base, prefix=f".{_PREFIX}"))
    descriptor = os.open(unlocked, os.O_RDONLY | os.O_DIRECTORY)
    directory = unlocked
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        directory = unlocked.rename(base / (_PREFIX + secrets.token_hex(6)))
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(descriptor)


def remove_stale(base: Path | None = None) -> tuple[Path, ...]:
    """Remove what launchers of this user left behind because they were killed; return what it was."""
    base = Path(base or tempfile.gettempdir()).resolve()
    return tuple(path for path in sorted(base.glob(_PREFIX + "*")) if _remove_if_stale(path))


def _remove_if_stale(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        found = os.fstat(descriptor)
        # Anybody may make a directory of this name where everybody may write: only our own are ours.
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) != 0o700:
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
