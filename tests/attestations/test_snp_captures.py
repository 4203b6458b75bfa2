"""Reports of real machines: each verifies against AMD's pinned roots, or is refused for what is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from glasshouse_attestations import snp
from glasshouse_attestations.claims import Claims, Outcome
from glasshouse_attestations.document import format_time
from glasshouse_attestations.errors import (
    AttributesError,
    CertificateChainError,
    CertificateExpiredError,
    DebugError,
    EvidenceSignatureError,
    IdentityError,
    PrivilegeError,
    ProductError,
    TcbFloorError,
    UnavailableError,
)
from glasshouse_attestations.evidence import Evidence
from support.snp_captures import AMAZON, capture, evidence_of, lenient, time_of
from support.vectors import cases, needs_vectors, vector

CASES = cases("snp")
SOUND = [case for case in CASES if case["sig_ok"] and not case["debug"]]


def names(found: tuple[dict[str, Any], ...] | list[dict[str, Any]]) -> list[str]:
    return [case["source"] for case in found]


def verify(source: str, **changes: Any) -> Claims:
    return snp.verify(evidence_of(source), policy=replace(lenient(source), **changes), now=time_of(source))


def outcome(claims: Claims, name: str) -> Outcome:
    return next(check.outcome for check in claims.checks if check.name == name)


@needs_vectors
def test_the_captures_are_those_that_this_file_was_written_for() -> None:
    assert (len(CASES), len(SOUND)) == (14, 12)


@pytest.mark.parametrize("case", SOUND, ids=names(SOUND))
def test_a_sound_report_verifies_and_says_what_the_capture_says(case: dict[str, Any]) -> None:
    claims = verify(case["source"])
    assert claims.registers == {"launch.sha384": bytes.fromhex(case["meas"])}
    assert claims.report_data == bytes.fromhex(case["rd"])
    assert claims.product is not None
    assert case["leaf_product"].startswith(claims.product)
    assert (claims.identity or bytes(64)) == bytes.fromhex(case["chip"])
    assert (claims.debug, claims.migratable) == (False, False)
    attributes = dict(claims.attributes)
    assert attributes["signing key"] == case["signkey"]
    assert attributes["report version"] == str(case["ver"])
    assert attributes["host data"] == case["host"]
    assert int(attributes["guest policy"], 16) == int(case["policy"], 16)
    assert int(attributes["platform info"], 16) == int(case["plat"], 16)
    assert attributes.get("processor", "000000") == case["fms"]


@pytest.mark.parametrize("case", SOUND, ids=names(SOUND))
def test_the_four_tcbs_are_read_in_the_layout_of_the_product(case: dict[str, Any]) -> None:
    product = snp.Product.of_certificate(case["leaf_product"])
    report = snp.Report.parse(capture(case["source"], "report.bin"))
    found = (report.current_tcb, report.reported_tcb, report.committed_tcb, report.launch_tcb)
    expected = tuple(bytes.fromhex(case[name]) for name in ("cur", "reported", "committed", "launch"))
    assert found == expected
    assert all(snp.Tcb.parse(tcb, product).encode(product) == tcb for tcb in found)


@pytest.mark.parametrize("case", SOUND, ids=names(SOUND))
def test_a_certificate_outside_its_validity_is_refused(case: dict[str, Any]) -> None:
    key = "vlek" if case["signkey"] == "VLEK" else "vcek"
    certificate = snp.EndorsementKey.parse(evidence_of(case["source"]).endorsements[key]).certificate
    assert [format_time(certificate.not_before), format_time(certificate.not_after)] == [
        text.replace("+00:00", "Z") for text in case["leaf_validity"]
    ]
    second = timedelta(seconds=1)
    for moment in (certificate.not_before, certificate.not_after):
        snp.verify(evidence_of(case["source"]), policy=lenient(case["source"]), now=moment)
    for moment in (certificate.not_before - second, certificate.not_after + second):
        with pytest.raises(CertificateExpiredError):
            snp.verify(evidence_of(case["source"]), policy=lenient(case["source"]), now=moment)


@needs_vectors
def test_a_debuggable_guest_is_refused() -> None:
    with pytest.raises(DebugError):
        verify("gosev/attestation")


@needs_vectors
def test_a_report_beside_the_vcek_of_another_chip_is_refused() -> None:
    with pytest.raises(EvidenceSignatureError):
        verify("kinvolk/hcl-snp")


@needs_vectors
@pytest.mark.parametrize("source", ["attestation_rs/live-report-v5-genoa", "az/evidence-genoa.json"])
def test_genoa_verifies_under_the_default_policy_but_for_the_missing_list(source: str) -> None:
    with pytest.raises(UnavailableError, match="revocation list"):
        snp.verify(evidence_of(source), policy=snp.Policy(), now=time_of(source))
    claims = snp.verify(
        evidence_of(source), policy=snp.Policy(require_revocation_list=False), now=time_of(source)
    )
    assert outcome(claims, "revocation of the intermediate") is Outcome.NOT_CHECKED
    assert outcome(claims, "platform ALIAS_CHECK_COMPLETE") is Outcome.PASSED
    assert outcome(claims, "microcode") is Outcome.PASSED


@needs_vectors
def test_milan_is_refused_by_default_and_needs_its_chip_named() -> None:
    source = "az/evidence-v0.json"
    with pytest.raises(ProductError, match="does not accept Milan"):
        verify(source, products=snp.Policy().products)
    with pytest.raises(ProductError, match="names its chip"):
        verify(source, allowed_chip_ids=frozenset())
    assert outcome(verify(source), "chip") is Outcome.PASSED


@needs_vectors
def test_an_unknown_bit_of_a_genuine_turin_is_the_policys_to_allow() -> None:
    with pytest.raises(AttributesError, match="0x40"):
        verify("oak/turin_oc", allowed_unknown_platform_bits=0)
    assert verify("oak/turin_oc", allowed_unknown_platform_bits=0x40).product == "Turin"


@needs_vectors
def test_a_vlek_is_refused_unless_its_provider_is_named() -> None:
    source = "trustee/test-vlek-report"
    with pytest.raises(IdentityError, match="names no provider"):
        verify(source, vlek_providers=frozenset())
    with pytest.raises(IdentityError, match="provider whom the policy does not name"):
        verify(source, vlek_providers=frozenset({"CN=cc-us-east-1.amazonaws.com"}))
    claims = verify(source, vlek_providers=frozenset({AMAZON}))
    assert claims.identity is None
    assert ("provider", AMAZON) in claims.attributes


@needs_vectors
def test_a_report_of_another_privilege_level_is_refused() -> None:
    with pytest.raises(PrivilegeError, match="VMPL 1, not 0"):
        verify("trustee/test-vlek-report", vmpl=0)


@needs_vectors
def test_provisional_firmware_is_refused_where_it_must_be_committed() -> None:
    source = "trustee/test-vlek-report"
    assert outcome(verify(source), "no provisional firmware") is Outcome.NOT_CHECKED
    with pytest.raises(TcbFloorError, match="provisional"):
        verify(source, require_committed=True)


@needs_vectors
def test_the_certificate_table_of_a_real_host_is_read() -> None:
    source = "veraison/tsm"
    evidence, table = evidence_of(source), capture(source, "table")
    found = snp.parse_certificate_table(table)
    assert {name: found[name] for name in ("vcek", "ask", "ark")} == {
        name: evidence.endorsements[name] for name in ("vcek", "ask", "ark")
    }
    tabled = Evidence(platform="snp", quote=evidence.quote, endorsements={"certificate-table": table})
    claims = snp.verify(tabled, policy=lenient(source), now=time_of(source))
    assert claims.product == "Genoa"


@needs_vectors
@pytest.mark.parametrize("name", ["test-vcek-invalid-legacy.der", "test-vcek-invalid-new.der"])
def test_a_vcek_that_amd_did_not_issue_is_refused(name: str) -> None:
    source = "trustee/test-report"
    evidence = evidence_of(source)
    forged = replace(evidence, endorsements={**evidence.endorsements, "vcek": vector(f"snp/trustee/{name}")})
    with pytest.raises(CertificateChainError):
        snp.verify(forged, policy=lenient(source), now=time_of(source))


@needs_vectors
def test_amds_chain_as_a_guest_of_enarx_kept_it_endorses_its_vcek() -> None:
    key = snp.EndorsementKey.parse(vector("snp/enarx/vcek.der"))
    assert (key.kind, key.product) == (snp.Kind.VCEK, snp.Product.MILAN)
    assert len(key.hardware_id or b"") == 64


@needs_vectors
def test_the_default_policy_refuses_every_captured_milan() -> None:
    milans = [
        case for case in CASES if case["leaf_product"].startswith("Milan") and case["signkey"] == "VCEK"
    ]
    assert len(milans) == 8
    for case in milans:
        with pytest.raises(ProductError, match="does not accept Milan"):
            snp.verify(evidence_of(case["source"]), policy=snp.Policy(), now=time_of(case["source"]))


@needs_vectors
def test_the_same_evidence_gives_the_same_claims_from_remembered_certificates() -> None:
    source = "oak/turin_oc"
    assert verify(source) == verify(source)
    with pytest.raises(CertificateExpiredError):
        snp.verify(evidence_of(source), policy=lenient(source), now=time_of(source) + timedelta(days=3650))
