"""What a benchmark gives: a median with its unit, held against a bound, and a ratio to a baseline."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from glasshouse_attestations.canonical_json import JSON

__all__ = ["Measured", "NotMeasured", "Result", "seconds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One value. ``bound`` is the most that is allowed; ``baseline`` was measured in the same run."""

    name: str
    value: float
    unit: str
    bound: float | None = None
    baseline: float | None = None
    baseline_name: str = ""

    @property
    def is_within(self) -> bool:
        """Whether the value keeps to its bound, if it has one."""
        return self.bound is None or self.value <= self.bound

    def to_json(self) -> JSON:
        """Return the value as JSON, with numbers as texts: the project's JSON has no fractions."""
        return {
            "name": self.name,
            "value": f"{self.value:.6g}",
            "unit": self.unit,
            "bound": None if self.bound is None else f"{self.bound:.6g}",
            "within": self.is_within,
            "baseline": None if self.baseline is None else f"{self.baseline:.6g}",
            "baselineName": self.baseline_name or None,
            "ratio": None if not self.baseline else f"{self.value / self.baseline:.4g}",
        }

    def __str__(self) -> str:
        bound = "" if self.bound is None else f"at most {self.bound:g}"
        ratio = "" if not self.baseline else f"{self.value / self.baseline:.2f} x {self.baseline_name}"
        mark = "" if self.is_within else "  EXCEEDED"
        return f"{self.name:<56} {self.value:>10.4g} {self.unit:<6} {bound:<14} {ratio}{mark}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotMeasured:
    """A value that could not be measured here, and why; it neither keeps to its bound nor exceeds it."""

    name: str
    reason: str

    @property
    def is_within(self) -> Literal[True]:
        """Never a failure: what is missing is named instead."""
        return True

    def to_json(self) -> JSON:
        """Return what is missing as JSON."""
        return {"name": self.name, "value": None, "notMeasured": self.reason}

    def __str__(self) -> str:
        return f"{self.name:<56} not measured: {self.reason}"


Result = Measured | NotMeasured


def seconds(work: Callable[[], object], *, times: int = 7, repeat: int = 1) -> float:
    """Return how long ``work`` takes: the median of ``times`` runs, each of ``repeat`` times in a row."""
    work()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        for _ in range(repeat):
            work()
        taken.append((time.perf_counter() - began) / repeat)
    return statistics.median(taken)
