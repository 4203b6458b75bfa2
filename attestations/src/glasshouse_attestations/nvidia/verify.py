"""The verification of a GPU's or NVSwitch's report, step by step.

"NVIDIA verifier" in a check's source is NVIDIA's published attestation SDK: there is no other
specification of the opaque data, of the certificate hierarchy and of how manifests are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from ..claims import Check, Claims, Outcome
from ..document import format_time
from ..errors import (
    AttributesError,
    CertificateChainError,
    CollateralError,
    DebugError,
    EvidenceSignatureError,
    IdentityError,
    KeyBindingError,
    MalformedError,
    MeasurementMismatchError,
    ProductError,
    ReportDataMismatchError,
    TcbFloorError,
    UnavailableError,
)
from ..evidence import Evidence
from ..x509 import Algorithm, verify_chain
from . import ocsp
from .certificates import (
    DEVICE,
    FAMILY,
    PROVISIONER,
    Device,
    FirmwareIdentity,
    load_chain,
    read_firmware_identity,
)
from .opaque import DeviceMode, Field, OpaqueData
from .policy import Policy
from .rim import ReferenceManifest
from .spdm import Report

__all__ = ["ENDORSEMENTS", "PLATFORM", "UNPROVEN", "verify"]

PLATFORM = "nvidia"
UNPROVEN = (
    "that the GPU is attached to the machine whose evidence stands beside this: a report can be relayed",
    "that developer tools are off: the report has no field for it",
    "that NVIDIA, whose factory made the device's identity, has not made another with the same one",
    "that the signers of the reference values are not revoked",
)
ENDORSEMENTS = frozenset(
    {
        "certificate-chain",
        "driver-rim",
        "vbios-rim",
        "ocsp-device",
        "ocsp-provisioner",
        "ocsp-family",
    }
)
_REVOCABLE = {"ocsp-device": DEVICE, "ocsp-provisioner": PROVISIONER, "ocsp-family": FAMILY}
_SWITCHES = frozenset({"LS_10"})
_NVDEC0_BLOCK = 36
_SDK = "NVIDIA verifier"


@dataclass(frozen=True, slots=True)
class _Case:
    """What each step looks at: the parsed evidence under one policy at one moment."""

    report: Report
    opaque: OpaqueData
    chain: tuple[x509.Certificate, ...]
    endorsements: Mapping[str, bytes]
    policy: Policy
    now: datetime

    @property
    def device(self) -> Device:
        return Device.read(self.chain)

    @property
    def is_switch(self) -> bool:
        return self.device.chip in _SWITCHES

    @property
    def vbios_version(self) -> str:
        return self.opaque.text(Field.VBIOS_VERSION) if self.is_switch else self.opaque.gpu_vbios_version

    @property
    def driver_version(self) -> str | None:
        return None if self.is_switch else self.opaque.text(Field.DRIVER_VERSION)

    @property
    def firmware(self) -> FirmwareIdentity:
        return read_firmware_identity(self.chain)


def verify(evidence: Evidence, *, policy: Policy, now: datetime) -> Claims:
    """Return what the report of an NVIDIA GPU or NVSwitch claims, after every step has passed.

    The quote is the SPDM request and response; the endorsements are ``certificate-chain`` (PEM),
    ``driver-rim`` and ``vbios-rim`` (XML), and ``ocsp-device``, ``ocsp-provisioner`` and ``ocsp-family``
    (DER). Afterwards the report is known to be signed by a device that NVIDIA certified, of a product that
    ``policy`` accepts. The claims' ``report_data`` is the 32-byte nonce of the request; ``registers`` are
    all measurement blocks. They have been compared with NVIDIA's reference values if the checks say so.

    Raises :class:`MalformedError`, :class:`UnavailableError` for an endorsement that the policy requires
    and that is absent, or the error class of the step that failed.
    """
    if evidence.platform != PLATFORM:
        raise MalformedError("the evidence is not of the nvidia platform")
    if not evidence.endorsements.keys() <= ENDORSEMENTS:
        raise MalformedError("nvidia evidence has an unknown endorsement")
    if "certificate-chain" not in evidence.endorsements:
        raise UnavailableError("the evidence lacks the endorsement certificate-chain")
    report = Report.parse(evidence.quote)
    opaque = OpaqueData.parse(report.opaque)
    chain = load_chain(evidence.endorsements["certificate-chain"])
    case = _Case(report, opaque, chain, evidence.endorsements, policy, now)
    checks = [_passed("report", f"{len(report.measurements)} measurements", "DMTF DSP0274 1.1, 10.11")]
    for step in _STEPS:
        checks.extend(step(case))
    return _claims(case, tuple(checks))


def _check_chain(case: _Case) -> Iterator[Check]:
    leaf = verify_chain(
        case.chain,
        root_sha256=case.policy.device_root_sha256,
        algorithms={Algorithm.ECDSA_P384_SHA384},
        now=case.now,
    )
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as err:
        raise CertificateChainError("the firmware's certificate has no key usage") from err
    if not usage.digital_signature or usage.key_cert_sign:
        raise CertificateChainError("the firmware's certificate is not an end entity's for signatures")
    yield _passed("certificate chain", "five certificates up to the pinned root", "RFC 5280, 6.1")


def _check_signature(case: _Case) -> Iterator[Check]:
    key = case.chain[0].public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise EvidenceSignatureError("the firmware's key is not on P-384")
    r, s = (int.from_bytes(half, "big") for half in case.report.signature_halves)
    try:
        key.verify(encode_dss_signature(r, s), case.report.signed, ec.ECDSA(hashes.SHA384()))
    except InvalidSignature as err:
        raise EvidenceSignatureError("the report is not signed by the firmware's key") from err
    yield _passed("report signature", "over request and response", "DMTF DSP0274 1.1, 10.11.1")


def _check_revocation(case: _Case) -> Iterator[Check]:
    for name, position in _REVOCABLE.items():
        check = f"revocation: {name.removeprefix('ocsp-')}"
        if name in case.endorsements:
            until = ocsp.verify_response(
                case.endorsements[name],
                chain=case.chain[position:],
                root_sha256=case.policy.device_root_sha256,
                now=case.now,
            )
            yield _passed(check, f"good until {format_time(until)}", "RFC 6960, 3.2")
        elif case.policy.require_revocation_status:
            raise UnavailableError(f"the evidence lacks the endorsement {name}")
        else:
            yield _not_checked(check, "no OCSP response is given", "RFC 6960, 3.2")


def _check_product(case: _Case) -> Iterator[Check]:
    chip = case.device.chip
    if chip not in case.policy.products:
        raise ProductError(f"the policy does not accept the product {chip}")
    yield _passed("product", chip, _SDK)


def _check_identity(case: _Case) -> Iterator[Check]:
    serial = case.device.serial
    # A switch reports its own identifier; a GPU has none in its report.
    if case.is_switch and not serial.endswith(case.opaque.device_pdi):
        raise IdentityError("the switch reports another identifier than its certificate's")
    if case.policy.serials is None:
        yield _not_checked("device identity", f"any device is accepted; this is {serial.hex()}", _SDK)
    elif serial not in case.policy.serials:
        raise IdentityError(f"the policy does not accept the device {serial.hex()}")
    else:
        yield _passed("device identity", serial.hex(), _SDK)


def _check_firmware(case: _Case) -> Iterator[Check]:
    certified, reported = case.firmware, case.opaque.firmware_id
    source = "TCG DICE Attestation Architecture 1.1, 6.1.1"
    if reported is None:
        # Neither a switch nor a GPU with early firmware reports it; nobody can take it out of the signature.
        yield _not_checked("firmware identity", f"not reported; certified: {certified.fwid.hex()}", source)
    elif reported != certified.fwid:
        raise KeyBindingError(
            "the report names other firmware than the certificate of the key that signed it"
        )
    else:
        yield _passed("firmware identity", reported.hex(), source)


def _check_debug(case: _Case) -> Iterator[Check]:
    source = "TCG DICE Attestation Architecture 1.1, 6.1.1"
    if case.firmware.debug:
        raise DebugError("the firmware's certificate says that it is in debug mode, or not secure")
    if case.firmware.debug is None:
        yield _not_checked("debug mode", "the certificate of this product does not say", source)
    else:
        yield _passed("debug mode", "off, says the certificate", source)


def _check_mode(case: _Case) -> Iterator[Check]:
    if case.is_switch:
        yield _not_applicable("GPU mode", _SDK)
        return
    mode = case.opaque.mode
    if mode is DeviceMode.PROTECTED_PCIE and not case.policy.allow_protected_pcie:
        raise AttributesError("the GPU is in protected PCIe mode, in which NVLink traffic is not encrypted")
    if mode is None:
        yield _not_checked("GPU mode", "not protected PCIe; older firmware says no more", _SDK)
    else:
        yield _passed("GPU mode", mode.value, _SDK)


def _check_nonce(case: _Case) -> Iterator[Check]:
    source = "DMTF DSP0274 1.1, 10.11"
    if case.policy.nonce is None:
        yield _not_checked("nonce", "the policy expects no value", source)
    elif case.report.nonce != case.policy.nonce:
        raise ReportDataMismatchError("the report answers another nonce than the policy expects")
    else:
        yield _passed("nonce", "as expected, in full", source)


def _check_versions(case: _Case) -> Iterator[Check]:
    driver, vbios = case.driver_version, case.vbios_version
    for name, found, accepted in (
        ("driver version", driver, case.policy.driver_versions),
        ("VBIOS version", vbios, case.policy.vbios_versions),
    ):
        if found is None:
            yield _not_applicable(name, _SDK)
        elif accepted is None:
            yield _not_checked(name, f"any is accepted; this is {found}", _SDK)
        elif found not in accepted:
            raise TcbFloorError(f"the policy does not accept the {name} {found}")
        else:
            yield _passed(name, found, _SDK)


def _check_measurements(case: _Case) -> Iterator[Check]:
    compared: dict[int, str] = {}
    for name, version in (("driver-rim", case.driver_version), ("vbios-rim", case.vbios_version)):
        if version is None:
            yield _not_applicable(name, _SDK)
        elif name in case.endorsements:
            manifest = _verify_manifest(case, name, version)
            yield from _describe_manifest(name, manifest)
            _compare(case, name, manifest, compared)
        elif case.policy.require_rims:
            raise UnavailableError(f"the evidence lacks the endorsement {name}")
        else:
            yield _not_checked(name, "no reference values are given", _SDK)
    total = len(case.report.measurements)
    detail = f"{len(compared)} of {total} blocks have reference values, and show them"
    yield (_passed if compared else _not_checked)("measurements", detail, _SDK)


def _verify_manifest(case: _Case, name: str, version: str) -> ReferenceManifest:
    manifest = ReferenceManifest.verify(
        case.endorsements[name],
        root_sha256=case.policy.rim_root_sha256,
        now=case.now,
        allow_expired=case.policy.allow_expired_rim_signers,
    )
    if manifest.product != case.device.chip:
        raise ProductError(f"the {name} is about {manifest.product}, the device is a {case.device.chip}")
    if manifest.version != version:
        raise CollateralError(f"the {name} is about version {manifest.version}, the device runs {version}")
    return manifest


def _describe_manifest(name: str, manifest: ReferenceManifest) -> Iterator[Check]:
    source = "ISO/IEC 19770-2; XML Signature 1.1, 3.2"
    yield _passed(name, f"signed by NVIDIA, for version {manifest.version}", source)
    if manifest.signer_expired is not None:
        expired = format_time(manifest.signer_expired)
        yield _not_checked(f"{name} validity", f"the signer's chain expired on {expired}", source)


def _compare(case: _Case, name: str, manifest: ReferenceManifest, compared: dict[int, str]) -> None:
    for block, accepted in sorted(manifest.measurements.items()):
        # A block that two manifests claim could be satisfied by the weaker one.
        if block in compared:
            raise CollateralError(f"both {compared[block]} and {name} have values for block {block}")
        if block == _NVDEC0_BLOCK and not case.is_switch and not case.opaque.nvdec0_enabled:
            continue
        found = case.report.measurements.get(block)
        if found is None or found not in accepted:
            shown = found.hex() if found else "absent"
            raise MeasurementMismatchError(f"block {block} is {shown}, which the {name} does not list")
        compared[block] = name


_STEPS: tuple[Callable[[_Case], Iterator[Check]], ...] = (
    _check_chain,
    _check_signature,
    _check_revocation,
    _check_product,
    _check_identity,
    _check_firmware,
    _check_debug,
    _check_mode,
    _check_nonce,
    _check_versions,
    _check_measurements,
)


def _claims(case: _Case, checks: tuple[Check, ...]) -> Claims:
    measurements = case.report.measurements
    return Claims(
        platform=PLATFORM,
        registers={f"measurement{index}.sha384": measurements[index] for index in sorted(measurements)},
        report_data=case.report.nonce,
        checks=checks,
        product=case.device.chip,
        identity=case.device.serial,
        debug=case.firmware.debug,
        attributes=tuple(_attributes(case)),
        unproven=UNPROVEN,
    )


def _attributes(case: _Case) -> Iterator[tuple[str, str]]:
    yield "VBIOS version", case.vbios_version
    if case.driver_version is not None:
        yield "driver version", case.driver_version
        if case.opaque.mode is not None:
            yield "GPU mode", case.opaque.mode.value
    for field in (Field.PROJECT, Field.PROJECT_SKU, Field.CHIP_SKU):
        text = case.opaque.optional_text(field)
        if text is not None:
            yield field.name.lower().replace("_", " "), text


def _passed(name: str, detail: str, source: str) -> Check:
    return Check(name=name, outcome=Outcome.PASSED, detail=detail, source=source)


def _not_checked(name: str, detail: str, source: str) -> Check:
    return Check(name=name, outcome=Outcome.NOT_CHECKED, detail=detail, source=source)


def _not_applicable(name: str, source: str) -> Check:
    return Check(name=name, outcome=Outcome.NOT_APPLICABLE, detail="a switch has none", source=source)
