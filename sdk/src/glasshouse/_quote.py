"""Quotes, verified up to the root of whoever vouches for the platform (step 9).

The two functions are apart on purpose: :func:`verify_hardware_quote` is all that a production policy
reaches, and nothing that it calls can accept simulated evidence.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from glasshouse_attestations import simulated
from glasshouse_attestations.claims import Claims
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.keys import PublicKey

from ._platforms import HARDWARE_PLATFORMS, HardwarePolicies, verify_hardware
from .errors import PlatformNotAllowedError

__all__ = ["verify_development_quote", "verify_hardware_quote"]


def verify_hardware_quote(evidence: Evidence, *, platforms: HardwarePolicies, now: datetime) -> Claims:
    """Return the claims of a quote by one of the hardware ``platforms`` of the policy.

    Raises :class:`PlatformNotAllowedError` for any other platform, and whatever the platform's own
    verification raises.
    """
    if evidence.platform not in platforms.keys() & HARDWARE_PLATFORMS:
        raise PlatformNotAllowedError(
            f"the policy does not accept evidence of the platform {evidence.platform!r}"
        )
    return verify_hardware(evidence, platforms[evidence.platform], now=now)


def verify_development_quote(
    evidence: Evidence,
    *,
    platforms: HardwarePolicies,
    launcher_keys: Collection[PublicKey],
    now: datetime,
) -> Claims:
    """Return the claims of a hardware quote, or of a simulated one by a launcher of the policy."""
    if evidence.platform == simulated.PLATFORM and launcher_keys:
        return simulated.verify(evidence, launcher_keys=launcher_keys)
    return verify_hardware_quote(evidence, platforms=platforms, now=now)
