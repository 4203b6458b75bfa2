"""The enclave's process as its launcher holds it: started isolated, watched, drained, never left behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, NoReturn

from glasshouse_attestations.simulated import Isolation

from . import jail
from .errors import EnclaveError, IsolationError

__all__ = ["EnclaveProcess"]

_ISOLATION_TIMEOUT = 30.0
_READY_TIMEOUT = 120.0
_DRAIN_TIMEOUT = 15.0
_RELAY_TIMEOUT = 5.0
_MAX_LINE = 4096
_ADDRESS = re.compile(r"[\w.:\[\]-]{1,128}:[0-9]{1,5}", re.ASCII)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
# The jail is imported from where this package is, without site-packages and the operator's environment.
_PACKAGES = str(Path(__file__).resolve().parent.parent)
_BOOTSTRAP = "import sys; sys.path.append(sys.argv.pop(1)); from glasshouse_host.jail import main; main()"

Log = Callable[[str], None]


class EnclaveProcess:
    """A started server. ``isolation`` is the way that this machine allowed."""

    def __init__(self, process: subprocess.Popen[bytes], isolation: Isolation) -> None:
        self.isolation = isolation
        self._process = process

    @classmethod
    @contextlib.contextmanager
    def started(
        cls, root: Path, *, listen: str, isolations: Sequence[Isolation], log: Log
    ) -> Iterator[EnclaveProcess]:
        """Start the server below ``root`` in the first of ``isolations`` that works; stop it at the end.

        Must be called in the main thread, whose end is the server's end too. What the server says on
        standard error goes to ``log``, without control characters.
        Raises :class:`IsolationError`, naming every reason, if none works.
        """
        reasons = []
        for isolation in isolations:
            process, reason = _start(root, listen, isolation)
            if not reason:
                break
            process.wait()
            reasons.append(f"{isolation.value}: {reason}")
            log(f"no isolation by {reasons[-1]}")
        else:
            raise IsolationError(f"this machine does not allow it ({'; '.join(reasons)})")
        assert process.stderr is not None  # noqa: S101 (asked for in _start)
        relay = _relay(process.stderr, log)
        try:
            yield cls(process, isolation)
        finally:
            _stop(process, log)
            # A process that the server left behind, where nothing contains it, could hold the stream open.
            relay.join(_RELAY_TIMEOUT)

    def wait_until_ready(self) -> str:
        """Return the address at which the server serves; raises :class:`EnclaveError` if it never does."""
        assert self._process.stdout is not None  # noqa: S101 (asked for in _start)
        line = _read_line(self._process.stdout.fileno(), time.monotonic() + _READY_TIMEOUT)
        if not line:
            self.wait()
        _relay(self._process.stdout, lambda _: None)
        try:
            event = json.loads(line)
            address = event["listen"] if event["event"] == "ready" else None
        except (ValueError, TypeError, KeyError) as err:
            raise EnclaveError("the server's first line is not its ready event") from err
        if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
            raise EnclaveError("the server's ready event names no address")
        return address

    def wait(self) -> NoReturn:
        """Wait until the server ends by itself, which it never should: raises :class:`EnclaveError`."""
        raise EnclaveError(f"the server ended {_reason(self._process.wait())}")


def _start(root: Path, listen: str, isolation: Isolation) -> tuple[subprocess.Popen[bytes], str]:
    """Start the server, and return its process and what kept it from starting, if anything did."""
    status, writer = os.pipe()
    order = jail.Order(
        isolation=isolation.value, root=str(root), listen=listen, launcher=os.getpid(), status=writer
    )
    with os.fdopen(status, "rb", buffering=0) as reader:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, _PACKAGES, order.encode()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(writer,),
                env={},
                cwd="/",
                start_new_session=True,
            )
        finally:
            os.close(writer)
        if not select.select([reader], [], [], _ISOLATION_TIMEOUT)[0]:
            process.kill()
            return process, "it took too long"
        return process, _printable(reader.read(_MAX_LINE) or b"")


def _read_line(descriptor: int, deadline: float) -> bytes:
    """Return the first line, without what follows it, or nothing if the stream ends before."""
    line = b""
    while not line.endswith(b"\n"):
        if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise EnclaveError(f"the server was not ready after {_READY_TIMEOUT:.0f} seconds")
        # Byte by byte: what the server says later must stay in the pipe for the relay.
        byte = os.read(descriptor, 1)
        if not byte:
            return b""
        if len(line) >= _MAX_LINE:
            raise EnclaveError("the server's first line is too long")
        line += byte
    return line


def _relay(stream: IO[bytes], log: Log) -> threading.Thread:
    """Pass on what the server writes, in printable lines of bounded length, until it ends."""

    def pass_on() -> None:
        with stream:
            for line in iter(lambda: stream.readline(_MAX_LINE), b""):
                log(_printable(line.rstrip(b"\n")))

    thread = threading.Thread(target=pass_on, name="relay", daemon=True)
    thread.start()
    return thread


def _printable(data: bytes) -> str:
    return _UNPRINTABLE.sub("?", data.decode("utf-8", "replace"))


def _stop(process: subprocess.Popen[bytes], log: Log) -> None:
    """Have the server drain; kill it if that takes longer than 15 seconds, or at an interrupt meanwhile."""
    process.terminate()
    handler = signal.signal(signal.SIGINT, lambda *_: process.kill())
    try:
        process.wait(_DRAIN_TIMEOUT)
    except subprocess.TimeoutExpired:
        log(f"the server did not drain in {_DRAIN_TIMEOUT:.0f} seconds: killed")
    finally:
        process.kill()
        process.wait()
        signal.signal(signal.SIGINT, handler)


def _reason(code: int) -> str:
    signal_number = -code if code < 0 else code - 128
    with contextlib.suppress(ValueError):
        return f"by {signal.Signals(signal_number).name}"
    return f"with exit code {code}"
