"""``glasshouse evidence``: every kind of evidence decoded, and verified with the exit codes of a verifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from glasshouse._inspection import inspect, parse_evidence, recognise, to_json, to_text
from glasshouse._inspection.tree import Node
from glasshouse.cli import main
from glasshouse_attestations.claims import Outcome
from glasshouse_attestations.document import format_time
from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.keys import SigningKey
from glasshouse_attestations.simulated import Isolation, sign_quote
from support import azure_captures, snp_captures
from support.chain import Chain
from support.vectors import case, cases, moment, needs_vectors, vector

GCP = "normalized/dcap/quotes/tdx__flashbots__gcp-tdx-1782809233226668671.bin"
GCP_COLLATERAL = "normalized/dcap/collateral/flashbots_gcp-tdx-collateral-1782809233226668671.json"
GCP_TIME = "2026-06-30T08:13:19Z"
AZURE = "normalized/azure/flashbots__azure-tdx-with-ak-intermediates-1780922561"
GENOA = "attestation_rs/live-report-v5-genoa"

# A raw file of each kind, the platform it is recognised as, and lines that a person finds in its tree.
RAW = [
    ("normalized/snp/oak__turin_oc/report.bin", "snp", ["VERSION: 5", "DEBUG (bit 19): false", "FMC: 0"]),
    (
        GCP,
        "tdx",
        ["TEE type: 0x81 (TDX)", "SEPT_VE_DISABLE (bit 28): true", "FMSPC: 00806f050000", "RTMR3: "],
    ),
    (
        "normalized/dcap/quotes/sgx__dcapqvl__sgx_quote.bin.bin",
        "sgx",
        ["INIT (bit 0): true", "DEBUG (bit 1): false", "MRENCLAVE: 33d8736d", "FMSPC: 00a067110000"],
    ),
    (
        "normalized/nitro/fortanix__request_proper.bin.cose",
        "nitro",
        ["enclave runs in debug mode", "cabundle"],
    ),
    (f"{AZURE}/quote.msg", "tpm", ["type: TPM_ST_ATTEST_QUOTE", "resetCount: 1", "TPM_ALG_SHA256: 0 1 2"]),
    (f"{AZURE}/hcl_report.bin", "hcl", ["secure-boot: true", "HCLAkPub", "report type: TDX"]),
    (
        "normalized/nvidia/nvtrust/report.bin",
        "nvidia",
        ["block 64: ", "DRIVER_VERSION: ", "GET_MEASUREMENTS nonce: 931d"],
    ),
]


def write(folder: Path, name: str, data: bytes) -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def checks_of(document: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["outcome"] for check in document["checks"]}


@needs_vectors
@pytest.mark.parametrize(("path", "platform", "told"), RAW, ids=[platform for _, platform, _ in RAW])
def test_a_raw_file_is_recognised_and_decoded(
    path: str, platform: str, told: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recognise(vector(path)) == platform
    code, out, err = run(capsys, "evidence", "inspect", write(tmp_path, "raw", vector(path)))
    assert (code, err) == (0, "")
    assert out.startswith("nothing here has been verified")
    for line in told:
        assert line in out, line


@needs_vectors
@pytest.mark.parametrize(("path", "platform", "told"), RAW, ids=[platform for _, platform, _ in RAW])
def test_the_tree_as_json_says_the_same(
    path: str, platform: str, told: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "evidence", "inspect", "--json", write(tmp_path, "raw", vector(path)))
    document = json.loads(out)
    assert code == 0
    assert (document["schema"], document["verified"]) == ("glasshouse/evidence-tree/v1", False)
    assert document["tree"] == to_json(inspect(vector(path)))
    assert len(list(to_text(inspect(vector(path))))) == json.dumps(document["tree"]).count('"name"')


@needs_vectors
def test_evidence_of_ours_is_decoded_with_what_endorses_it() -> None:
    text = "\n".join(to_text(inspect(azure_captures.evidence_of(azure_captures.COMPLETE).encode())))
    for line in ("platform: azure", "TPMS_ATTEST", "HCL report", "TDX quote", "nextUpdate", "notAfter"):
        assert line in text
    text = "\n".join(to_text(inspect(snp_captures.evidence_of(GENOA).encode())))
    for line in ("kind: VCEK", "productName: Genoa", "HWID: ", "subject: ", "ATTESTATION_REPORT"):
        assert line in text


@needs_vectors
def test_every_captured_report_of_cases_json_is_decoded_or_malformed() -> None:
    counted = 0
    for technology, name in (("snp", "report"), ("sgx", "quote"), ("tdx", "quote"), ("nitro", "doc")):
        for entry in cases(technology):
            data = vector(entry[name])
            counted += 1
            try:
                tree = inspect(data)
            except MalformedError:
                continue
            assert tree.below
    assert counted > 40


def test_simulated_evidence_is_decoded_without_letting_it_steer_the_terminal() -> None:
    quote = b'{"payload":"\x1b[2J\xc3\xa9"}'
    text = "\n".join(to_text(inspect(Evidence(platform="simulated", quote=quote).encode())))
    assert "\\x1b[2J" in text
    assert text.isascii()
    assert list(to_text(Node(name="a", value=None))) == ["a: none"]


@pytest.mark.parametrize("data", [b"", b"{", b"MZ", b"\x00" * 1184, b"\x03\x00\x02\x00", b'{"a":1}'])
def test_what_is_no_evidence_cannot_be_checked(
    data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "evidence", "inspect", write(tmp_path, "raw", data))
    assert (code, out) == (2, "")
    assert err.startswith("glasshouse: ")


def test_a_file_that_is_too_large_or_absent_cannot_be_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = write(tmp_path, "large", bytes((1 << 20) + 1))
    assert run(capsys, "evidence", "inspect", large)[0] == 2
    assert run(capsys, "evidence", "inspect", str(tmp_path / "absent"))[0] == 2


@needs_vectors
def test_a_genuine_quote_verifies_from_its_raw_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quote = write(tmp_path, "quote", vector(GCP))
    collateral = write(tmp_path, "collateral.json", vector(GCP_COLLATERAL))
    rules = write(tmp_path, "tdx.toml", b"")
    arguments = (
        quote,
        "--platform-policy",
        rules,
        "--at",
        GCP_TIME,
        "--endorsement",
        f"collateral={collateral}",
    )
    code, out, err = run(capsys, "evidence", "verify", *arguments)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "verified"
    code, text, _ = run(capsys, "evidence", "verify", "--json", *arguments)
    document = json.loads(text)
    assert code == 0
    assert (document["schema"], document["outcome"]) == ("glasshouse/evidence-verdict/v1", "verified")
    assert document["compared"] is False
    outcomes = checks_of(document)
    assert set(outcomes.values()) == {each.value for each in Outcome}
    assert outcomes["TCB status"] == "passed"
    for name, outcome in outcomes.items():
        assert any(name in line and outcome in line for line in out.splitlines()), name
    for name, value in document["registers"].items():
        assert f"{name}" in out
        assert value in out
    for each in document["unproven"]:
        assert f"not proven: {each}" in out


@needs_vectors
@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        ({"at": "2026-11-23T00:00:00Z"}, "RevocationListError", 1),
        ({"rules": b'fmspcs = ["000000000000"]'}, "ProductError", 1),
        ({"flip": 600}, "EvidenceSignatureError", 1),
        ({"collateral": None}, "UnavailableError", 2),
        ({"collateral": b"{}"}, "MalformedError", 1),
    ],
)
def test_text_json_and_exit_code_agree_on_a_refusal(
    change: dict[str, Any], error: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quote = bytearray(vector(GCP))
    if "flip" in change:
        quote[change["flip"]] ^= 1
    collateral = change.get("collateral", vector(GCP_COLLATERAL))
    arguments = [write(tmp_path, "quote", bytes(quote)), "--at", change.get("at", GCP_TIME)]
    arguments += ["--platform-policy", write(tmp_path, "tdx.toml", change.get("rules", b""))]
    if collateral is not None:
        arguments += ["--endorsement", f"collateral={write(tmp_path, 'collateral', collateral)}"]
    found, out, _ = run(capsys, "evidence", "verify", *arguments)
    assert found == code
    assert error in out
    word = "unavailable" if code == 2 else "refused"
    assert out.splitlines()[-1] == word
    found, out, _ = run(capsys, "evidence", "verify", "--json", *arguments)
    document = json.loads(out)
    assert found == code
    assert (document["outcome"], document["error"]["class"]) == (word, error)
    assert "checks" not in document


@needs_vectors
def test_a_whole_policy_decides_by_the_platform_that_it_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = write(tmp_path, "evidence.json", snp_captures.evidence_of(GENOA).encode())
    at = ("--at", format_time(snp_captures.time_of(GENOA)))
    tables = {
        0: "[platforms.snp]\nrequire_revocation_list = false\n",
        1: "[platforms.tdx]\n",
        2: "[platforms.snp]\n",
    }
    for code, table in tables.items():
        text = Chain().policy_text(kind="production", platforms=table).encode()
        policy = write(tmp_path, "trust.toml", text)
        assert run(capsys, "evidence", "verify", evidence, "--policy", policy, *at)[0] == code, table


def test_simulated_evidence_verifies_under_a_development_policy_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = Chain()
    made = sign_quote(
        chain.launcher,
        image_sha256=bytes(32),
        image_sha384=bytes(48),
        isolation=Isolation.LOADER,
        report_data=bytes(64),
        time=moment(1_800_000_000),
    )
    evidence = write(tmp_path, "evidence.json", made.encode())
    development = write(tmp_path, "trust.toml", chain.policy_text().encode())
    assert run(capsys, "evidence", "verify", evidence, "--policy", development)[0] == 0
    other = write(tmp_path, "other.toml", Chain(launcher=SigningKey.generate()).policy_text().encode())
    assert run(capsys, "evidence", "verify", evidence, "--policy", other)[0] == 1
    text = chain.policy_text(kind="production", platforms="[platforms.snp]\n").encode()
    production = write(tmp_path, "production.toml", text)
    assert run(capsys, "evidence", "verify", evidence, "--policy", production)[0] == 1
    rules = write(tmp_path, "rules.toml", b"")
    assert run(capsys, "evidence", "verify", evidence, "--platform-policy", rules)[0] == 2


@needs_vectors
def test_a_device_is_verified_under_rules_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = case("nvidia", "nvtrust")
    report = write(tmp_path, "report", vector(entry["evidence"]))
    chain = write(tmp_path, "chain.pem", vector(entry["chain"]))
    rules = write(tmp_path, "gpu.toml", b"require_rims = false\nrequire_revocation_status = false\n")
    arguments = (report, "--endorsement", f"certificate-chain={chain}", "--at", "2026-11-23T00:00:00Z")
    code, out, _ = run(capsys, "evidence", "verify", *arguments, "--platform-policy", rules)
    assert code == 0
    assert "not checked" in out
    strict = write(tmp_path, "strict.toml", b"")
    assert run(capsys, "evidence", "verify", *arguments, "--platform-policy", strict)[0] == 2


@needs_vectors
def test_what_a_vtpm_signed_is_azures_with_an_hcl_report_and_a_tpms_without() -> None:
    quote = vector(f"{AZURE}/quote.msg")
    assert parse_evidence(quote, {"signature": b"s"}).platform == "tpm"
    assert parse_evidence(quote, {"hcl-report": b"r"}).platform == "azure"
    with pytest.raises(MalformedError, match="endorsement"):
        parse_evidence(vector(f"{AZURE}/hcl_report.bin"), {})


@pytest.mark.parametrize("endorsements", [["vcek"], ["=x"], ["a=x", "a=x"]])
def test_an_endorsement_is_a_name_and_a_file(
    endorsements: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "x", b"x")
    evidence = write(tmp_path, "e", Evidence(platform="snp", quote=b"q").encode())
    options = [part for each in endorsements for part in ("--endorsement", each)]
    rules = write(tmp_path, "rules.toml", b"")
    code, _, err = run(capsys, "evidence", "verify", evidence, "--platform-policy", rules, *options)
    assert code == 2
    assert "hint: write --endorsement" in err


def test_an_endorsement_that_is_already_there_is_refused() -> None:
    evidence = Evidence(platform="snp", quote=b"q", endorsements={"ask": b"a"})
    with pytest.raises(MalformedError, match="already"):
        parse_evidence(evidence.encode(), {"ask": b"b"})
