"""A device's certificate chain: five certificates from its firmware's key to NVIDIA's device identity CA.

From the leaf: the key of the device's security firmware, the device itself, the provisioner that NVIDIA
runs in the factory, the chip family, the root. The device issues the leaf when it starts, with the digest
of that firmware (its FWID) in an extension as TCG DICE defines it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from ..errors import MalformedError, ProductError
from ..x509 import load_pem_chain

__all__ = ["CHAIN_LENGTH", "Device", "FirmwareIdentity", "load_chain", "read_firmware_identity"]

CHAIN_LENGTH = 5
LEAF, DEVICE, PROVISIONER, FAMILY, ROOT = range(CHAIN_LENGTH)

_COMPOSITE_DEVICE_ID = x509.ObjectIdentifier("2.23.133.5.4.1")
_TCB_INFO = x509.ObjectIdentifier("2.23.133.5.4.1.1")
_SEQUENCE, _BIT_FLAGS, _FWIDS, _OCTETS = 0x30, 0x87, 0xA6, 0x04
_SHA384_OID = bytes.fromhex("0609608648016503040202")
_VERSION_1 = bytes.fromhex("020101")
_NOT_SECURE, _DEBUG = 0x40, 0x10  # bits 1 and 3 of OperationalFlags, counted from the most significant
_NAME = re.compile(r"([A-Z]{2}_?[0-9]{2,3}) [ -~]{1,40}", re.ASCII)
_SERIAL = re.compile(r"(?:[0-9A-F]{2}){9,20}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Which device it is, as NVIDIA's provisioner certified it."""

    chip: str
    serial: bytes

    @classmethod
    def read(cls, chain: tuple[x509.Certificate, ...]) -> Device:
        """Return the chip and serial number of the device certificate in a verified ``chain``.

        Raises :class:`ProductError` if the leaf names another chip.
        """
        device = _common_name(chain[DEVICE])
        if device is None:
            raise MalformedError("the device certificate does not name its chip")
        if device != _common_name(chain[LEAF]):
            raise ProductError(f"the firmware's certificate is not that of a {device}, as the device's is")
        serials = chain[DEVICE].subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
        if len(serials) != 1 or not _SERIAL.fullmatch(str(serials[0].value)):
            raise MalformedError("the device certificate has no serial number in its subject")
        return cls(chip=device, serial=bytes.fromhex(str(serials[0].value)))


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareIdentity:
    """What the leaf says of the firmware that holds its key. ``debug`` is ``None`` where it does not say."""

    fwid: bytes
    debug: bool | None


@lru_cache(maxsize=64)
def load_chain(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Return the five certificates in ``pem``, which holds nothing else, and in one form of writing.

    Line breaks after the last certificate are allowed, since captured chains have from none to two. The
    last few chains are remembered by their exact bytes: a device shows the same one until it restarts.
    """
    chain = load_pem_chain(pem, max_certificates=CHAIN_LENGTH)
    if len(chain) != CHAIN_LENGTH:
        raise MalformedError(f"a device's certificate chain has {CHAIN_LENGTH} certificates")
    written = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain)
    if written.rstrip(b"\n") != pem.rstrip(b"\n"):
        raise MalformedError("the certificate chain is not PEM in its usual form")
    return chain


def read_firmware_identity(chain: tuple[x509.Certificate, ...]) -> FirmwareIdentity:
    """Return the FWID in the leaf, in the form of Hopper (DICE composite device id) or later (TCB info)."""
    found = {
        extension.oid: extension.value.value
        for extension in chain[LEAF].extensions
        if extension.oid in (_COMPOSITE_DEVICE_ID, _TCB_INFO)
        and isinstance(extension.value, x509.UnrecognizedExtension)
    }
    if len(found) != 1:
        raise MalformedError("the firmware's certificate does not have exactly one DICE extension")
    if _COMPOSITE_DEVICE_ID in found:
        return _read_composite_device_id(found[_COMPOSITE_DEVICE_ID], chain[DEVICE])
    return _read_tcb_info(found[_TCB_INFO])


def _read_composite_device_id(der: bytes, device: x509.Certificate) -> FirmwareIdentity:
    # Version 1, the device's public key, and one FWID: everything but the digest is known beforehand.
    spki = device.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    content = _only(der, _SEQUENCE)
    if not content.startswith(_VERSION_1 + spki):
        raise MalformedError("the composite device id is not about the device's key")
    return FirmwareIdentity(fwid=_read_fwid(content.removeprefix(_VERSION_1 + spki)), debug=None)


def _read_tcb_info(der: bytes) -> FirmwareIdentity:
    items = list(_items(_only(der, _SEQUENCE)))
    parts = dict(items)
    if len(parts) != len(items) or _FWIDS not in parts:
        raise MalformedError("the TCB info has an item twice, or no FWID")
    # The first FWID is the running firmware's.
    first = next(_items(parts[_FWIDS]), None)
    if first is None or first[0] != _SEQUENCE:
        raise MalformedError("the TCB info has no FWID")
    return FirmwareIdentity(
        fwid=_read_digest(first[1]),
        debug=_read_debug(parts[_BIT_FLAGS]) if _BIT_FLAGS in parts else None,
    )


def _read_debug(flags: bytes) -> bool:
    # A BIT STRING: the number of unused bits, then the bits.
    if len(flags) < 2 or flags[0] > 7:
        raise MalformedError("the TCB info has malformed flags")
    return bool(flags[1] & (_NOT_SECURE | _DEBUG))


def _read_fwid(der: bytes) -> bytes:
    return _read_digest(_only(der, _SEQUENCE))


def _read_digest(content: bytes) -> bytes:
    if not content.startswith(_SHA384_OID):
        raise MalformedError("a FWID is not a SHA-384 digest")
    digest = _only(content.removeprefix(_SHA384_OID), _OCTETS)
    if len(digest) != 48:
        raise MalformedError("a FWID does not have 48 bytes")
    return digest


def _only(der: bytes, tag: int) -> bytes:
    items = list(_items(der))
    if len(items) != 1 or items[0][0] != tag:
        raise MalformedError("a DICE extension does not have the expected structure")
    return items[0][1]


def _items(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each item in ``der`` (X.690, 8.1): lengths below 256 in shortest form."""
    while der:
        header = 3 if der[1:2] == b"\x81" else 2
        if len(der) < header or (header == 3 and der[2] < 0x80) or (header == 2 and der[1] >= 0x80):
            raise MalformedError("a DICE extension has a malformed length")
        size = der[header - 1]
        if len(der) < header + size:
            raise MalformedError("a DICE extension is cut short")
        yield der[0], der[header : header + size]
        der = der[header + size :]


def _common_name(certificate: x509.Certificate) -> str | None:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    match = _NAME.fullmatch(str(names[0].value)) if len(names) == 1 else None
    return match[1] if match else None
