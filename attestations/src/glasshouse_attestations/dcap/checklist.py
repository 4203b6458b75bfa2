"""The record of a verification: every step that was reached, in order."""

from __future__ import annotations

from ..claims import Check, Outcome

__all__ = ["Checklist"]


class Checklist:
    """Collects the checks of one verification. A step that fails raises instead of being written down."""

    def __init__(self) -> None:
        self._checks: list[Check] = []

    def passed(self, name: str, detail: str, source: str) -> None:
        """Write down a check that passed."""
        self._add(name, Outcome.PASSED, detail, source)

    def not_applicable(self, name: str, detail: str, source: str) -> None:
        """Write down a check for which evidence of this kind has nothing to look at."""
        self._add(name, Outcome.NOT_APPLICABLE, detail, source)

    def not_checked(self, name: str, detail: str, source: str) -> None:
        """Write down a check that the policy leaves out."""
        self._add(name, Outcome.NOT_CHECKED, detail, source)

    def checks(self) -> tuple[Check, ...]:
        """The checks so far."""
        return tuple(self._checks)

    def _add(self, name: str, outcome: Outcome, detail: str, source: str) -> None:
        self._checks.append(Check(name=name, outcome=outcome, detail=detail, source=source))
