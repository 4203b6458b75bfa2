"""SGX and TDX quotes of real machines: each verifies at its time, or is refused for its own reason."""

from __future__ import annotations

import re
from typing import Any

import pytest

import glasshouse_attestations.dcap as dcap
from glasshouse_attestations.claims import Outcome
from glasshouse_attestations.dcap import SgxPolicy, TcbPolicy, TcbStatus, TdxPolicy
from glasshouse_attestations.errors import (
    AttributesError,
    CertificateChainError,
    CertificateExpiredError,
    CollateralError,
    DebugError,
    EvidenceSignatureError,
    GlasshouseError,
    MalformedError,
    MeasurementMismatchError,
    MigrationError,
    TcbStatusError,
    UnavailableError,
)
from support.dcap_captures import LENIENT, STRICT, Capture, capture_of, captures
from support.vectors import needs_vectors

Expected = type[GlasshouseError] | str

_SW_HARDENING: dict[str, Expected] = {
    "teepot_sw_hardening": CollateralError,
    "teepot_azure": "SWHardeningNeeded",
    "teepot_vault_proxy": "SWHardeningNeeded",
}
_DEBUG: dict[str, Expected] = {
    "teepot_sw_hardening": DebugError,
    "teepot_azure": DebugError,
    "teepot_vault_proxy": DebugError,
}
_EMERALD: dict[str, Expected] = {
    "dcapqvl_tdx_outdated": "UpToDate",
    "flashbots_azure-collateral-with-ak-intermediates-1780922561": "UpToDate",
    "flashbots_azure-collateral": "UpToDate",
}
_GCP_NEW = "flashbots_gcp-tdx-collateral-1782809233226668671"
_GCP_OLD = "flashbots_dcap-quote-collateral-00"

# What becomes of each capture with each collateral of its processor family, under the lenient policy.
EXPECTED: dict[str, dict[str, Expected]] = {
    "azure-vtpm/trustee_tdx/td-quote.bin": {
        _GCP_OLD: AttributesError,
        _GCP_NEW: AttributesError,
        "teepot_tdx_1": AttributesError,
    },
    "sgx/dcapqvl/sgx_quote.bin": {"dcapqvl_sgx": "ConfigurationAndSWHardeningNeeded"},
    # The chain is leaf, root, authority. The corrupted one has a bad signature besides; see below.
    "sgx/fortanix_dcapql/quote_pck_cert_chain.bin": {"": CertificateChainError},
    "sgx/fortanix_dcapql/quote_pck_cert_chain_corrupted.bin": {"": CertificateChainError},
    "sgx/fortanix_dcapql/quote_raw_tcb.bin": {"": MalformedError},
    "sgx/fortanix_pcs/quote.bin": {"": DebugError},
    "sgx/intel_qvl_sampleData_synthetic/quote.dat": {"": MalformedError},
    "sgx/openenclave/sgx_quote.bin": {"": DebugError},
    "sgx/teepot/azure.quote.bin": _SW_HARDENING,
    "sgx/teepot/get_ethereum_address_from_sgx_quote.quote.bin": {"": UnavailableError},
    "sgx/teepot/out_of_date.quote.bin": {"teepot_out_of_date": CollateralError},
    "sgx/teepot/sw_hardening.quote.bin": _SW_HARDENING,
    "sgx/teepot/vault_proxy.quote.bin": _DEBUG | {"teepot_sw_hardening": CertificateExpiredError},
    "sgx/trustee_occlum/occlum_quote.dat": _DEBUG,
    "tdx/dcapqvl/quote-from-tappd.hex": {"dcapqvl_tdx": TcbStatusError},
    "tdx/dcapqvl/tdx-quote.hex": {"dcapqvl_tdx": TcbStatusError},
    "tdx/dcapqvl/tdx_quote": {"dcapqvl_tdx": "UpToDate"},
    "tdx/dcapqvl/tdx_quote_outdated": dict.fromkeys(_EMERALD, TcbStatusError),
    "tdx/dstack/quote-report.json": _EMERALD,
    "tdx/dstack/ratls_tdx_quote": {"dcapqvl_tdx": TcbStatusError},
    "tdx/dstack/tdx-lite-getquote.json": {
        **dict.fromkeys(_EMERALD, CertificateExpiredError),
        "flashbots_azure-collateral-with-ak-intermediates-1780922561": "UpToDate",
    },
    # Its chain ends in a root of the same name as Intel's, with another key.
    "tdx/evidence_api/quote.bin": {"": CertificateChainError},
    "tdx/flashbots/azure-tdx-1764662251380464271.yaml": _EMERALD,
    "tdx/flashbots/azure-tdx-with-ak-intermediates-1780922561.yaml": _EMERALD,
    "tdx/flashbots/azure_failed_dcap_quote_10.bin": dict.fromkeys(_EMERALD, TcbStatusError),
    "tdx/flashbots/dcap-tdx-1766059550570652607": {
        _GCP_OLD: "UpToDate",
        _GCP_NEW: "UpToDate",
        "teepot_tdx_1": CertificateExpiredError,
    },
    "tdx/flashbots/gcp-tdx-1782809233226668671": {
        _GCP_OLD: CertificateExpiredError,
        _GCP_NEW: "UpToDate",
        "teepot_tdx_1": CertificateExpiredError,
    },
    "tdx/gotdx/ccel_cos-113-tdx-quote.dat": {
        _GCP_OLD: TcbStatusError,
        _GCP_NEW: TcbStatusError,
        "teepot_tdx_1": "UpToDate",
    },
    "tdx/gotdx/quote_v5_sample.dat": _EMERALD,
    # The file has a line of English after the quote.
    "tdx/gotdx/tdx_prod_quote_SPR_E4.dat": {"": MalformedError},
    "tdx/openenclave/tdx_quote-moduleupdate-seamldr5.dat": dict.fromkeys(_EMERALD, "TDRelaunchAdvised"),
    "tdx/openenclave/tdx_quote.bin": {"": AttributesError},
    "tdx/openenclave/tdx_quote_v5.bin": {
        _GCP_OLD: MigrationError,
        _GCP_NEW: MigrationError,
        "teepot_tdx_1": MigrationError,
    },
}
CAPTURES = captures()


@needs_vectors
def test_every_capture_has_its_expectation() -> None:
    assert {(capture.source, capture.collateral_name) for capture in CAPTURES} == {
        (source, name) for source, outcomes in EXPECTED.items() for name in outcomes
    }


@needs_vectors
@pytest.mark.parametrize("capture", CAPTURES, ids=str)
def test_a_capture_ends_as_it_must(capture: Capture) -> None:
    expected = EXPECTED[capture.source][capture.collateral_name]
    if isinstance(expected, str):
        claims = capture.verify(LENIENT)
        assert claims.tcb_status == expected
        assert claims.report_data.hex() == capture.case["report_data"]
        assert capture.case["measurement"] in {value.hex() for value in claims.registers.values()}
        return
    with pytest.raises(expected) as caught:
        capture.verify(LENIENT)
    assert type(caught.value) is expected


@needs_vectors
@pytest.mark.parametrize("capture", [one for one in CAPTURES if one.collateral_name], ids=str)
def test_nothing_but_up_to_date_is_accepted_without_being_named(capture: Capture) -> None:
    expected = EXPECTED[capture.source][capture.collateral_name]
    if expected == "UpToDate" and capture.source != "tdx/dstack/tdx-lite-getquote.json":
        assert capture.verify(STRICT).tcb_status == "UpToDate"
        return
    with pytest.raises(GlasshouseError):
        capture.verify(STRICT)


@needs_vectors
def test_collateral_from_before_the_last_tcb_recovery_is_refused_by_default() -> None:
    old = capture_of("tdx/dcapqvl/tdx_quote", "dcapqvl_tdx")
    with pytest.raises(CollateralError, match="evaluation 17"):
        old.verify({"tdx": TdxPolicy(), "sgx": SgxPolicy()})


@needs_vectors
def test_an_owner_who_uses_mrconfigid_must_be_expected() -> None:
    name = "flashbots_azure-collateral-with-ak-intermediates-1780922561"
    capture = capture_of("tdx/dstack/tdx-lite-getquote.json", name)
    with pytest.raises(MeasurementMismatchError, match="MRCONFIGID"):
        capture.verify(STRICT)


@needs_vectors
@pytest.mark.parametrize(
    ("name", "error"),
    [("quote_pck_cert_chain", DebugError), ("quote_pck_cert_chain_corrupted", EvidenceSignatureError)],
)
def test_the_unsigned_order_of_the_chain_hides_no_other_fault(
    name: str, error: type[GlasshouseError]
) -> None:
    (capture,) = (one for one in CAPTURES if one.source == f"sgx/fortanix_dcapql/{name}.bin")
    end = b"-----END CERTIFICATE-----\n"
    start = capture.quote.index(b"-----BEGIN")
    leaf, root, authority = (capture.quote[start:] + b"\n").split(end)[:3]
    reordered = capture.quote[:start] + end.join((leaf, authority, root)) + end.rstrip()
    with pytest.raises(error):
        capture.verify(LENIENT, quote=reordered)


@needs_vectors
def test_claims_name_the_processor_and_every_check() -> None:
    claims = capture_of("tdx/gotdx/quote_v5_sample.dat", "flashbots_azure-collateral").verify(STRICT)
    assert claims.platform == "tdx"
    assert claims.product == "Intel TDX, FMSPC 90c06f000000"
    assert claims.identity == bytes.fromhex("2734b654f553596897eaadfb5667a954")
    assert (claims.debug, claims.migratable) == (False, False)
    assert set(claims.registers) == {"mrtd.sha384", *(f"rtmr{index}.sha384" for index in range(4))}
    attributes = dict(claims.attributes)
    assert attributes["tee-tcb-svn"] == "0b010400000000000000000000000000"
    assert attributes["tee-tcb-svn-2"] == "0d010400000000000000000000000000"
    not_checked = {check.name for check in claims.checks if check.outcome is Outcome.NOT_CHECKED}
    expected = {"processor identity", "platform configuration", "MRSEAM", "TEE_TCB_SVN", "RTMR3"}
    assert not_checked == expected
    assert all(check.source for check in claims.checks)
    assert claims.unproven == dcap.UNPROVEN


@needs_vectors
@pytest.mark.parametrize("capture", [one for one in CAPTURES if one.collateral_name], ids=str)
def test_the_library_dcap_qvl_is_of_the_same_opinion(capture: Capture) -> None:
    dcap_qvl: Any = pytest.importorskip("dcap_qvl", reason="the library dcap-qvl is not installed")
    collateral = dcap_qvl.QuoteCollateralV3.from_json(capture.collateral.decode())
    expected = EXPECTED[capture.source][capture.collateral_name]
    try:
        theirs = dcap_qvl.verify(capture.quote, collateral, int(capture.now.timestamp()))
    except ValueError:
        assert not isinstance(expected, str)
        return
    assert _status_and_advisories(capture) == (theirs.status, sorted(theirs.advisory_ids))


def _status_and_advisories(capture: Capture) -> tuple[str | None, list[str]]:
    # The library reports an outdated platform as a status; here that is a refusal, which names it.
    try:
        claims = capture.verify(LENIENT)
    except TcbStatusError as err:
        named = re.fullmatch(r"the TCB status is (\w+) \(advisories: (.*)\)", str(err))
        return (named[1], named[2].split(", ")) if named else (None, [])
    return claims.tcb_status, sorted(claims.advisory_ids)


@needs_vectors
def test_statuses_are_accepted_only_with_their_advisories() -> None:
    capture = capture_of("sgx/teepot/azure.quote.bin", "teepot_azure")
    accepted = {TcbStatus.SW_HARDENING_NEEDED: frozenset({"INTEL-SA-00614"})}
    tcb = TcbPolicy(minimum_evaluation_number=0, accepted=accepted)
    with pytest.raises(TcbStatusError, match="SWHardeningNeeded with INTEL-SA-00615"):
        capture.verify({"sgx": SgxPolicy(tcb=tcb, allowed_misc_select=1)})
