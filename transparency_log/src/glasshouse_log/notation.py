"""How the C2SP texts write numbers and bytes: decimals without leading zeroes, and canonical base64."""

from __future__ import annotations

import base64
import binascii
import re

from glasshouse_attestations.errors import MalformedError

from .merkle import HASH_SIZE

__all__ = ["MAX_SIZE", "decode_base64", "decode_decimal", "decode_hash", "encode_base64"]

MAX_SIZE = 2**63 - 1
_DECIMAL = re.compile(rb"0|[1-9][0-9]{0,18}")


def decode_decimal(text: bytes, what: str, error: type[MalformedError]) -> int:
    """Return the number below 2**63 that is written without sign or leading zeroes."""
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_SIZE:
        raise error(f"{what} is not a canonical decimal below 2**63")
    return int(text)


def decode_base64(text: bytes, what: str, error: type[MalformedError]) -> bytes:
    """Return the bytes written as padded standard base64 (RFC 4648, section 4), in its one canonical form."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as err:
        raise error(f"{what} is not base64") from err
    # The unused bits of the last character must be zero, or one value would have several encodings.
    if encode_base64(data) != text:
        raise error(f"{what} is not canonical base64")
    return data


def decode_hash(text: bytes, what: str, error: type[MalformedError]) -> bytes:
    """Return the SHA-256 hash written as base64."""
    data = decode_base64(text, what, error)
    if len(data) != HASH_SIZE:
        raise error(f"{what} is {len(data)} bytes long, not {HASH_SIZE}")
    return data


def encode_base64(data: bytes) -> bytes:
    """Write bytes as `decode_base64` reads them."""
    return base64.b64encode(data)
