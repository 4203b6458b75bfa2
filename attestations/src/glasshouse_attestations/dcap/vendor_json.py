"""Reading JSON that a vendor has signed, in whatever spacing and order the vendor wrote it.

The signature is over the exact bytes, so there is no canonical form to ask for. Everything that two
readers could understand differently is refused all the same: duplicate names, numbers that are not small
integers, invalid UTF-8, and more size or depth than such a document needs.
"""

from __future__ import annotations

import json
import re
from typing import NoReturn

from ..canonical_json import JSON
from ..errors import MalformedError

__all__ = ["parse"]

_MAX_INTEGER_DIGITS = 10
_TEXT_BETWEEN_BRACKETS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[^"\[\]{}]+', re.DOTALL)


def parse(data: bytes, *, name: str, max_size: int, max_depth: int = 8) -> JSON:
    """Return the value that ``data`` writes; else :class:`MalformedError`, with ``name``."""
    if len(data) > max_size:
        raise MalformedError(f"{name} has {len(data)} bytes, at most {max_size} are allowed")
    _check_depth(data, name, max_depth)
    try:
        value: JSON = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
    except ValueError as err:
        raise MalformedError(f"{name} is not strict json: {str(err)[:80]}") from err
    return value


def _check_depth(data: bytes, name: str, max_depth: int) -> None:
    # Before json sees it, whose recursion is bounded by the interpreter's stack only.
    depth = 0
    for bracket in _TEXT_BETWEEN_BRACKETS.sub(b"", data):
        depth += 1 if bracket in b"[{" else -1
        if depth > max_depth:
            raise MalformedError(f"{name} is nested deeper than {max_depth} levels")


def _unique(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice in an object")
    return members


def _integer(text: str) -> int:
    if len(text) > _MAX_INTEGER_DIGITS:
        raise ValueError("an integer is out of range")
    return int(text)


def _refuse_number(_text: str) -> NoReturn:
    raise ValueError("a number is not an integer")
