"""The locks: every input of the image by name, version and SHA-256, one line each, sorted.

``debs.lock`` has lines ``name version pool-path size sha256``, ``wheels.lock`` lines
``name==version --hash=sha256:…``, which pip reads too. Nothing here names a host.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeAlias, TypeVar

from .errors import RecipeError

__all__ = ["Locked", "LockedDeb", "LockedWheel", "encode", "parse_debs", "parse_wheels"]

_DEB = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9+.-]{1,127}) (?P<version>[A-Za-z0-9.+~:-]{1,128}) "
    r"(?P<pool_path>pool(?:/[A-Za-z0-9][A-Za-z0-9+._~%:-]{0,255}){2,8}\.deb) "
    r"(?P<size>[1-9][0-9]{0,9}) (?P<sha256>[0-9a-f]{64})",
    re.ASCII,
)
_WHEEL = re.compile(
    r"(?P<name>[a-z0-9](?:[a-z0-9-]{0,126}[a-z0-9])?)==(?P<version>[0-9][A-Za-z0-9.!+]{0,63})"
    r" --hash=sha256:(?P<sha256>[0-9a-f]{64})",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedDeb:
    """A Debian package, byte for byte, and where the archive's mirrors keep it."""

    name: str
    version: str
    pool_path: str
    size: int
    sha256: bytes

    @property
    def file_name(self) -> str:
        """The name that mirrors give the file."""
        return PurePosixPath(self.pool_path).name

    def encode(self) -> str:
        """Return the line of the lock."""
        return f"{self.name} {self.version} {self.pool_path} {self.size} {self.sha256.hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedWheel:
    """One wheel of a Python distribution, byte for byte; ``name`` is normalised."""

    name: str
    version: str
    sha256: bytes

    @property
    def file_name(self) -> str:
        """What to call the wheel where its tags are not known."""
        return f"{self.name.replace('-', '_')}-{self.version}.whl"

    def encode(self) -> str:
        """Return the line of the lock, which is also a requirement as pip reads them."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256.hex()}"


Locked: TypeAlias = LockedDeb | LockedWheel
_L = TypeVar("_L", LockedDeb, LockedWheel)


def parse_debs(text: str) -> tuple[LockedDeb, ...]:
    """Return the packages of a ``debs.lock``; raises :class:`RecipeError` for what is not canonical."""
    return _parse(text, "debs.lock", _DEB, _deb)


def parse_wheels(text: str) -> tuple[LockedWheel, ...]:
    """Return the wheels of a ``wheels.lock``, as strictly as :func:`parse_debs`."""
    return _parse(text, "wheels.lock", _WHEEL, _wheel)


def encode(entries: Iterable[Locked]) -> str:
    """Return the text of a lock, sorted by name."""
    return "".join(f"{entry.encode()}\n" for entry in sorted(entries, key=lambda entry: entry.name))


def _deb(match: re.Match[str]) -> LockedDeb:
    return LockedDeb(
        name=match["name"],
        version=match["version"],
        pool_path=match["pool_path"],
        size=int(match["size"]),
        sha256=bytes.fromhex(match["sha256"]),
    )


def _wheel(match: re.Match[str]) -> LockedWheel:
    return LockedWheel(name=match["name"], version=match["version"], sha256=bytes.fromhex(match["sha256"]))


def _parse(
    text: str, file: str, line_format: re.Pattern[str], entry: Callable[[re.Match[str]], _L]
) -> tuple[_L, ...]:
    entries: list[_L] = []
    for number, line in enumerate(text.splitlines(), start=1):
        match = line_format.fullmatch(line)
        if match is None:
            raise RecipeError(f"{file} line {number} is not in the format of the lock")
        entries.append(entry(match))
        if len(entries) > 1 and entries[-2].name >= entries[-1].name:
            raise RecipeError(f"{file} line {number} is out of order or names its package again")
    if not entries or text != encode(entries):
        raise RecipeError(f"{file} is empty or does not end with a newline")
    return tuple(entries)
