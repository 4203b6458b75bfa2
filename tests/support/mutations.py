"""Evidence with one bit changed at a time, and where that went unnoticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from glasshouse_attestations.errors import EvidenceSignatureError, MalformedError, PlatformError


def flip(data: bytes, at: int, bit: int) -> bytes:
    """Return ``data`` with one bit changed."""
    return data[:at] + bytes((data[at] ^ 1 << bit,)) + data[at + 1 :]


def a_bit_of_every_byte(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Change one bit of each byte in turn, another one from byte to byte."""
    for at in range(len(data)):
        yield at, flip(data, at, at % 8)


def every_bit(data: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    """Change every bit of the first ``size`` bytes in turn."""
    for at in range(size):
        for bit in range(8):
            yield at, flip(data, at, bit)


def accepted(changes: Iterator[tuple[int, bytes]], verify: Callable[[bytes], object]) -> set[int]:
    """The offsets at which a change went unnoticed; a change may only be refused by a typed error."""
    found = set()
    for at, changed in changes:
        try:
            verify(changed)
        except (MalformedError, PlatformError, EvidenceSignatureError):
            continue
        found.add(at)
    return found
