"""Length-prefixed concatenation, so that no two different lists of fields have the same bytes."""

from __future__ import annotations

import struct

__all__ = ["field", "frame"]


def field(value: bytes) -> bytes:
    """Return ``value`` behind its length as 8 bytes, big-endian."""
    return struct.pack(">Q", len(value)) + value


def frame(domain: bytes, *values: bytes) -> bytes:
    """Return ``domain``, a NUL byte, and each value as a :func:`field`: an unambiguous input for a hash.

    ``domain`` separates uses of one hash function from each other and holds no NUL itself.
    """
    if b"\0" in domain:
        raise ValueError("a domain holds no NUL")
    return domain + b"\0" + b"".join(map(field, values))
