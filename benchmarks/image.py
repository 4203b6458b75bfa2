"""The image: how long a warm build takes and how much memory, and how large the result is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .measured import Measured

__all__ = ["benchmarks"]

_BUILD = "import sys; from glasshouse_audit.cli import main; sys.exit(main(sys.argv[1:]))"


def benchmarks(tree: Path, image: Path) -> Iterator[Measured]:
    """Build the image of ``tree`` twice, so that the second time every input is in the cache."""
    _build(tree, image)
    taken, peak = _build(tree, image)
    yield Measured(name="warm build", value=taken, unit="s", bound=15)
    yield Measured(name="warm build, most memory", value=peak / 2**20, unit="MiB", bound=1024)
    yield Measured(name="image", value=image.stat().st_size / 1e6, unit="MB", bound=100)


def _build(tree: Path, image: Path) -> tuple[float, int]:
    """Return the seconds and the most bytes of memory of one build in a process of its own."""
    command = [sys.executable, "-c", _BUILD, "build", "--tree", str(tree), "--output", str(image)]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the build ended with exit status {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss * 1024
