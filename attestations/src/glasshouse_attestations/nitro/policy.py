"""What a relying party asks of a Nitro enclave, beside the release's registers and the report data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from ..document import Document
from ..errors import MalformedError
from ..reference_values import parse_registers
from .document import PCR_SIZE

__all__ = ["ROOT_SHA256", "Policy", "register_name"]

ROOT_SHA256 = bytes.fromhex("641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b")
"""SHA-256 of the DER of the AWS Nitro Enclaves root certificate, G1 (commercial partitions)."""

_INSTANCE_ID = re.compile(r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})", re.ASCII)
_MAX_AGE = timedelta(hours=3)
_MAX_INSTANCES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The expectations of one relying party; the defaults are the strict ones.

    ``pcrs`` are the registers that become the claims' registers, all of which a document must have. The
    image decides PCR0 to PCR2; PCR8, for signed images, may be added. ``expected`` holds registers that
    follow from the deployment instead: PCR3 (the parent's role), PCR4 (the parent instance) and so on.
    ``instances`` are the parent instances to accept, any if ``None``. ``nonce`` and ``public_key`` are
    compared in full where given. A document is accepted up to ``max_age`` after its timestamp, and up to
    ``max_clock_skew`` before it. ``root_sha256`` is for tests with a root of their own.
    """

    pcrs: frozenset[int] = frozenset({0, 1, 2})
    expected: Mapping[int, bytes] = field(default_factory=dict)
    instances: frozenset[str] | None = None
    nonce: bytes | None = None
    public_key: bytes | None = None
    max_age: timedelta = timedelta(minutes=5)
    max_clock_skew: timedelta = timedelta(minutes=1)
    root_sha256: frozenset[bytes] = frozenset({ROOT_SHA256})

    def __post_init__(self) -> None:
        if not self.pcrs or not all(0 <= index < 32 for index in (*self.pcrs, *self.expected)):
            raise ValueError("pcrs names at least one register, all from 0 to 31")
        if not all(len(value) == PCR_SIZE for value in self.expected.values()):
            raise ValueError(f"an expected register has {PCR_SIZE} bytes")
        if not timedelta() < self.max_age <= _MAX_AGE or not timedelta() <= self.max_clock_skew <= _MAX_AGE:
            raise ValueError("ages are at most the three hours that a signing certificate lives")

    @classmethod
    def parse(cls, document: Document) -> Policy:
        """Return the policy written as a table, every field of which may be left out.

        ::

            pcrs = [0, 1, 2]
            expected = { "pcr3.sha384" = "<hex>" }
            instances = ["i-0123456789abcdef0"]
            max_age_seconds = 300
            max_clock_skew_seconds = 60
        """
        default = cls()
        policy = cls(
            pcrs=_parse_pcrs(document) if document.has("pcrs") else default.pcrs,
            expected=_parse_expected(document.document("expected")) if document.has("expected") else {},
            instances=_parse_instances(document) if document.has("instances") else None,
            max_age=_parse_seconds(document, "max_age_seconds", 1, default.max_age),
            max_clock_skew=_parse_seconds(document, "max_clock_skew_seconds", 0, default.max_clock_skew),
        )
        document.end()
        return policy


def register_name(index: int) -> str:
    """Return the name of PCR ``index`` among the claims' registers."""
    return f"pcr{index}.sha384"


def _parse_pcrs(document: Document) -> frozenset[int]:
    indices = document.list("pcrs", max_count=32)
    known = [one for one in indices if isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 32]
    if not known or len(known) != len(indices) or len(set(known)) != len(known):
        raise MalformedError("pcrs is not a list of different registers from 0 to 31")
    return frozenset(known)


def _parse_expected(document: Document) -> Mapping[int, bytes]:
    registers = parse_registers(document)
    indices = {register_name(index): index for index in range(32)}
    if not registers.keys() <= indices.keys():
        raise MalformedError("expected names a register that is not pcr0.sha384 to pcr31.sha384")
    return {indices[name]: value for name, value in registers.items()}


def _parse_instances(document: Document) -> frozenset[str]:
    instances = document.list("instances", max_count=_MAX_INSTANCES)
    known = [one for one in instances if isinstance(one, str) and _INSTANCE_ID.fullmatch(one)]
    if not known or len(known) != len(instances):
        raise MalformedError("instances is not a list of instance ids like i-0123456789abcdef0")
    return frozenset(known)


def _parse_seconds(document: Document, name: str, minimum: int, default: timedelta) -> timedelta:
    if not document.has(name):
        return default
    return timedelta(seconds=document.integer(name, minimum=minimum, maximum=int(_MAX_AGE.total_seconds())))
