"""The certificates that a host hands to its guest with a report (GHCB, 56421, 4.1.8.1 and configfs auxblob).

The host chooses every byte of the table, so nothing in it is trusted more than if it came from anywhere else.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from types import MappingProxyType
from uuid import UUID

from ..errors import MalformedError

__all__ = ["encode_certificate_table", "parse_certificate_table"]

_MAX_TABLE = 128 << 10
_MAX_ENTRIES = 16
_ENTRY = 24
_NAMES = {
    UUID("63da758d-e664-4564-adc5-f4b93be8accd"): "vcek",
    UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1"): "vlek",
    UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782"): "ask",
    UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae"): "ark",
    UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea"): "crl",
}
_PEM = re.compile(
    rb"-----BEGIN (CERTIFICATE|X509 CRL)-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END \1-----(?:\r?\n)?"
)


def parse_certificate_table(table: bytes) -> Mapping[str, bytes]:
    """Return the DER of each certificate that has a name here, from a table of at most 128 KiB.

    Entries lie apart from each other and behind the table's all-zero last entry, no kind stands twice, and
    bytes outside of all entries are zero. An entry with an unknown GUID is another certificate of the
    host's, and passed over. Some hosts write PEM where others write DER; both are read.
    """
    if len(table) > _MAX_TABLE:
        raise MalformedError(f"a certificate table has at most {_MAX_TABLE} bytes")
    entries, end_of_headers = _parse_headers(table)
    _check_room(table, [(0, end_of_headers), *((start, end) for _, start, end in entries)])
    guids = [guid for guid, _, _ in entries]
    if len(set(guids)) != len(guids):
        raise MalformedError("a certificate table has two entries of one kind")
    found = {_NAMES[guid]: _to_der(table[start:end]) for guid, start, end in entries if guid in _NAMES}
    return MappingProxyType(found)


def encode_certificate_table(certificates: Mapping[str, bytes]) -> bytes:
    """Write the table that :func:`parse_certificate_table` reads, one entry after the other."""
    guids = {name: guid for guid, name in _NAMES.items()}
    headers, contents = b"", b""
    start = _ENTRY * (len(certificates) + 1)
    for name, content in certificates.items():
        at = start + len(contents)
        headers += guids[name].bytes + at.to_bytes(4, "little") + len(content).to_bytes(4, "little")
        contents += content
    return headers + bytes(_ENTRY) + contents


def _parse_headers(table: bytes) -> tuple[list[tuple[UUID, int, int]], int]:
    entries: list[tuple[UUID, int, int]] = []
    for at in range(0, _ENTRY * (_MAX_ENTRIES + 1), _ENTRY):
        header = table[at : at + _ENTRY]
        if len(header) != _ENTRY:
            raise MalformedError("a certificate table does not end in an all-zero entry")
        if not any(header):
            return entries, at + _ENTRY
        start, length = int.from_bytes(header[16:20], "little"), int.from_bytes(header[20:24], "little")
        entries.append((UUID(bytes=header[:16]), start, start + length))
    raise MalformedError(f"a certificate table has at most {_MAX_ENTRIES} entries")


def _check_room(table: bytes, ranges: list[tuple[int, int]]) -> None:
    free_from = 0
    for start, end in sorted(ranges):
        if start < free_from or end <= start or end > len(table):
            raise MalformedError(
                "an entry of a certificate table is empty, outside of it or overlaps another"
            )
        if any(table[free_from:start]):
            raise MalformedError("a certificate table has bytes outside of its entries")
        free_from = end
    if any(table[free_from:]):
        raise MalformedError("a certificate table has bytes outside of its entries")


def _to_der(content: bytes) -> bytes:
    if not content.startswith(b"-----BEGIN"):
        return content
    armoured = _PEM.fullmatch(content)
    if armoured is None:
        raise MalformedError("an entry of a certificate table is not one PEM object")
    try:
        return b64decode(armoured[2].replace(b"\r", b"").replace(b"\n", b""), validate=True)
    except binascii.Error as err:
        raise MalformedError("an entry of a certificate table is not base64") from err
