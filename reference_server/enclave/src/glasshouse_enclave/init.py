"""The first process of a real boot: prepares the machine, runs the server, ends the machine with it.

There is no shell and no other service, and nothing that runs is chosen by the operator: the image fixes it,
and an altered command line, which could choose a platform, shows in PCR 12. What the operator does supply
comes on two raw disks (:mod:`glasshouse_enclave.volumes`). The server runs as a user of its own, which can
reach the one device that gives quotes and nothing else of the machine.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.volume import (
    CONFIGURATION_VOLUME,
    MAX_STAPLE_SIZE,
    MAX_VOLUME_SIZE,
    STAPLE_VOLUME,
)

from . import kernel_modules, network, privileges
from .attester_tsm import REPORT_DIRECTORY
from .volumes import Staple, Volume, find_disk, unpack

__all__ = ["choose_platform", "main", "server_command"]

LISTEN = "0.0.0.0:50051"
RUN_DIR = Path("/run/glasshouse")

_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
_MOUNTS = (
    ("proc", "/proc", _NOSUID | _NODEV | _NOEXEC, ""),
    ("sysfs", "/sys", _NOSUID | _NODEV | _NOEXEC, ""),
    ("devtmpfs", "/dev", _NOSUID | _NOEXEC, "mode=0755"),
    ("tmpfs", "/run", _NOSUID | _NODEV | _NOEXEC, "mode=0755"),
    ("tmpfs", "/tmp", _NOSUID | _NODEV | _NOEXEC, "mode=1777,size=256m"),  # noqa: S108 -- this mounts it, before anyone else runs
)
_CONFIGFS = Path("/sys/kernel/config")
# Best evidence first: a machine with a secure processor may show a virtual TPM as well.
_DEVICES = {"snp": "/dev/sev-guest", "tdx": "/dev/tdx_guest", "tpm": "/dev/tpmrm0"}
_PCRS = Path("/sys/class/tpm/tpm0/pcr-sha256")
_SHOWN_PCRS = (4, 8, 11, 12, 13)
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
_PERIOD_SECONDS = 5.0
_DISABLE_CTRL_ALT_DEL, _POWER_OFF = 0, 0x4321FEDC  # LINUX_REBOOT_CMD_*, reboot(2)


def main() -> NoReturn:
    """Run as process 1 until the server ends, then power the machine off; never returns."""
    status = 1
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for kind, place, flags, options in _MOUNTS:
            _mount(kind, place, flags, options)
        _settle_kernel()
        kernel_modules.load(kernel_modules.DEVICES)
        kernel_modules.load(kernel_modules.ATTESTATION)
        platform = choose_platform(Path("/proc/cmdline").read_text(encoding="ascii"), _DEVICES)
        _report(event="booted", platform=platform, pcrs=_read_pcrs())
        periodically = [*_configure_network(), *_take_over_files()]
        _open_attestation(platform)
        status = _serve(server_command(platform), periodically)
    except (OSError, ValueError, MalformedError) as err:
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
    return [*server, "--platform", platform, "--listen", LISTEN, "--run-dir", str(RUN_DIR)]


def _settle_kernel() -> None:
    """Switch off what keyboard or serial line could ask of the kernel, and the loading of other kernels."""
    # Ctrl-Alt-Del then reaches this process as SIGINT: a way for the operator to have the server drain.
    ctypes.CDLL(None).reboot(ctypes.c_int(_DISABLE_CTRL_ALT_DEL))
    for name, value in (("sysrq", "0"), ("kexec_load_disabled", "1"), ("dmesg_restrict", "1")):
        Path("/proc/sys/kernel", name).write_text(value, encoding="ascii")


def _configure_network() -> list[Callable[[], None]]:
    """Bring the network up, and return what keeps it up."""
    network.refuse_ipv6()
    network.raise_loopback()
    card = network.first_card()
    if card is None:
        _report(event="network", address="none")
        return []
    lease = card.configure()
    _report(event="network", address=str(lease.interface), router=str(lease.router))
    return [card.renew]


def _take_over_files() -> list[Callable[[], None]]:
    """Unpack what the operator supplies to the run directory, and return what follows its changes."""
    RUN_DIR.mkdir(mode=0o755, exist_ok=True)
    if disk := find_disk(CONFIGURATION_VOLUME):
        unpack(Volume(disk, max_size=MAX_VOLUME_SIZE).files(), RUN_DIR)
    if not (disk := find_disk(STAPLE_VOLUME)):
        return []
    staple = Staple(Volume(disk, max_size=MAX_STAPLE_SIZE), RUN_DIR)
    staple.refresh()
    return [staple.refresh]


def _open_attestation(platform: str) -> None:
    """Let the server's user, and nobody else, ask for quotes."""
    if platform == "tpm":
        privileges.grant(Path(_DEVICES["tpm"]))
        return
    _mount("configfs", str(_CONFIGFS), _NOSUID | _NODEV | _NOEXEC, "")
    REPORT_DIRECTORY.mkdir()
    for attribute in REPORT_DIRECTORY.iterdir():
        privileges.grant(attribute)


def _serve(command: list[str], periodically: list[Callable[[], None]]) -> int:
    """Run the server, doing meanwhile what process 1 must and what is due, and return its exit status."""
    # Between fork and exec Python code is safe here: this process has one thread.
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/bin", "LANG": "C.UTF-8"},
        cwd="/",
        preexec_fn=privileges.drop,
    ) as server:
        while True:
            number = signal.sigtimedwait(_SIGNALS, _PERIOD_SECONDS)
            if number is None:
                _do_all(periodically)
            elif number.si_signo != signal.SIGCHLD:
                server.terminate()
            elif (status := _collect(server)) is not None:
                return status


def _do_all(periodically: list[Callable[[], None]]) -> None:
    for work in periodically:
        try:
            work()
        except (OSError, MalformedError) as err:
            # What there was stays, and the next time may be better.
            _report(event="kept", reason=type(err).__name__)


def _collect(server: subprocess.Popen[bytes]) -> int | None:
    """Collect every process that has ended, and return the server's status if it is one of them."""
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if ended == 0:
            return None
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
