"""``glasshouse tcb status`` warns before clients refuse: of dates that near, of firmware that is behind."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from glasshouse._deadlines import Deadline, State, deadlines, deadlines_of_file
from glasshouse.cli import main
from glasshouse_attestations.document import format_time
from glasshouse_attestations.evidence import Evidence
from support import azure_captures, snp_captures
from support.dcap_captures import capture_of
from support.vectors import case, needs_vectors, vector

NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)
WEEK = timedelta(days=7)
GCP_NAMES = ("tdx/flashbots/gcp-tdx-1782809233226668671", "flashbots_gcp-tdx-collateral-1782809233226668671")
COLLATERAL = f"normalized/dcap/collateral/{GCP_NAMES[1]}.json"


def intel(source: str, collateral: str) -> Evidence:
    found = capture_of(source, collateral)
    return Evidence(
        platform=found.technology, quote=found.quote, endorsements={"collateral": found.collateral}
    )


def status(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: bytes, at: str, *options: str
) -> tuple[int, str]:
    path = tmp_path / "file"
    path.write_bytes(data)
    code = main(["tcb", "status", str(path), "--at", at, *options])
    return code, capsys.readouterr().out


@pytest.mark.parametrize(
    ("until", "state"),
    [
        (NOW, State.EXPIRED),
        (NOW - WEEK, State.EXPIRED),
        (NOW + timedelta(seconds=1), State.DUE),
        (NOW + WEEK, State.DUE),
        (NOW + WEEK + timedelta(seconds=1), State.CURRENT),
        (None, State.CURRENT),
    ],
)
def test_a_deadline_is_due_within_the_days_and_expired_at_its_second(
    until: datetime | None, state: State
) -> None:
    assert Deadline(item="a list", until=until).state(NOW, within=WEEK) is state


def test_what_is_wrong_whatever_the_time_is_never_current() -> None:
    later = NOW + 10 * WEEK
    assert Deadline(item="a", until=later, problem="old").state(NOW, within=WEEK) is State.BEHIND
    unreadable = Deadline(item="a", problem="no list", unreadable=True)
    assert unreadable.state(NOW, within=WEEK) is State.UNREADABLE


@needs_vectors
def test_the_exit_code_is_1_as_soon_as_something_is_due(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = intel(*GCP_NAMES).encode()
    assert status(capsys, tmp_path, evidence, "2026-07-01T00:00:00Z")[0] == 0
    code, out = status(capsys, tmp_path, evidence, "2026-07-25T00:00:00Z")
    assert code == 1
    assert "due         collateral: TCB info of TDX 00806f050000" in out
    assert status(capsys, tmp_path, evidence, "2026-07-25T00:00:00Z", "--days", "5")[0] == 0
    code, out = status(capsys, tmp_path, evidence, "2026-08-01T00:00:00Z", "--json")
    document = json.loads(out)
    assert (code, document["schema"]) == (1, "glasshouse/tcb-status/v1")
    expired = {each["item"] for each in document["items"] if each["state"] == "expired"}
    assert "collateral: identity of TD_QE" in expired
    assert "TCB level" not in expired


@needs_vectors
def test_every_date_of_the_collateral_is_listed() -> None:
    found = {each.item: each.until for each in deadlines_of_file(vector(COLLATERAL))}
    assert format_time(found["collateral: TCB info of TDX 00806f050000"] or NOW) == "2026-07-30T07:53:47Z"
    for words in ("revocation list of", "Intel SGX TCB Signing", "Intel SGX Root CA", "evaluation number"):
        assert any(words in item for item in found), words


@needs_vectors
def test_firmware_that_intel_judges_out_of_date_is_behind() -> None:
    evidence = intel("sgx/trustee_occlum/occlum_quote.dat", "teepot_azure")
    (level,) = (each for each in deadlines(evidence) if each.item == "TCB level")
    assert level.problem is not None
    assert "OutOfDate" in level.problem
    evidence = intel("sgx/dcapqvl/sgx_quote.bin", "dcapqvl_sgx")
    found = {each.item: each for each in deadlines(evidence)}
    assert found["TCB level"].problem is None
    assert "ConfigurationAndSWHardeningNeeded" in found["TCB level"].note
    assert "17 is below 19" in (found["collateral: TCB evaluation number"].problem or "")


@needs_vectors
def test_amd_firmware_is_held_against_the_floor_of_a_default_policy() -> None:
    behind = deadlines(snp_captures.evidence_of("trustee/test-report"))
    sound = deadlines(snp_captures.evidence_of("attestation_rs/live-report-v5-genoa"))
    assert any(each.item.startswith("microcode") and each.problem is None for each in sound)
    items = " ".join(each.item for each in sound)
    for words in ("vcek: VCEK of Genoa", "ask: ", "ark: ", "reported TCB"):
        assert words in items
    assert behind


@needs_vectors
@pytest.mark.parametrize("platform", ["nitro", "azure", "nvidia"])
def test_the_other_platforms_certificates_are_listed(platform: str) -> None:
    if platform == "azure":
        evidence = azure_captures.evidence_of(azure_captures.COMPLETE)
    elif platform == "nitro":
        entry = case("nitro", "base/hinted_attestation_20260103.repaired.bin")
        evidence = Evidence(platform="nitro", quote=vector(entry["doc"]))
    else:
        entry = case("nvidia", "nvtrust")
        chain = {"certificate-chain": vector(entry["chain"])}
        evidence = Evidence(platform="nvidia", quote=vector(entry["evidence"]), endorsements=chain)
    found = deadlines(evidence)
    assert len([each for each in found if each.until is not None]) >= 5
    assert not [each for each in found if each.unreadable]


@needs_vectors
def test_certificates_and_lists_are_read_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = vector("tpm/roots/azure-virtual-tpm-root-2023.pem")
    code, out = status(capsys, tmp_path, chain, "2026-07-01T00:00:00Z")
    assert code == 0
    assert "Azure Virtual TPM Root" in out
    assert status(capsys, tmp_path, chain, "2126-07-01T00:00:00Z")[0] == 1


@needs_vectors
def test_an_endorsement_that_cannot_be_read_is_shown_and_counts() -> None:
    found = deadlines(Evidence(platform="snp", quote=b"no report", endorsements={"ask": b"no certificate"}))
    assert [each.state(NOW, within=WEEK) for each in found] == [State.UNREADABLE, State.UNREADABLE]


def test_a_file_without_deadlines_cannot_be_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Evidence(platform="simulated", quote=b"quote").encode()
    assert status(capsys, tmp_path, data, "2026-07-01T00:00:00Z")[0] == 2


@pytest.mark.parametrize("days", ["-1", "1.5", "week", "9999"])
def test_days_are_a_number_of_days(days: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["tcb", "status", "file", "--days", days])
    assert stopped.value.code == 2
