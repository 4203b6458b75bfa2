"""QEMU as the launcher uses it: one machine around one image, watched, asked to end, never left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, BinaryIO, cast

from glasshouse_attestations.volume import CONFIGURATION_VOLUME, STAPLE_VOLUME

from . import programs, virtual_tpm
from .console import Console, Log
from .errors import MachineError

__all__ = ["Accelerator", "Machine", "MachineProcess"]

SERVER_PORT = 50051
CONFIGURATION_DISK, STAPLE_DISK = "configuration.disk", "staple.disk"
"""The files of the two disks, below the directory of the launch."""

_CONTROL = "qmp.sock"
_VARIABLES = "variables.fd"
_CONTROL_SECONDS = 10.0
_DRAIN_SECONDS = 15.0
_POLL_SECONDS = 1.0
_PROGRESS_SECONDS = 10.0
_MAX_MESSAGE = 1 << 20


class Accelerator(Enum):
    """How QEMU runs the processors: by the kernel, or in software, which is some twenty times slower."""

    KVM = "kvm"
    TCG = "tcg"

    @property
    def processor(self) -> str:
        """The model of processor: as much as there is."""
        return {Accelerator.KVM: "host", Accelerator.TCG: "max"}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a machine is made of. ``directory`` has the disks and the TPM's socket, and gets QEMU's own files.

    ``more`` are further arguments of QEMU's: every one of them is the operator's liberty, and what it changes
    of the boot shows in the registers.
    """

    image: Path
    directory: Path
    host: str
    port: int
    memory_mib: int
    processors: int
    more: tuple[str, ...] = ()

    def command(self, accelerator: Accelerator) -> list[str]:
        """Return the command of QEMU for this machine, to be run in its directory."""
        return [
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
            *("-machine", f"q35,accel={accelerator.value}", "-cpu", accelerator.processor),
            *("-m", str(self.memory_mib), "-smp", str(self.processors)),
            *("-drive", f"if=pflash,format=raw,readonly=on,file={_quoted(programs.find_firmware().code)}"),
            *("-drive", f"if=pflash,format=raw,file={_VARIABLES}"),
            *("-kernel", str(self.image.resolve())),
            *("-chardev", f"socket,id=tpm,path={virtual_tpm.SOCKET}"),
            *("-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"),
            *_disk("configuration", CONFIGURATION_DISK, CONFIGURATION_VOLUME),
            *_disk("staple", STAPLE_DISK, STAPLE_VOLUME),
            # Nothing leaves the machine but answers.
            *("-netdev", f"user,id=net,ipv6=off,restrict=on,hostfwd={self._forwarding()}"),
            *("-device", "virtio-net-pci,netdev=net,romfile="),
            *("-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"),
            *("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"),
            *("-qmp", f"unix:{_CONTROL},server=on,wait=off"),
            *self.more,
        ]

    def _forwarding(self) -> str:
        return f"tcp:{self.host}:{self.port}-:{SERVER_PORT}"


class MachineProcess:
    """A started machine."""

    def __init__(self, process: subprocess.Popen[bytes], console: Console, control: Path) -> None:
        self._process = process
        self._console = console
        self._control = control

    @classmethod
    @contextlib.contextmanager
    def started(
        cls, machine: Machine, accelerator: Accelerator, *, log: Log, copy: IO[bytes] | None = None
    ) -> Iterator[MachineProcess]:
        """Start the machine, and end it at the end: asked politely, then not.

        To be called in the main thread, whose end is the machine's end too. What the machine says goes to
        ``log``, and as it is to ``copy``.
        """
        directory = machine.directory
        shutil.copyfile(programs.find_firmware().variables, directory / _VARIABLES)
        process = programs.start(machine.command(accelerator), cwd=directory, stdout=subprocess.PIPE)
        assert process.stdout is not None  # noqa: S101 (asked for above)
        console = Console(process.stdout, log, copy=copy)
        started = cls(process, console, directory / _CONTROL)
        try:
            yield started
        finally:
            started._stop(log)

    def wait_for(self, event: str, *, seconds: float, log: Log) -> dict[str, object]:
        """Return the enclave's event of that name; raises :class:`MachineError` if it does not come."""
        begin = time.monotonic()
        reported = begin
        while (now := time.monotonic()) < begin + seconds:
            found = self._console.wait_for(event, _POLL_SECONDS)
            if found is not None:
                return found
            self._check_running()
            if now - reported >= _PROGRESS_SECONDS:
                reported = now
                log(f"the machine starts, {now - begin:.0f} s so far")
        raise MachineError(f"the machine was not ready after {seconds:.0f} seconds")

    @property
    def is_silent(self) -> bool:
        """Whether nothing of the image has run yet, as far as one can hear."""
        return self._console.is_silent

    def wait(self) -> int:
        """Return QEMU's exit code once the machine has ended."""
        return self._process.wait()

    def _check_running(self) -> None:
        if (code := self._process.poll()) is not None:
            raise MachineError(f"the machine ended, qemu with exit code {code}")
        status = self._ask("query-status")
        if isinstance(status, dict) and status.get("status") not in ("running", None):
            raise MachineError(f"the machine stands still: {status.get('status')}")

    def _stop(self, log: Log) -> None:
        """Have the enclave drain and the machine power off; end QEMU if that takes longer than 15 seconds."""
        try:
            if self._process.poll() is None and not self._console.is_silent:
                keys = [{"type": "qcode", "data": key} for key in ("ctrl", "alt", "delete")]
                self._ask("send-key", {"keys": keys})
                self._process.wait(_DRAIN_SECONDS)
        except subprocess.TimeoutExpired:
            log(f"the machine did not power off in {_DRAIN_SECONDS:.0f} seconds: ended")
        finally:
            programs.stop(self._process)
            self._console.join(_POLL_SECONDS)

    def _ask(self, command: str, arguments: dict[str, object] | None = None) -> object:
        """Return what QEMU's monitor answers (QMP), or ``None`` if it does not answer."""
        try:
            return _converse(self._control, command, arguments or {})
        except (OSError, ValueError):
            return None


def _converse(control: Path, command: str, arguments: dict[str, object]) -> object:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel, contextlib.ExitStack() as stack:
        channel.settimeout(_CONTROL_SECONDS)
        directory = control.parent
        # By descriptor, since the address of a socket has at most 107 bytes.
        descriptor = stack.enter_context(_opened(directory))
        channel.connect(f"/proc/self/fd/{descriptor}/{control.name}")
        stream = cast(BinaryIO, stack.enter_context(channel.makefile("rwb")))
        stream.readline(_MAX_MESSAGE)
        _request(stream, "qmp_capabilities", {})
        return _request(stream, command, arguments)


def _request(stream: BinaryIO, command: str, arguments: dict[str, object]) -> object:
    """Send one command and return its answer, passing over events."""
    stream.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
    stream.flush()
    while line := stream.readline(_MAX_MESSAGE):
        message = json.loads(line)
        if "return" in message:
            return message["return"]
        if "error" in message:
            raise ValueError("qemu refuses the command")
    raise ValueError("qemu hung up")


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _disk(name: str, file: str, serial: str) -> Sequence[str]:
    drive = f"if=none,id={name},format=raw,readonly=on,file={file}"
    return ("-drive", drive, "-device", f"virtio-blk-pci,drive={name},serial={serial}")


def _quoted(path: Path) -> str:
    """Return a path as QEMU reads it inside an option, where a comma is written twice."""
    return str(path).replace(",", ",,")
