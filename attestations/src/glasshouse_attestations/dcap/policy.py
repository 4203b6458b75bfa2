"""What a relying party asks of an Intel platform, whatever runs on it; and reading policies from tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..document import Document, parse_hex
from ..errors import MalformedError
from .certificates import ROOT_SPKI_SHA256
from .identities import TcbStatus

__all__ = [
    "TcbPolicy",
    "check_sizes",
    "take_bits",
    "take_bytes",
    "take_digests",
    "take_integer",
    "take_optional_integer",
    "take_pin",
]

_MAX_ITEMS = 256
_CONFIGURATION_FLAGS = frozenset({"dynamic platform", "cached keys", "smt"})
_NEVER_ACCEPTED = frozenset(
    {TcbStatus.OUT_OF_DATE, TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED, TcbStatus.REVOKED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TcbPolicy:
    """What is asked of the platform, for SGX and TDX alike.

    ``accepted`` maps each status to the advisories that are accepted with it; ``UpToDate`` without
    advisories is always accepted. Firmware that is out of date or revoked never is.
    ``minimum_evaluation_number`` refuses collateral from before one of Intel's TCB recoveries, however
    long it is still current. ``ppids`` are the processors and ``fmspcs`` their families to accept, any if
    ``None``. ``forbidden_configuration`` holds ``smt``, ``dynamic platform`` or ``cached keys``; a platform
    that does not state its configuration is refused if it holds anything. ``root_spki_sha256`` is for
    tests with a root of their own.
    """

    accepted: Mapping[TcbStatus, frozenset[str]] = field(default_factory=dict)
    minimum_evaluation_number: int = 19
    ppids: frozenset[bytes] | None = None
    fmspcs: frozenset[bytes] | None = None
    forbidden_configuration: frozenset[str] = frozenset()
    root_spki_sha256: frozenset[bytes] = frozenset({ROOT_SPKI_SHA256})

    def __post_init__(self) -> None:
        if self.accepted.keys() & _NEVER_ACCEPTED:
            raise ValueError("a platform that is out of date or revoked is never accepted")
        if not self.forbidden_configuration <= _CONFIGURATION_FLAGS:
            raise ValueError(f"forbidden_configuration is of {sorted(_CONFIGURATION_FLAGS)}")
        check_sizes(self.ppids or (), 16)
        check_sizes(self.fmspcs or (), 6)

    def accepted_advisories(self, status: TcbStatus) -> frozenset[str] | None:
        """Return the advisories that are accepted with ``status``, or ``None`` if it is not accepted."""
        none: frozenset[str] | None = frozenset() if status is TcbStatus.UP_TO_DATE else None
        return self.accepted.get(status, none)

    @classmethod
    def take(cls, document: Document) -> TcbPolicy:
        """Take the fields of this policy, each of which may be left out, from a platform's table."""
        default = cls()
        try:
            return cls(
                accepted=_take_statuses(document),
                minimum_evaluation_number=take_integer(
                    document, "minimum_evaluation_number", default.minimum_evaluation_number
                ),
                ppids=take_digests(document, "ppids", 16),
                fmspcs=take_digests(document, "fmspcs", 6),
                forbidden_configuration=_take_texts(document, "forbidden_configuration"),
            )
        except ValueError as err:
            raise MalformedError(str(err)) from err


def check_sizes(values: Iterable[bytes], size: int) -> None:
    """Raise ``ValueError`` unless every value has ``size`` bytes."""
    if not all(len(value) == size for value in values):
        raise ValueError(f"a value has another size than {size} bytes")


def take_bits(document: Document, name: str, default: int) -> int:
    """Take 64 bits, written in hexadecimal with the highest first: TOML's integers have a sign."""
    return int.from_bytes(document.digest(name, 8), "big") if document.has(name) else default


def take_integer(document: Document, name: str, default: int, maximum: int = 0xFFFF) -> int:
    """Take an integer of at most ``maximum``."""
    return document.integer(name, maximum=maximum) if document.has(name) else default


def take_optional_integer(document: Document, name: str) -> int | None:
    """Take an integer of 16 bits, or ``None`` for any."""
    return document.integer(name, maximum=0xFFFF) if document.has(name) else None


def take_bytes(document: Document, name: str, default: bytes) -> bytes:
    """Take as many bytes as ``default`` has."""
    return document.digest(name, len(default)) if document.has(name) else default


def take_digests(document: Document, name: str, size: int) -> frozenset[bytes] | None:
    """Take a list of values of ``size`` bytes, of which there is at least one; ``None`` for any."""
    if not document.has(name):
        return None
    items = document.list(name, max_count=_MAX_ITEMS)
    if not items:
        raise MalformedError(f"{name} is an empty list, which would accept nothing")
    return frozenset(parse_hex(item, name, size) for item in items)


def take_pin(document: Document, name: str, default: bytes | None, *, size: int) -> bytes | None:
    """Take a value of ``size`` bytes, or the word ``any``, which is ``None``."""
    if not document.has(name):
        return default
    value = document.value(name)
    return None if value == "any" else parse_hex(value, name, size)


def _take_statuses(document: Document) -> Mapping[TcbStatus, frozenset[str]]:
    if not document.has("accepted_statuses"):
        return {}
    table = document.document("accepted_statuses")
    known = {status.value: status for status in TcbStatus}
    if not set(table.names()) <= known.keys():
        raise MalformedError("accepted_statuses has a status that Intel does not know")
    return {known[name]: _take_texts(table, name) for name in table.names()}


def _take_texts(document: Document, name: str) -> frozenset[str]:
    if not document.has(name):
        return frozenset()
    items = document.list(name, max_count=_MAX_ITEMS)
    texts = frozenset(item for item in items if isinstance(item, str))
    if len(texts) != len(items):
        raise MalformedError(f"{name} is not a list of different texts")
    return texts
