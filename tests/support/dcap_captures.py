"""The captured SGX and TDX quotes, each with a collateral that was captured for its processor family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from glasshouse_attestations.claims import Claims
from glasshouse_attestations.dcap import SgxPolicy, TcbPolicy, TcbStatus, TdxPolicy, verify
from glasshouse_attestations.evidence import Evidence
from support.vectors import cases, moment, vector

Policies = Mapping[str, "SgxPolicy | TdxPolicy"]

# A moment at which the chains of all quotes without collateral are valid.
_WITHOUT_COLLATERAL = 1_780_921_522

# The captures are older than the default's minimum evaluation number; all else is the default.
_TCB = TcbPolicy(minimum_evaluation_number=0)
STRICT: Policies = {"sgx": SgxPolicy(tcb=_TCB), "tdx": TdxPolicy(tcb=_TCB)}

# Accepts by name what the captures need that may be accepted at all.
_SOFTWARE = frozenset({"INTEL-SA-00289", "INTEL-SA-00615"})
_ACCEPTING = TcbPolicy(
    minimum_evaluation_number=0,
    accepted={
        TcbStatus.SW_HARDENING_NEEDED: _SOFTWARE,
        TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: _SOFTWARE,
        TcbStatus.TD_RELAUNCH_ADVISED: frozenset({"INTEL-SA-01036", "INTEL-SA-01099"}),
    },
)
LENIENT: Policies = {
    "sgx": SgxPolicy(tcb=_ACCEPTING, allowed_misc_select=1),
    "tdx": TdxPolicy(tcb=_ACCEPTING, mr_config_id=None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One quote, one collateral (or none, with an empty name), and the time to look at them."""

    technology: str
    case: dict[str, Any]
    collateral_path: str | None
    now: datetime

    def __str__(self) -> str:
        return f"{self.source}+{self.collateral_name}"

    @property
    def source(self) -> str:
        source: str = self.case["source"]
        return source

    @property
    def collateral_name(self) -> str:
        return PurePosixPath(self.collateral_path).stem if self.collateral_path else ""

    @property
    def quote(self) -> bytes:
        return vector(self.case["quote"])

    @property
    def collateral(self) -> bytes:
        assert self.collateral_path is not None
        return vector(self.collateral_path)

    def verify(
        self, policies: Policies, *, quote: bytes | None = None, collateral: bytes | None = None
    ) -> Claims:
        if collateral is None and self.collateral_path:
            collateral = self.collateral
        evidence = Evidence(
            platform=self.technology,
            quote=self.quote if quote is None else quote,
            endorsements={} if collateral is None else {"collateral": collateral},
        )
        return verify(evidence, policy=policies[self.technology], now=self.now)


def captures() -> tuple[Capture, ...]:
    """Return every quote with every collateral of its family; none if the captures are absent."""
    return tuple(
        Capture(
            technology=technology,
            case=case,
            collateral_path=one.get("collateral"),
            now=moment(one.get("test_time", _WITHOUT_COLLATERAL)),
        )
        for technology in ("sgx", "tdx")
        for case in cases(technology)
        for one in case.get("with_collateral") or [{}]
    )


def capture_of(source: str, collateral: str) -> Capture:
    """Return one capture."""
    (found,) = (one for one in captures() if (one.source, one.collateral_name) == (source, collateral))
    return found
