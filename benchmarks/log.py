"""The log with its witnesses: how many statements it takes in a second, each with its proof."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from glasshouse_log.local import run_local_log
from support.chain import Chain

from .measured import Measured

__all__ = ["benchmarks"]

_STATEMENTS = 20


def benchmarks() -> Iterator[Measured]:
    """Append different statements one after another, until each is under a cosigned checkpoint."""
    statements = [Chain().signed_release() for _ in range(_STATEMENTS)]
    with (
        tempfile.TemporaryDirectory() as folder,
        run_local_log(Path(folder) / "log", witnesses=3) as log,
        log.client() as client,
    ):
        began = time.perf_counter()
        for statement in statements:
            client.add(statement)
        taken = (time.perf_counter() - began) / _STATEMENTS
    yield Measured(name="log: one statement appended and cosigned", value=taken * 1e3, unit="ms")
