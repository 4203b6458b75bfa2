"""The verdict about evidence alone: every check of its technology, its claims, and what it does not prove."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from glasshouse_attestations.claims import Claims
from glasshouse_attestations.document import format_time
from glasshouse_attestations.evidence import Evidence

from ._hints import hint_for
from ._platforms import HardwarePolicy, verify_hardware
from ._policy import DevelopmentPolicy, ProductionPolicy
from ._verdict import Outcome
from ._verifier import verify_quote
from .errors import GlasshouseError, UnavailableError

__all__ = ["EvidenceVerdict", "judge"]

_SCHEMA = "glasshouse/evidence-verdict/v1"
_NOT_COMPARED = "registers and report data are genuine, and have been compared with nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceVerdict:
    """What became of evidence at a time: its claims if it was verified, else the error that refused it."""

    platform: str
    now: datetime
    claims: Claims | None = None
    error: GlasshouseError | None = None

    @property
    def outcome(self) -> Outcome:
        """Verified, refused, or left open because something is missing that is needed to check it."""
        if self.claims is not None:
            return Outcome.VERIFIED
        return Outcome.UNAVAILABLE if isinstance(self.error, UnavailableError) else Outcome.REFUSED

    def to_json(self) -> str:
        """Return the verdict as JSON with ``"schema": "glasshouse/evidence-verdict/v1"``, for machines."""
        written: dict[str, object] = {
            "schema": _SCHEMA,
            "outcome": self.outcome.value,
            "platform": self.platform,
            "time": format_time(self.now),
        }
        if self.error is not None:
            hint = hint_for(self.error)
            written["error"] = {"class": type(self.error).__name__, "message": str(self.error), "hint": hint}
        if self.claims is not None:
            written |= _claims_json(self.claims)
        return json.dumps(written, ensure_ascii=False, indent=2)

    def to_table(self) -> str:
        """Return the verdict as aligned lines of text, for people."""
        lines = [f"platform  {self.platform}", f"time      {format_time(self.now)}"]
        if self.error is not None:
            hint = hint_for(self.error)
            lines.append(f"{type(self.error).__name__}: {self.error}")
            lines += [f"hint: {hint}"] if hint else []
        if self.claims is not None:
            lines += _claims_lines(self.claims)
        return "\n".join([*lines, self.outcome.value])


def judge(
    evidence: Evidence, policy: DevelopmentPolicy | ProductionPolicy | HardwarePolicy, *, now: datetime
) -> EvidenceVerdict:
    """Return the verdict under a whole policy, or under the rules of the evidence's platform alone."""
    try:
        if isinstance(policy, (DevelopmentPolicy, ProductionPolicy)):
            claims = verify_quote(evidence, policy, now=now)
        else:
            claims = verify_hardware(evidence, policy, now=now)
    except GlasshouseError as err:
        return EvidenceVerdict(platform=evidence.platform, now=now, error=err)
    return EvidenceVerdict(platform=evidence.platform, now=now, claims=claims)


def _claims_json(claims: Claims) -> dict[str, object]:
    return {
        "checks": [
            {
                "name": check.name,
                "outcome": check.outcome.value,
                "detail": check.detail,
                "source": check.source,
            }
            for check in claims.checks
        ],
        "registers": {name: value.hex() for name, value in sorted(claims.registers.items())},
        "reportData": claims.report_data.hex(),
        "compared": False,
        "product": claims.product,
        "identity": None if claims.identity is None else claims.identity.hex(),
        "tcbStatus": claims.tcb_status,
        "advisoryIds": list(claims.advisory_ids),
        "debug": claims.debug,
        "migratable": claims.migratable,
        "attributes": [[name, value] for name, value in claims.attributes],
        "unproven": list(claims.unproven),
    }


def _claims_lines(claims: Claims) -> list[str]:
    width = max((len(check.name) for check in claims.checks), default=0)
    lines = [
        f"{check.name:<{width}}  {check.outcome.value:<14}  {check.detail}".rstrip()
        for check in claims.checks
    ]
    facts = [
        ("product", claims.product),
        ("identity", None if claims.identity is None else claims.identity.hex()),
        ("tcb status", claims.tcb_status),
        ("advisories", ", ".join(claims.advisory_ids) or None),
        ("debug", None if claims.debug is None else str(claims.debug).lower()),
        ("migratable", None if claims.migratable is None else str(claims.migratable).lower()),
        *claims.attributes,
        *((name, value.hex()) for name, value in sorted(claims.registers.items())),
        ("report data", claims.report_data.hex()),
    ]
    known = [(name, value) for name, value in facts if value is not None]
    width = max(len(name) for name, _ in known)
    lines += [f"{name:<{width}}  {value}".rstrip() for name, value in known]
    lines += [f"not proven: {each}" for each in claims.unproven]
    return [*lines, f"note: {_NOT_COMPARED}"]
