"""A machine's serial line as the launcher hears it: events of the enclave among what the firmware says."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from typing import IO

__all__ = ["Console", "Log"]

_MAX_LINE = 4096
_CONTROL_SEQUENCE = re.compile(rb"\x1b\[[0-9;=?]*[A-Za-z]")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")

Log = Callable[[str], None]


class Console:
    """Reads the line to its end, passes on printable text, and remembers each event by its name.

    Nothing here is trusted: it tells an operator what goes on, and no client relies on it.
    """

    def __init__(self, stream: IO[bytes], log: Log, *, copy: IO[bytes] | None = None) -> None:
        self._stream = stream
        self._log = log
        self._copy = copy
        self._events: dict[str, dict[str, object]] = {}
        self._changed = threading.Condition()
        self._has_ended = False
        self._thread = threading.Thread(target=self._read, name="console", daemon=True)
        self._thread.start()

    def wait_for(self, name: str, seconds: float) -> dict[str, object] | None:
        """Return the first event called ``name``, or ``None`` if it does not come within ``seconds``."""
        with self._changed:
            self._changed.wait_for(lambda: name in self._events or self._has_ended, seconds)
            return self._events.get(name)

    @property
    def is_silent(self) -> bool:
        """Whether no event has come yet."""
        return not self._events

    def join(self, seconds: float) -> None:
        """Wait until the line has ended and everything is passed on."""
        self._thread.join(seconds)

    def _read(self) -> None:
        with self._stream:
            for line in iter(lambda: self._stream.readline(_MAX_LINE), b""):
                if self._copy is not None:
                    self._copy.write(line)
                    self._copy.flush()
                text = _printable(line)
                if text:
                    self._remember(text)
                    self._log(text)
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def _remember(self, text: str) -> None:
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            return
        if isinstance(event, dict) and isinstance(name := event.get("event"), str):
            with self._changed:
                self._events.setdefault(name, event)
                self._changed.notify_all()


def _printable(line: bytes) -> str:
    text = _CONTROL_SEQUENCE.sub(b"", line).decode("utf-8", "replace").strip()
    return _UNPRINTABLE.sub("?", text)
