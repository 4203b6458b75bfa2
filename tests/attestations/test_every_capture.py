"""Every case of ``shared/vectors/CASES.json``, of all technologies, in one table: none is forgotten.

The table says what becomes of each: it verifies, or it is refused in the error of the step that INDEX.md
names. How each is verified, and what its claims then are, is tested technology by technology.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

import pytest

from glasshouse_attestations import azure, nitro, nvidia, snp
from glasshouse_attestations.errors import GlasshouseError
from glasshouse_attestations.evidence import Evidence
from support import azure_captures, snp_captures
from support.dcap_captures import LENIENT, captures
from support.vectors import VECTORS, case, cases, moment, needs_vectors, vector

pytestmark = needs_vectors

VERIFIED = "verified"
Attempt = Callable[[], object]


def _snp(source: str) -> Iterator[Attempt]:
    evidence, policy = snp_captures.evidence_of(source), snp_captures.lenient(source)
    yield lambda: snp.verify(evidence, policy=policy, now=snp_captures.time_of(source))


def _dcap(source: str) -> Iterator[Attempt]:
    for capture in captures():
        if capture.source == source:
            yield lambda capture=capture: capture.verify(LENIENT)  # type: ignore[misc] # bound for each


def _nitro(source: str) -> Iterator[Attempt]:
    entry = case("nitro", source)
    data = vector(entry["doc"])
    if trailing := re.search(r"trailing=([0-9]+)", entry["survey"]):
        data = data[: len(data) - int(trailing[1])]
    now = moment(entry.get("test_time", 1_767_472_867))
    yield lambda: nitro.verify(Evidence(platform="nitro", quote=data), policy=nitro.Policy(), now=now)


def _azure(source: str) -> Iterator[Attempt]:
    def attempt() -> object:
        evidence, policy = azure_captures.evidence_of(source), azure_captures.policy_for(source)
        return azure.verify(evidence, policy=policy, now=azure_captures.IN_JUNE_2026)

    yield attempt


def _nvidia(source: str) -> Iterator[Attempt]:
    entry = case("nvidia", source)
    evidence = Evidence(
        platform="nvidia",
        quote=vector(entry["evidence"]),
        endorsements={"certificate-chain": vector(entry["chain"])},
    )
    policy = nvidia.Policy(
        products=frozenset({"GH100", "GB100", "LS_10"}),
        nonce=bytes.fromhex(entry["expected_nonce"]),
        require_rims=False,
        require_revocation_status=False,
        allow_protected_pcie=True,
    )
    now = datetime(2026, 11, 23, tzinfo=timezone.utc)
    yield lambda: nvidia.verify(evidence, policy=policy, now=now)


ATTEMPTS: Mapping[str, Callable[[str], Iterator[Attempt]]] = {
    "azure-vtpm": _azure,
    "nitro": _nitro,
    "nvidia": _nvidia,
    "sgx": _dcap,
    "snp": _snp,
    "tdx": _dcap,
}


def outcomes(technology: str, source: str) -> set[str]:
    """What becomes of a case: with each collateral of its family, if there are several."""
    found = set()
    for attempt in ATTEMPTS[technology](source):
        try:
            attempt()
        except GlasshouseError as err:
            found.add(type(err).__name__)
        else:
            found.add(VERIFIED)
    return found


EXPECTED: Mapping[str, Mapping[str, set[str]]] = {
    "azure-vtpm": {
        "trustee_snp/evidence-genoa.json": {VERIFIED},
        "trustee_snp/evidence-v0.json": {VERIFIED},
        "trustee_snp/evidence-v1.json": {VERIFIED},
        "trustee_snp/evidence-v2.json": {VERIFIED},
        # SEPT_VE_DISABLE is off in the quote below.
        "trustee_tdx/evidence-v0.json": {"AttributesError"},
        "trustee_tdx/evidence-v1.json": {"AttributesError"},
        "attestation_rs_tdx/live-evidence.json": {VERIFIED},
        "flashbots/azure-tdx-1764662251380464271": {VERIFIED},
        "flashbots/azure-tdx-with-ak-intermediates-1780922561": {VERIFIED},
    },
    "nitro": {
        "dstack/nitro_attestation.bin": {VERIFIED},
        # Debug mode: PCR0 to PCR2 are zero.
        "dstack/nitro_attestation_dbg.bin": {"DebugError"},
        "dstack/nsm-attest_nitro_attestation.bin": {VERIFIED},
        "dstack/nsm-qvl_nitro_attestation.bin": {VERIFIED},
        "fortanix/request_proper.bin": {"DebugError"},
        # Negative, tampered with on purpose.
        "fortanix/tampered_certificate.bin": {"MalformedError"},
        "fortanix/tampered_signature.bin": {"EvidenceSignatureError"},
        "fortanix/em-app_expired_attestation.bin": {"DebugError"},
        # Three bytes short as published.
        "base/hinted_attestation_20260103.bin": {"MalformedError"},
        # What was signed, without the signature.
        "base/indefinite_cbor_parent_attestation.bin": {"MalformedError"},
        "base/hinted_attestation_20260103.repaired.bin": {VERIFIED},
    },
    "nvidia": {
        "attsdk/hopper_evidence.json#0": {VERIFIED},
        # A certificate on hold: found only with the OCSP responses that the default policy asks for.
        "attsdk/hopper_evidence_cert_hold.json#0": {VERIFIED},
        "attsdk/evidence_hopper_590_12.json#0": {VERIFIED},
        "veraison/blackwell-evidence.json#0": {VERIFIED},
        "attsdk/switch_evidence_ls10.json#0": {VERIFIED},
        "nvtrust": {VERIFIED},
        "attsdk_ut": {VERIFIED},
    },
    "sgx": {
        "sgx/dcapqvl/sgx_quote.bin": {VERIFIED},
        # The chain is leaf, root, authority.
        "sgx/fortanix_dcapql/quote_pck_cert_chain.bin": {"CertificateChainError"},
        "sgx/fortanix_dcapql/quote_pck_cert_chain_corrupted.bin": {"CertificateChainError"},
        # Certification data of another type than a PCK chain.
        "sgx/fortanix_dcapql/quote_raw_tcb.bin": {"MalformedError"},
        "sgx/fortanix_pcs/quote.bin": {"DebugError"},
        "sgx/intel_qvl_sampleData_synthetic/quote.dat": {"MalformedError"},
        "sgx/openenclave/sgx_quote.bin": {"DebugError"},
        "sgx/teepot/azure.quote.bin": {"CollateralError", VERIFIED},
        # No collateral was captured with it.
        "sgx/teepot/get_ethereum_address_from_sgx_quote.quote.bin": {"UnavailableError"},
        # Collateral of version 2, which does not say for what it is meant.
        "sgx/teepot/out_of_date.quote.bin": {"CollateralError"},
        "sgx/teepot/sw_hardening.quote.bin": {"CollateralError", VERIFIED},
        "sgx/teepot/vault_proxy.quote.bin": {"CertificateExpiredError", "DebugError"},
        "sgx/trustee_occlum/occlum_quote.dat": {"DebugError"},
    },
    "snp": {
        "aci/snp_report": {VERIFIED},
        "attestation_rs/live-report-v5-genoa": {VERIFIED},
        "az/evidence-genoa.json": {VERIFIED},
        "az/evidence-v0.json": {VERIFIED},
        "az/evidence-v1.json": {VERIFIED},
        "az/evidence-v2.json": {VERIFIED},
        # Debug is on in POLICY.
        "gosev/attestation": {"DebugError"},
        # Beside the VCEK of another chip.
        "kinvolk/hcl-snp": {"EvidenceSignatureError"},
        "oak/genoa_oc": {VERIFIED},
        "oak/turin_oc": {VERIFIED},
        "trustee/test-report": {VERIFIED},
        "trustee/test-vlek-report": {VERIFIED},
        "trustee_snp/hcl-report": {VERIFIED},
        "veraison/tsm": {VERIFIED},
    },
    "tdx": {
        # SEPT_VE_DISABLE is off.
        "azure-vtpm/trustee_tdx/td-quote.bin": {"AttributesError"},
        "tdx/dcapqvl/quote-from-tappd.hex": {"TcbStatusError"},
        "tdx/dcapqvl/tdx-quote.hex": {"TcbStatusError"},
        "tdx/dcapqvl/tdx_quote": {VERIFIED},
        "tdx/dcapqvl/tdx_quote_outdated": {"TcbStatusError"},
        "tdx/dstack/quote-report.json": {VERIFIED},
        "tdx/dstack/ratls_tdx_quote": {"TcbStatusError"},
        "tdx/dstack/tdx-lite-getquote.json": {"CertificateExpiredError", VERIFIED},
        # A root of the same name as Intel's, with another key.
        "tdx/evidence_api/quote.bin": {"CertificateChainError"},
        "tdx/flashbots/azure-tdx-1764662251380464271.yaml": {VERIFIED},
        "tdx/flashbots/azure-tdx-with-ak-intermediates-1780922561.yaml": {VERIFIED},
        "tdx/flashbots/azure_failed_dcap_quote_10.bin": {"TcbStatusError"},
        "tdx/flashbots/dcap-tdx-1766059550570652607": {"CertificateExpiredError", VERIFIED},
        "tdx/flashbots/gcp-tdx-1782809233226668671": {"CertificateExpiredError", VERIFIED},
        "tdx/gotdx/ccel_cos-113-tdx-quote.dat": {"TcbStatusError", VERIFIED},
        "tdx/gotdx/quote_v5_sample.dat": {VERIFIED},
        # A line of English follows the quote.
        "tdx/gotdx/tdx_prod_quote_SPR_E4.dat": {"MalformedError"},
        "tdx/openenclave/tdx_quote-moduleupdate-seamldr5.dat": {VERIFIED},
        "tdx/openenclave/tdx_quote.bin": {"AttributesError"},
        # MIGRATABLE is on.
        "tdx/openenclave/tdx_quote_v5.bin": {"MigrationError"},
    },
}


def _all(table: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    return [(technology, source) for technology, sources in table.items() for source in sources]


def test_no_case_is_forgotten() -> None:
    found = [(each, entry["source"]) for each in ATTEMPTS for entry in cases(each)]
    assert sorted(found) == sorted(_all(EXPECTED))
    assert len(found) == 74


def test_no_technology_is_forgotten() -> None:
    index = json.loads((VECTORS / "CASES.json").read_bytes())
    assert {entry["tech"] for entry in index} == EXPECTED.keys()
    assert len(index) == 74


@pytest.mark.parametrize(("technology", "source"), _all(EXPECTED))
def test_a_case_verifies_or_is_refused_for_its_reason(technology: str, source: str) -> None:
    assert outcomes(technology, source) == EXPECTED[technology][source]
