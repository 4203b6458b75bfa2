"""A reader of the protobuf messages in which the captured attestations of Google Compute Engine stand.

Only what the tests need of go-tpm-tools' ``attest.Attestation``: the key, the quotes with their registers,
and the event log. Field numbers are its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class GceQuote:
    message: bytes
    signature: bytes
    hash_id: int
    values: dict[int, bytes]


@dataclass(frozen=True)
class GceAttestation:
    public_area: bytes
    quotes: tuple[GceQuote, ...]
    event_log: bytes


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        offset, shift = offset + 1, shift + 7
        if byte < 0x80:
            return value, offset


def _fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, integer value and bytes value of each field; one of the two values is empty."""
    offset = 0
    while offset < len(data):
        tag, offset = _varint(data, offset)
        value, offset = _varint(data, offset)
        if tag & 7 == 0:
            yield tag >> 3, value, b""
        else:
            assert tag & 7 == 2, "only varints and length-delimited fields are in these files"
            yield tag >> 3, 0, data[offset : offset + value]
            offset += value


def _quote(data: bytes) -> GceQuote:
    parts = {number: value for number, _, value in _fields(data)}
    hash_id, values = 0, {}
    for number, integer, entry in _fields(parts[3]):
        if number == 1:
            hash_id = integer
        else:
            pair = {inner: (whole, value) for inner, whole, value in _fields(entry)}
            values[pair.get(1, (0, b""))[0]] = pair[2][1]
    return GceQuote(message=parts[1], signature=parts[2], hash_id=hash_id, values=values)


def parse(data: bytes) -> GceAttestation:
    fields = list(_fields(data))
    return GceAttestation(
        public_area=next(value for number, _, value in fields if number == 1),
        quotes=tuple(_quote(value) for number, _, value in fields if number == 2),
        event_log=next(value for number, _, value in fields if number == 3),
    )
