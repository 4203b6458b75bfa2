"""NVIDIA GPUs (Hopper, Blackwell) and the NVSwitch LS10: SPDM attestation reports.

What :func:`verify` proves: a device that NVIDIA certified signed this report for this nonce; its firmware
is the one certified for the key that signed; none of NVIDIA's certificates above it is revoked; driver and
VBIOS show what NVIDIA's signed reference values list for their versions. Each of the last two needs
endorsements, and without them the claims say "not checked" if the policy lets them.

A GPU's report proves nothing about the CPU that drives it. Derive its nonce with :func:`gpu_nonce` and
verify both; what remains open stands in :data:`UNPROVEN`.

Checking reference values needs the extra ``glasshouse-attestations[nvidia]``.
"""

from .binding import gpu_nonce
from .policy import DEVICE_ROOT_SHA256, RIM_ROOT_SHA256, Policy
from .rim import ReferenceManifest
from .spdm import Report
from .verify import ENDORSEMENTS, PLATFORM, UNPROVEN, verify

__all__ = [
    "DEVICE_ROOT_SHA256",
    "ENDORSEMENTS",
    "PLATFORM",
    "RIM_ROOT_SHA256",
    "UNPROVEN",
    "Policy",
    "ReferenceManifest",
    "Report",
    "gpu_nonce",
    "verify",
]
