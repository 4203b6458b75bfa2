"""The revocation predicate: an image must not be trusted. Specified in ``predicates/revocation-v1.md``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .document import format_time
from .statement import Statement

__all__ = ["PREDICATE_TYPE", "Revocation"]

PREDICATE_TYPE = "https://glasshouse.invalid/attestations/revocation/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """The image with ``image_sha256`` is revoked for ``reason``, whatever else is signed about it."""

    image_sha256: bytes
    reason: str
    time: datetime

    @classmethod
    def parse(cls, statement: Statement) -> Revocation:
        """Return the revocation that ``statement`` makes; raises ``MalformedError`` for another type."""
        document = statement.predicate_of(PREDICATE_TYPE)
        revocation = cls(
            image_sha256=statement.image_sha256,
            reason=document.text("reason"),
            time=document.time("time"),
        )
        document.end()
        return revocation

    def to_statement(self) -> Statement:
        """Write the revocation as the statement that :meth:`parse` reads."""
        return Statement(
            image_sha256=self.image_sha256,
            predicate_type=PREDICATE_TYPE,
            predicate={"reason": self.reason, "time": format_time(self.time)},
        )
