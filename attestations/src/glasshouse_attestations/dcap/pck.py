"""The SGX extensions of a PCK certificate: which processor it is, and the firmware that Intel certified.

Source: Intel SGX PCK Certificate and Certificate Revocation List Profile Specification, 1.3.5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cryptography import x509

from ..errors import MalformedError

__all__ = ["SGX_EXTENSIONS", "PckExtensions"]

SGX_EXTENSIONS = x509.ObjectIdentifier("1.2.840.113741.1.13.1")
_PREFIX = bytes.fromhex("2a864886f84d010d01")  # the content octets of that identifier
_PPID, _TCB, _PCE_ID, _FMSPC, _SGX_TYPE, _PLATFORM_INSTANCE, _CONFIGURATION = range(1, 8)
_PCE_SVN, _CPU_SVN = 17, 18
_CONFIGURATION_FLAGS = {1: "dynamic platform", 2: "cached keys", 3: "smt"}

_BOOLEAN, _INTEGER, _OCTETS, _IDENTIFIER, _ENUMERATED, _SEQUENCE = 0x01, 0x02, 0x04, 0x06, 0x0A, 0x30


@dataclass(frozen=True, slots=True, kw_only=True)
class PckExtensions:
    """The processor behind a PCK certificate.

    ``ppid`` is the processor's own identity, encrypted in none of Intel's certificates. ``components`` and
    ``pce_svn`` are the versions of its firmware. ``configuration`` names the flags that are set, of
    ``dynamic platform``, ``cached keys`` and ``smt``; it is ``None`` for processors that have none stated.
    """

    ppid: bytes
    components: tuple[int, ...]
    pce_svn: int
    pce_id: bytes
    fmspc: bytes
    platform_instance_id: bytes | None
    configuration: frozenset[str] | None

    @classmethod
    def parse(cls, data: bytes) -> PckExtensions:
        """Return the content of the extension's DER ``data``; :class:`MalformedError` if it is another."""
        fields = _fields(_content(data, _SEQUENCE), _PREFIX)
        required = {_PPID, _TCB, _PCE_ID, _FMSPC, _SGX_TYPE}
        if not required <= fields.keys() <= required | {_PLATFORM_INSTANCE, _CONFIGURATION}:
            raise MalformedError("the SGX extensions lack a field or have an unknown one")
        _content(fields[_SGX_TYPE], _ENUMERATED)
        tcb = _fields(_content(fields[_TCB], _SEQUENCE), _PREFIX + bytes([_TCB]))
        if tcb.keys() != set(range(1, _CPU_SVN + 1)):
            raise MalformedError("the SGX extensions' TCB has other fields than 18")
        _octets(tcb[_CPU_SVN], 16)
        instance = fields.get(_PLATFORM_INSTANCE)
        configuration = fields.get(_CONFIGURATION)
        return cls(
            ppid=_octets(fields[_PPID], 16),
            components=tuple(_integer(tcb[index], 0xFF) for index in range(1, 17)),
            pce_svn=_integer(tcb[_PCE_SVN], 0xFFFF),
            pce_id=_octets(fields[_PCE_ID], 2),
            fmspc=_octets(fields[_FMSPC], 6),
            platform_instance_id=None if instance is None else _octets(instance, 16),
            configuration=None if configuration is None else _configuration(configuration),
        )


def _configuration(data: bytes) -> frozenset[str]:
    flags = _fields(_content(data, _SEQUENCE), _PREFIX + bytes([_CONFIGURATION]))
    if not flags.keys() <= _CONFIGURATION_FLAGS.keys():
        raise MalformedError("the SGX extensions' configuration has an unknown flag")
    return frozenset(_CONFIGURATION_FLAGS[index] for index, value in flags.items() if _boolean(value))


def _fields(data: bytes, prefix: bytes) -> Mapping[int, bytes]:
    """Return by its last arc the value of each pair of identifier and value in ``data``."""
    fields: dict[int, bytes] = {}
    for pair in _elements(data):
        identifier, value = _pair(_content(pair, _SEQUENCE))
        name = _content(identifier, _IDENTIFIER)
        if name[:-1] != prefix or name[-1] in fields:
            raise MalformedError("the SGX extensions have a foreign or repeated identifier")
        fields[name[-1]] = value
    return fields


def _pair(data: bytes) -> tuple[bytes, bytes]:
    elements = tuple(_elements(data))
    if len(elements) != 2:
        raise MalformedError("the SGX extensions have a field that is not an identifier and a value")
    return elements[0], elements[1]


def _octets(data: bytes, size: int) -> bytes:
    content = _content(data, _OCTETS)
    if len(content) != size:
        raise MalformedError(f"the SGX extensions have {len(content)} bytes where {size} belong")
    return content


def _integer(data: bytes, maximum: int) -> int:
    content = _content(data, _INTEGER)
    value = int.from_bytes(content, "big", signed=True)
    if not 0 <= value <= maximum or len(content) != value.bit_length() // 8 + 1:
        raise MalformedError("the SGX extensions have a version out of range")
    return value


def _boolean(data: bytes) -> bool:
    content = _content(data, _BOOLEAN)
    if content not in {b"\x00", b"\xff"}:
        raise MalformedError("the SGX extensions have a flag that is neither true nor false")
    return content == b"\xff"


def _content(element: bytes, tag: int) -> bytes:
    """Return the content of the one DER element in ``element``, which has ``tag``."""
    if [element] != list(_elements(element)) or element[0] != tag:
        raise MalformedError(f"the SGX extensions lack a DER element with tag {tag:#04x}")
    return element[_header_size(element) :]


def _elements(data: bytes) -> Iterator[bytes]:
    """Cut ``data`` into its DER elements, with their headers (X.690, 10.1: definite, shortest lengths)."""
    while data:
        start = _header_size(data)
        if start == 2:
            size = data[1]
        else:
            size = int.from_bytes(data[2:start], "big")
            if size < 0x80 or data[2] == 0:
                raise MalformedError("the SGX extensions have a length that is not the shortest form")
        if len(data) < start + size:
            raise MalformedError("the SGX extensions are truncated")
        yield data[: start + size]
        data = data[start + size :]


def _header_size(data: bytes) -> int:
    if len(data) < 2 or data[1] > 0x82 or data[1] == 0x80:
        raise MalformedError("the SGX extensions have a malformed length")
    size = 2 if data[1] < 0x80 else 2 + data[1] - 0x80
    if len(data) < size:
        raise MalformedError("the SGX extensions are truncated")
    return size
