"""Blocking work away from the event loop, on threads whose number and time are bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from .gate import Gate
from .model import Model, run_options, session_options

__all__ = ["Engine"]

_Result = TypeVar("_Result")


class Engine:
    """Runs inferences, at most ``capacity`` at a time, and loads models, one at a time.

    Whoever stops waiting (a timeout, a caller who left, the end of the server) cancels the work. The place
    of an inference is free only when its thread is, so that work that cannot be stopped within an operator
    counts until it ends.
    """

    def __init__(self, *, capacity: int) -> None:
        self._places = Gate(capacity)
        self._inferences = ThreadPoolExecutor(capacity, thread_name_prefix="inference")
        self._loads = ThreadPoolExecutor(1, thread_name_prefix="load")

    async def infer(self, work: Callable[[Any], _Result]) -> _Result:
        """Return what ``work`` returns for the run options that it is given.

        Refuses with ``BUSY`` if every place is taken.
        """
        self._places.enter()
        options = run_options()
        future = self._inferences.submit(work, options)
        future.add_done_callback(lambda _: self._places.leave())
        return await _result(future, stop=lambda: setattr(options, "terminate", True))

    async def load(self, data: bytes) -> Model:
        """Return the model in ``data``, loaded. Inferences go on meanwhile."""
        options = session_options()
        future = self._loads.submit(Model.load, data, options)
        return await _result(future, stop=lambda: options.set_load_cancellation_flag(True))

    def close(self) -> None:
        """Take no further work, and drop what waits. Threads end with the operator that they are in."""
        for executor in (self._inferences, self._loads):
            executor.shutdown(wait=False, cancel_futures=True)


async def _result(future: Future[_Result], *, stop: Callable[[], None]) -> _Result:
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        stop()
        raise
