"""Reports captured from real GPUs and a switch: each verifies, or is refused for its stated reason."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from glasshouse_attestations import nvidia
from glasshouse_attestations.claims import Claims, Outcome
from glasshouse_attestations.errors import (
    AttributesError,
    CertificateChainError,
    CertificateExpiredError,
    CollateralError,
    EvidenceSignatureError,
    GlasshouseError,
    MalformedError,
    ProductError,
    ReportDataMismatchError,
    UnavailableError,
)
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.nvidia.certificates import load_chain
from glasshouse_attestations.x509 import Algorithm, load_certificate, verify_chain
from support.pki_nvidia import needs_xml_signatures
from support.vectors import case, cases, needs_vectors, vector

pytestmark = needs_vectors

_NOW = datetime(2026, 11, 23, tzinfo=timezone.utc)
_PRODUCTS = {
    "attsdk/hopper_evidence.json#0": "GH100",
    "attsdk/hopper_evidence_cert_hold.json#0": "GH100",
    "attsdk/evidence_hopper_590_12.json#0": "GH100",
    "veraison/blackwell-evidence.json#0": "GB100",
    "attsdk/switch_evidence_ls10.json#0": "LS_10",
    "nvtrust": "GH100",
    "attsdk_ut": "GH100",
}
_PROTECTED_PCIE = {"attsdk/hopper_evidence.json#0", "attsdk/evidence_hopper_590_12.json#0"}
_SWITCH = "attsdk/switch_evidence_ls10.json#0"
_BLACKWELL = "veraison/blackwell-evidence.json#0"
# No capture comes with the reference values and revocation responses of its moment.
_LENIENT: dict[str, Any] = {
    "products": frozenset({"GH100", "GB100", "LS_10"}),
    "require_rims": False,
    "require_revocation_status": False,
    "allow_protected_pcie": True,
}
_DRIVER_RIM = "nvidia/attsdk/NV_GPU_DRIVER_GH100_550.144.03.xml"


def _evidence(entry: dict[str, Any], **endorsements: bytes) -> Evidence:
    return Evidence(
        platform="nvidia",
        quote=vector(entry["evidence"]),
        endorsements={"certificate-chain": vector(entry["chain"]), **endorsements},
    )


def _verify(evidence: Evidence, **policy: Any) -> Claims:
    return nvidia.verify(evidence, policy=nvidia.Policy(**{**_LENIENT, **policy}), now=_NOW)


def test_every_capture_is_expected_here() -> None:
    assert {entry["source"] for entry in cases("nvidia")} == _PRODUCTS.keys()


@pytest.mark.parametrize("source", sorted(_PRODUCTS))
def test_a_genuine_report_verifies_for_its_nonce(source: str) -> None:
    entry = case("nvidia", source)
    nonce = bytes.fromhex(entry["expected_nonce"])
    claims = _verify(_evidence(entry), nonce=nonce)
    assert claims.report_data == nonce
    assert claims.product == _PRODUCTS[source]
    assert len(claims.registers) == (31 if claims.product == "LS_10" else 64)
    assert claims.debug is (False if source == _BLACKWELL else None)
    unchecked = {check.name for check in claims.checks if check.outcome is Outcome.NOT_CHECKED}
    assert {"vbios-rim", "measurements", "revocation: device", "revocation: family"} <= unchecked
    with pytest.raises(ReportDataMismatchError):
        _verify(_evidence(entry), nonce=bytes(32))


@pytest.mark.parametrize("source", sorted(_PRODUCTS))
def test_without_reference_values_or_revocation_nothing_is_verified_by_default(source: str) -> None:
    entry = case("nvidia", source)
    with pytest.raises(UnavailableError, match="ocsp-device"):
        _verify(_evidence(entry), require_revocation_status=True)
    with pytest.raises(UnavailableError, match="-rim"):
        _verify(_evidence(entry), require_rims=True)


def test_a_device_on_hold_is_only_found_with_its_revocation_status() -> None:
    entry = case("nvidia", "attsdk/hopper_evidence_cert_hold.json#0")
    with pytest.raises(UnavailableError, match="ocsp-device"):
        _verify(_evidence(entry), require_revocation_status=True)


@pytest.mark.parametrize("source", sorted(_PROTECTED_PCIE))
def test_protected_pcie_is_accepted_only_where_the_policy_says_so(source: str) -> None:
    with pytest.raises(AttributesError, match="protected PCIe"):
        _verify(_evidence(case("nvidia", source)), allow_protected_pcie=False)


def test_a_switch_is_no_gpu() -> None:
    with pytest.raises(ProductError, match="LS_10"):
        _verify(
            _evidence(case("nvidia", "attsdk/switch_evidence_ls10.json#0")), products=frozenset({"GH100"})
        )


@pytest.mark.parametrize(("mine", "other"), [("nvtrust", "attsdk_ut"), (_BLACKWELL, "nvtrust")])
def test_a_report_under_another_device_s_chain_is_refused(mine: str, other: str) -> None:
    evidence = Evidence(
        platform="nvidia",
        quote=vector(case("nvidia", mine)["evidence"]),
        endorsements={"certificate-chain": vector(case("nvidia", other)["chain"])},
    )
    with pytest.raises(EvidenceSignatureError):
        _verify(evidence)


@pytest.mark.parametrize(("source", "step"), [(_BLACKWELL, 1), ("nvtrust", 11), (_SWITCH, 11)])
def test_every_byte_of_a_genuine_report_counts(source: str, step: int) -> None:
    entry = case("nvidia", source)
    report, accepted = vector(entry["evidence"]), []
    for offset in range(0, len(report), step):
        flipped = bytearray(report)
        flipped[offset] ^= 1 << offset % 8
        evidence = Evidence(
            platform="nvidia",
            quote=bytes(flipped),
            endorsements={"certificate-chain": vector(entry["chain"])},
        )
        try:
            _verify(evidence)
        except GlasshouseError:
            continue
        accepted.append(offset)
    assert accepted == []


# A flipped serial number is negative, about which the library of certificates warns.
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_every_byte_of_a_genuine_chain_counts() -> None:
    pem, accepted = vector(case("nvidia", _BLACKWELL)["chain"]), []
    for offset in range(len(pem)):
        flipped = bytearray(pem)
        flipped[offset] ^= 1 << offset % 7
        try:
            verify_chain(
                load_chain(bytes(flipped)),
                root_sha256={nvidia.DEVICE_ROOT_SHA256},
                algorithms={Algorithm.ECDSA_P384_SHA384},
                now=_NOW,
            )
        except GlasshouseError:
            continue
        accepted.append(offset)
    assert accepted == []


def test_a_certificate_whose_signature_counts_unused_bits_is_malformed() -> None:
    """The one byte of a certificate that its issuer does not sign, and that some parsers overlook."""
    for certificate in load_chain(vector(case("nvidia", _BLACKWELL)["chain"])):
        der, size = certificate.public_bytes(serialization.Encoding.DER), len(certificate.signature)
        assert der[-size - 1] == 0
        with pytest.raises(MalformedError, match=r"whole number of bytes|does not parse"):
            load_certificate(der[: -size - 1] + b"\x01" + der[-size:])


def test_a_report_that_is_longer_or_shorter_is_malformed() -> None:
    entry = case("nvidia", "nvtrust")
    report = vector(entry["evidence"])
    chain = {"certificate-chain": vector(entry["chain"])}
    for changed in (report + b"\0", report[:-1], report[:37], b"\0" + report):
        with pytest.raises(MalformedError):
            _verify(Evidence(platform="nvidia", quote=changed, endorsements=chain))


def test_a_verifier_s_claims_are_no_evidence() -> None:
    entry = case("nvidia", "nvtrust")
    chain = {"certificate-chain": vector(entry["chain"])}
    claims = vector("nvidia/dstack/gpu_attestation_h100.json")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}') + b".e30."
    for quote in (claims, unsigned, json.dumps([["JWT", unsigned.decode()], {}]).encode()):
        with pytest.raises(MalformedError, match="SPDM"):
            _verify(Evidence(platform="nvidia", quote=quote, endorsements=chain))


def test_a_chain_in_another_order_or_length_is_refused() -> None:
    entry = case("nvidia", "nvtrust")
    pems = [one.public_bytes(serialization.Encoding.PEM) for one in load_chain(vector(entry["chain"]))]
    for chain, error in (
        (pems[:4], MalformedError),
        (pems[1:], MalformedError),
        ([*pems, pems[4]], MalformedError),
        ([pems[0], *pems[2:], pems[1]], CertificateChainError),
        (pems[::-1], CertificateChainError),
        ([b"text\n", *pems], MalformedError),
    ):
        evidence = Evidence(
            platform="nvidia",
            quote=vector(entry["evidence"]),
            endorsements={"certificate-chain": b"".join(chain)},
        )
        with pytest.raises(error):
            _verify(evidence)


def test_the_pinned_roots_are_those_that_nvidia_publishes() -> None:
    for file, pinned in (
        ("nvidia/nvtrust/verifier_device_root.pem", nvidia.DEVICE_ROOT_SHA256),
        ("nvidia/nvtrust/verifier_RIM_root.pem", nvidia.RIM_ROOT_SHA256),
    ):
        assert x509.load_pem_x509_certificate(vector(file)).fingerprint(hashes.SHA256()) == pinned


def _manifest(file: str, now: datetime = _NOW, *, allow_expired: bool = False) -> nvidia.ReferenceManifest:
    return nvidia.ReferenceManifest.verify(
        vector(file), root_sha256={nvidia.RIM_ROOT_SHA256}, now=now, allow_expired=allow_expired
    )


@needs_xml_signatures
def test_a_genuine_driver_manifest_verifies() -> None:
    manifest = _manifest(_DRIVER_RIM)
    assert (manifest.product, manifest.version) == ("GH100", "550.144.03")
    assert sorted(manifest.measurements) == [8, *range(22, 42)]
    assert manifest.signer_expired is None


@needs_xml_signatures
@pytest.mark.parametrize(
    ("file", "version", "blocks"),
    [
        ("nvtrust/1010_0200_882_96005E0001_PROD.swidtag", "96.00.5E.00.01", 12),
        ("nvtrust/1010_0200_882_96005E0001_test_no_gpu.swidtag", "96.00.5E.00.01", 12),
        ("nvtrust/Driver_RIM_test_no_gpu.swidtag", "545.00", 21),
        # Its name is about the report it is held against, not about itself.
        ("attsdk_rims/NV_GPU_VBIOS_1010_0200_882_96005E0001_measurement_mismatch.xml", "96.00.5E.00.01", 12),
    ],
)
def test_a_genuine_manifest_verifies_until_its_signer_expires(file: str, version: str, blocks: int) -> None:
    then = datetime(2025, 3, 1, tzinfo=timezone.utc)
    manifest = _manifest(f"nvidia/{file}", then)
    assert (manifest.product, manifest.version, len(manifest.measurements)) == ("GH100", version, blocks)
    with pytest.raises(CertificateExpiredError):
        _manifest(f"nvidia/{file}")
    expired = _manifest(f"nvidia/{file}", allow_expired=True)
    assert expired.measurements == manifest.measurements
    assert expired.signer_expired is not None
    assert expired.signer_expired < _NOW
    with pytest.raises(CertificateExpiredError):
        _manifest(f"nvidia/{file}", datetime(2023, 1, 1, tzinfo=timezone.utc), allow_expired=True)


@needs_xml_signatures
@pytest.mark.parametrize(
    ("file", "error", "reason"),
    [
        ("attsdk/incorrect_cert_chain_driver_rim.xml", CertificateChainError, "not a pinned root"),
        ("attsdk/incorrect_signature_driver_rim.xml", CollateralError, "not signed"),
        ("attsdk_rims/NV_GPU_DRIVER_GH100_535.86.09_measurement_mismatch.xml", CollateralError, "not signed"),
        ("attsdk_rims/NV_GPU_DRIVER_GH100_570.124.03_expired.xml", CertificateExpiredError, "2025-01-02"),
    ],
)
def test_a_spoilt_manifest_is_refused_for_its_reason(
    file: str, error: type[GlasshouseError], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        _manifest(f"nvidia/{file}")


@needs_xml_signatures
def test_a_genuine_manifest_for_another_version_is_refused() -> None:
    for source, reason in (("nvtrust", "550.144.03, the device runs 550.90.07"), (_BLACKWELL, "GH100")):
        with pytest.raises((CollateralError, ProductError), match=reason):
            _verify(_evidence(case("nvidia", source), **{"driver-rim": vector(_DRIVER_RIM)}))


@needs_xml_signatures
def test_flipped_bytes_of_a_genuine_manifest_are_refused_outside_its_unsigned_parts() -> None:
    file = "nvidia/nvtrust/1010_0200_882_96005E0001_PROD.swidtag"
    xml, genuine = vector(file), _manifest(file, allow_expired=True)
    signature = xml.index(b"<ds:Signature ")
    for offset in range(0, len(xml), 29):
        flipped = bytearray(xml)
        flipped[offset] ^= 1 << offset % 7
        try:
            manifest = nvidia.ReferenceManifest.verify(
                bytes(flipped),
                root_sha256={nvidia.RIM_ROOT_SHA256},
                now=_NOW,
                allow_expired=True,
            )
        except GlasshouseError:
            continue
        # Enveloped signatures do not cover themselves: white space and the like in them may change,
        # and what is read must stay the same.
        assert offset > signature
        assert manifest == genuine
