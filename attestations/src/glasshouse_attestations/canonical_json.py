"""One value, one encoding: the JSON that is signed, hashed and logged.

As in RFC 8785 there is no white space, strings are UTF-8 with the shortest escapes, and the members of
an object are sorted, here by code point. Numbers are integers within ±(2^53 - 1) only, so that any JSON
reader sees the same number.
"""

from __future__ import annotations

import json
import re
from typing import NoReturn, TypeAlias, Union

from .errors import MalformedError

__all__ = ["JSON", "encode", "parse"]

JSON: TypeAlias = Union[bool, int, str, "list[JSON]", "dict[str, JSON]", None]

_LARGEST_INTEGER = 2**53 - 1
_MAX_MARKS = 1 << 18
_TEXT_BETWEEN_BRACKETS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[^"\[\]{}]+', re.DOTALL)


def encode(value: JSON, *, max_size: int | None = None) -> bytes:
    """Return the canonical encoding of ``value``, of at most ``max_size`` bytes if that is given.

    Raises ``TypeError`` or ``ValueError`` if there is none.
    """
    _check_encodable(value)
    data = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")
    if max_size is not None and len(data) > max_size:
        raise ValueError(f"the document has {len(data)} bytes, at most {max_size} are allowed")
    return data


def parse(data: bytes, *, max_size: int, max_depth: int = 16) -> JSON:
    """Return the value whose canonical encoding is ``data``, of at most ``max_size`` bytes.

    Refuses with :class:`MalformedError` everything that :func:`encode` would not write: other white space
    or order, duplicate names, floats, invalid UTF-8; and a deeper nesting than ``max_depth``, or so many
    values (quotes, commas and opening brackets together over 262,144) that reading them would take long.
    """
    if len(data) > max_size:
        raise MalformedError(f"json document has {len(data)} bytes, at most {max_size} are allowed")
    _check_structure(data, max_depth)
    try:
        value: JSON = json.loads(
            data.decode("utf-8"),
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
            parse_int=_integer,
        )
        canonical = encode(value)
    except ValueError as err:
        # The messages of json and of codecs name positions, never more content than a character.
        raise MalformedError(f"not canonical json: {str(err)[:120]}") from err
    if canonical != data:
        raise MalformedError("not canonical json: the encoding differs from the canonical one")
    return value


def _check_structure(data: bytes, max_depth: int) -> None:
    # Before the document reaches json, whose recursion overflows the small stack of a thread on some
    # versions of Python before the interpreter's own limit stops it.
    if sum(map(data.count, (b'"', b",", b"[", b"{"))) > _MAX_MARKS:
        raise MalformedError("json document has too many values")
    depth = 0
    for bracket in _TEXT_BETWEEN_BRACKETS.sub(b"", data):
        depth += 1 if bracket in b"[{" else -1
        if depth > max_depth:
            raise MalformedError(f"json document is nested deeper than {max_depth} levels")


def _integer(text: str) -> int:
    if len(text) > 17:
        raise ValueError("integer out of range")
    return int(text)


def _refuse_number(_text: str) -> NoReturn:
    raise ValueError("a number is not an integer")


def _check_encodable(value: object) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        if abs(value) > _LARGEST_INTEGER:
            raise ValueError("integer outside ±(2^53 - 1)")
    elif isinstance(value, str):
        value.encode("utf-8")  # lone surrogates have no UTF-8 form
    elif isinstance(value, list):
        for item in value:
            _check_encodable(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                raise TypeError("object names are strings")
            _check_encodable(name)
            _check_encodable(item)
    else:
        raise TypeError(f"{type(value).__name__} has no canonical json encoding")
