"""What the server's process may do on the machine: nothing but compute, serve, and ask for quotes."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from pathlib import Path

__all__ = ["SERVER", "drop", "grant"]

SERVER = 1000
"""The user and group of the server; they are nobody else's, and own no file of the image."""

_SET_NO_NEW_PRIVS, _CAPBSET_DROP = 38, 24  # prctl(2)
_INVALID_ARGUMENT = 22


def drop() -> None:
    """Become :data:`SERVER`, for good: no capability, and no way to any by executing a file.

    For the child between fork and exec. It also takes back the signals that init keeps blocked.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    # A dump of the process's memory would hold its keys and what callers sent.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(libc, _SET_NO_NEW_PRIVS, 1)
    capability = 0
    while _knows(libc, capability):
        capability += 1
    os.setgroups([])
    os.setresgid(SERVER, SERVER, SERVER)
    # Leaving user 0 in all three ids clears every set of capabilities (capabilities(7)).
    os.setresuid(SERVER, SERVER, SERVER)


def grant(path: Path) -> None:
    """Make ``path`` the server's own: a device, or an attribute of the kernel."""
    os.chown(path, SERVER, SERVER)


def _knows(libc: ctypes.CDLL, capability: int) -> bool:
    """Take the capability out of the bounding set, and return whether this kernel has one of that number."""
    try:
        _prctl(libc, _CAPBSET_DROP, capability)
    except OSError as err:
        if err.errno == _INVALID_ARGUMENT:
            return False
        raise
    return True


def _prctl(libc: ctypes.CDLL, option: int, argument: int) -> None:
    zero = ctypes.c_ulong(0)
    if libc.prctl(ctypes.c_int(option), ctypes.c_ulong(argument), zero, zero, zero) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
