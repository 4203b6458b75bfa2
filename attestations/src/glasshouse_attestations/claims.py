"""Claims: what verified evidence says, in one shape for every platform."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .reference_values import Registers

__all__ = ["Check", "Claims", "Outcome"]


class Outcome(Enum):
    """What became of one check. A check that fails raises its error instead: there is no outcome for it."""

    PASSED = "passed"
    NOT_APPLICABLE = "not applicable"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One step of a verification: its name, what became of it, and the section that asks for it.

    ``NOT_CHECKED`` is never a pass: ``detail`` then says what is missing.
    """

    name: str
    outcome: Outcome
    detail: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The content of a quote whose signature has been verified up to the platform's root.

    ``registers`` are the measurements and ``report_data`` the bytes that the enclave chose (64, or a
    TPM's qualifying data); neither has been compared with anything yet. ``product`` and ``identity`` name
    the processor, chip or instance. ``tcb_status`` and ``advisory_ids`` are the vendor's judgement of its
    firmware, ``debug`` and ``migratable`` the states that give the operator access; each is ``None`` where
    the platform has no such notion. ``attributes`` are further facts for people and policies, by name.
    ``unproven`` names in plain words what evidence of this platform cannot show.
    """

    platform: str
    registers: Registers
    report_data: bytes
    checks: tuple[Check, ...] = ()
    product: str | None = None
    identity: bytes | None = None
    tcb_status: str | None = None
    advisory_ids: tuple[str, ...] = ()
    debug: bool | None = None
    migratable: bool | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    unproven: tuple[str, ...] = ()
