"""A stand-in for AMD: test keys that sign SEV-SNP reports no capture has. Nothing here is a real machine's.

Policies accept it only through ``root_sha256``, which no policy in a file can set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from glasshouse_attestations import snp
from glasshouse_attestations.evidence import Evidence

NOW = datetime(2030, 6, 1, tzinfo=timezone.utc)
START, END = NOW - timedelta(days=300), NOW + timedelta(days=300)
PROVIDER = "CN=cloud.example"
AMD = "1.3.6.1.4.1.3704.1."
ASK_SERIAL, ARK_SERIAL = 2, 1


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """Return the test key of that name, of which there is one per run."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def report_key(
    name: str = "chip", curve: type[ec.EllipticCurve] = ec.SECP384R1
) -> ec.EllipticCurvePrivateKey:
    """Return the test chip's signing key."""
    return ec.generate_private_key(curve())


def pss(salt: int | None) -> padding.PSS | None:
    """Return AMD's padding with so long a salt; ``None`` is PKCS #1 v1.5."""
    return None if salt is None else padding.PSS(mgf=padding.MGF1(hashes.SHA384()), salt_length=salt)


def distinguished(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def der(certificate: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def authority(
    subject: str,
    issuer: str,
    *,
    key: rsa.RSAPrivateKey,
    issuer_key: rsa.RSAPrivateKey,
    serial: int,
    is_ca: bool = True,
    crl_sign: bool = True,
    end: datetime = END,
    salt: int | None = 48,
) -> bytes:
    """Return the DER of a root's or an intermediate's certificate."""
    usage = x509.KeyUsage(False, False, False, False, False, True, crl_sign, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(distinguished(subject))
        .issuer_name(distinguished(issuer))
        .serial_number(serial)
        .not_valid_before(START)
        .not_valid_after(end)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )
    return der(builder.sign(issuer_key, hashes.SHA384(), rsa_padding=pss(salt)))


@cache
def ark(product: snp.Product = snp.Product.GENOA, **changes: Any) -> bytes:
    """Return the test root of a product."""
    name = f"ARK-{product.value}"
    arguments = {"key": rsa_key("ark"), "issuer_key": rsa_key("ark"), "serial": ARK_SERIAL, **changes}
    return authority(name, name, **arguments)


@cache
def ask(product: snp.Product = snp.Product.GENOA, kind: snp.Kind = snp.Kind.VCEK, **changes: Any) -> bytes:
    """Return the test intermediate of a product and kind of key."""
    arguments = {"key": rsa_key("ask"), "issuer_key": rsa_key("ark"), "serial": ASK_SERIAL, **changes}
    return authority(kind.issuer(product), f"ARK-{product.value}", **arguments)


def revocation_list(
    *serials: int,
    product: snp.Product = snp.Product.GENOA,
    key: rsa.RSAPrivateKey | None = None,
    start: datetime = START,
    end: datetime = END,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    salt: int | None = 48,
) -> bytes:
    """Return a list, by the test root if no key is given, of the certificates with these serial numbers."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(distinguished(f"ARK-{product.value}"))
        .last_update(start)
        .next_update(end)
    )
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(START).build()
        builder = builder.add_revoked_certificate(entry)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return der(builder.sign(key or rsa_key("ark"), hashes.SHA384(), rsa_padding=pss(salt)))


def der_integer(value: int) -> bytes:
    content = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes((0x02, len(content))) + content


def der_text(text: str) -> bytes:
    return bytes((0x16, len(text))) + text.encode()


TCB = snp.Tcb(bootloader=10, snp=27, microcode=0x60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A VCEK or VLEK to be issued; ``extensions`` replace, add or (``None``) omit AMD's, by last arcs."""

    product: snp.Product = snp.Product.GENOA
    kind: snp.Kind = snp.Kind.VCEK
    tcb: snp.Tcb = TCB
    hardware_id: bytes = bytes(range(64))
    provider: str = PROVIDER
    subject: str | None = None
    issuer: str | None = None
    start: datetime = START
    end: datetime = END
    extensions: Mapping[str, bytes | None] = field(default_factory=dict)
    critical: frozenset[str] = frozenset()
    curve: type[ec.EllipticCurve] = ec.SECP384R1
    issuer_key: str = "ask"
    salt: int | None = 48

    def encode(self) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(distinguished(self.kind.subject if self.subject is None else self.subject))
            .issuer_name(
                distinguished(self.kind.issuer(self.product) if self.issuer is None else self.issuer)
            )
            .serial_number(1)
            .not_valid_before(self.start)
            .not_valid_after(self.end)
            .public_key(report_key(curve=self.curve).public_key())
        )
        for arcs, value in {**self._amd_extensions(), **self.extensions}.items():
            if value is not None:
                extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(AMD + arcs), value)
                builder = builder.add_extension(extension, critical=arcs in self.critical)
        return der(builder.sign(rsa_key(self.issuer_key), hashes.SHA384(), rsa_padding=pss(self.salt)))

    def _amd_extensions(self) -> dict[str, bytes]:
        arcs = {"bootloader": "3.1", "tee": "3.2", "snp": "3.3", "microcode": "3.8"}
        if self.product is snp.Product.TURIN:
            arcs["fmc"] = "3.9"
        levels = {arcs[name]: der_integer(value) for name, value in self.tcb.components() if name in arcs}
        identity = {"4": self._hwid()} if self.kind is snp.Kind.VCEK else {"5": der_text(self.provider)}
        return {"1": der_integer(1), "2": der_text(self.product.value), **levels, **identity}

    def _hwid(self) -> bytes:
        return self.hardware_id[:8] if self.product is snp.Product.TURIN else self.hardware_id


_PROCESSORS = {
    snp.Product.MILAN: "190101",
    snp.Product.GENOA: "191101",
    snp.Product.TURIN: "1a0201",
}
_FULL_POLICY = snp.GuestFlag.RESERVED_ONE | snp.GuestFlag.SMT


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeReport:
    """A report to be signed; each TCB that is not given is that of the leaf. ``patches`` are made last."""

    leaf: Leaf = Leaf()
    version: int = 3
    guest_svn: int = 4
    policy: int = _FULL_POLICY | 0x0133
    vmpl: int = 0
    reported: snp.Tcb | None = None
    committed: snp.Tcb | None = None
    current: snp.Tcb | None = None
    launch: snp.Tcb | None = None
    platform_info: int = snp.PlatformFlag.ALIAS_CHECK_COMPLETE | snp.PlatformFlag.ECC_EN
    flags: int | None = None
    processor: str | None = None
    chip_id: bytes | None = None
    report_id_ma: bytes = b"\xff" * 32
    current_firmware: tuple[int, int, int] = (1, 55, 40)
    committed_firmware: tuple[int, int, int] = (1, 55, 40)
    mitigations: tuple[int, int] = (0, 0)
    patches: Mapping[int, bytes] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the signed report."""
        data = bytearray(0x4A0)
        for at, value in {**self._fields(), **self.patches}.items():
            data[at : at + len(value)] = value
        signed = bytes(data[:0x2A0])
        r, s = decode_dss_signature(report_key(curve=self.leaf.curve).sign(signed, ec.ECDSA(hashes.SHA384())))
        data[0x2A0:0x2E8], data[0x2E8:0x330] = r.to_bytes(72, "little"), s.to_bytes(72, "little")
        return bytes(data)

    def _fields(self) -> dict[int, bytes]:
        vlek = self.leaf.kind is snp.Kind.VLEK
        flags = (int(vlek) << 2) if self.flags is None else self.flags
        return {
            0x00: self.version.to_bytes(4, "little"),
            0x04: self.guest_svn.to_bytes(4, "little"),
            0x08: int(self.policy).to_bytes(8, "little"),
            0x10: b"\x10" * 16,
            0x20: b"\x20" * 16,
            0x30: self.vmpl.to_bytes(4, "little"),
            0x34: (1).to_bytes(4, "little"),
            0x38: self._tcb(self.current),
            0x40: int(self.platform_info).to_bytes(8, "little"),
            0x48: flags.to_bytes(4, "little"),
            0x50: b"\x50" * 64,
            0x90: b"\x90" * 48,
            0xC0: b"\xc0" * 32,
            0xE0: b"\xe0" * 48,
            0x110: b"\x11" * 48,
            0x140: b"\x14" * 32,
            0x160: self.report_id_ma,
            0x180: self._tcb(self.reported),
            0x188: self._processor(),
            0x1A0: self._chip_id(),
            0x1E0: self._tcb(self.committed),
            0x1E8: bytes((*reversed(self.current_firmware), 0, *reversed(self.committed_firmware), 0)),
            0x1F0: self._tcb(self.launch),
            0x1F8: b"".join(vector.to_bytes(8, "little") for vector in self.mitigations),
        }

    def _tcb(self, tcb: snp.Tcb | None) -> bytes:
        return (tcb or self.leaf.tcb).encode(self.leaf.product)

    def _processor(self) -> bytes:
        if self.version < 3:
            return b""
        return bytes.fromhex(self.processor or _PROCESSORS[self.leaf.product])

    def _chip_id(self) -> bytes:
        if self.chip_id is not None:
            return self.chip_id
        masked = self.leaf.kind is snp.Kind.VLEK
        return bytes(64) if masked else self.leaf._hwid().ljust(64, b"\x00")


def endorsements(leaf: Leaf, **replaced: bytes | None) -> dict[str, bytes]:
    """Return the leaf with its chain and an empty list; ``replaced`` by name, ``None`` leaving one out."""
    complete: dict[str, bytes | None] = {
        leaf.kind.value.lower(): leaf.encode(),
        "ask": ask(leaf.product, leaf.kind),
        "ark": ark(leaf.product),
        "crl": revocation_list(product=leaf.product),
        **replaced,
    }
    return {name: value for name, value in complete.items() if value is not None}


def evidence(report: FakeReport | None = None, **replaced: bytes | None) -> Evidence:
    """Return the report with everything that endorses it."""
    report = report or FakeReport()
    return Evidence(platform="snp", quote=report.encode(), endorsements=endorsements(report.leaf, **replaced))


def policy(product: snp.Product = snp.Product.GENOA, **changes: Any) -> snp.Policy:
    """Return the default policy with the test root of ``product`` in place of AMD's."""
    return replace(snp.Policy(root_sha256=hashlib.sha256(ark(product)).digest()), **changes)
