"""How many may be inside at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from glasshouse_attestations.rpc import Refusal

from .errors import RefusedError

__all__ = ["Gate"]


class Gate:
    """At most ``capacity`` are inside at a time; whoever comes on top is refused at once, never queued.

    A queue would keep the requests of those who wait in memory, and that memory is what a gate bounds.
    """

    def __init__(self, capacity: int) -> None:
        self._free = threading.BoundedSemaphore(capacity)

    def enter(self) -> None:
        """Take a place; raises :class:`RefusedError` if there is none. :meth:`leave` gives it back."""
        if not self._free.acquire(blocking=False):
            raise RefusedError(Refusal.BUSY)

    def leave(self) -> None:
        """Give a place back, from any thread."""
        self._free.release()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold a place for the length of a ``with`` block."""
        self.enter()
        try:
            yield
        finally:
            self.leave()
