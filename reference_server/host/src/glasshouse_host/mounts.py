"""The mounts of an isolated root: all of them private, bounded, and gone with the last process inside."""

from __future__ import annotations

import os
from pathlib import Path

from . import syscalls
from .syscalls import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT

__all__ = ["enter"]

_NO_SURPRISES = MS_NOSUID | MS_NODEV | MS_NOEXEC
_DEVICES = ("null", "zero", "random", "urandom")
_PROCESSORS = "devices/system"


def enter(root: str) -> None:
    """Make ``root``, read-only, the root of this process's own mount namespace, and leave the host's.

    Inside there are a /proc, what /sys says of the processors, four devices, and two bounded memory file
    systems, /tmp and /dev/shm. Must be called in a new mount and pid namespace.
    """
    syscalls.mount("", "/", flags=MS_REC | MS_PRIVATE)
    syscalls.mount(root, root, flags=MS_BIND)
    _mount_devices(f"{root}/dev")
    _mount_processors(f"{root}/sys")
    _mount_processes(f"{root}/proc")
    _mount_memory(f"{root}/tmp", "mode=1777,size=256m")  # noqa: S108 (a mount of its own)
    _make_read_only(root, MS_NOSUID | MS_NODEV)
    os.chdir(root)
    syscalls.pivot_root(".", ".")
    # The old root now lies over the new one, at the same place.
    syscalls.unmount_lazily(".")
    os.chdir("/")


def _mount_devices(target: str) -> None:
    _mount_memory(target, "mode=0755,size=64k")
    for name in _DEVICES:
        Path(target, name).touch()
        syscalls.mount(f"/dev/{name}", f"{target}/{name}", flags=MS_BIND)
    Path(target, "shm").mkdir()
    _mount_memory(f"{target}/shm", "mode=1777,size=64m")
    _make_read_only(target, MS_NOSUID | MS_NOEXEC)


def _mount_processors(target: str) -> None:
    _mount_memory(target, "mode=0755,size=64k")
    Path(target, _PROCESSORS).mkdir(parents=True)
    syscalls.mount(f"/sys/{_PROCESSORS}", f"{target}/{_PROCESSORS}", flags=MS_BIND | MS_REC)
    _make_read_only(f"{target}/{_PROCESSORS}", _NO_SURPRISES)
    _make_read_only(target, _NO_SURPRISES)


def _mount_processes(target: str) -> None:
    try:
        syscalls.mount("proc", target, "proc", _NO_SURPRISES | MS_RDONLY)
    except PermissionError:
        # Inside a container that hides parts of its /proc, the kernel refuses a whole one.
        syscalls.mount("/proc", target, flags=MS_BIND | MS_REC)
        _make_read_only(target, _NO_SURPRISES)


def _mount_memory(target: str, options: str) -> None:
    syscalls.mount("tmpfs", target, "tmpfs", _NO_SURPRISES, options)


def _make_read_only(target: str, flags: int) -> None:
    # A mount of a more privileged namespace keeps its flags: leaving one out would be refused.
    kept = os.statvfs(target).f_flag & _NO_SURPRISES
    syscalls.mount("", target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | kept | flags)
