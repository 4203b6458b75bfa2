"""A GPU's attestation report: an SPDM 1.1 request for measurements and the signed response to it.

Section numbers are those of DMTF DSP0274, version 1.1. Numbers are little-endian.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import MalformedError

__all__ = ["MAX_REPORT_SIZE", "NONCE_SIZE", "Report"]

MAX_REPORT_SIZE = 64 << 10
NONCE_SIZE = 32
DIGEST_SIZE = 48
_SIGNATURE_SIZE = 96
# GET_MEASUREMENTS of all blocks, with a signature (10.11, table 30); then the nonce and the slot.
_REQUEST_HEAD = bytes.fromhex("11e001ff")
_REQUEST_SIZE = 37
# MEASUREMENTS (10.11, table 31), with nothing to say in the first parameter and slot 0 in the second.
_RESPONSE_HEAD = bytes.fromhex("11600000")
_SLOT = 0
_DMTF = 1
_MAX_VALUE_TYPE = 3  # a hash of immutable ROM, mutable firmware, hardware or firmware configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The request's nonce, the response's measurements and opaque data, and the signature over both.

    ``measurements`` are SHA-384 digests by block index, which counts from 1. ``signed`` is the request
    followed by the response up to its signature, which is r and s, 48 bytes each.
    """

    nonce: bytes
    measurements: Mapping[int, bytes]
    opaque: bytes
    signed: bytes
    signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> Report:
        """Return the report in ``data``: the request, the response, and not a byte more."""
        if len(data) > MAX_REPORT_SIZE:
            raise MalformedError(f"a GPU report has at most {MAX_REPORT_SIZE} bytes")
        reader = Reader(data, "the GPU report")
        reader.expect(_REQUEST_HEAD, "a request of SPDM 1.1 for all measurements, signed")
        nonce = reader.take(NONCE_SIZE)
        if reader.number(1) != _SLOT:
            raise MalformedError("the GPU report asks for another certificate slot than 0")
        reader.expect(_RESPONSE_HEAD, "a response of SPDM 1.1 with measurements")
        count = reader.number(1)
        measurements = _parse_blocks(reader.take(reader.number(3)), count)
        reader.take(NONCE_SIZE)  # the GPU's own, which makes each signature differ
        opaque = reader.take(reader.number(2))
        signature = reader.take(_SIGNATURE_SIZE)
        reader.end()
        return cls(
            nonce=nonce,
            measurements=measurements,
            opaque=opaque,
            signed=data[:-_SIGNATURE_SIZE],
            signature=signature,
        )

    @property
    def signature_halves(self) -> tuple[bytes, bytes]:
        """The numbers r and s of the signature, big-endian and of equal length."""
        return self.signature[: _SIGNATURE_SIZE // 2], self.signature[_SIGNATURE_SIZE // 2 :]


class Reader:
    """Takes bytes from the front of ``data``, and raises :class:`MalformedError` when there are too few."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._offset = 0
        self._what = what

    @property
    def remaining(self) -> int:
        """How many bytes have not been taken yet."""
        return len(self._data) - self._offset

    def take(self, size: int) -> bytes:
        """Take ``size`` bytes."""
        if size > self.remaining:
            raise MalformedError(f"{self._what} is cut short")
        start = self._offset
        self._offset += size
        return self._data[start : self._offset]

    def number(self, size: int) -> int:
        """Take a little-endian number of ``size`` bytes."""
        return int.from_bytes(self.take(size), "little")

    def expect(self, expected: bytes, what: str) -> None:
        """Take exactly the bytes ``expected``."""
        if self.take(len(expected)) != expected:
            raise MalformedError(f"{self._what} is not {what}")

    def end(self) -> None:
        """Refuse bytes that nobody took."""
        if self.remaining:
            raise MalformedError(f"{self._what} is followed by other bytes")


def _parse_blocks(record: bytes, count: int) -> Mapping[int, bytes]:
    reader = Reader(record, "the measurement record")
    measurements: dict[int, bytes] = {}
    for _ in range(count):
        index, value = _parse_block(reader)
        # Blocks stand in the order of their index, so none can be shown twice.
        if index != len(measurements) + 1:
            raise MalformedError(f"the measurement record has block {index} out of its order")
        measurements[index] = value
    reader.end()
    if not measurements:
        raise MalformedError("the measurement record is empty")
    return measurements


def _parse_block(reader: Reader) -> tuple[int, bytes]:
    index = reader.number(1)
    if reader.number(1) != _DMTF:
        raise MalformedError(f"block {index} is not a measurement as DMTF specifies it")
    size = reader.number(2)
    value_type = reader.number(1)
    value_size = reader.number(2)
    if not value_type <= _MAX_VALUE_TYPE:
        raise MalformedError(f"block {index} is a raw bit stream or of an unknown type")
    if (size, value_size) != (3 + DIGEST_SIZE, DIGEST_SIZE):
        raise MalformedError(f"block {index} is not a digest of {DIGEST_SIZE} bytes")
    return index, reader.take(DIGEST_SIZE)
