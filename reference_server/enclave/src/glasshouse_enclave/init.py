"""The first process of a real boot: mounts what the server needs, runs it, ends the machine with it.

There is no shell and no other service. What runs is fixed by the measured image; the operator's command line
could choose a platform, but only among those whose quotes a client checks, and it shows in PCR 12.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

__all__ = ["choose_platform", "main", "server_command"]

LISTEN = "0.0.0.0:50051"
RUN_DIR = "/run/glasshouse"

_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
_MOUNTS = (
    ("proc", "/proc", _NOSUID | _NODEV | _NOEXEC, ""),
    ("sysfs", "/sys", _NOSUID | _NODEV | _NOEXEC, ""),
    ("devtmpfs", "/dev", _NOSUID | _NOEXEC, "mode=0755"),
    ("tmpfs", "/run", _NOSUID | _NODEV | _NOEXEC, "mode=0755"),
    ("tmpfs", "/tmp", _NOSUID | _NODEV | _NOEXEC, "mode=1777"),  # noqa: S108 -- this mounts it, before anyone else runs
)
# Best evidence first: a machine with a secure processor may show a virtual TPM as well.
_DEVICES = {"snp": "/dev/sev-guest", "tdx": "/dev/tdx_guest", "tpm": "/dev/tpmrm0"}
_PCRS = Path("/sys/class/tpm/tpm0/pcr-sha256")
_SHOWN_PCRS = (4, 8, 11, 12, 13)
_POWER_OFF = 0x4321FEDC  # LINUX_REBOOT_CMD_POWER_OFF, reboot(2)


def main() -> NoReturn:
    """Run as process 1 until the server ends, then power the machine off; never returns."""
    status = 1
    try:
        for kind, place, flags, options in _MOUNTS:
            _mount(kind, place, flags, options)
        _raise_loopback()
        platform = choose_platform(Path("/proc/cmdline").read_text(encoding="ascii"), _DEVICES)
        _report(event="booted", platform=platform, pcrs=_read_pcrs())
        Path(RUN_DIR).mkdir(mode=0o755, exist_ok=True)
        status = _serve(server_command(platform))
    except (OSError, ValueError) as err:
        _report(event="failed", reason=str(err))
    _report(event="ended", status=status)
    _power_off()


def choose_platform(command_line: str, devices: Mapping[str, str]) -> str:
    """Return the platform that the kernel's command line names, or else the first whose device is there.

    Raises ``ValueError`` if there is no platform that could vouch for this machine.
    """
    for word in command_line.split():
        name, _, value = word.partition("=")
        if name == "glasshouse.platform":
            if value not in devices:
                raise ValueError(f"the command line names the unknown platform {value[:32]!r}")
            return value
    for platform, device in devices.items():
        if Path(device).exists():
            return platform
    raise ValueError("this machine has no device that could sign a quote")


def server_command(platform: str) -> list[str]:
    """Return the command that runs the server on ``platform``, isolated from the environment."""
    server = [sys.executable, "-I", "-B", "-m", "glasshouse_enclave"]
    return [*server, "--platform", platform, "--listen", LISTEN, "--run-dir", RUN_DIR]


def _serve(command: list[str]) -> int:
    """Run the server, collecting every orphan as process 1 must, and return its exit status."""
    with subprocess.Popen(command, env={"PATH": "/usr/bin", "LANG": "C.UTF-8", "HOME": "/run"}) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: server.terminate())
        while True:
            ended, status = os.wait()
            if ended == server.pid:
                # Popen must learn that its child is gone, or it would wait for it again.
                server.returncode = os.waitstatus_to_exitcode(status)
                return server.returncode


def _mount(kind: str, place: str, flags: int, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.mount(kind.encode(), place.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
    # The kernel may have mounted /dev by itself.
    if done != 0 and ctypes.get_errno() != 16:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), place)


def _raise_loopback() -> None:
    """Set the interface ``lo`` up (SIOCGIFFLAGS and SIOCSIFFLAGS, netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", b"lo", 0)
        _, flags = struct.unpack("16sH14x", fcntl.ioctl(control, 0x8913, request))
        fcntl.ioctl(control, 0x8914, struct.pack("16sH14x", b"lo", flags | 1))


def _read_pcrs() -> dict[str, str]:
    """Return the registers that the image's reference values predict, for the operator's eyes."""
    if not _PCRS.is_dir():
        return {}
    return {str(number): (_PCRS / str(number)).read_text(encoding="ascii").strip() for number in _SHOWN_PCRS}


def _report(**event: object) -> None:
    sys.stderr.write(json.dumps(event, sort_keys=True) + "\n")
    sys.stderr.flush()


def _power_off() -> NoReturn:
    os.sync()
    ctypes.CDLL(None).reboot(ctypes.c_int(_POWER_OFF))
    # Process 1 must not end, whatever comes of it: the kernel would panic and lose the last lines.
    while True:
        signal.pause()
