"""The instance that Google's certificates of attestation keys name, in an extension of Google's own."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509

from ..errors import MalformedError

__all__ = ["EXTENSION", "GoogleInstance"]

EXTENSION = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.1.21")
"""GCE instance information: zone, project and instance of a virtual machine."""

_MAX_SIZE = 1024
_SEQUENCE, _UTF8_STRING, _INTEGER, _SECURITY_PROPERTIES = 0x30, 0x0C, 0x02, 0xA0


@dataclass(frozen=True, slots=True, kw_only=True)
class GoogleInstance:
    """Where and as what a virtual machine of Google Cloud runs, as its certificate authority says."""

    zone: str
    project_number: int
    project_id: str
    instance_id: int
    instance_name: str

    @classmethod
    def parse(cls, der: bytes) -> GoogleInstance:
        """Return the instance in the extension's value, DER to its last byte.

        The optional security properties behind the five fields are left unread: nothing rests on them.
        """
        content, rest = _take(der, _SEQUENCE)
        zone, content = _take(content, _UTF8_STRING)
        project_number, content = _take(content, _INTEGER)
        project_id, content = _take(content, _UTF8_STRING)
        instance_id, content = _take(content, _INTEGER)
        instance_name, content = _take(content, _UTF8_STRING)
        if content:
            _, content = _take(content, _SECURITY_PROPERTIES)
        if rest or content:
            raise MalformedError("the google instance information is followed by other bytes")
        return cls(
            zone=_text(zone),
            project_number=int.from_bytes(project_number, "big", signed=True),
            project_id=_text(project_id),
            instance_id=int.from_bytes(instance_id, "big", signed=True),
            instance_name=_text(instance_name),
        )


def _take(der: bytes, tag: int) -> tuple[bytes, bytes]:
    """Split off the content of the first element, of type ``tag``; lengths as DER has them (X.690, 10.1)."""
    if not 2 <= len(der) <= _MAX_SIZE or der[0] != tag:
        raise MalformedError("the google instance information has another element than expected")
    size, start = der[1], 2
    if size >= 0x80:
        width = size - 0x80
        start += width
        size = int.from_bytes(der[2:start], "big")
        if width not in (1, 2) or size < (0x80, 0x100)[width - 1]:
            raise MalformedError("the google instance information has a length not in DER")
    if start + size > len(der):
        raise MalformedError("the google instance information is truncated")
    return der[start : start + size], der[start + size :]


def _text(content: bytes) -> str:
    if not content.isascii() or not content.decode("ascii").isprintable():
        raise MalformedError("the google instance information has a text that is not printable ASCII")
    return content.decode("ascii")
