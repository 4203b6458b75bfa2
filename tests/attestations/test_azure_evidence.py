"""Captured evidence of Azure's confidential machines verifies, or is refused by the step that it fails."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from glasshouse_attestations import azure, dcap, snp, tpm
from glasshouse_attestations.azure import HclReport, ReportType, RuntimeData
from glasshouse_attestations.claims import Claims, Outcome
from glasshouse_attestations.errors import (
    AttributesError,
    CertificateChainError,
    CertificateExpiredError,
    EvidenceSignatureError,
    GlasshouseError,
    IdentityError,
    KeyBindingError,
    MalformedError,
    MeasurementMismatchError,
    OverrideRegisterError,
    PcrError,
    PlatformNotAllowedError,
    ProductError,
    TcbStatusError,
    UnavailableError,
)
from glasshouse_attestations.evidence import Evidence
from support import azure_captures, pki_tpm, tpm_quotes
from support.azure_captures import COMPLETE, GENOA, IN_JUNE_2026, OLDER, evidence_of, policy_for
from support.tpm_quotes import with_endorsement
from support.vectors import case, cases, needs_vectors, vector

pytestmark = needs_vectors

SOURCES = [entry["source"] for entry in cases("azure-vtpm")]
# Their TDs have SEPT_VE_DISABLE clear, which no policy of ours accepts by default.
SEPT_VE = {"trustee_tdx/evidence-v0.json", "trustee_tdx/evidence-v1.json"}
VERIFYING = [source for source in SOURCES if source not in SEPT_VE]


def verify(evidence: Evidence, policy: azure.Policy) -> Claims:
    return azure.verify(evidence, policy=policy, now=IN_JUNE_2026)


def refused(error: type[GlasshouseError], message: str, evidence: Evidence, policy: azure.Policy) -> None:
    with pytest.raises(error, match=message) as caught:
        verify(evidence, policy)
    assert type(caught.value) is error


@pytest.mark.parametrize("source", VERIFYING)
def test_a_capture_verifies_from_the_hardware_to_the_vtpms_quote(source: str) -> None:
    entry = case("azure-vtpm", source)
    claims = verify(evidence_of(source), policy_for(source))
    assert claims.platform == "azure"
    assert claims.report_data == bytes.fromhex(entry["nonce"])
    values = tpm_quotes.azure_values(vector(entry["pcrs"]))
    assert claims.registers == {f"pcr{index}.sha256": value for index, value in values.items()}
    assert claims.debug is False
    assert dict(claims.attributes)["azure machine"] == entry["vm_configuration"]["vmUniqueId"].lower()
    assert any("paravisor" in text for text in claims.unproven)
    passed = {check.name for check in claims.checks if check.outcome is Outcome.PASSED}
    assert {"runtime data", "tpm enabled", "quote signature", "register digest"} <= passed


@pytest.mark.parametrize("source", sorted(SEPT_VE))
def test_a_td_that_takes_exceptions_the_host_provokes_is_refused(source: str) -> None:
    refused(AttributesError, "0x10000000", evidence_of(source), policy_for(source))


@pytest.mark.parametrize("source", sorted(SEPT_VE))
def test_firmware_that_intel_judges_out_of_date_is_refused(source: str) -> None:
    """With that attribute allowed, the same captures fail Intel's judgement of December 2024."""
    path = "normalized/dcap/collateral/teepot_tdx_1.json"
    evidence = with_endorsement(evidence_of(source), "collateral", vector(path))
    tcb = dcap.TcbPolicy(minimum_evaluation_number=17)
    policy = policy_for(source, tdx=dcap.TdxPolicy(tcb=tcb, required_attributes=0))
    now = datetime(2024, 12, 10, tzinfo=timezone.utc)
    with pytest.raises(TcbStatusError, match="OutOfDate"):
        azure.verify(evidence, policy=policy, now=now)


def test_the_claims_are_of_both_layers() -> None:
    claims = verify(evidence_of(COMPLETE), policy_for(COMPLETE))
    assert claims.tcb_status == "UpToDate"
    names = [check.name for check in claims.checks]
    assert any(name.startswith("tdx: ") for name in names)
    for name in ("attestation key certificate", "runtime data", "quote signature", "qualifying data"):
        assert name in names
    paravisor = azure_captures.paravisor_of(evidence_of(COMPLETE))
    assert dict(claims.attributes)["paravisor measurement"] == paravisor.hex()


@pytest.mark.parametrize("source", [COMPLETE, OLDER])
def test_microsofts_certificate_of_the_key_verifies(source: str) -> None:
    claims = verify(evidence_of(source), policy_for(source))
    check = next(each for each in claims.checks if each.name == "attestation key certificate")
    assert check.outcome is Outcome.PASSED


def test_evidence_of_another_platform_is_refused() -> None:
    refused(MalformedError, "azure", replace(evidence_of(GENOA), platform="snp"), policy_for(GENOA))


@pytest.mark.parametrize("name", ["hcl-report", "signature", "pcrs", "td-quote", "collateral", "ak-chain"])
def test_a_missing_endorsement_is_unavailable(name: str) -> None:
    evidence = evidence_of(COMPLETE)
    rest = {key: value for key, value in evidence.endorsements.items() if key != name}
    refused(UnavailableError, f"'{name}'", replace(evidence, endorsements=rest), policy_for(COMPLETE))


def test_endorsements_of_other_hardware_are_refused() -> None:
    evidence = with_endorsement(evidence_of(COMPLETE), "vcek", b"x")
    refused(MalformedError, "none of TDX", evidence, policy_for(COMPLETE))


def test_hardware_without_a_policy_is_refused() -> None:
    tdx_only = policy_for(GENOA, snp=None, tdx=dcap.TdxPolicy())
    refused(PlatformNotAllowedError, "SEV-SNP below azure", evidence_of(GENOA), tdx_only)
    snp_only = policy_for(COMPLETE, tdx=None, snp=snp.Policy())
    refused(PlatformNotAllowedError, "TDX below azure", evidence_of(COMPLETE), snp_only)


def test_the_hardwares_own_policy_holds() -> None:
    refused(ProductError, "Milan", evidence_of(VERIFYING[1]), policy_for(VERIFYING[1], snp=snp.Policy()))


def test_a_hardware_report_of_another_machine_is_refused() -> None:
    """The v0 and v2 captures are of two machines: the report of one with the runtime data of the other."""
    one, other = evidence_of("trustee_snp/evidence-v0.json"), evidence_of("trustee_snp/evidence-v2.json")
    runtime = azure_captures.report_of(other).runtime_data
    refused(
        KeyBindingError,
        "does not bind the runtime data",
        azure_captures.with_runtime_data(one, runtime),
        policy_for("trustee_snp/evidence-v0.json"),
    )


def test_runtime_data_that_name_another_key_are_refused() -> None:
    evidence = evidence_of(GENOA)
    runtime = azure_captures.renamed_key(evidence, tpm_quotes.rsa_key().public_key())
    changed = azure_captures.with_runtime_data(evidence, runtime)
    refused(KeyBindingError, "does not bind the runtime data", changed, policy_for(GENOA))


def test_a_td_quote_of_another_machine_is_refused() -> None:
    evidence = with_endorsement(
        evidence_of(COMPLETE), "td-quote", evidence_of(OLDER).endorsements["td-quote"]
    )
    refused(KeyBindingError, "does not bind the runtime data", evidence, policy_for(COMPLETE))


def test_a_tdreport_that_was_not_quoted_is_refused() -> None:
    report = bytearray(evidence_of(COMPLETE).endorsements["hcl-report"])
    report[32 + 128] ^= 1
    evidence = with_endorsement(evidence_of(COMPLETE), "hcl-report", bytes(report))
    refused(KeyBindingError, "not the one that was quoted", evidence, policy_for(COMPLETE))


def test_a_quote_of_another_vtpm_is_refused() -> None:
    other = evidence_of("trustee_snp/evidence-v2.json")
    evidence = replace(evidence_of(GENOA), quote=other.quote)
    for name in ("signature", "pcrs"):
        evidence = with_endorsement(evidence, name, other.endorsements[name])
    refused(EvidenceSignatureError, "not signed by", evidence, policy_for(GENOA))


def test_a_quote_over_other_registers_than_asked_for_is_refused() -> None:
    default = azure.Policy(tdx=dcap.TdxPolicy())
    refused(PcrError, "4, 8, 11, 12, 13", evidence_of(COMPLETE), default)


def test_registers_that_must_be_zero_are_held_to_it() -> None:
    policy = policy_for(COMPLETE)
    strict = replace(policy, quote=replace(policy.quote, zero=frozenset({12})))
    refused(OverrideRegisterError, "registers 12", evidence_of(COMPLETE), strict)


def test_a_policy_names_paravisors_or_asks_for_the_certificate() -> None:
    """Elsewhere a guest chooses its report data, and could name a "vTPM" that is a program of its own."""
    with pytest.raises(ValueError, match="certificate or names paravisors"):
        azure.Policy(snp=snp.Policy(), require_ak_certificate=False)


def test_evidence_without_certificate_is_refused_by_default() -> None:
    policy = replace(policy_for(GENOA), require_ak_certificate=True)
    refused(UnavailableError, "certificate", evidence_of(GENOA), policy)


def test_another_paravisor_is_refused() -> None:
    policy = policy_for(GENOA, paravisor_measurements=frozenset({bytes(48)}))
    refused(MeasurementMismatchError, "paravisor", evidence_of(GENOA), policy)


def certified(
    source: str, endorsements: dict[str, bytes], roots: frozenset[bytes]
) -> tuple[Evidence, azure.Policy]:
    """The capture with a certificate of the generated authority, and a policy that trusts that."""
    evidence = evidence_of(source)
    policy = policy_for(source)
    changed = replace(evidence, endorsements={**evidence.endorsements, **endorsements})
    return changed, replace(policy, quote=replace(policy.quote, root_sha256=roots))


def test_a_certificate_of_a_machine_that_is_not_confidential_is_refused() -> None:
    """Otherwise the vTPM of an ordinary machine could be named in the runtime data of a guest elsewhere."""
    key = azure_captures.attestation_key(evidence_of(GENOA))
    for kind, error in (("ConfidentialVM", None), ("TrustedVM", ProductError)):
        endorsements = azure_captures.generated_certificate(key, kind)
        evidence, policy = certified(GENOA, endorsements, pki_tpm.root().root_sha256)
        if error is None:
            verify(evidence, policy)
        else:
            refused(error, "confidential machine", evidence, policy)


def test_a_certificate_of_another_key_is_refused() -> None:
    endorsements = azure_captures.generated_certificate(tpm_quotes.rsa_key().public_key())
    evidence, policy = certified(GENOA, endorsements, pki_tpm.root().root_sha256)
    refused(KeyBindingError, "another key", evidence, policy)


def test_a_certificate_of_another_authority_is_refused() -> None:
    key = azure_captures.attestation_key(evidence_of(GENOA))
    endorsements = azure_captures.generated_certificate(key)
    evidence, policy = certified(GENOA, endorsements, frozenset({tpm.AZURE_ROOT_SHA256}))
    refused(CertificateChainError, "not a pinned root", evidence, policy)


def test_an_expired_certificate_is_refused() -> None:
    evidence = {name: evidence_of(COMPLETE).endorsements[name] for name in ("ak-certificate", "ak-chain")}
    capture, policy = certified(GENOA, evidence, frozenset({tpm.AZURE_ROOT_SHA256}))
    with pytest.raises(CertificateExpiredError):
        azure.verify(capture, policy=policy, now=datetime(2027, 6, 30, tzinfo=timezone.utc))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"console_enabled": False}, "console enabled"),
        ({"tpm_persisted": False}, "tpm persisted"),
        ({"secure_boot": False}, "secure boot"),
    ],
)
def test_a_configuration_other_than_asked_for_is_refused(changed: dict[str, bool], message: str) -> None:
    refused(AttributesError, message, evidence_of(GENOA), policy_for(GENOA, **changed))


def test_a_machine_without_secure_boot_is_refused_by_default() -> None:
    policy = replace(policy_for(OLDER), secure_boot=True)
    refused(AttributesError, "secure boot", evidence_of(OLDER), policy)


def test_machines_can_be_named() -> None:
    ours = case("azure-vtpm", GENOA)["vm_configuration"]["vmUniqueId"].lower()
    verify(evidence_of(GENOA), policy_for(GENOA, unique_ids=frozenset({ours})))
    others = policy_for(GENOA, unique_ids=frozenset({"00000000-0000-0000-0000-000000000000"}))
    refused(IdentityError, "none that the policy names", evidence_of(GENOA), others)


def test_the_tdreport_of_an_older_capture_is_bound_to_its_quote_alone() -> None:
    report = HclReport.parse(vector("azure-vtpm/trustee_tdx/hcl-report.bin"))
    assert report.report_type is ReportType.TDX
    assert report.runtime_digest == report.td_report_data
    assert report.td_report_data[:32] == hashlib.sha256(report.runtime_data).digest()


@pytest.mark.parametrize(
    "path", ["kinvolk/hcl-report-snp", "kinvolk/hcl-report-tdx", "trustee_snp/hcl-report"]
)
def test_other_captured_hcl_reports_bind_their_runtime_data(path: str) -> None:
    report = HclReport.parse(vector(f"azure-vtpm/{path}.bin"))
    if report.report_type is ReportType.SNP:
        assert snp.Report.parse(report.hardware_report).report_data == report.runtime_digest
    else:
        assert report.td_report_data == report.runtime_digest


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_the_report_of_kinvolk_is_not_signed_by_the_chip_beside_it() -> None:
    """The certificate captured with it is another chip's."""
    pem = vector("azure-vtpm/kinvolk/certs.pem")
    vcek, ask, ark = azure_captures.pem_as_der(pem)
    endorsements = {
        "hcl-report": vector("azure-vtpm/kinvolk/hcl-report-snp.bin"),
        "signature": b"",
        "pcrs": b"",
    }
    evidence = Evidence(
        platform="azure",
        quote=evidence_of(GENOA).quote,
        endorsements=endorsements | {"vcek": vcek, "ask": ask, "ark": ark},
    )
    report = snp.Report.parse(azure_captures.report_of(evidence).hardware_report)
    policy = azure.Policy(snp=azure_captures.snp_policy(evidence), quote=policy_for(GENOA).quote)
    assert report.chip_id != bytes(64)
    refused(EvidenceSignatureError, "report", evidence, policy)


def flipped(data: bytes) -> Iterator[tuple[int, bytes]]:
    for offset, byte in enumerate(data):
        yield offset, data[:offset] + bytes([byte ^ 1 << offset % 8]) + data[offset + 1 :]


def accepted_offsets(source: str, name: str) -> list[int]:
    evidence, policy = evidence_of(source), policy_for(source)
    accepted = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for offset, data in flipped(evidence.endorsements[name]):
            try:
                verify(with_endorsement(evidence, name, data), policy)
            except GlasshouseError:
                continue
            accepted.append(offset)
    return accepted


def test_every_byte_of_an_hcl_report_over_sev_snp_is_bound() -> None:
    assert accepted_offsets(GENOA, "hcl-report") == []


# The TDREPORT is a copy that only the machine itself could check. Its report data (bytes 128 to 191) must be
# those of the quote, which Intel's key signed; everything else that it says is taken from the quote alone.
TD_REPORT, TD_REPORT_DATA = range(32, 32 + 1024), range(32 + 128, 32 + 192)


def test_every_byte_of_an_hcl_report_over_tdx_is_bound_or_is_the_unsigned_copy() -> None:
    tolerated = [offset for offset in TD_REPORT if offset not in TD_REPORT_DATA]
    assert accepted_offsets(COMPLETE, "hcl-report") == tolerated


def test_every_byte_of_the_quotes_signature_is_bound() -> None:
    assert accepted_offsets(GENOA, "signature") == []


def test_every_byte_of_the_quote_is_bound() -> None:
    evidence, policy = evidence_of(GENOA), policy_for(GENOA)
    for _, quote in flipped(evidence.quote):
        with pytest.raises(GlasshouseError):
            verify(replace(evidence, quote=quote), policy)


Change = Callable[[dict[str, Any]], object]
CONFIGURATION = "vm-configuration"
MALFORMED_CLAIMS: dict[str, tuple[Change, str]] = {
    "no keys": (lambda claims: claims.pop("keys"), "keys"),
    "no attestation key": (lambda claims: claims["keys"].pop(0), "exactly one"),
    "two attestation keys": (lambda claims: claims["keys"].append(claims["keys"][0]), "exactly one"),
    "too many keys": (lambda claims: claims["keys"].extend(claims["keys"] * 4), "at most 8"),
    "an elliptic key": (lambda claims: claims["keys"][0].update(kty="EC"), "RSA"),
    "an encryption key": (lambda claims: claims["keys"][0].update(key_ops=["encrypt"]), "for signatures"),
    "a modulus not base64url": (lambda claims: claims["keys"][0].update(n="+/=="), "base64url"),
    "a modulus of one letter": (lambda claims: claims["keys"][0].update(n="A"), "base64url"),
    "an even exponent": (lambda claims: claims["keys"][0].update(e="Ag"), "no valid key"),
    "no configuration": (lambda claims: claims.pop(CONFIGURATION), "vm-configuration"),
    "a flag as text": (lambda claims: claims[CONFIGURATION].update({"secure-boot": "true"}), "secure-boot"),
    "no uuid": (lambda claims: claims[CONFIGURATION].update(vmUniqueId="mine"), "UUID"),
    "short user data": (lambda claims: claims.update({"user-data": "00"}), "64 bytes"),
}


@pytest.mark.parametrize("name", MALFORMED_CLAIMS)
def test_malformed_runtime_data_are_refused(name: str) -> None:
    change, message = MALFORMED_CLAIMS[name]
    claims = json.loads(azure_captures.report_of(evidence_of(GENOA)).runtime_data)
    change(claims)
    with pytest.raises(MalformedError, match=message):
        RuntimeData.parse(json.dumps(claims).encode("ascii"))


@pytest.mark.parametrize("data", [b"", b"[]", b'{"keys":[],"keys":[]}', b'{"keys":1.5}', b"\xff", b"[" * 50])
def test_runtime_data_that_are_no_strict_json_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError, match="runtime data"):
        RuntimeData.parse(data)


def test_runtime_data_may_say_more_than_is_known() -> None:
    claims = json.loads(azure_captures.report_of(evidence_of(GENOA)).runtime_data)
    claims["added-later"] = {"by": "microsoft"}
    claims["vm-configuration"]["another-setting"] = 3
    runtime = RuntimeData.parse(json.dumps(claims).encode("ascii"))
    assert runtime.attestation_key == azure_captures.attestation_key(evidence_of(GENOA))


def changed_report(offset: int, value: bytes) -> bytes:
    report = evidence_of(GENOA).endorsements["hcl-report"]
    return report[:offset] + value + report[offset + len(value) :]


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, b"HCLB", "HCLA"),
        (4, b"\3", "HCLA"),
        (8, b"\0\0", "contradict"),
        (12, b"\3", "another kind"),
        (16, b"\1", "another kind"),
        (20, b"\1", "another kind"),
        (0x4C0, b"\0", "contradict"),
        (0x4C4, b"\2", "another version"),
        (0x4C8, b"\3", "neither SEV-SNP nor TDX"),
        (0x4CC, b"\2", "another hash"),
        (0x4D0, b"\xff\xff", "contradict"),
    ],
)
def test_a_malformed_hcl_report_is_refused(offset: int, value: bytes, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        HclReport.parse(changed_report(offset, value))


def test_a_truncated_or_followed_hcl_report_is_refused() -> None:
    report = evidence_of(GENOA).endorsements["hcl-report"]
    for size in (0, 1235, 1300):
        with pytest.raises(MalformedError):
            HclReport.parse(report[:size])
    with pytest.raises(MalformedError, match="other bytes than zeros"):
        HclReport.parse(report[:-1] + b"\1")
    with pytest.raises(MalformedError, match="65536"):
        HclReport.parse(report + bytes(65536))


def test_bytes_behind_a_tdreport_are_refused() -> None:
    report = bytearray(evidence_of(COMPLETE).endorsements["hcl-report"])
    report[32 + 1024] = 1
    with pytest.raises(MalformedError, match="TDREPORT"):
        HclReport.parse(bytes(report))


def test_only_a_tdx_machine_has_a_tdreport() -> None:
    with pytest.raises(ValueError, match="TDREPORT"):
        _ = azure_captures.report_of(evidence_of(GENOA)).td_report_data
