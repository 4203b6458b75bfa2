"""The bytes of an SGX or TDX quote, taken apart by the offsets of its own format.

Sources: Intel SGX ECDSA QuoteLibReference DCAP API, Appendix A (version 3); Intel TDX DCAP Quoting Library
API, Appendix A (versions 4 and 5). All integers are little-endian. Nothing here is verified yet.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from ..errors import MalformedError

__all__ = ["EnclaveReport", "Quote", "TdReport", "Tee"]

MAX_QUOTE_SIZE = 64 << 10
_MAX_AUTHENTICATION_DATA = 1024
_MAX_CERTIFICATION_DATA = 16 << 10

_HEADER = struct.Struct("<HHI4s16s20s")
_ECDSA_P256 = 2
_INTEL_QE_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_QE_REPORT_CERTIFICATION = 6
_PCK_CHAIN_CERTIFICATION = 5

_ENCLAVE_REPORT = struct.Struct("<16sI12s16sQQ32s32s32s32s64sHHH42s16s64s")
_TD_REPORT = struct.Struct("<16s48s48sQQQ48s48s48s48s48s48s48s48s64s")
_TD_REPORT_15 = struct.Struct("<16s48s")


class Tee(IntEnum):
    """The kind of trusted execution environment, as a quote's header names it."""

    SGX = 0x00
    TDX = 0x81


# What the body descriptor of a version 5 quote may name: the kind of environment and the size of the body.
_BODY_TYPES = {
    1: (Tee.SGX, _ENCLAVE_REPORT.size),
    2: (Tee.TDX, _TD_REPORT.size),
    3: (Tee.TDX, _TD_REPORT.size + _TD_REPORT_15.size),
}
_BODY_TYPE_BEFORE_V5 = {(3, Tee.SGX): 1, (4, Tee.TDX): 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveReport:
    """The body of an SGX quote, and of the quoting enclave's own report (SGX DCAP API, A.4)."""

    cpu_svn: bytes
    misc_select: int
    isv_ext_prod_id: bytes
    attributes: int
    xfrm: int
    mrenclave: bytes
    mrsigner: bytes
    config_id: bytes
    isv_prod_id: int
    isv_svn: int
    config_svn: int
    isv_family_id: bytes
    report_data: bytes

    @classmethod
    def parse(cls, data: bytes) -> EnclaveReport:
        """Return the report in ``data``: 384 bytes, zero where they are reserved."""
        fields = _ENCLAVE_REPORT.unpack(data)
        (cpu_svn, misc_select, reserved_1, isv_ext_prod_id, attributes, xfrm, mrenclave, reserved_2) = fields[
            :8
        ]
        (mrsigner, reserved_3, config_id, isv_prod_id, isv_svn, config_svn, reserved_4) = fields[8:15]
        if any(reserved_1) or any(reserved_2) or any(reserved_3) or any(reserved_4):
            raise MalformedError("an enclave report has a reserved byte that is not zero")
        return cls(
            cpu_svn=cpu_svn,
            misc_select=misc_select,
            isv_ext_prod_id=isv_ext_prod_id,
            attributes=attributes,
            xfrm=xfrm,
            mrenclave=mrenclave,
            mrsigner=mrsigner,
            config_id=config_id,
            isv_prod_id=isv_prod_id,
            isv_svn=isv_svn,
            config_svn=config_svn,
            isv_family_id=fields[15],
            report_data=fields[16],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TdReport:
    """The body of a TDX quote (TDX DCAP API, A.3.2).

    ``tee_tcb_svn_2`` and ``mr_service_td`` came with TDX 1.5 and are ``None`` in a TDX 1.0 body.
    """

    tee_tcb_svn: bytes
    mr_seam: bytes
    mr_signer_seam: bytes
    seam_attributes: int
    attributes: int
    xfam: int
    mrtd: bytes
    mr_config_id: bytes
    mr_owner: bytes
    mr_owner_config: bytes
    rtmrs: tuple[bytes, bytes, bytes, bytes]
    report_data: bytes
    tee_tcb_svn_2: bytes | None
    mr_service_td: bytes | None

    @classmethod
    def parse(cls, data: bytes) -> TdReport:
        """Return the report in ``data``: 584 bytes of TDX 1.0, or those and 64 more of TDX 1.5."""
        fields = _TD_REPORT.unpack_from(data)
        extension = data[_TD_REPORT.size :]
        svn_2, service_td = _TD_REPORT_15.unpack(extension) if extension else (None, None)
        (tee_tcb_svn, mr_seam, mr_signer_seam, seam_attributes, attributes, xfam) = fields[:6]
        return cls(
            tee_tcb_svn=tee_tcb_svn,
            mr_seam=mr_seam,
            mr_signer_seam=mr_signer_seam,
            seam_attributes=seam_attributes,
            attributes=attributes,
            xfam=xfam,
            mrtd=fields[6],
            mr_config_id=fields[7],
            mr_owner=fields[8],
            mr_owner_config=fields[9],
            rtmrs=fields[10:14],
            report_data=fields[14],
            tee_tcb_svn_2=svn_2,
            mr_service_td=service_td,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A quote and what came with it to check its signature.

    ``signed`` are the bytes under ``signature``, which is the attestation key's. ``quoting_enclave`` is
    the parsed form of ``qe_report``, which the processor's PCK key signed. ``pck_chain`` is PEM text.
    ``padding`` counts the zero bytes after the quote: clouds hand out buffers of a fixed size.
    """

    version: int
    tee: Tee
    user_data: bytes
    body: EnclaveReport | TdReport
    signed: bytes
    signature: bytes
    attestation_key: bytes
    qe_report: bytes
    quoting_enclave: EnclaveReport
    qe_report_signature: bytes
    authentication_data: bytes
    pck_chain: bytes
    padding: int

    @classmethod
    def parse(cls, data: bytes) -> Quote:
        """Return the quote in ``data``: SGX of version 3 or 5, or TDX of version 4 or 5, ECDSA P-256.

        Refuses with :class:`MalformedError` lengths that do not nest exactly, any other kind of
        certification data than a PCK chain, and bytes other than zero after the quote.
        """
        if len(data) > MAX_QUOTE_SIZE:
            raise MalformedError(f"a quote has at most {MAX_QUOTE_SIZE} bytes")
        reader = _Reader(data, "the quote")
        version, tee, user_data = _parse_header(reader.take(_HEADER.size))
        body = _parse_body(reader, version, tee)
        signed = data[: reader.position]
        signature_data = _Reader(reader.take(reader.integer(4)), "the signature section")
        padding = reader.rest()
        if padding.strip(b"\0"):
            raise MalformedError("the quote is followed by bytes that are not zero")
        signature, attestation_key = signature_data.take(64), signature_data.take(64)
        certification = signature_data if version == 3 else _enter_certification(signature_data)
        qe_report, qe_report_signature = certification.take(384), certification.take(64)
        authentication_data = certification.take(certification.integer(2, maximum=_MAX_AUTHENTICATION_DATA))
        pck_chain = _certification_data(certification, _PCK_CHAIN_CERTIFICATION)
        return cls(
            version=version,
            tee=tee,
            user_data=user_data,
            body=body,
            signed=signed,
            signature=signature,
            attestation_key=attestation_key,
            qe_report=qe_report,
            quoting_enclave=EnclaveReport.parse(qe_report),
            qe_report_signature=qe_report_signature,
            authentication_data=authentication_data,
            pck_chain=pck_chain,
            padding=len(padding),
        )


def _parse_header(data: bytes) -> tuple[int, Tee, bytes]:
    version, key_type, tee_type, svns, vendor, user_data = _HEADER.unpack(data)
    if version not in {3, 4, 5}:
        raise MalformedError(f"quotes of version {version} are unknown")
    if key_type != _ECDSA_P256:
        raise MalformedError(f"the attestation key is of type {key_type}, not ECDSA P-256")
    if tee_type not in {Tee.SGX, Tee.TDX}:
        raise MalformedError(f"the TEE type {tee_type:#x} is neither SGX nor TDX")
    if vendor != _INTEL_QE_VENDOR:
        raise MalformedError("the quoting enclave is not of Intel's format")
    # Version 3 has the SVNs of the QE and PCE here; nothing relies on them, the certificate has the PCE's.
    if version > 3 and any(svns):
        raise MalformedError("the quote's header has a reserved byte that is not zero")
    return version, Tee(tee_type), user_data


def _parse_body(reader: _Reader, version: int, tee: Tee) -> EnclaveReport | TdReport:
    if version == 5:
        body_type, size = reader.integer(2), reader.integer(4)
        if body_type not in _BODY_TYPES or _BODY_TYPES[body_type] != (tee, size):
            raise MalformedError(f"no {tee.name} quote has a body of type {body_type} and {size} bytes")
    elif (version, tee) in _BODY_TYPE_BEFORE_V5:
        _, size = _BODY_TYPES[_BODY_TYPE_BEFORE_V5[version, tee]]
    else:
        raise MalformedError(f"{tee.name} quotes of version {version} are not supported")
    data = reader.take(size)
    return EnclaveReport.parse(data) if tee is Tee.SGX else TdReport.parse(data)


def _enter_certification(reader: _Reader) -> _Reader:
    # From version 4 on, the QE's report is itself wrapped as certification data of type 6.
    return _Reader(_certification_data(reader, _QE_REPORT_CERTIFICATION), "the certification data")


def _certification_data(reader: _Reader, expected_type: int) -> bytes:
    found = reader.integer(2)
    if found != expected_type:
        raise MalformedError(f"certification data of type {found} stand where type {expected_type} belongs")
    data = reader.take(reader.integer(4, maximum=_MAX_CERTIFICATION_DATA))
    reader.end()
    return data


class _Reader:
    """Takes bytes one field after another, and refuses to read past the end."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = name
        self.position = 0

    def take(self, size: int) -> bytes:
        field = self._data[self.position : self.position + size]
        if len(field) != size:
            raise MalformedError(f"{self._name} is truncated")
        self.position += size
        return field

    def integer(self, size: int, *, maximum: int = MAX_QUOTE_SIZE) -> int:
        value = int.from_bytes(self.take(size), "little")
        if value > maximum:
            raise MalformedError(f"{self._name} has a field of {value} bytes, at most {maximum} are allowed")
        return value

    def rest(self) -> bytes:
        return self.take(len(self._data) - self.position)

    def end(self) -> None:
        if self.position != len(self._data):
            raise MalformedError(f"{self._name} is longer than its content")
