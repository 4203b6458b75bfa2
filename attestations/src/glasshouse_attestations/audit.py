"""The audit predicate: what one auditor found on rebuilding. Specified in ``predicates/audit-v1.md``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from .canonical_json import JSON
from .document import Document, format_time
from .errors import MalformedError, ValidityError
from .reference_values import ReferenceValues
from .release import Source
from .statement import Statement

__all__ = ["PREDICATE_TYPE", "Audit", "Environment", "Verdict"]

PREDICATE_TYPE = "https://glasshouse.invalid/attestations/audit/v1"


class Verdict(Enum):
    """How an audit ended: the same bytes, other bytes, or no image at all."""

    REPRODUCED = "reproduced"
    DIFFERS = "differs"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where an auditor rebuilt: operating system, processor architecture and Python version."""

    os: str
    architecture: str
    python: str

    @classmethod
    def parse(cls, document: Document) -> Environment:
        """Return the environment written as ``{"os", "architecture", "python"}``."""
        environment = cls(
            os=document.text("os", max_length=128),
            architecture=document.text("architecture", max_length=32),
            python=document.text("python", max_length=32),
        )
        document.end()
        return environment

    def to_json(self) -> JSON:
        """Write the environment as :meth:`parse` reads it."""
        return {"os": self.os, "architecture": self.architecture, "python": self.python}


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """An auditor rebuilt the image with ``image_sha256`` from ``source`` and reached ``verdict``.

    ``rebuilt_sha256`` and ``reference_values`` are what the auditor's own build gave; both are ``None`` if
    and only if the build failed. ``rebuilt_sha256`` equals ``image_sha256`` if and only if the verdict is
    ``reproduced``. The audit speaks from ``time`` until ``expires``. One that contradicts itself is a
    :class:`MalformedError`.
    """

    image_sha256: bytes
    verdict: Verdict
    source: Source
    rebuilt_sha256: bytes | None
    reference_values: ReferenceValues | None
    environment: Environment
    time: datetime
    expires: datetime

    def __post_init__(self) -> None:
        is_built = self.verdict is not Verdict.FAILED
        if (self.rebuilt_sha256 is not None, self.reference_values is not None) != (is_built, is_built):
            raise MalformedError("audit.rebuilt and audit.referenceValues are there unless the build failed")
        if (self.verdict is Verdict.REPRODUCED) != (self.rebuilt_sha256 == self.image_sha256):
            raise MalformedError("audit.verdict contradicts audit.rebuilt")
        if self.time >= self.expires:
            raise MalformedError("audit.time is not before expires")

    @classmethod
    def parse(cls, statement: Statement) -> Audit:
        """Return the audit that ``statement`` makes; raises :class:`MalformedError` for another type."""
        document = statement.predicate_of(PREDICATE_TYPE)
        verdict = _parse_verdict(document.text("verdict", max_length=16))
        rebuilt_sha256, reference_values = None, None
        if verdict is not Verdict.FAILED:
            rebuilt_sha256 = document.digest("rebuilt")
            reference_values = ReferenceValues.parse(document.document("referenceValues"))
        audit = cls(
            image_sha256=statement.image_sha256,
            verdict=verdict,
            source=Source.parse(document.document("source")),
            rebuilt_sha256=rebuilt_sha256,
            reference_values=reference_values,
            environment=Environment.parse(document.document("environment")),
            time=document.time("time"),
            expires=document.time("expires"),
        )
        document.end()
        return audit

    def to_statement(self) -> Statement:
        """Write the audit as the statement that :meth:`parse` reads."""
        predicate: dict[str, JSON] = {
            "verdict": self.verdict.value,
            "source": self.source.to_json(),
            "environment": self.environment.to_json(),
            "time": format_time(self.time),
            "expires": format_time(self.expires),
        }
        if self.rebuilt_sha256 is not None and self.reference_values is not None:
            predicate["rebuilt"] = self.rebuilt_sha256.hex()
            predicate["referenceValues"] = self.reference_values.to_json()
        return Statement(image_sha256=self.image_sha256, predicate_type=PREDICATE_TYPE, predicate=predicate)

    def check_validity(self, now: datetime) -> None:
        """Return if ``now`` lies from ``time`` to ``expires``, both included; else :class:`ValidityError`."""
        if now < self.time:
            raise ValidityError(f"the audit speaks from {format_time(self.time)}")
        if now > self.expires:
            raise ValidityError(f"the audit expired at {format_time(self.expires)}")


def _parse_verdict(text: str) -> Verdict:
    try:
        return Verdict(text)
    except ValueError:
        raise MalformedError("audit.verdict is not reproduced, differs or failed") from None
