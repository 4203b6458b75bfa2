"""Reference values: the registers that a release predicts, platform by platform (RFC 9334, 8.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

from .canonical_json import JSON
from .document import Document
from .errors import MalformedError, MeasurementMismatchError

__all__ = ["ReferenceValues", "Registers", "encode_registers", "parse_registers"]

Registers: TypeAlias = Mapping[str, bytes]
"""Measurement registers by name, such as ``image.sha384`` or ``pcr11.sha256``; the suffix names the hash."""

_SIZES = {"sha256": 32, "sha384": 48}
_REGISTER_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}\.(sha256|sha384)", re.ASCII)
_PLATFORM_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}", re.ASCII)
_MAX_PLATFORMS = 16
_MAX_ALTERNATIVES = 256
_MAX_REGISTERS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceValues:
    """For each platform the register sets that the image may show there: one, or several alternatives.

    A platform has alternatives where something that is not the image enters the measurement too, such as
    the number of virtual processors on SEV-SNP.
    """

    platforms: Mapping[str, tuple[Registers, ...]]

    @classmethod
    def parse(cls, document: Document) -> ReferenceValues:
        """Return the reference values written as ``{platform: [{register: hex}]}``."""
        platforms = {}
        names = document.names()
        if not 0 < len(names) <= _MAX_PLATFORMS:
            raise MalformedError(f"reference values name 1 to {_MAX_PLATFORMS} platforms")
        for name in names:
            if not _PLATFORM_NAME.fullmatch(name):
                raise MalformedError("reference values have a malformed platform name")
            alternatives = tuple(
                parse_registers(item) for item in document.documents(name, max_count=_MAX_ALTERNATIVES)
            )
            if not alternatives:
                raise MalformedError(f"reference values have no registers for platform {name}")
            platforms[name] = alternatives
        return cls(platforms=platforms)

    def to_json(self) -> JSON:
        """Write the values as :meth:`parse` reads them."""
        return {
            name: [encode_registers(registers) for registers in alternatives]
            for name, alternatives in self.platforms.items()
        }

    def check(self, platform: str, registers: Registers) -> None:
        """Return if ``registers`` are, name by name and in full, one of the sets predicted for ``platform``.

        Raises :class:`MeasurementMismatchError` if they are not, or if nothing is predicted there.
        """
        alternatives = self.platforms.get(platform)
        if not alternatives:
            raise MeasurementMismatchError(f"the release has no reference values for platform {platform}")
        if not registers:
            raise MeasurementMismatchError("the evidence shows no registers")
        if any(dict(registers) == dict(expected) for expected in alternatives):
            return
        raise MeasurementMismatchError(_describe_difference(alternatives[0], registers, len(alternatives)))


def parse_registers(document: Document) -> Registers:
    """Return the registers written as ``{name: hex}``, each as long as the hash that its name ends in."""
    registers = {}
    names = document.names()
    if not 0 < len(names) <= _MAX_REGISTERS:
        raise MalformedError(f"a register set has 1 to {_MAX_REGISTERS} registers")
    for name in names:
        match = _REGISTER_NAME.fullmatch(name)
        if match is None:
            raise MalformedError("a register set has a malformed register name")
        registers[name] = document.digest(name, _SIZES[match[1]])
    return registers


def encode_registers(registers: Registers) -> JSON:
    """Write ``registers`` as :func:`parse_registers` reads them."""
    return cast(JSON, {name: value.hex() for name, value in registers.items()})


def _describe_difference(expected: Registers, found: Registers, alternatives: int) -> str:
    among = f" (the first of {alternatives} alternatives)" if alternatives > 1 else ""
    if expected.keys() != found.keys():
        return f"expected the registers {_names(expected)}{among}, found {_names(found)}"
    name = next(name for name in sorted(expected) if expected[name] != found[name])
    return f"register {name} is {found[name].hex()}, expected {expected[name].hex()}{among}"


def _names(registers: Registers) -> str:
    return ", ".join(sorted(registers))
