"""What a relying party asks of a TPM: whose attestation keys, which registers, and how young a boot."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..canonical_json import JSON
from ..document import Document, parse_hex
from ..errors import MalformedError
from .structures import HashAlgorithm

__all__ = ["AZURE_ROOT_SHA256", "GOOGLE_ROOT_SHA256", "OVERRIDE_REGISTERS", "UKI_REGISTERS", "Policy"]

AZURE_ROOT_SHA256 = bytes.fromhex("e6c596b17f8ffefba5c300f714cfb1260c6028704ecf7becc4ab5018efb00e95")
"""SHA-256 of "Azure Virtual TPM Root Certificate Authority 2023"."""

GOOGLE_ROOT_SHA256 = bytes.fromhex("594759594b9b61524f6c8ef668f7177f7b9066bc0674f2f49fe9e052be78beb2")
"""SHA-256 of Google Cloud's "EK/AK CA Root"."""

UKI_REGISTERS = frozenset({4, 8, 11, 12, 13})
"""Where firmware and the EFI stub measure a unified kernel image, and what overrides its parts."""

OVERRIDE_REGISTERS = frozenset({8, 12, 13})
"""Those that stay zero unless a command line, credentials or extensions come from outside the image."""

_REGISTER_COUNT = 24
_MAX_ROOTS = 32
_MAX_PROJECTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What must hold of a TPM's quote beyond its signature.

    ``root_sha256`` are the SHA-256 of the root certificates whose attestation keys are trusted. The quote is
    over exactly the registers ``selection`` of ``bank``, and those in ``zero`` hold nothing. The certificate
    vouches for the key's attributes; ``require_ak_public`` asks to see them too. ``google_projects``, if
    there are any, are the Google Cloud projects whose instances are accepted. Clock and counters are shown
    in the claims, and limited only where a limit is set. ``unlogged_registers`` are those that a given event
    log need not explain, such as 10 where the kernel's IMA measures files.
    """

    root_sha256: frozenset[bytes]
    bank: HashAlgorithm = HashAlgorithm.SHA256
    selection: frozenset[int] = UKI_REGISTERS
    zero: frozenset[int] = OVERRIDE_REGISTERS
    google_projects: frozenset[str] = frozenset()
    require_ak_public: bool = False
    require_event_log: bool = False
    unlogged_registers: frozenset[int] = frozenset()
    require_safe_clock: bool = False
    maximum_clock_ms: int | None = None
    maximum_reset_count: int | None = None
    maximum_restart_count: int | None = None

    def __post_init__(self) -> None:
        if not self.root_sha256 or any(len(digest) != 32 for digest in self.root_sha256):
            raise ValueError("a tpm policy names at least one root by its SHA-256")
        if not self.selection or not self.selection <= frozenset(range(_REGISTER_COUNT)):
            raise ValueError(f"the selection is of registers 0 to {_REGISTER_COUNT - 1}, at least one")
        if not self.zero <= self.selection:
            raise ValueError("a register that must be zero is one of the selection")

    @classmethod
    def parse(cls, document: Document) -> Policy:
        """Return the policy written in a table of ``trust.toml``; only ``root_sha256`` must be there."""
        given = {field.name for field in fields(cls) if document.has(field.name)} | {"root_sha256"}
        values = {name: _PARSERS[name](document, name) for name in sorted(given)}
        document.end()
        try:
            return cls(**values)  # type: ignore[arg-type] # each parser returns its field's type
        except ValueError as err:
            raise MalformedError(str(err)) from err

    def to_json(self) -> JSON:
        """Write the policy as :meth:`parse` reads it, with every field that is set."""
        written: dict[str, JSON] = {
            "root_sha256": [digest.hex() for digest in sorted(self.root_sha256)],
            "bank": self.bank.label,
            "selection": [*sorted(self.selection)],
            "zero": [*sorted(self.zero)],
            "google_projects": [*sorted(self.google_projects)],
            "unlogged_registers": [*sorted(self.unlogged_registers)],
        }
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in written and value is not None:
                written[field.name] = value
        return written


def _parse_roots(document: Document, name: str) -> frozenset[bytes]:
    return frozenset(parse_hex(item, name, 32) for item in document.list(name, max_count=_MAX_ROOTS))


def _parse_bank(document: Document, name: str) -> HashAlgorithm:
    label = document.text(name, max_length=16)
    for bank in HashAlgorithm:
        if bank.label == label:
            return bank
    raise MalformedError(f"{name} is not sha256, sha384 or sha512")


def _parse_registers(document: Document, name: str) -> frozenset[int]:
    registers = document.list(name, max_count=_REGISTER_COUNT)
    if not all(type(index) is int for index in registers):
        raise MalformedError(f"{name} is not a list of register numbers")
    return frozenset(index for index in registers if isinstance(index, int))


def _parse_projects(document: Document, name: str) -> frozenset[str]:
    projects = document.list(name, max_count=_MAX_PROJECTS)
    if not all(isinstance(project, str) for project in projects):
        raise MalformedError(f"{name} is not a list of project names")
    return frozenset(project for project in projects if isinstance(project, str))


def _parse_flag(document: Document, name: str) -> bool:
    value = document.value(name)
    if not isinstance(value, bool):
        raise MalformedError(f"{name} is not true or false")
    return value


def _parse_limit(document: Document, name: str) -> int:
    return document.integer(name)


_PARSERS = {
    "root_sha256": _parse_roots,
    "bank": _parse_bank,
    "selection": _parse_registers,
    "zero": _parse_registers,
    "google_projects": _parse_projects,
    "require_ak_public": _parse_flag,
    "require_event_log": _parse_flag,
    "unlogged_registers": _parse_registers,
    "require_safe_clock": _parse_flag,
    "maximum_clock_ms": _parse_limit,
    "maximum_reset_count": _parse_limit,
    "maximum_restart_count": _parse_limit,
}
