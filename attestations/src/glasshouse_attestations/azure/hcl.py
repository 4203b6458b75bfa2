"""The HCL report, which Azure's paravisor keeps in the vTPM: a hardware report and the runtime data it binds.

All numbers are little-endian. The layout is a header (32 bytes), the hardware report (1184 bytes, of which a
TDREPORT takes 1024), a header of the runtime data (20 bytes) and the runtime data, and then zeros, since an
area of a TPM's NV memory has a fixed size.

Source: Microsoft, "Azure confidential VMs guest attestation design", HCL report and runtime claims.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from dataclasses import dataclass
from enum import Enum

from cryptography.hazmat.primitives.asymmetric import rsa

from ..canonical_json import JSON
from ..dcap import vendor_json
from ..errors import MalformedError

__all__ = ["HclReport", "ReportType", "RuntimeData", "VmConfiguration"]

_MAX_SIZE = 64 << 10
_HEADER = struct.Struct("<4sIIII12s")
_REPORT_SIZE = 1184
_DATA_HEADER = struct.Struct("<IIIII")
_DATA_START = _HEADER.size + _REPORT_SIZE + _DATA_HEADER.size
_VERSIONS = (1, 2)
_REQUEST_TYPE = 2  # the report of a confidential machine
_DATA_VERSION = 1
_HASH_SHA256 = 1
_TD_REPORT_SIZE = 1024
_TD_REPORT_DATA = slice(128, 192)  # REPORTDATA in REPORTMACSTRUCT (Intel TDX Module ABI, TDREPORT_STRUCT)
_AK_NAME = "HCLAkPub"
_MAX_RUNTIME_DATA = 16 << 10
_MAX_KEYS = 8
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_USER_DATA = re.compile(r"[0-9A-Fa-f]{128}", re.ASCII)
_UNIQUE_ID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)


class ReportType(Enum):
    """Which hardware made the report (``IGVM_REQUEST_TYPE``)."""

    SNP = 2
    TDX = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class HclReport:
    """A hardware report and the runtime data behind it, as the paravisor put them together; not yet verified.

    ``hardware_report`` is an SEV-SNP report, or a TDREPORT that only the machine itself can check.
    """

    report_type: ReportType
    hardware_report: bytes
    runtime_data: bytes

    @classmethod
    def parse(cls, data: bytes) -> HclReport:
        """Return the report in ``data``; every size in it fits, and all that is not in use is zero."""
        if not _DATA_START <= len(data) <= _MAX_SIZE:
            raise MalformedError(f"the hcl report does not have {_DATA_START} to {_MAX_SIZE} bytes")
        size, kind = _parse_headers(data)
        end = _DATA_START + size
        if end > len(data):
            raise MalformedError("the hcl report's runtime data are truncated")
        if any(data[end:]):
            raise MalformedError("the hcl report is followed by other bytes than zeros")
        area = data[_HEADER.size : _HEADER.size + _REPORT_SIZE]
        used = _REPORT_SIZE if kind is ReportType.SNP else _TD_REPORT_SIZE
        if any(area[used:]):
            raise MalformedError("the TDREPORT in the hcl report is followed by other bytes than zeros")
        return cls(report_type=kind, hardware_report=area[:used], runtime_data=data[_DATA_START:end])

    @property
    def runtime_digest(self) -> bytes:
        """What the hardware report must carry as report data: the SHA-256 of the runtime data, then zeros."""
        return hashlib.sha256(self.runtime_data).digest() + bytes(32)

    @property
    def td_report_data(self) -> bytes:
        """REPORTDATA of a TDREPORT, which is not signed: the quote made of it is."""
        if self.report_type is not ReportType.TDX:
            raise ValueError("only a TDX machine has a TDREPORT")
        return self.hardware_report[_TD_REPORT_DATA]


def _parse_headers(data: bytes) -> tuple[int, ReportType]:
    """Return the size of the runtime data and the kind of hardware, every other field being as it must be."""
    signature, version, report_size, request, status, reserved = _HEADER.unpack_from(data)
    if signature != b"HCLA" or version not in _VERSIONS:
        raise MalformedError("the hcl report does not begin with HCLA and a version of 1 or 2")
    if request != _REQUEST_TYPE or status != 0 or any(reserved):
        raise MalformedError("the hcl report is of another kind, failed, or has reserved bytes")
    offset = _DATA_START - _DATA_HEADER.size
    data_size, data_version, kind, hash_type, size = _DATA_HEADER.unpack_from(data, offset)
    if data_version != _DATA_VERSION or hash_type != _HASH_SHA256:
        raise MalformedError("the runtime data are of another version, or bound by another hash than SHA-256")
    if data_size != _DATA_HEADER.size + size or report_size != _DATA_START + size:
        raise MalformedError("the sizes in the hcl report contradict each other")
    try:
        return size, ReportType(kind)
    except ValueError:
        raise MalformedError("the hcl report is of neither SEV-SNP nor TDX") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class VmConfiguration:
    """How the machine is set up, as the paravisor saw it at boot. ``None`` is what it did not say."""

    secure_boot: bool | None
    tpm_enabled: bool | None
    tpm_persisted: bool | None
    console_enabled: bool | None
    unique_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeData:
    """The paravisor's runtime claims: the vTPM's attestation key and the machine's configuration.

    Fields that are not named here are tolerated: Microsoft adds some from time to time, the hardware report
    binds the exact bytes whatever they mean, and nothing here rests on a field being absent.
    """

    attestation_key: rsa.RSAPublicKey
    configuration: VmConfiguration
    user_data: bytes

    @classmethod
    def parse(cls, data: bytes) -> RuntimeData:
        """Return the claims in ``data``: JSON, each name once, with exactly one attestation key."""
        value = vendor_json.parse(data, name="the runtime data", max_size=_MAX_RUNTIME_DATA, max_depth=4)
        claims = _object(value, "the runtime data")
        return cls(
            attestation_key=_parse_key(_find_key(claims.get("keys"))),
            configuration=_parse_configuration(_object(claims.get("vm-configuration"), "vm-configuration")),
            user_data=_parse_user_data(claims.get("user-data")),
        )


def _object(value: JSON, name: str) -> dict[str, JSON]:
    if not isinstance(value, dict):
        raise MalformedError(f"{name} is not an object")
    return value


def _find_key(keys: JSON) -> dict[str, JSON]:
    if not isinstance(keys, list) or len(keys) > _MAX_KEYS:
        raise MalformedError(f"the runtime data do not list at most {_MAX_KEYS} keys")
    found = [key for key in keys if isinstance(key, dict) and key.get("kid") == _AK_NAME]
    if len(found) != 1:
        raise MalformedError("the runtime data do not have exactly one attestation key")
    return found[0]


def _parse_key(key: dict[str, JSON]) -> rsa.RSAPublicKey:
    """Return the key of a JSON Web Key (RFC 7517 and 7518, 6.3.1) for signatures and nothing else."""
    if key.get("kty") != "RSA" or key.get("key_ops") != ["sign"]:
        raise MalformedError("the attestation key in the runtime data is not an RSA key for signatures")
    try:
        return rsa.RSAPublicNumbers(_number(key.get("e")), _number(key.get("n"))).public_key()
    except ValueError as err:
        raise MalformedError("the attestation key in the runtime data is no valid key") from err


def _number(value: JSON) -> int:
    if not isinstance(value, str) or not _BASE64URL.fullmatch(value):
        raise MalformedError("a number of the attestation key is not base64url")
    try:
        return int.from_bytes(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)), "big")
    except binascii.Error as err:
        raise MalformedError("a number of the attestation key is not base64url") from err


def _parse_configuration(configuration: dict[str, JSON]) -> VmConfiguration:
    unique_id = configuration.get("vmUniqueId")
    if unique_id is not None and not (isinstance(unique_id, str) and _UNIQUE_ID.fullmatch(unique_id)):
        raise MalformedError("vm-configuration.vmUniqueId is not a UUID")
    return VmConfiguration(
        secure_boot=_flag(configuration, "secure-boot"),
        tpm_enabled=_flag(configuration, "tpm-enabled"),
        tpm_persisted=_flag(configuration, "tpm-persisted"),
        console_enabled=_flag(configuration, "console-enabled"),
        unique_id=None if unique_id is None else unique_id.lower(),
    )


def _flag(configuration: dict[str, JSON], name: str) -> bool | None:
    value = configuration.get(name)
    if value is not None and not isinstance(value, bool):
        raise MalformedError(f"vm-configuration.{name} is not true or false")
    return value


def _parse_user_data(value: JSON) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, str) or not _USER_DATA.fullmatch(value):
        raise MalformedError("user-data of the runtime data is not 64 bytes in hexadecimal")
    return bytes.fromhex(value)
