"""What the operator supplies to a machine: two read-only disks, unpacked to the run directory.

The disks are found by their serial numbers and read raw. Everything on them is the operator's word: the
configuration is bound by every quote, models by the configuration, the bundle is for clients to judge.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Mapping
from pathlib import Path

from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.volume import (
    BUNDLE,
    CONFIGURATION,
    ENDORSEMENTS,
    HEADER_SIZE,
    MODELS,
    VolumeHeader,
    parse_files,
)

__all__ = ["Staple", "Volume", "find_disk", "unpack"]

_BLOCK_DEVICES = Path("/sys/block")
_DEVICES = Path("/dev")
_FLUSH_CACHE = 0x1261  # BLKFLSBUF
_PATHS = re.compile(
    rf"{re.escape(CONFIGURATION)}|{re.escape(BUNDLE)}|{MODELS}/[0-9a-f]{{64}}\.onnx"
    rf"|{ENDORSEMENTS}/[a-z][a-z0-9_-]{{0,63}}"
)


def find_disk(serial: str, *, block_devices: Path = _BLOCK_DEVICES, devices: Path = _DEVICES) -> Path | None:
    """Return the device of the virtio disk with the serial number ``serial``, if there is one."""
    for block_device in sorted(block_devices.glob("vd*")):
        if (block_device / "serial").read_text(encoding="ascii", errors="replace").strip() == serial:
            return devices / block_device.name
    return None


class Volume:
    """A disk in the format of :mod:`glasshouse_attestations.volume`."""

    def __init__(self, device: Path, *, max_size: int) -> None:
        self._device = device
        self._max_size = max_size

    def header(self) -> VolumeHeader:
        """Return what the first sector says now, not when it was read first."""
        with self._device.open("rb", buffering=0) as disk:
            _forget_cache(disk.fileno())
            return VolumeHeader.parse(disk.read(HEADER_SIZE), max_size=self._max_size)

    def files(self) -> dict[str, bytes]:
        """Return the files on the disk; raises ``MalformedError``, also if it is being rewritten."""
        with self._device.open("rb") as disk:
            _forget_cache(disk.fileno())
            header = VolumeHeader.parse(disk.read(HEADER_SIZE), max_size=self._max_size)
            return parse_files(header, disk.read(header.size))


class Staple:
    """A volume whose files are unpacked again whenever it has changed."""

    def __init__(self, volume: Volume, run_directory: Path) -> None:
        self._volume = volume
        self._run_directory = run_directory
        self._known: VolumeHeader | None = None

    def refresh(self) -> None:
        """Unpack the files if they are not those known already; raises ``MalformedError`` or ``OSError``."""
        header = self._volume.header()
        if header != self._known:
            unpack(self._volume.files(), self._run_directory)
            self._known = header


def unpack(files: Mapping[str, bytes], run_directory: Path) -> None:
    """Write ``files`` below ``run_directory``, each at once; raises ``MalformedError`` for another path.

    Only the paths that the server looks at are accepted.
    """
    for path in files:
        if not _PATHS.fullmatch(path):
            raise MalformedError("the volume has a file that the server has no use for")
    for path, data in files.items():
        target = run_directory / path
        target.parent.mkdir(mode=0o755, exist_ok=True)
        fresh = target.with_name(f".{target.name}.fresh")
        fresh.write_bytes(data)
        fresh.chmod(0o644)
        fresh.replace(target)


def _forget_cache(descriptor: int) -> None:
    """Have the kernel read the disk anew (BLKFLSBUF, ioctl_list(2)): its host may have changed it."""
    if os.path.realpath(f"/proc/self/fd/{descriptor}").startswith("/dev/"):
        fcntl.ioctl(descriptor, _FLUSH_CACHE)
