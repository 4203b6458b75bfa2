"""The part of CBOR (RFC 8949) that Nitro documents use, read strictly.

Unsigned and negative integers, byte strings, UTF-8 text, arrays, maps and null are read; tags, floats,
booleans and other simple values are refused, and so are strings and arrays of indefinite length. Maps may
be of indefinite length, as the Nitro hypervisor has written them since December 2025. Every value has one
encoding otherwise: lengths are in their shortest form, map keys are unique, and no bytes follow.
"""

from __future__ import annotations

from typing import TypeAlias

from ..errors import MalformedError

__all__ = ["Value", "decode", "encode_bytes"]

Value: TypeAlias = int | bytes | str | tuple["Value", ...] | dict["int | str", "Value"] | None

_MAX_DEPTH = 4
_MAX_ITEMS = 64
_BREAK = 0xFF
_NULL = 0xF6
_INDEFINITE_MAP = 0xBF


def decode(data: bytes, *, max_size: int) -> Value:
    """Return the one value that ``data``, of at most ``max_size`` bytes, encodes to its last byte.

    Arrays become tuples. At most 4 levels of nesting and 64 items in one array or map are read. Raises
    :class:`MalformedError` for anything else; the work done is bounded by the size of ``data``, whatever
    lengths it declares.
    """
    if len(data) > max_size:
        raise MalformedError(f"the CBOR has more than {max_size} bytes")
    reader = _Reader(data)
    value = reader.value(_MAX_DEPTH)
    if reader.remaining:
        raise MalformedError("the CBOR value is followed by other bytes")
    return value


def encode_bytes(value: bytes) -> bytes:
    """Write a byte string of less than 64 KiB, its length in the shortest form (RFC 8949, 4.2.1)."""
    size = len(value)
    if size < 24:
        return bytes([0x40 | size]) + value
    if size < 1 << 8:
        return b"\x58" + size.to_bytes(1, "big") + value
    return b"\x59" + size.to_bytes(2, "big") + value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    @property
    def remaining(self) -> int:
        return len(self._data) - self._offset

    def value(self, depth: int) -> Value:
        if depth == 0:
            raise MalformedError(f"the CBOR nests deeper than {_MAX_DEPTH} levels")
        initial = self._take(1)[0]
        if initial == _INDEFINITE_MAP:
            return self._indefinite_map(depth)
        if initial == _NULL:
            return None
        argument = self._argument(initial & 0x1F)
        major = initial >> 5
        if major == 0:
            return argument
        if major == 1:
            return -1 - argument
        if major == 2:
            return self._take(argument)
        if major == 3:
            return self._text(argument)
        if major == 4:
            return tuple(self.value(depth - 1) for _ in range(self._count(argument)))
        if major == 5:
            return self._definite_map(self._count(argument), depth)
        raise MalformedError(f"the CBOR has an item of the unused kind 0x{initial:02x}")

    def _take(self, size: int) -> bytes:
        if size > self.remaining:
            raise MalformedError("the CBOR is cut short")
        start = self._offset
        self._offset += size
        return self._data[start : self._offset]

    def _argument(self, additional: int) -> int:
        if additional < 24:
            return additional
        if additional > 27:
            raise MalformedError("the CBOR has a reserved or indefinite length")
        width = 1 << (additional - 24)
        argument = int.from_bytes(self._take(width), "big")
        # The bytes around the payload are not signed: one value must not have several encodings.
        if argument < 24 or (width > 1 and argument >> (4 * width) == 0):
            raise MalformedError("the CBOR has a number that is not in its shortest form")
        return argument

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode("utf-8")
        except UnicodeDecodeError as err:
            raise MalformedError("the CBOR has a text that is not UTF-8") from err

    def _count(self, count: int) -> int:
        if count > _MAX_ITEMS:
            raise MalformedError(f"the CBOR has an array or map of more than {_MAX_ITEMS} items")
        return count

    def _definite_map(self, count: int, depth: int) -> dict[int | str, Value]:
        items: dict[int | str, Value] = {}
        for _ in range(count):
            self._pair(items, depth)
        return items

    def _indefinite_map(self, depth: int) -> dict[int | str, Value]:
        items: dict[int | str, Value] = {}
        while self._peek() != _BREAK:
            self._count(len(items) + 1)
            self._pair(items, depth)
        self._take(1)
        return items

    def _peek(self) -> int:
        byte = self._take(1)[0]
        self._offset -= 1
        return byte

    def _pair(self, items: dict[int | str, Value], depth: int) -> None:
        key = self.value(depth - 1)
        if not isinstance(key, (int, str)):
            raise MalformedError("the CBOR has a map key that is neither integer nor text")
        if key in items:
            raise MalformedError("the CBOR has a map with a duplicate key")
        items[key] = self.value(depth - 1)
