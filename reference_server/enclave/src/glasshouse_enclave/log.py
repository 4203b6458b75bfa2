"""The server's log: one JSON object a line on standard error, which the operator reads.

The operator must learn nothing of what callers send. So there is no logging of free text: an event has a
name that stands in this package's source, and fields that are numbers, names of classes, or taken from what
the operator configured.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
import warnings
from datetime import datetime, timezone

__all__ = ["event", "failure", "silence_libraries"]

_write = threading.Lock()


def event(name: str, **fields: int | str) -> None:
    """Write one event. No field may hold anything that came from a caller."""
    time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    line = json.dumps({"time": time, "event": name, **fields})
    with _write:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def failure(err: BaseException) -> None:
    """Write that ``err`` was not expected: its class and where it arose, never its message.

    The messages of Python and of libraries quote the value that they were given.
    """
    frames = traceback.extract_tb(err.__traceback__)
    where = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "unknown"
    event("failure", error=type(err).__name__, where=where)


def silence_libraries() -> None:
    """Keep Python libraries from writing to standard error, where they quote what they were given."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
