"""A report of checks: each by name, how it ended and why. What could not be checked did not pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from glasshouse import Status, Verdict
from glasshouse_attestations.canonical_json import JSON
from glasshouse_attestations.errors import GlasshouseError, UnavailableError

__all__ = ["Check", "Report", "Writing"]

_SCHEMA = "glasshouse/release-verification/v1"
_OUTCOMES = ("verified", "refused", "could not be checked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check by name, how it ended, and what it showed or why not; ``error`` is what it raised."""

    name: str
    status: Status
    detail: str
    error: GlasshouseError | None = None

    def to_json(self) -> JSON:
        """Return the check for machines, with the class of its error."""
        return {
            "name": self.name,
            "status": self.status.value,
            "detail": self.detail,
            "error": None if self.error is None else type(self.error).__name__,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Every check of a release's folder. ``verdict`` is the client's own, if it came to one."""

    checks: tuple[Check, ...]
    verdict: Verdict | None

    @property
    def failures(self) -> tuple[GlasshouseError, ...]:
        """What was raised, in the order of the checks."""
        return tuple(check.error for check in self.checks if check.error is not None)

    @property
    def exit_code(self) -> int:
        """0 if nothing was raised, 1 if something is not what it should be, 2 if it could not be checked."""
        if not self.failures:
            return 0
        return 2 if all(isinstance(each, UnavailableError) for each in self.failures) else 1

    def raise_first_failure(self) -> None:
        """Raise what the first failed check raised, if one did."""
        for error in self.failures:
            raise error

    def to_json(self) -> JSON:
        """Return the report for machines."""
        return {
            "schema": _SCHEMA,
            "outcome": _OUTCOMES[self.exit_code],
            "checks": [check.to_json() for check in self.checks],
            "warnings": [] if self.verdict is None else list(self.verdict.warnings),
            "unproven": [] if self.verdict is None else list(self.verdict.unproven),
        }

    def to_table(self) -> str:
        """Return the report as aligned lines, for people."""
        width = max(len(check.name) for check in self.checks)
        lines = [f"{each.name:<{width}}  {each.status.value:<11}  {each.detail}" for each in self.checks]
        if self.verdict is not None:
            lines += [f"warning: {each}" for each in self.verdict.warnings]
            lines += [f"not proven: {each}" for each in self.verdict.unproven]
        return "\n".join([*(line.rstrip() for line in lines), self._last_line()])

    def _last_line(self) -> str:
        # What was left out is said in the same breath, so that nobody takes it for checked.
        left_out = [each.name for each in self.checks if each.status is Status.NOT_CHECKED]
        if self.exit_code or not left_out:
            return _OUTCOMES[self.exit_code]
        return f"{_OUTCOMES[0]}; not checked: {', '.join(left_out)}"


class Writing:
    """A report while it is written. A failed check is written down, and the next one is made all the same."""

    def __init__(self) -> None:
        self._checks: list[Check] = []

    @contextmanager
    def check(self, name: str) -> Iterator[Callable[[str], None]]:
        """Make one check, which passes unless its body raises; the body says what it showed."""
        shown: list[str] = []
        try:
            yield shown.append
        except GlasshouseError as err:
            status = Status.NOT_CHECKED if isinstance(err, UnavailableError) else Status.FAIL
            detail = f"{type(err).__name__}: {err}"
            self._checks.append(Check(name=name, status=status, detail=detail, error=err))
        else:
            self._checks.append(Check(name=name, status=Status.PASS, detail="; ".join(shown)))

    def leave_out(self, name: str, why: str) -> None:
        """Write down that a check was not made."""
        self._checks.append(Check(name=name, status=Status.NOT_CHECKED, detail=why))

    def add(self, check: Check) -> None:
        """Write down a check that somebody else made."""
        self._checks.append(check)

    def end(self, verdict: Verdict | None) -> Report:
        """Return the report."""
        return Report(checks=tuple(self._checks), verdict=verdict)
