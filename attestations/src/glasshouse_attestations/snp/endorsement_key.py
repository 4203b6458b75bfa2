"""The key that signs reports, as its certificate describes it (VCEK Certificate and KDS Interface, 57230, 3).

The certificate's extensions say to which chip, or provider, and to which versions of the firmware the key
belongs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..errors import CertificateChainError, MalformedError
from .der import Certificate, Reader
from .product import Product
from .tcb import Tcb

__all__ = ["EndorsementKey", "Kind"]

_EXTENSION = "1.3.6.1.4.1.3704.1."
_STRUCT_VERSION, _PRODUCT_NAME, _HWID, _CSP_ID = (_EXTENSION + arc for arc in ("1", "2", "4", "5"))
_BOOTLOADER, _TEE, _SNP, _MICROCODE, _FMC = (_EXTENSION + f"3.{arc}" for arc in (1, 2, 3, 8, 9))
_RESERVED = tuple(_EXTENSION + f"3.{arc}" for arc in (4, 5, 6, 7))

# SubjectPublicKeyInfo of P-384 up to the coordinates: an uncompressed point and nothing else.
_P384_SPKI = bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004")
_P384_SPKI_SIZE = len(_P384_SPKI) + 96


class Kind(Enum):
    """The two kinds of key that sign reports: of one chip, or of one provider's whole fleet."""

    VCEK = "VCEK"
    VLEK = "VLEK"

    @property
    def subject(self) -> str:
        """The common name of every such certificate."""
        return f"SEV-{self.value}"

    def issuer(self, product: Product) -> str:
        """The common name of the intermediate that signs these certificates of ``product``."""
        return f"SEV-{product.value}" if self is Kind.VCEK else f"SEV-VLEK-{product.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndorsementKey:
    """What a VCEK's or VLEK's certificate says; true once :func:`.certificates.verify_leaf` returned.

    ``tcb`` are the versions of the firmware from which the key was derived. A VCEK has a ``hardware_id``
    (64 bytes, 8 on Turin), a VLEK a ``provider``.
    """

    kind: Kind
    product: Product
    tcb: Tcb
    hardware_id: bytes | None
    provider: str | None
    certificate: Certificate

    @classmethod
    def parse(cls, der: bytes) -> EndorsementKey:
        """Return what the certificate in ``der`` says, with every extension that its kind must have."""
        certificate = Certificate.parse(der)
        kind = _kind(certificate)
        product = Product.of_certificate(_text(certificate, _PRODUCT_NAME))
        if _number(certificate, _STRUCT_VERSION) > 1:
            raise MalformedError("an endorsement key's certificate has an unknown version of extensions")
        if any(_number(certificate, oid) for oid in _RESERVED if oid in certificate.extensions):
            raise MalformedError("a reserved component of an endorsement key's TCB is not zero")
        if (_HWID in certificate.extensions) is (kind is Kind.VLEK):
            raise MalformedError("a VCEK's certificate names a chip, and a VLEK's does not")
        if (_CSP_ID in certificate.extensions) is (kind is Kind.VCEK):
            raise MalformedError("a VLEK's certificate names a provider, and a VCEK's does not")
        return cls(
            kind=kind,
            product=product,
            tcb=_tcb(certificate, product),
            hardware_id=_hardware_id(certificate, product) if kind is Kind.VCEK else None,
            provider=_text(certificate, _CSP_ID) if kind is Kind.VLEK else None,
            certificate=certificate,
        )

    @property
    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The P-384 key that signs reports."""
        spki = self.certificate.public_key
        if not spki.startswith(_P384_SPKI) or len(spki) != _P384_SPKI_SIZE:
            raise CertificateChainError(f"the key of a {self.kind.value} is not on the curve P-384")
        try:
            key = serialization.load_der_public_key(spki)
        except ValueError as err:
            raise CertificateChainError(f"the key of a {self.kind.value} is not a point of P-384") from err
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise CertificateChainError(f"the key of a {self.kind.value} is not on the curve P-384")
        return key


def _kind(certificate: Certificate) -> Kind:
    for kind in Kind:
        if certificate.common_name == kind.subject:
            return kind
    raise CertificateChainError("the endorsement's subject is neither SEV-VCEK nor SEV-VLEK")


def _tcb(certificate: Certificate, product: Product) -> Tcb:
    turin = product is Product.TURIN
    if not turin and _FMC in certificate.extensions:
        raise MalformedError("an endorsement key before Turin has a component fmc")
    return Tcb(
        fmc=_number(certificate, _FMC) if turin else 0,
        bootloader=_number(certificate, _BOOTLOADER),
        tee=_number(certificate, _TEE),
        snp=_number(certificate, _SNP),
        microcode=_number(certificate, _MICROCODE),
    )


def _hardware_id(certificate: Certificate, product: Product) -> bytes:
    """The chip's identity, which AMD writes bare or, in newer certificates, wrapped as an OCTET STRING."""
    value, size = certificate.extensions[_HWID], 8 if product is Product.TURIN else 64
    if len(value) == size + 2:
        reader = Reader(value)
        value = reader.octets()
        reader.end()
    if len(value) != size:
        raise MalformedError(f"the hardware identity of {product.value} does not have {size} bytes")
    return value


def _number(certificate: Certificate, oid: str) -> int:
    reader = _extension(certificate, oid)
    number = reader.integer()
    reader.end()
    if number > 0xFF:
        raise MalformedError(f"the extension {oid} of an endorsement key is more than one byte")
    return number


def _text(certificate: Certificate, oid: str) -> str:
    reader = _extension(certificate, oid)
    text = reader.ia5()
    reader.end()
    if not 1 <= len(text) <= 256:
        raise MalformedError(f"the extension {oid} of an endorsement key is empty or too long")
    return text


def _extension(certificate: Certificate, oid: str) -> Reader:
    try:
        return Reader(certificate.extensions[oid])
    except KeyError:
        raise MalformedError(f"the extension {oid} of an endorsement key is missing") from None
