"""A generated Intel: a root, its authorities, a processor, a quoting enclave, and signed collateral.

Everything here is made up by the tests; nothing of it was signed by Intel. The defaults are evidence that
verifies, and every argument is a way to spoil it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from glasshouse_attestations.dcap import Collateral, SgxPolicy, TcbPolicy, TdxPolicy
from glasshouse_attestations.document import format_time
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.x509 import spki_sha256
from support import pki
from support.pki import Holder

NOW = datetime(2030, 1, 31, 12, 0, 0, tzinfo=timezone.utc)
DAY = timedelta(days=1)
EVALUATION = 19
FMSPC, PCE_ID, PPID, INSTANCE = bytes.fromhex("90c06f000000"), bytes(2), b"P" * 16, b"I" * 16
COMPONENTS, PCE_SVN = (5, 5, 2, 2, 4, 1, 0, 5) + (0,) * 8, 13
TEE_TCB_SVN = bytes((6, 1, 3)) + bytes(13)
QE_SIGNER, QE_SVN = b"Q" * 32, 8
REPORT_DATA = bytes(range(64))
VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
SGX_OID = "1.2.840.113741.1.13.1"
SGX_EXTENSION = x509.ObjectIdentifier(SGX_OID)


def issue(
    name: str,
    issuer: Holder | None,
    *,
    ca: bool = True,
    extension: bytes | None = None,
    key: ec.EllipticCurvePrivateKey | None = None,
    start: datetime = NOW - 30 * DAY,
    end: datetime = NOW + 365 * DAY,
) -> Holder:
    """Return a certificate for ``name``, signed by ``issuer`` or by itself."""
    return pki.issue(
        pki.distinguished(name),
        issuer,
        key=key or ec.generate_private_key(ec.SECP256R1()),
        digest=hashes.SHA256(),
        start=start,
        end=end,
        critical=[
            x509.BasicConstraints(ca=ca, path_length=None),
            pki.key_usage(digital_signature=not ca, key_cert_sign=ca),
        ],
        extensions=[] if extension is None else [x509.UnrecognizedExtension(SGX_EXTENSION, extension)],
    )


def revocation_list(
    issuer: Holder,
    revoked: Iterable[x509.Certificate] = (),
    *,
    signer: Holder | None = None,
    start: datetime = NOW - DAY,
    end: datetime = NOW + 29 * DAY,
    critical: x509.ExtensionType | None = None,
) -> bytes:
    """Return a list in the name of ``issuer``, signed by it or by ``signer``."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(start)
        .next_update(end)
    )
    for certificate in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(start).build())
    if critical is not None:
        builder = builder.add_extension(critical, critical=True)
    signed = builder.sign((signer or issuer).key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


def sign(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Return r and s over ``message``, 32 bytes each."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def der(tag: int, content: bytes) -> bytes:
    """Return one DER element."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes(1 if size < 0x100 else 2, "big")
    return bytes((tag, 0x80 + len(length))) + length + content


def _named(arcs: tuple[int, ...], value: bytes) -> bytes:
    identifier = bytes.fromhex("2a864886f84d010d01") + bytes(arcs)
    return der(0x30, der(0x06, identifier) + value)


def _number(value: int) -> bytes:
    return der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def sgx_extensions(
    *,
    ppid: bytes = PPID,
    components: Iterable[int] = COMPONENTS,
    pce_svn: int = PCE_SVN,
    pce_id: bytes = PCE_ID,
    fmspc: bytes = FMSPC,
    configuration: Mapping[int, bool] | None = {1: True, 2: False, 3: True},
    without: Iterable[int] = (),
    extra: bytes = b"",
) -> bytes:
    """Return the content of the SGX extension of a PCK certificate."""
    numbers = (*components, pce_svn)
    tcb = b"".join(_named((2, index), _number(svn)) for index, svn in enumerate(numbers, 1))
    tcb += _named((2, 18), der(0x04, bytes(16)))
    fields = {
        1: der(0x04, ppid),
        2: der(0x30, tcb),
        3: der(0x04, pce_id),
        4: der(0x04, fmspc),
        5: der(0x0A, b"\x01"),
        6: der(0x04, INSTANCE),
    }
    if configuration is not None:
        flags = (_named((7, i), der(0x01, b"\xff" if on else b"\x00")) for i, on in configuration.items())
        fields[7] = der(0x30, b"".join(flags))
    kept = (_named((index,), value) for index, value in fields.items() if index not in set(without))
    return der(0x30, b"".join(kept) + extra)


def enclave_report(
    *,
    attributes: int = 0x05,
    xfrm: int = 0xE7,
    misc_select: int = 0,
    mrenclave: bytes = b"E" * 32,
    mrsigner: bytes = b"S" * 32,
    isv_prod_id: int = 1,
    isv_svn: int = 3,
    config_id: bytes = bytes(64),
    config_svn: int = 0,
    isv_ext_prod_id: bytes = bytes(16),
    isv_family_id: bytes = bytes(16),
    report_data: bytes = REPORT_DATA,
    reserved: bytes = bytes(32),
) -> bytes:
    """Return the body of an SGX quote."""
    return b"".join(
        (
            bytes(16),
            misc_select.to_bytes(4, "little"),
            bytes(12),
            isv_ext_prod_id,
            attributes.to_bytes(8, "little"),
            xfrm.to_bytes(8, "little"),
            mrenclave,
            reserved,
            mrsigner,
            bytes(32),
            config_id,
            isv_prod_id.to_bytes(2, "little"),
            isv_svn.to_bytes(2, "little"),
            config_svn.to_bytes(2, "little"),
            bytes(42),
            isv_family_id,
            report_data,
        )
    )


def td_report(
    *,
    tee_tcb_svn: bytes = TEE_TCB_SVN,
    mr_seam: bytes = b"M" * 48,
    mr_signer_seam: bytes = bytes(48),
    seam_attributes: int = 0,
    attributes: int = 1 << 28,
    xfam: int = 0x602E7,
    mrtd: bytes = b"T" * 48,
    mr_config_id: bytes = bytes(48),
    mr_owner: bytes = bytes(48),
    mr_owner_config: bytes = bytes(48),
    rtmrs: tuple[bytes, bytes, bytes, bytes] = (b"0" * 48, b"1" * 48, b"2" * 48, bytes(48)),
    report_data: bytes = REPORT_DATA,
    tee_tcb_svn_2: bytes | None = None,
    mr_service_td: bytes = bytes(48),
) -> bytes:
    """Return the body of a TDX quote: of TDX 1.5 if ``tee_tcb_svn_2`` is given."""
    numbers = b"".join(value.to_bytes(8, "little") for value in (seam_attributes, attributes, xfam))
    body = b"".join((tee_tcb_svn, mr_seam, mr_signer_seam, numbers, mrtd, mr_config_id, mr_owner))
    body += b"".join((mr_owner_config, *rtmrs, report_data))
    return body if tee_tcb_svn_2 is None else body + tee_tcb_svn_2 + mr_service_td


def qe_report(report_data: bytes, **fields: Any) -> bytes:
    """Return the quoting enclave's report about itself."""
    defaults = {"attributes": 0x15, "mrsigner": QE_SIGNER, "isv_svn": QE_SVN, "isv_prod_id": 2}
    return enclave_report(report_data=report_data, **{**defaults, **fields})


Json = dict[str, Any]


def tcb_level(
    status: str = "UpToDate",
    *,
    sgx: Iterable[int] = COMPONENTS,
    pce_svn: int = PCE_SVN,
    tdx: Iterable[int] | None = (5, 0, 3) + (0,) * 13,
    advisories: Iterable[str] = (),
) -> Json:
    """Return one level of TCB info; without ``tdx``, one for SGX."""
    tcb: Json = {"sgxtcbcomponents": [{"svn": svn} for svn in sgx], "pcesvn": pce_svn}
    if tdx is not None:
        tcb["tdxtcbcomponents"] = [{"svn": svn} for svn in tdx]
    return _with_status({"tcb": tcb}, status, advisories)


def isv_level(isv_svn: int, status: str = "UpToDate", advisories: Iterable[str] = ()) -> Json:
    """Return one level of an enclave or module identity."""
    return _with_status({"tcb": {"isvsvn": isv_svn}}, status, advisories)


def _with_status(level: Json, status: str, advisories: Iterable[str]) -> Json:
    level |= {"tcbDate": "2029-08-09T00:00:00Z", "tcbStatus": status}
    ids = list(advisories)
    return level | {"advisoryIDs": ids} if ids else level


def module(identity: str | None = None, *levels: Json) -> Json:
    """Return a TDX module identity, or with no name the ``tdxModule`` of version 0."""
    body: Json = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
    return body if identity is None else {"id": identity, **body, "tcbLevels": list(levels)}


def tcb_info(tee: str = "TDX", **changes: Any) -> Json:
    """Return TCB info, in which ``changes`` replace fields, or drop them if ``None``."""
    info: Json = {
        "id": tee,
        "version": 3,
        "issueDate": format_time(NOW - DAY),
        "nextUpdate": format_time(NOW + 29 * DAY),
        "fmspc": FMSPC.hex().upper(),
        "pceId": PCE_ID.hex().upper(),
        "tcbType": 0,
        "tcbEvaluationDataNumber": EVALUATION,
    }
    if tee == "TDX":
        info["tdxModule"] = module()
        info["tdxModuleIdentities"] = [module("TDX_01", isv_level(6), isv_level(4, "OutOfDate"))]
    info["tcbLevels"] = [tcb_level(tdx=(5, 0, 3) + (0,) * 13 if tee == "TDX" else None)]
    return _changed(info, changes)


def qe_identity(identity: str = "TD_QE", **changes: Any) -> Json:
    """Return an enclave identity, changed as :func:`tcb_info`."""
    body: Json = {
        "id": identity,
        "version": 2,
        "issueDate": format_time(NOW - DAY),
        "nextUpdate": format_time(NOW + 29 * DAY),
        "tcbEvaluationDataNumber": EVALUATION,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11" + "00" * 15,
        "attributesMask": "FBFFFFFFFFFFFFFF" + "00" * 8,
        "mrsigner": QE_SIGNER.hex().upper(),
        "isvprodid": 2,
        "tcbLevels": [isv_level(QE_SVN), isv_level(6, "OutOfDate", ["INTEL-SA-00001"])],
    }
    return _changed(body, changes)


def _changed(document: Json, changes: Json) -> Json:
    return {name: value for name, value in (document | changes).items() if value is not None}


def text(document: Json) -> bytes:
    """Write a document as Intel does, without white space."""
    return json.dumps(document, separators=(",", ":")).encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Intel:
    """A root and everything below it."""

    root: Holder
    authority: Holder
    tcb_signer: Holder
    pck: Holder
    attestation_key: ec.EllipticCurvePrivateKey

    @classmethod
    def generate(cls) -> Intel:
        root = issue("Intel SGX Root CA", None)
        authority = issue("Intel SGX PCK Platform CA", root)
        return cls(
            root=root,
            authority=authority,
            tcb_signer=issue("Intel SGX TCB Signing", root, ca=False),
            pck=issue("Intel SGX PCK Certificate", authority, ca=False, extension=sgx_extensions()),
            attestation_key=ec.generate_private_key(ec.SECP256R1()),
        )

    def with_pck(self, **fields: Any) -> Intel:
        """Return an Intel whose processor has another certificate, of ``fields`` of :func:`issue`."""
        defaults: Json = {"ca": False, "extension": sgx_extensions()}
        name = fields.pop("name", "Intel SGX PCK Certificate")
        return replace(self, pck=issue(name, self.authority, **{**defaults, **fields}))

    def tcb(self, **fields: Any) -> TcbPolicy:
        """Return a policy that trusts this Intel's root."""
        roots = frozenset({spki_sha256(self.root.certificate)})
        return TcbPolicy(**{"root_spki_sha256": roots, **fields})

    def tdx(self, tcb: Json | None = None, **fields: Any) -> TdxPolicy:
        return TdxPolicy(tcb=self.tcb(**(tcb or {})), **fields)

    def sgx(self, tcb: Json | None = None, **fields: Any) -> SgxPolicy:
        return SgxPolicy(tcb=self.tcb(**(tcb or {})), **fields)

    def quote(
        self,
        body: bytes | None = None,
        *,
        version: int | None = None,
        tee: int | None = None,
        key_type: int = 2,
        vendor: bytes = VENDOR,
        body_type: int | None = None,
        body_size: int | None = None,
        chain: bytes | None = None,
        outer_type: int = 6,
        inner_type: int = 5,
        authentication_data: bytes = bytes(32),
        qe: Json | None = None,
        qe_report_data: bytes | None = None,
        pck_key: ec.EllipticCurvePrivateKey | None = None,
        quote_key: ec.EllipticCurvePrivateKey | None = None,
        point: bytes | None = None,
    ) -> bytes:
        """Return a quote about ``body``; version and kind follow from its size if they are not given."""
        body = td_report() if body is None else body
        tee = tee if tee is not None else (0 if len(body) == 384 else 0x81)
        version = version or {384: 3, 584: 4}.get(len(body), 5)
        header = version.to_bytes(2, "little") + key_type.to_bytes(2, "little") + tee.to_bytes(4, "little")
        signed = header + bytes(4) + vendor + b"U" * 20
        if version == 5:
            kind = body_type or {384: 1, 584: 2}.get(len(body), 3)
            size = len(body) if body_size is None else body_size
            signed += kind.to_bytes(2, "little") + size.to_bytes(4, "little")
        signed += body
        numbers = self.attestation_key.public_key().public_numbers()
        own = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        key = own if point is None else point
        bound = hashlib.sha256(key + authentication_data).digest() + bytes(32)
        report = qe_report(bound if qe_report_data is None else qe_report_data, **(qe or {}))
        certification = report + sign(pck_key or self.pck.key, report)
        certification += len(authentication_data).to_bytes(2, "little") + authentication_data
        pem = self.pck.pem + self.authority.pem + self.root.pem if chain is None else chain
        certification += inner_type.to_bytes(2, "little") + len(pem).to_bytes(4, "little") + pem
        if version > 3:
            outer = outer_type.to_bytes(2, "little") + len(certification).to_bytes(4, "little")
            certification = outer + certification
        section = sign(quote_key or self.attestation_key, signed) + key + certification
        return signed + len(section).to_bytes(4, "little") + section

    def collateral(
        self, tcb: Json | bytes | None = None, qe: Json | bytes | None = None, **parts: bytes
    ) -> Collateral:
        """Return collateral with ``tcb`` and ``qe`` signed as they are; ``parts`` replace parts."""
        info = _text(tcb_info() if tcb is None else tcb)
        identity = _text(qe_identity() if qe is None else qe)
        issuers = self.tcb_signer.pem + self.root.pem
        defaults = {
            "pck_crl_issuer_chain": self.authority.pem + self.root.pem,
            "root_ca_crl": revocation_list(self.root),
            "pck_crl": revocation_list(self.authority),
            "tcb_info_issuer_chain": issuers,
            "tcb_info": info,
            "tcb_info_signature": sign(self.tcb_signer.key, info),
            "qe_identity_issuer_chain": issuers,
            "qe_identity": identity,
            "qe_identity_signature": sign(self.tcb_signer.key, identity),
        }
        return Collateral(**{**defaults, **parts})

    def evidence(self, quote: bytes | None = None, collateral: Collateral | None = None) -> Evidence:
        """Return TDX evidence."""
        return self._evidence("tdx", quote or self.quote(), collateral or self.collateral())

    def sgx_evidence(self, quote: bytes | None = None, collateral: Collateral | None = None) -> Evidence:
        """Return SGX evidence."""
        own = self.collateral(tcb_info("SGX"), qe_identity("QE"))
        return self._evidence("sgx", quote or self.quote(enclave_report()), collateral or own)

    def _evidence(self, platform: str, quote: bytes, collateral: Collateral) -> Evidence:
        endorsements = {"collateral": collateral.encode()}
        return Evidence(platform=platform, quote=quote, endorsements=endorsements)


def _text(document: Json | bytes) -> bytes:
    return document if isinstance(document, bytes) else text(document)


@cache
def intel() -> Intel:
    """Return the one Intel that most tests share."""
    return Intel.generate()
