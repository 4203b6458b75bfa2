"""The system's programs that a machine is made of: found before anything starts, started so that they end.

Every program is started by a fresh Python that asks the kernel to kill it when the launcher dies, however
that comes about, and then becomes the program.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from .errors import MissingProgramError

__all__ = ["Firmware", "find_firmware", "require", "run", "start", "stop"]

_PACKAGES = {
    "qemu-system-x86_64": "qemu-system-x86",
    "swtpm": "swtpm",
    "swtpm_setup": "swtpm-tools",
    "tpm2_createek": "tpm2-tools",
}
_FIRMWARE_FOLDER = Path("/usr/share/OVMF")
_TIMEOUT = 30.0
_STOP_SECONDS = 5.0
# PR_SET_PDEATHSIG survives the execution of a file. The parent may be gone before the kernel knows the wish.
_TETHER = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """UEFI firmware: its code, and the variables that a machine starts with."""

    code: Path
    variables: Path


def require() -> None:
    """Return if this system has every program; :class:`MissingProgramError` names packages if not."""
    missing = [package for program, package in _PACKAGES.items() if shutil.which(program) is None]
    try:
        find_firmware()
    except MissingProgramError:
        missing.append("ovmf")
    if missing:
        raise MissingProgramError(f"a machine needs the system packages {' '.join(sorted(missing))}")


def find_firmware(folder: Path = _FIRMWARE_FOLDER) -> Firmware:
    """Return the system's firmware, without the part for secure boot."""
    firmware = Firmware(code=folder / "OVMF_CODE_4M.fd", variables=folder / "OVMF_VARS_4M.fd")
    if not (firmware.code.is_file() and firmware.variables.is_file()):
        raise MissingProgramError("a machine needs the system package ovmf")
    return firmware


def start(
    command: Sequence[str], *, cwd: Path, stdout: int | IO[bytes] = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start a program that ends with this process. To be called in the main thread, which is what ends."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _TETHER, str(os.getpid()), *command],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def run(command: Sequence[str], *, cwd: Path, environment: dict[str, str] | None = None) -> None:
    """Run a program to its end; raises :class:`MissingProgramError` with its last words if it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise MissingProgramError(f"cannot run {command[0]}: {err}") from err
    if done.returncode != 0:
        words = done.stdout.decode("utf-8", "replace").strip().splitlines()
        raise MissingProgramError(f"{command[0]} failed: {words[-1][:200] if words else done.returncode}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a program: with SIGTERM, and if that does not do, with SIGKILL."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
