"""The fields of an X.509 certificate that an endorsement of SEV-SNP needs, read from its DER.

All VCEK and VLEK certificates have the serial number 0, which RFC 5280 forbids and X.509 libraries refuse
or are about to. This reader takes such certificates apart under the distinguished encoding rules (X.690,
chapter 10) and leaves all cryptography to the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from types import MappingProxyType

from ..errors import MalformedError

__all__ = ["MAX_CERTIFICATE", "Certificate", "Reader"]

MAX_CERTIFICATE = 16 << 10

_BOOLEAN, _INTEGER, _BIT_STRING, _OCTET_STRING, _OID = 0x01, 0x02, 0x03, 0x04, 0x06
_UTF8_STRING, _PRINTABLE_STRING, _IA5_STRING = 0x0C, 0x13, 0x16
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_SEQUENCE, _SET = 0x30, 0x31
_EXPLICIT_0, _EXPLICIT_3 = 0xA0, 0xA3
_COMMON_NAME = "2.5.4.3"
_TRUE = b"\xff"


class Reader:
    """Takes DER elements off the front of some bytes; anything but the one encoding of a value is refused."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def has(self, tag: int) -> bool:
        """Whether the next element has this tag."""
        return self._at < len(self._data) and self._data[self._at] == tag

    def raw(self, tag: int) -> bytes:
        """Take the next element whole, with its tag and length."""
        start = self._at
        self.content(tag)
        return self._data[start : self._at]

    def content(self, tag: int) -> bytes:
        """Take the content of the next element, which must have this tag."""
        if not self.has(tag):
            raise MalformedError(f"DER: byte {self._at} does not start an element with tag {tag:#04x}")
        length = self._length()
        content = self._data[self._at : self._at + length]
        if len(content) != length:
            raise MalformedError("DER: an element is longer than what contains it")
        self._at += length
        return content

    def _length(self) -> int:
        first = self._data[self._at + 1 : self._at + 2]
        self._at += 2
        if not first or first[0] < 0x80:
            return first[0] if first else self._refuse_length()
        encoded = self._data[self._at : self._at + (first[0] & 0x7F)]
        self._at += len(encoded)
        length = int.from_bytes(encoded, "big")
        # Only the shortest form of a length is DER (X.690, 10.1); 0x80 alone would be the indefinite one.
        if not 1 <= len(encoded) <= 2 or encoded[0] == 0 or length < 0x80:
            return self._refuse_length()
        return length

    def _refuse_length(self) -> int:
        raise MalformedError(f"DER: the length before byte {self._at} is malformed")

    def nested(self, tag: int) -> Reader:
        """Take the next element, which contains others, for reading."""
        return Reader(self.content(tag))

    def sequence(self) -> Reader:
        """Take a SEQUENCE for reading."""
        return self.nested(_SEQUENCE)

    def sequence_raw(self) -> bytes:
        """Take a SEQUENCE whole, with its tag and length."""
        return self.raw(_SEQUENCE)

    def integer(self) -> int:
        """Take an INTEGER that is not negative."""
        content = self.content(_INTEGER)
        if not content or content[0] & 0x80 or (len(content) > 1 and content[0] == 0 and content[1] < 0x80):
            raise MalformedError("DER: an integer is negative or not in its shortest form")
        return int.from_bytes(content, "big")

    def oid(self) -> str:
        """Take an OBJECT IDENTIFIER in its dotted form."""
        arcs = _arcs(self.content(_OID))
        root = min(arcs[0] // 40, 2)
        return ".".join(str(arc) for arc in (root, arcs[0] - 40 * root, *arcs[1:]))

    def bit_string(self) -> bytes:
        """Take a BIT STRING of whole bytes."""
        content = self.content(_BIT_STRING)
        if content[:1] != b"\x00":
            raise MalformedError("DER: a bit string is not one of whole bytes")
        return content[1:]

    def octets(self) -> bytes:
        """Take an OCTET STRING."""
        return self.content(_OCTET_STRING)

    def ia5(self) -> str:
        """Take an IA5String of printable characters."""
        return _printable(self.content(_IA5_STRING))

    def name_text(self) -> str:
        """Take the UTF8String or PrintableString of a name, of which only ASCII is accepted."""
        tag = _PRINTABLE_STRING if self.has(_PRINTABLE_STRING) else _UTF8_STRING
        return _printable(self.content(tag))

    def time(self) -> datetime:
        """Take a moment: UTCTime until 2049, GeneralizedTime from then on (RFC 5280, 4.1.2.5)."""
        generalized = self.has(_GENERALIZED_TIME)
        text = _printable(self.content(_GENERALIZED_TIME if generalized else _UTC_TIME))
        digits = text[:-1] if generalized else ("20" if text[:2] < "50" else "19") + text[:-1]
        if len(digits) != 14 or not digits.isdecimal() or text[-1] != "Z":
            raise MalformedError("DER: a time is not one of whole seconds in UTC")
        try:
            moment = datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc)
        except ValueError as err:
            raise MalformedError("DER: a time is none of the calendar") from err
        if generalized and moment.year < 2050:
            raise MalformedError("DER: a time before 2050 is not a UTCTime")
        return moment

    def end(self) -> None:
        """Refuse bytes that nobody took."""
        if self._at != len(self._data):
            raise MalformedError(f"DER: {len(self._data) - self._at} bytes are left over")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate taken apart, nothing of it verified. Names, algorithm and key are kept as their DER.

    ``to_be_signed`` is what ``signature`` is over. ``algorithm`` is the AlgorithmIdentifier that stands
    both inside and outside of it (RFC 5280, 4.1.1.2). ``extensions`` maps an OID to the content of its
    extnValue; ``critical`` names those of them that must be understood.
    """

    to_be_signed: bytes
    algorithm: bytes
    signature: bytes
    serial_number: int
    issuer: bytes
    subject: bytes
    not_before: datetime
    not_after: datetime
    public_key: bytes
    extensions: Mapping[str, bytes]
    critical: frozenset[str]

    @classmethod
    def parse(cls, data: bytes) -> Certificate:
        """Return the certificate of version 3 in ``data``, DER to the last byte, at most 16 KiB."""
        if len(data) > MAX_CERTIFICATE:
            raise MalformedError(f"a certificate has at most {MAX_CERTIFICATE} bytes")
        outermost = Reader(data)
        outer = outermost.sequence()
        outermost.end()
        to_be_signed = outer.sequence_raw()
        algorithm = outer.sequence_raw()
        signature = outer.bit_string()
        outer.end()
        return _parse_to_be_signed(to_be_signed, algorithm, signature)

    @property
    def common_name(self) -> str:
        """The subject's one common name."""
        return _common_name(self.subject)

    @property
    def issuer_common_name(self) -> str:
        """The issuer's one common name."""
        return _common_name(self.issuer)


def _parse_to_be_signed(to_be_signed: bytes, algorithm: bytes, signature: bytes) -> Certificate:
    fields = Reader(to_be_signed).sequence()
    version = fields.nested(_EXPLICIT_0)
    if version.integer() != 2:
        raise MalformedError("a certificate is not of version 3")
    version.end()
    serial_number = fields.integer()
    if fields.sequence_raw() != algorithm:
        raise MalformedError("a certificate names two signature algorithms")
    issuer = fields.sequence_raw()
    validity = fields.sequence()
    not_before, not_after = validity.time(), validity.time()
    validity.end()
    subject = fields.sequence_raw()
    public_key = fields.sequence_raw()
    wrapper = fields.nested(_EXPLICIT_3)
    extensions, critical = _parse_extensions(wrapper.sequence())
    wrapper.end()
    fields.end()
    return Certificate(
        to_be_signed=to_be_signed,
        algorithm=algorithm,
        signature=signature,
        serial_number=serial_number,
        issuer=issuer,
        subject=subject,
        not_before=not_before,
        not_after=not_after,
        public_key=public_key,
        extensions=extensions,
        critical=critical,
    )


def _parse_extensions(reader: Reader) -> tuple[Mapping[str, bytes], frozenset[str]]:
    extensions: dict[str, bytes] = {}
    critical = set()
    while reader.has(_SEQUENCE):
        extension = reader.sequence()
        oid = extension.oid()
        if oid in extensions:
            raise MalformedError(f"a certificate has the extension {oid} twice")
        if extension.has(_BOOLEAN):
            if extension.content(_BOOLEAN) != _TRUE:
                raise MalformedError("DER: a default value is written out")
            critical.add(oid)
        extensions[oid] = extension.octets()
        extension.end()
    reader.end()
    return MappingProxyType(extensions), frozenset(critical)


def _common_name(name: bytes) -> str:
    found = []
    relative_names = Reader(name).sequence()
    while relative_names.has(_SET):
        relative_name = relative_names.nested(_SET)
        attribute = relative_name.sequence()
        relative_name.end()
        kind, text = attribute.oid(), attribute.name_text()
        attribute.end()
        if kind == _COMMON_NAME:
            found.append(text)
    relative_names.end()
    if len(found) != 1:
        raise MalformedError("a name does not have exactly one common name")
    return found[0]


def _arcs(content: bytes) -> list[int]:
    arcs = [0]
    fresh = True
    for byte in content:
        if fresh and byte == 0x80:
            raise MalformedError("DER: an object identifier is not in its shortest form")
        arcs[-1] = arcs[-1] << 7 | byte & 0x7F
        fresh = byte < 0x80
        if fresh:
            arcs.append(0)
    if not content or not fresh or len(content) > 64:
        raise MalformedError("DER: an object identifier is malformed")
    return arcs[:-1]


def _printable(content: bytes) -> str:
    if not all(0x20 <= byte < 0x7F for byte in content):
        raise MalformedError("DER: a text has other characters than printable ASCII")
    return content.decode("ascii")
