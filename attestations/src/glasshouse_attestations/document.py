"""Reading a JSON object field by field, with the path of what is wrong in the error."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import datetime, timezone

from .canonical_json import JSON
from .errors import MalformedError

__all__ = ["Document", "format_time", "parse_base64", "parse_hex", "parse_time"]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
# Not str.isprintable(): that depends on the interpreter's version of Unicode, and it admits look-alikes.
_TEXT = re.compile(r"[ -~]+", re.ASCII)
_HEX = re.compile(r"(?:[0-9a-f]{2})*", re.ASCII)


class Document:
    """A JSON object that is taken apart field by field, and of which nothing may be left over.

    Each method takes one field out and checks its type; :meth:`end` then refuses unknown fields. Errors
    are :class:`MalformedError` with the field's path, such as ``audit.environment.os``.
    """

    def __init__(self, value: JSON, path: str) -> None:
        if not isinstance(value, dict):
            raise MalformedError(f"{path} is not an object")
        self._fields = dict(value)
        self._path = path

    def value(self, name: str) -> JSON:
        """Take the field ``name``, whatever its type."""
        try:
            return self._fields.pop(name)
        except KeyError:
            raise MalformedError(f"{self._path}.{name} is missing") from None

    def has(self, name: str) -> bool:
        """Whether the optional field ``name`` is there and not yet taken."""
        return name in self._fields

    def text(self, name: str, *, max_length: int = 1024) -> str:
        """Take 1 to ``max_length`` characters of printable ASCII: the same for every reader and terminal."""
        value = self.value(name)
        if not isinstance(value, str) or len(value) > max_length or not _TEXT.fullmatch(value):
            raise MalformedError(
                f"{self._path}.{name} is not a text of 1 to {max_length} printable ASCII characters"
            )
        return value

    def constant(self, name: str, expected: str | int) -> None:
        """Take a field that has one allowed value, such as a version."""
        value = self.value(name)
        if type(value) is not type(expected) or value != expected:
            raise MalformedError(f"{self._path}.{name} is not {expected!r}")

    def integer(self, name: str, *, minimum: int = 0, maximum: int = 2**53 - 1) -> int:
        """Take an integer within the bounds."""
        value = self.value(name)
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            raise MalformedError(f"{self._path}.{name} is not an integer from {minimum} to {maximum}")
        return value

    def digest(self, name: str, size: int = 32) -> bytes:
        """Take ``size`` bytes in lower-case hexadecimal."""
        return parse_hex(self.value(name), f"{self._path}.{name}", size)

    def time(self, name: str) -> datetime:
        """Take a moment in UTC, to the second."""
        return parse_time(self.value(name), f"{self._path}.{name}")

    def document(self, name: str) -> Document:
        """Take an object."""
        return Document(self.value(name), f"{self._path}.{name}")

    def documents(self, name: str, *, max_count: int) -> Iterator[Document]:
        """Take a list of at most ``max_count`` objects."""
        for index, item in enumerate(self.list(name, max_count=max_count)):
            yield Document(item, f"{self._path}.{name}[{index}]")

    def list(self, name: str, *, max_count: int) -> list[JSON]:
        """Take a list of at most ``max_count`` items."""
        value = self.value(name)
        if not isinstance(value, list) or len(value) > max_count:
            raise MalformedError(f"{self._path}.{name} is not a list of at most {max_count} items")
        return value

    def names(self) -> tuple[str, ...]:
        """The fields not yet taken, for objects whose names are data."""
        return tuple(self._fields)

    def end(self) -> None:
        """Refuse the object if it has a field that nobody took."""
        if self._fields:
            name = min(self._fields)
            raise MalformedError(f"{self._path} has an unknown field {name[:40]!r}")


def parse_hex(value: JSON, path: str, size: int) -> bytes:
    """Return the ``size`` bytes that ``value`` writes in lower-case hexadecimal."""
    if not isinstance(value, str) or len(value) != 2 * size or not _HEX.fullmatch(value):
        raise MalformedError(f"{path} is not {size} bytes in lower-case hexadecimal")
    return bytes.fromhex(value)


def parse_base64(value: JSON, path: str, *, max_size: int) -> bytes:
    """Return at most ``max_size`` bytes that ``value`` writes in standard, padded, canonical base64."""
    if not isinstance(value, str) or len(value) > (max_size + 2) // 3 * 4:
        raise MalformedError(f"{path} is not base64 of at most {max_size} bytes")
    try:
        data = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as err:
        raise MalformedError(f"{path} is not base64") from err
    # The unused bits of the last character must be zero, or one value has several encodings.
    if base64.b64encode(data).decode("ascii") != value or len(data) > max_size:
        raise MalformedError(f"{path} is not canonical base64 of at most {max_size} bytes")
    return data


def parse_time(value: JSON, path: str) -> datetime:
    """Return the moment that ``value`` writes as RFC 3339 in UTC with whole seconds (``…T12:00:00Z``)."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise MalformedError(f"{path} is not a time like 2030-01-31T12:00:00Z")
    try:
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except ValueError as err:
        raise MalformedError(f"{path} is not a time of the calendar") from err


def format_time(moment: datetime) -> str:
    """Write ``moment``, which knows its time zone, as :func:`parse_time` reads it, without fractions."""
    if moment.tzinfo is None:
        raise ValueError("a time without time zone is ambiguous")
    utc = moment.astimezone(timezone.utc)
    # strftime("%Y") does not pad years below 1000 on every platform.
    return f"{utc.year:04d}-{utc.month:02d}-{utc.day:02d}T{utc.hour:02d}:{utc.minute:02d}:{utc.second:02d}Z"
