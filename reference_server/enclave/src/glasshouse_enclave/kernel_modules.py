"""The kernel's modules in the image: few, named here, and loaded once.

There is no module loader in the image and no hot plugging. The kernel unpacks a module and checks its
signature by the key of the kernel's own build (``lockdown=`` on the measured command line demands it).
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["ATTESTATION", "DEVICES", "load"]

DEVICES = ("failover", "net_failover", "virtio_net", "virtio_blk")
"""What a machine of QEMU needs: its network card and its disks; each after those that it depends on."""

ATTESTATION = ("configfs", "tsm", "sev-guest", "tdx-guest")
"""What asks a secure processor for quotes. The last two refuse to load where there is none."""

_FOLDER = Path("/usr/lib/modules")
_COMPRESSED_FILE = 4  # MODULE_INIT_COMPRESSED_FILE, finit_module(2)
_ABSENT = (errno.ENODEV, errno.EOPNOTSUPP)


def load(names: Sequence[str], *, folder: Path = _FOLDER) -> list[str]:
    """Load the modules called ``names`` in their order, and return those whose device is there.

    Raises ``OSError`` for a module that is not in the image, or that the kernel refuses for another reason
    than that this machine has no such device.
    """
    return [name for name in names if _load(_find(name, folder))]


def _find(name: str, folder: Path) -> Path:
    found = list(folder.rglob(f"{name}.ko.xz"))
    if len(found) != 1:
        raise FileNotFoundError(errno.ENOENT, f"the image has {len(found)} modules of that name", name)
    return found[0]


def _load(path: Path) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # 313 is finit_module on x86-64, which the C library does not export.
        if libc.syscall(ctypes.c_long(313), descriptor, b"", ctypes.c_int(_COMPRESSED_FILE)) == 0:
            return True
        number = ctypes.get_errno()
    finally:
        os.close(descriptor)
    if number in _ABSENT:
        return False
    if number == errno.EEXIST:
        return True
    raise OSError(number, os.strerror(number), path.name)
