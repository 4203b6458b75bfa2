"""The image booted in QEMU with a software TPM, to compare predictions with what a machine measured.

Between QEMU and the TPM sits a relay of our own. It outlives QEMU, so the registers can be read when the
machine has been switched off, without any help of the software in it.
"""

from __future__ import annotations

import array
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from shutil import which

_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
_IN_THE_KERNEL = b"EFI stub: Measured initrd data"
_BOOT_TIMEOUT = 180.0
_SET_DATA_FD = 0x10
_ALGORITHMS = {"sha256": (0x0B, 32), "sha384": (0x0C, 48)}
_NEEDED = ("qemu-system-x86_64", "swtpm", "swtpm_setup")

MISSING = [name for name in _NEEDED if which(name) is None]
MISSING += [str(path) for path in (_CODE, _VARIABLES) if not path.is_file()]
"""What this machine lacks for a boot: empty where it can do one."""


def boot(image: Path, folder: Path, more: Sequence[str] = ()) -> dict[str, bytes]:
    """Return PCRs 0 to 15 in both banks after firmware, stub and kernel have measured ``image``.

    ``more`` are further arguments of QEMU's.
    """
    state = folder / "tpm"
    state.mkdir()
    banks = ["--pcr-banks", ",".join(_ALGORITHMS)]
    setup = ["swtpm_setup", "--tpm2", "--tpmstate", str(state), *banks]
    subprocess.run(setup, check=True, capture_output=True)
    with ExitStack() as stack:
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}"]
        tpm = subprocess.Popen([*command, "--ctrl", f"type=unixio,path={folder / 'swtpm'}"])
        stack.callback(_end, tpm)
        relay = stack.enter_context(_Relay(folder / "relay", folder / "swtpm"))
        machine = _start(image, folder, more)
        stack.callback(_end, machine)
        _wait_for_kernel(machine, folder / "serial")
        _end(machine)
        return relay.read_registers()


def _start(image: Path, folder: Path, more: Sequence[str]) -> subprocess.Popen[bytes]:
    shutil.copyfile(_VARIABLES, folder / "variables")
    flash = "if=pflash,format=raw"
    return subprocess.Popen(
        [
            *("qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", "-m", "1536"),
            *(
                "-drive",
                f"{flash},readonly=on,file={_CODE}",
                "-drive",
                f"{flash},file={folder / 'variables'}",
            ),
            *("-kernel", str(image), "-chardev", f"socket,id=tpm,path={folder / 'relay'}"),
            *("-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"),
            *("-serial", f"file:{folder / 'serial'}", "-display", "none", "-monitor", "none"),
            *("-nic", "none", "-no-reboot", *more),
        ],
        stdin=subprocess.DEVNULL,
    )


def _wait_for_kernel(machine: subprocess.Popen[bytes], serial: Path) -> None:
    deadline = time.monotonic() + _BOOT_TIMEOUT
    while not (serial.is_file() and _IN_THE_KERNEL in serial.read_bytes()):
        assert machine.poll() is None, "the machine ended before its kernel ran"
        assert time.monotonic() < deadline, "the machine did not reach its kernel in time"
        time.sleep(0.2)
    # The message is written before the kernel leaves the boot services, which is measured last.
    time.sleep(3)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


class _Relay:
    """Hands on QEMU's control messages to swtpm, and keeps its own end of the channel for commands."""

    def __init__(self, listening: Path, tpm: Path) -> None:
        self._tpm_path = tpm
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(listening))
        self._server.listen(1)
        self._control = socket.socket(socket.AF_UNIX)
        self._data, self._far_end = socket.socketpair()
        self._guests: list[socket.socket] = []

    def __enter__(self) -> _Relay:
        while not self._tpm_path.exists():
            time.sleep(0.05)
        self._control.connect(str(self._tpm_path))
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for opened in (self._server, self._control, self._data, self._far_end, *self._guests):
            opened.close()

    def read_registers(self) -> dict[str, bytes]:
        """Return every PCR, by TPM2_PCR_Read (TPM 2.0 Part 3, 22.4) of one register at a time."""
        found = {}
        for bank, (algorithm, size) in _ALGORITHMS.items():
            for number in range(16):
                selection = (1 << number).to_bytes(3, "little")
                body = struct.pack(">IHB", 1, algorithm, 3) + selection
                answer = self._ask(struct.pack(">HII", 0x8001, 10 + len(body), 0x17E) + body)
                assert answer[6:10] == bytes(4)
                found[f"pcr{number}.{bank}"] = answer[-size:]
        return found

    def _ask(self, command: bytes) -> bytes:
        self._data.sendall(command)
        return self._data.recv(65536)

    def _serve(self) -> None:
        guest, _ = self._server.accept()
        self._guests.append(guest)
        while message := self._take(guest):
            guest.sendall(message)

    def _take(self, guest: socket.socket) -> bytes:
        message, ancillary, _, _ = guest.recvmsg(65536, socket.CMSG_LEN(4))
        if not message:
            return b""
        if int.from_bytes(message[:4], "big") == _SET_DATA_FD:
            descriptors = array.array("i", ancillary[0][2])
            channel = socket.socket(fileno=descriptors[0])
            self._guests.append(channel)
            threading.Thread(target=self._pump, args=(channel,), daemon=True).start()
            ours = array.array("i", [self._far_end.fileno()]).tobytes()
            self._control.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, ours)])
        else:
            self._control.sendall(message)
        return self._control.recv(65536)

    def _pump(self, channel: socket.socket) -> None:
        while command := channel.recv(65536):
            channel.sendall(self._ask(command))
