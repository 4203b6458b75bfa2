"""The operator: boots an image with ``glasshouse-host run`` and staples a bundle."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .people import People
from .stage import DemoError

__all__ = ["Server", "serving"]

_RUN = "import sys; from glasshouse_host.cli import main; sys.exit(main())"
_STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that is up: where, how its image is kept apart, and what the launcher measured."""

    address: str
    isolation: str
    image_sha256: str


@contextlib.contextmanager
def serving(image: Path, bundle: Path, people: People, *, log: Path) -> Iterator[Server]:
    """Run ``image`` in its own process tree for the length of a ``with`` block; it logs to ``log``."""
    command = [
        sys.executable,
        "-c",
        _RUN,
        "run",
        "--platform",
        "simulated",
        "--listen",
        "127.0.0.1:0",
        "--json",
    ]
    command += ["--image", str(image), "--bundle", str(bundle), "--key", str(people.launcher.key_file)]
    command += ["--api-key-hash", people.api_key_entry]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        yield _ready(process, log)
    finally:
        # The launcher ends its server and removes what it unpacked.
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        finally:
            process.kill()
            if process.stdout is not None:
                process.stdout.close()


def _ready(process: subprocess.Popen[str], log: Path) -> Server:
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line:
        raise DemoError(f"the server did not start: {log.read_text(errors='replace')[-1000:].strip()}")
    ready = json.loads(line)
    return Server(
        address=ready["listen"],
        isolation=ready["isolation"],
        image_sha256=ready["image"]["sha256"],
    )
