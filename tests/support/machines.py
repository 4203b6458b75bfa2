"""Machines of QEMU for the tests: which packages they need, and the launcher's own command around them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from glasshouse_host import programs
from glasshouse_host.errors import MissingProgramError

_RUN = "import sys; from glasshouse_host.cli import main; sys.exit(main())"
_STOP_SECONDS = 40.0


def need_machines() -> None:
    """Skip, and say which system packages are missing, where no machine can be booted."""
    if sys.platform != "linux":
        pytest.skip("machines are booted on linux only")
    try:
        programs.require()
    except MissingProgramError as err:
        pytest.skip(str(err))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningMachine:
    """A machine that serves: its ready event, its launcher, and what it said so far."""

    ready: dict[str, object]
    launcher: subprocess.Popen[str]
    log: Path

    @property
    def address(self) -> str:
        """Where it serves."""
        return str(self.ready["listen"])


@contextlib.contextmanager
def launched(arguments: Sequence[str], *, log: Path) -> Iterator[RunningMachine]:
    """Run ``glasshouse-host run`` with ``arguments`` in its own process while a ``with`` block lasts."""
    command = [sys.executable, "-c", _RUN, "run", "--platform", "tpm", "--listen", "127.0.0.1:0", "--json"]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text(errors="replace")[-3000:]
        yield RunningMachine(ready=json.loads(line), launcher=process, log=log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
