"""The kinds of hardware that a policy can accept: whose rules, whose verifier, and what is compared of each.

A technology is imported when a policy or evidence first names it: a client whose servers are all of one kind
never loads the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from glasshouse_attestations.claims import Check, Claims, Outcome
from glasshouse_attestations.document import Document
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.reference_values import Registers
from glasshouse_attestations.report_data import qualifying_data

from .errors import PlatformNotSupportedError

if TYPE_CHECKING:
    from glasshouse_attestations import azure, dcap, nitro, nvidia, snp, tpm

__all__ = [
    "DEVICES",
    "HARDWARE_PLATFORMS",
    "HardwarePolicies",
    "HardwarePolicy",
    "bound_report_data",
    "compared_registers",
    "open_checks",
    "parse_hardware_policy",
    "unproven_registers",
    "verify_hardware",
]

HardwarePolicy: TypeAlias = (
    "azure.Policy | dcap.SgxPolicy | dcap.TdxPolicy | nitro.Policy | nvidia.Policy | snp.Policy | tpm.Policy"
)
HardwarePolicies: TypeAlias = Mapping[str, HardwarePolicy]
"""The hardware platforms that a policy accepts, each with its rules."""

HARDWARE_PLATFORMS = frozenset({"azure", "nitro", "sgx", "snp", "tdx", "tpm"})
"""What a server can run on."""

DEVICES = frozenset({"nvidia"})
"""What has evidence of its own, but runs no server: no policy for servers can name it."""

# A quote of a TPM has room for a digest only.
_QUALIFYING_DATA = frozenset({"azure", "tpm"})

# What the host measures into it (memory map, ACPI tables, boot variables), no release can predict.
_HOSTS_OWN = {"tdx": "rtmr0.sha384"}

# What a technology leaves to the client, which compares it in step 10 or 11.
_LEFT_TO_THE_CLIENT = frozenset({("azure", "qualifying data"), ("tpm", "qualifying data"), ("tdx", "RTMR3")})


class _Technology(NamedTuple):
    policy: type[HardwarePolicy]
    parse: Callable[[Document], HardwarePolicy]
    verify: Callable[..., Claims]


def parse_hardware_policy(platform: str, table: Document) -> HardwarePolicy:
    """Return the rules that the table ``[platforms.<platform>]`` writes, by that technology's own parser."""
    return _technology(platform).parse(table)


def verify_hardware(evidence: Evidence, policy: HardwarePolicy, *, now: datetime) -> Claims:
    """Return the claims of evidence that its technology verified under ``policy``, or raise its errors.

    Raises :class:`PlatformNotSupportedError` for a platform that this version does not know.
    """
    technology = _technology(evidence.platform)
    if not isinstance(policy, technology.policy):
        raise TypeError(f"a {type(policy).__name__} of another platform than {evidence.platform} is given")
    return technology.verify(evidence, policy=policy, now=now)


def bound_report_data(platform: str, report_data: bytes) -> bytes:
    """Return what a quote of ``platform`` shows of the 64 bytes of report data: them, or their SHA-256."""
    return qualifying_data(report_data) if platform in _QUALIFYING_DATA else report_data


def compared_registers(claims: Claims) -> Registers:
    """Return the registers that must be, all of them and no other, a set of the release's reference values.

    These are all that the platform reports; of TDX all but RTMR0, which :func:`unproven_registers` names.
    """
    left_out = _HOSTS_OWN.get(claims.platform)
    return {name: value for name, value in claims.registers.items() if name != left_out}


def unproven_registers(claims: Claims) -> tuple[str, ...]:
    """Say of each register that is not compared what that leaves open."""
    name = _HOSTS_OWN.get(claims.platform)
    if name is None:
        return ()
    return (f"what the host measured into {name} ({claims.registers[name].hex()}): no release predicts it",)


def open_checks(claims: Claims) -> tuple[Check, ...]:
    """Return the checks that nobody makes: neither the technology, nor this client in steps 10 and 11."""
    return tuple(
        check
        for check in claims.checks
        if check.outcome is Outcome.NOT_CHECKED and (claims.platform, check.name) not in _LEFT_TO_THE_CLIENT
    )


def _technology(platform: str) -> _Technology:
    if platform == "azure":
        from glasshouse_attestations import azure

        return _Technology(azure.Policy, azure.Policy.parse, azure.verify)
    if platform == "nitro":
        from glasshouse_attestations import nitro

        return _Technology(nitro.Policy, nitro.Policy.parse, nitro.verify)
    if platform == "nvidia":
        from glasshouse_attestations import nvidia

        return _Technology(nvidia.Policy, nvidia.Policy.parse, nvidia.verify)
    if platform == "sgx":
        from glasshouse_attestations import dcap

        return _Technology(dcap.SgxPolicy, dcap.SgxPolicy.parse, dcap.verify)
    if platform == "snp":
        from glasshouse_attestations import snp

        return _Technology(snp.Policy, snp.Policy.parse, snp.verify)
    if platform == "tdx":
        from glasshouse_attestations import dcap

        return _Technology(dcap.TdxPolicy, dcap.TdxPolicy.parse, dcap.verify)
    if platform == "tpm":
        from glasshouse_attestations import tpm

        return _Technology(tpm.Policy, tpm.Policy.parse, tpm.verify)
    raise PlatformNotSupportedError(f"this version cannot verify evidence of {platform!r}")
