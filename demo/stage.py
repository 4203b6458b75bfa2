"""The stage: where the demonstration writes, what it shows, and how it ends whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TextIO

from rich.console import Console

__all__ = ["DemoError", "Processes", "Stage", "interruptible", "work_folder"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoError(Exception):
    """The demonstration did not come to the end it should have; the message says where."""


class Stage:
    """Shows what happens, line by line; on a terminal also what is under way."""

    def __init__(self, folder: Path, out: TextIO) -> None:
        """Write files below ``folder`` and lines to ``out``."""
        self.folder = folder
        self._console = Console(file=out, highlight=False)
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long the demonstration has been running."""
        return time.monotonic() - self._began

    @property
    def is_on_terminal(self) -> bool:
        """Whether somebody watches, for whom progress can be drawn."""
        return self._console.is_terminal and sys.stderr.isatty()

    def act(self, title: str) -> None:
        """Announce the next act."""
        self._print("")
        self._print(f"{self.seconds:5.1f} s  {title}", style="bold")

    def tell(self, text: str) -> None:
        """Show something that happened, which can have several lines."""
        for line in text.splitlines():
            self._print(f"         {line}")

    @contextlib.contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show that something is under way: it turns on a terminal, and elsewhere it is one line."""
        if not self._console.is_terminal:
            self.tell(text)
            yield
            return
        with self._console.status(text):
            yield

    def _print(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, markup=False, soft_wrap=True)


class Processes:
    """Commands that run at the same time, each in a process group of its own, and end together."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._is_over = False

    def run(
        self, command: Sequence[str], *, environment: Mapping[str, str], umask: int, folder: Path
    ) -> subprocess.CompletedProcess[str]:
        """Run ``command`` to its end and return what it printed; raises if everything is over already."""
        with self._lock:
            if self._is_over:
                raise DemoError("interrupted")
            process = subprocess.Popen(
                command,
                env=environment,
                umask=umask,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
            self._running.add(process)
        output, errors = process.communicate()
        with self._lock:
            self._running.discard(process)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def end(self) -> None:
        """End what still runs, with all that it has started."""
        with self._lock:
            self._is_over = True
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def work_folder(keep: Path | None) -> Iterator[Path]:
    """Give a folder that is gone at the end, or ``keep``, which must be new or empty and stays."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="glasshouse-demo-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
        return
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise DemoError(f"{keep} is not empty")
    yield keep.resolve()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first signal that asks to end into ``KeyboardInterrupt``, and ignore later ones."""
    before = {number: signal.signal(number, _interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
