"""The verdict: every step of a verification by name, what it proved and by whom, and what nobody proved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from ._hints import hint_for
from .errors import GlasshouseError, UnavailableError

__all__ = ["Outcome", "Status", "Step", "StepResult", "Verdict"]

_SCHEMA = "glasshouse/verdict/v1"


class Step(Enum):
    """The twelve steps of a verification, in the order in which they are taken."""

    FORMATS = (1, "formats")
    RELEASE = (2, "release")
    AUDITS = (3, "audits")
    INCLUSION = (4, "inclusion")
    LOG_SIGNATURE = (5, "log signature")
    WITNESSES = (6, "witnesses")
    FRESHNESS = (7, "freshness")
    REVOCATION = (8, "revocation")
    QUOTE = (9, "quote")
    MEASUREMENT = (10, "measurement")
    CHANNEL = (11, "channel")
    CONFIGURATION = (12, "configuration")

    @property
    def number(self) -> int:
        """The step's place, from 1."""
        return self.value[0]

    @property
    def title(self) -> str:
        """The step's name for people and for JSON."""
        return self.value[1]


class Status(Enum):
    """How one step ended. A step that was not checked did not pass."""

    PASS = "pass"
    FAIL = "fail"
    NOT_CHECKED = "not checked"


class Outcome(Enum):
    """How the whole ended: with everything asked for proved, something disproved, or something left open."""

    VERIFIED = "verified"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"

    @property
    def exit_code(self) -> int:
        """What a command exits with: 0, 1 or 2."""
        return {Outcome.VERIFIED: 0, Outcome.REFUSED: 1, Outcome.UNAVAILABLE: 2}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """One step, how it ended, and what exactly was proved or why not."""

    step: Step
    status: Status
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a verification found.

    ``steps`` always has all twelve. ``facts`` are what was proved, by name; ``warnings`` and ``unproven``
    are for people to read: trusted dissent, and what this verification cannot show.
    """

    outcome: Outcome
    steps: tuple[StepResult, ...]
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    unproven: tuple[str, ...]

    def __getitem__(self, step: Step) -> StepResult:
        return self.steps[step.number - 1]

    def to_json(self) -> str:
        """Return the verdict as JSON with ``"schema": "glasshouse/verdict/v1"``, for machines."""
        return json.dumps(
            {
                "schema": _SCHEMA,
                "outcome": self.outcome.value,
                "steps": [
                    {
                        "number": result.step.number,
                        "name": result.step.title,
                        "status": result.status.value,
                        "detail": result.detail,
                    }
                    for result in self.steps
                ],
                "facts": dict(self.facts),
                "warnings": list(self.warnings),
                "unproven": list(self.unproven),
            },
            ensure_ascii=False,
            indent=2,
        )

    def to_table(self) -> str:
        """Return the verdict as aligned lines of text, for people."""
        lines = [
            f"{each.step.number:>2}  {each.step.title:<14} {each.status.value:<12} {each.detail}".rstrip()
            for each in self.steps
        ]
        width = max((len(name) for name, _ in self.facts), default=0)
        lines += [f"{name:<{width}}  {value}" for name, value in self.facts]
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines += [f"not proven: {item}" for item in self.unproven]
        return "\n".join([*lines, self.outcome.value])

    def __str__(self) -> str:
        return self.to_table()


class Story:
    """Writes down each step as it is taken; a step that is never reached stays "not checked"."""

    def __init__(self) -> None:
        self._results: dict[Step, StepResult] = {}
        self._facts: list[tuple[str, str]] = []
        self._warnings: list[str] = []
        self._unproven: list[str] = []

    @contextmanager
    def step(self, step: Step) -> Iterator[Callable[[str], None]]:
        """Take one step, which passes unless its body raises; the body says what it proved.

        An error leaves with the verdict so far. One that says "could not be checked" leaves the step open.
        """
        proved: list[str] = []
        try:
            yield proved.append
        except GlasshouseError as err:
            is_open = isinstance(err, UnavailableError)
            self._record(step, Status.NOT_CHECKED if is_open else Status.FAIL, f"{type(err).__name__}: {err}")
            err.hint = hint_for(err)
            err.verdict = self.end(Outcome.UNAVAILABLE if is_open else Outcome.REFUSED)
            raise
        self._record(step, Status.PASS, "; ".join(proved))

    def leave_out(self, step: Step, why: str) -> None:
        """Write down that a step is not taken, because the policy or the caller does not ask for it."""
        self._record(step, Status.NOT_CHECKED, why)

    def fact(self, name: str, value: str) -> None:
        """Add something that was proved."""
        self._facts.append((name, value))

    def warn(self, text: str) -> None:
        """Add what a person should read although it does not change the outcome."""
        self._warnings.append(text)

    def unproven(self, text: str) -> None:
        """Add what this verification cannot show."""
        self._unproven.append(text)

    def end(self, outcome: Outcome = Outcome.VERIFIED) -> Verdict:
        """Return what has been written down, with the steps that were not reached."""
        return Verdict(
            outcome=outcome,
            steps=tuple(self._results.get(step, _not_reached(step)) for step in Step),
            facts=tuple(self._facts),
            warnings=tuple(self._warnings),
            unproven=tuple(self._unproven),
        )

    def _record(self, step: Step, status: Status, detail: str) -> None:
        self._results[step] = StepResult(step=step, status=status, detail=detail)


def _not_reached(step: Step) -> StepResult:
    return StepResult(step=step, status=Status.NOT_CHECKED, detail="")
