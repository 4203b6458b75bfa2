"""The few system calls of Linux that Python 3.10 does not offer. Each raises ``OSError`` when it fails."""

from __future__ import annotations

import ctypes
import os
import platform

__all__ = [
    "capset_none",
    "clear_ambient_capabilities",
    "die_with_parent",
    "drop_bounding_capability",
    "forbid_new_privileges",
    "forbid_tracing",
    "knows_capability",
    "lock_root_without_capabilities",
    "mount",
    "pivot_root",
    "set_host_name",
    "unmount_lazily",
    "unshare",
]

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

_MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_SECUREBITS = 28
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
# SECBIT_NOROOT and its lock.
_SECBIT_NOROOT_LOCKED = 0b11
_CAPABILITY_VERSION_3 = 0x20080522
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Leave the namespaces named by ``flags`` for new ones; see unshare(2)."""
    _call("unshare", ctypes.c_int(flags))


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount ``source`` on ``target``; see mount(2)."""
    arguments = (source.encode(), os.fsencode(target), kind.encode() or None)
    _call("mount", *arguments, ctypes.c_ulong(flags), options.encode() or None)


def unmount_lazily(target: str) -> None:
    """Detach the mount at ``target`` and all below it; see umount2(2)."""
    _call("umount2", os.fsencode(target), _MNT_DETACH)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make ``new_root`` the root of this mount namespace; see pivot_root(2)."""
    number = _PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise OSError(f"pivot_root is not known on {platform.machine()}")
    _call("syscall", ctypes.c_long(number), os.fsencode(new_root), os.fsencode(put_old))


def die_with_parent(signal: int) -> None:
    """Have the kernel send ``signal`` to this process when the thread that started it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal)


def set_host_name(name: str) -> None:
    """Name the host of this UTS namespace; see sethostname(2)."""
    encoded = name.encode("ascii")
    _call("sethostname", encoded, ctypes.c_size_t(len(encoded)))


def forbid_tracing() -> None:
    """Keep unprivileged processes of the same user from reading this one's memory; also, dump no core."""
    _prctl(_PR_SET_DUMPABLE, 0)


def forbid_new_privileges() -> None:
    """Keep this process and its descendants from gaining privileges by executing a file."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_bounding_capability(number: int) -> None:
    """Take the capability ``number`` out of what any executed file could give."""
    _prctl(_PR_CAPBSET_DROP, number)


def knows_capability(number: int) -> bool:
    """Return whether this kernel has a capability ``number``."""
    try:
        _prctl(_PR_CAPBSET_READ, number)
    except OSError:
        return False
    return True


def lock_root_without_capabilities() -> None:
    """Give user 0 no capabilities for being user 0, for ever."""
    _prctl(_PR_SET_SECUREBITS, _SECBIT_NOROOT_LOCKED)


def clear_ambient_capabilities() -> None:
    """Keep no capability across the execution of a file."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)


def capset_none() -> None:
    """Give up every capability that this process has; see capset(2)."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _call("capset", header, (ctypes.c_uint32 * 6)())


def _prctl(option: int, argument: int) -> None:
    zero = ctypes.c_ulong(0)
    _call("prctl", ctypes.c_int(option), ctypes.c_ulong(argument), zero, zero, zero)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
