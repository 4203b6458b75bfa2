"""A generated NVIDIA: a device identity hierarchy, a GPU, a RIM signer and an OCSP responder.

Everything here is made up by the tests; nothing of it was signed by NVIDIA. The defaults are evidence that
verifies, and every argument is a way to spoil it.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from glasshouse_attestations import nvidia
from glasshouse_attestations.evidence import Evidence
from support import pki
from support.pki import Holder

NOW = datetime(2030, 1, 31, 12, 0, 0, tzinfo=timezone.utc)
NONCE = bytes(range(32))
FWID = bytes(range(48))
SERIAL = bytes.fromhex("410011223344556677")
DRIVER, VBIOS = "550.144.03", "96.00.5E.00.01"
MEASUREMENTS = {index: bytes([index]) * 48 for index in range(1, 65)}
DRIVER_BLOCKS, VBIOS_BLOCKS = (8, 22, 36), (1, 2, 3)

needs_xml_signatures = pytest.mark.skipif(
    find_spec("signxml") is None, reason="signxml and lxml, of the extra nvidia, are not installed"
)


def seq(*items: bytes) -> bytes:
    """Write a DER SEQUENCE."""
    return item(0x30, b"".join(items))


def item(tag: int, content: bytes) -> bytes:
    """Write a DER item of less than 256 bytes."""
    return bytes([tag, len(content)] if len(content) < 128 else [tag, 0x81, len(content)]) + content


def fwid_der(fwid: bytes = FWID) -> bytes:
    """Write a FWID with its hash, SHA-384."""
    return seq(bytes.fromhex("0609608648016503040202"), item(4, fwid))


def composite_device_id(device: ec.EllipticCurvePrivateKey, fwid: bytes = FWID) -> x509.UnrecognizedExtension:
    """Return the extension of Hopper's firmware certificates."""
    spki = device.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    der = seq(bytes.fromhex("020101"), spki, fwid_der(fwid))
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("2.23.133.5.4.1"), der)


def tcb_info(*parts: bytes) -> x509.UnrecognizedExtension:
    """Return the extension of Blackwell's firmware certificates."""
    return x509.UnrecognizedExtension(x509.ObjectIdentifier("2.23.133.5.4.1.1"), seq(*parts))


def issue(
    name: str,
    issuer: Holder | None,
    *,
    ca: bool = True,
    serial: bytes | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
    start: datetime = NOW - timedelta(days=100),
    end: datetime = NOW + timedelta(days=100),
    curve: ec.EllipticCurve | None = None,
    digital_signature: bool | None = None,
) -> Holder:
    """Return a certificate for ``name``, signed by ``issuer`` or by itself."""
    attributes = list(pki.distinguished(name))
    if serial is not None:
        attributes.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial.hex().upper()))
    signs = not ca if digital_signature is None else digital_signature
    authority = [x509.BasicConstraints(ca=True, path_length=None)] if ca else []
    return pki.issue(
        x509.Name(attributes),
        issuer,
        key=ec.generate_private_key(curve or ec.SECP384R1()),
        digest=hashes.SHA384(),
        start=start,
        end=end,
        critical=[pki.key_usage(digital_signature=signs, key_cert_sign=ca), *authority],
        extensions=extensions,
    )


def opaque(**changes: bytes | None) -> bytes:
    """Write the opaque data of a Hopper GPU; a field is named by its number, like ``f6``."""
    fields: dict[str, bytes | None] = {
        "f6": bytes.fromhex("005e009601000000"),
        "f14": bytes(4),
        "f17": b"1010\0",
        "f3": DRIVER.encode() + b"\0",
        "f11": b"\x55",
        "f20": FWID,
        "f21": b"\x55",
        "f34": b"\x01\x00",
        "f36": b"\x01\x00",
    }
    fields.update(changes)
    return b"".join(
        int(name[1:]).to_bytes(2, "little") + len(value).to_bytes(2, "little") + value
        for name, value in fields.items()
        if value is not None
    )


def record(measurements: Mapping[int, bytes]) -> bytes:
    """Write a measurement record."""
    return b"".join(
        bytes([index, 1]) + (51).to_bytes(2, "little") + b"\x01" + (48).to_bytes(2, "little") + value
        for index, value in measurements.items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Nvidia:
    """The chain of one device, root last, and the keys of all of it."""

    leaf: Holder
    device: Holder
    provisioner: Holder
    family: Holder
    root: Holder
    rim_root: Holder
    rim_signer: Holder

    @classmethod
    def generate(
        cls,
        *,
        chip: str = "GH100",
        leaf_chip: str | None = None,
        extensions: Sequence[x509.ExtensionType] | None = None,
        rim: Mapping[str, Any] | None = None,
        **leaf: Any,
    ) -> Nvidia:
        root = issue("Test Device Identity CA", None)
        family = issue(f"TEST {chip} Identity", root)
        provisioner = issue(f"TEST {chip} Provisioner ICA 1", family)
        device = issue(f"{chip} A01 GSP BROM", provisioner, serial=SERIAL)
        if extensions is None:
            extensions = [composite_device_id(device.key)]
        name = f"{leaf_chip or chip} A01 GSP FMC LF"
        rim_root = issue("Test CoRIM Root", None)
        return cls(
            leaf=issue(name, device, **{"ca": False, "extensions": extensions, **leaf}),
            device=device,
            provisioner=provisioner,
            family=family,
            root=root,
            rim_root=rim_root,
            rim_signer=issue("Test RIM Signer", rim_root, **{"ca": False, **(rim or {})}),
        )

    @property
    def chain(self) -> tuple[Holder, ...]:
        return self.leaf, self.device, self.provisioner, self.family, self.root

    def policy(self, **fields: Any) -> nvidia.Policy:
        """Return a policy that pins these roots."""
        roots = {
            "device_root_sha256": frozenset({hashlib.sha256(self.root.der).digest()}),
            "rim_root_sha256": frozenset({hashlib.sha256(self.rim_root.der).digest()}),
        }
        return nvidia.Policy(**{**roots, **fields})

    def lenient(self, **fields: Any) -> nvidia.Policy:
        """Return a policy that asks for neither reference values nor revocation."""
        return self.policy(**{"require_rims": False, "require_revocation_status": False, **fields})

    def report(
        self,
        *,
        request: bytes = b"\x11\xe0\x01\xff" + NONCE + b"\0",
        head: bytes = b"\x11\x60\0\0",
        count: int | None = None,
        blocks: bytes | None = None,
        data: bytes | None = None,
        signature: bytes | None = None,
    ) -> bytes:
        """Return a report signed by the leaf."""
        blocks = record(MEASUREMENTS) if blocks is None else blocks
        data = opaque() if data is None else data
        number = blocks.count(b"\x33\x00\x01\x30\x00") if count is None else count
        signed = request + head + bytes([number]) + len(blocks).to_bytes(3, "little") + blocks
        signed += bytes(32) + len(data).to_bytes(2, "little") + data
        r, s = decode_dss_signature(self.leaf.key.sign(signed, ec.ECDSA(hashes.SHA384())))
        return signed + (r.to_bytes(48, "big") + s.to_bytes(48, "big") if signature is None else signature)

    def evidence(self, quote: bytes | None = None, **endorsements: bytes | None) -> Evidence:
        """Return evidence; an endorsement is named with underscores, and left out if ``None``."""
        parts = {"certificate-chain": b"".join(one.pem for one in self.chain)}
        named = {name.replace("_", "-"): value for name, value in endorsements.items()}
        return Evidence(
            platform="nvidia",
            quote=self.report() if quote is None else quote,
            endorsements={name: value for name, value in {**parts, **named}.items() if value is not None},
        )

    def status(
        self,
        position: int,
        *,
        responder: Holder | None = None,
        include: Sequence[Holder] = (),
        status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
        reason: x509.ReasonFlags | None = None,
        start: datetime = NOW - timedelta(hours=1),
        end: datetime | None = NOW + timedelta(hours=1),
        name_hash: hashes.HashAlgorithm | None = None,
        about: int | None = None,
        algorithm: hashes.SHA256 | hashes.SHA384 | None = None,
    ) -> bytes:
        """Return an OCSP response about the certificate at ``position``, signed by its issuer by default."""
        about = position if about is None else about
        signer = responder or self.chain[position + 1]
        builder = ocsp.OCSPResponseBuilder().add_response(
            cert=self.chain[about].certificate,
            issuer=self.chain[about + 1].certificate,
            algorithm=name_hash or hashes.SHA384(),
            cert_status=status,
            this_update=start,
            next_update=end,
            revocation_time=NOW - timedelta(days=1) if status is ocsp.OCSPCertStatus.REVOKED else None,
            revocation_reason=reason,
        )
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
        if include:
            builder = builder.certificates([one.certificate for one in include])
        response = builder.sign(signer.key, algorithm or hashes.SHA384())
        return response.public_bytes(serialization.Encoding.DER)

    def responder(
        self, position: int, *, usage: x509.ObjectIdentifier | None = None, **fields: Any
    ) -> Holder:
        """Return a responder to which the issuer of ``position`` gave the OCSP signing usage."""
        usages = [x509.ExtendedKeyUsage([usage or ExtendedKeyUsageOID.OCSP_SIGNING])]
        return issue("Test OCSP", self.chain[position + 1], ca=False, extensions=usages, **fields)

    def statuses(self) -> dict[str, bytes]:
        """Return a good response about each certificate that can be revoked."""
        names = ("ocsp_device", "ocsp_provisioner", "ocsp_family")
        return {name: self.status(position) for position, name in enumerate(names, start=1)}

    def rim(self, version: str, blocks: Sequence[int], **changes: Any) -> bytes:
        """Return a RIM for ``version`` with the measurements of ``blocks``, signed."""
        return self.sign_rim(rim_xml(version, blocks, **changes))

    def sign_rim(self, xml: str, *, digest: str = "sha384", c14n: str | None = None) -> bytes:
        """Sign ``xml`` as NVIDIA signs its RIMs."""
        etree, signxml = (importlib.import_module(name) for name in ("lxml.etree", "signxml"))
        signer = signxml.XMLSigner(
            method=signxml.methods.enveloped,
            signature_algorithm=f"ecdsa-{digest}",
            digest_algorithm=digest,
            c14n_algorithm=c14n or "http://www.w3.org/2006/12/xml-c14n11",
        )
        key = self.rim_signer.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        certificates = [self.rim_signer.certificate, self.rim_root.certificate]
        signed = signer.sign(etree.fromstring(xml), key=key, cert=certificates)
        return bytes(etree.tostring(signed))


def rim_xml(
    version: str,
    blocks: Sequence[int],
    *,
    product: str = "GH100",
    measurements: Mapping[int, bytes] = MEASUREMENTS,
    extra: str = "",
) -> str:
    """Write an unsigned RIM with an alternative beside each expected value and one inactive measurement."""
    other = "ff" * 48
    resources = "".join(
        f'<Resource type="Measurement" index="{index - 1}" active="True" alternatives="2" '
        f'h:Hash0="{other}" h:Hash1="{measurements[index].hex()}" name="m" size="48"/>'
        for index in blocks
    )
    return (
        '<SoftwareIdentity xmlns="http://standards.iso.org/iso/19770/-2/2015/schema.xsd" '
        'xmlns:h="http://www.w3.org/2001/04/xmlenc#sha384" name="test">'
        f'<Meta colloquialVersion="{version}" product="{product}"/>'
        f'<Payload>{resources}<Resource type="Measurement" index="63" active="False" alternatives="1" '
        f'h:Hash0="{other}" name="m" size="48"/>{extra}</Payload></SoftwareIdentity>'
    )
