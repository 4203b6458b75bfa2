"""Claims: what verified evidence says, in one shape for every platform."""

from __future__ import annotations

from dataclasses import dataclass

from .reference_values import Registers

__all__ = ["Claims"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The content of a quote whose signature has been verified up to the platform's root.

    ``registers`` are the measurements and ``report_data`` the 64 bytes that the enclave chose; neither has
    been compared with anything yet. ``attributes`` are further facts for people and policies, by name.
    ``unproven`` names in plain words what evidence of this platform cannot show.
    """

    platform: str
    registers: Registers
    report_data: bytes
    attributes: tuple[tuple[str, str], ...]
    unproven: tuple[str, ...]
