"""Evidence of real machines under policies written in TOML, held against reference values and a channel."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cache

import pytest

from glasshouse import DevelopmentPolicy, ProductionPolicy, errors
from glasshouse._platforms import (
    DEVICES,
    HARDWARE_PLATFORMS,
    bound_report_data,
    compared_registers,
    open_checks,
    unproven_registers,
    verify_hardware,
)
from glasshouse._quote import verify_hardware_quote
from glasshouse._verdict import Step, Story
from glasshouse._verifier import Channel, check_report_data, verify_evidence
from glasshouse_attestations import azure, dcap, nitro, snp, tpm
from glasshouse_attestations.claims import Claims
from glasshouse_attestations.errors import (
    DebugError,
    FreshnessError,
    GlasshouseError,
    IdentityError,
    ProductError,
    TcbStatusError,
    UnavailableError,
)
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.reference_values import ReferenceValues
from glasshouse_attestations.report_data import report_data
from support import azure_captures, snp_captures
from support.chain import Chain
from support.dcap_captures import capture_of
from support.vectors import case, moment, needs_vectors, vector

CHANNEL = Channel(nonce=b"\x01" * 32, tls_spki_sha256=b"\x02" * 32)
REPORT_DATA = report_data(
    nonce=CHANNEL.nonce,
    tls_spki_sha256=CHANNEL.tls_spki_sha256,
    receipt_public_key=bytes(32),
    configuration_sha256=hashlib.sha256(b"").digest(),
)
MINIMAL: Mapping[str, str] = {
    "azure": "[platforms.azure.tdx]\n",
    "nitro": "[platforms.nitro]\n",
    "sgx": "[platforms.sgx]\n",
    "snp": "[platforms.snp]\n",
    "tdx": "[platforms.tdx]\n",
    "tpm": f'[platforms.tpm]\nroot_sha256 = ["{"ab" * 32}"]\n',
}
KINDS = {
    "azure": azure.Policy,
    "nitro": nitro.Policy,
    "sgx": dcap.SgxPolicy,
    "snp": snp.Policy,
    "tdx": dcap.TdxPolicy,
    "tpm": tpm.Policy,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A captured machine: its evidence, the policy that accepts it, and when."""

    evidence: Evidence
    table: str
    now: datetime


@cache
def machine(platform: str) -> Machine:
    if platform == "snp":
        source = "attestation_rs/live-report-v5-genoa"
        evidence = snp_captures.evidence_of(source)
        return Machine(
            evidence=evidence,
            table="[platforms.snp]\nrequire_revocation_list = false\n",
            now=snp_captures.time_of(source),
        )
    if platform == "nitro":
        entry = case("nitro", "base/hinted_attestation_20260103.repaired.bin")
        evidence = Evidence(platform="nitro", quote=vector(entry["doc"]))
        return Machine(evidence=evidence, table=MINIMAL["nitro"], now=moment(entry["test_time"]))
    if platform == "azure":
        return Machine(
            evidence=azure_captures.evidence_of(azure_captures.COMPLETE),
            table="[platforms.azure.tdx]\nminimum_evaluation_number = 19\n"
            f'[platforms.azure.quote]\nroot_sha256 = ["{tpm.AZURE_ROOT_SHA256.hex()}"]\n'
            f"selection = {list(range(24))}\nzero = []\n",
            now=azure_captures.IN_JUNE_2026,
        )
    if platform == "tpm":
        found = azure_captures.evidence_of(azure_captures.COMPLETE)
        names = ("signature", "pcrs", "ak-certificate", "ak-chain")
        endorsements = {name: found.endorsements[name] for name in names}
        return Machine(
            evidence=Evidence(platform="tpm", quote=found.quote, endorsements=endorsements),
            table=f'[platforms.tpm]\nroot_sha256 = ["{tpm.AZURE_ROOT_SHA256.hex()}"]\n'
            f"selection = {list(range(24))}\nzero = []\n",
            now=azure_captures.IN_JUNE_2026,
        )
    if platform == "sgx":
        capture = capture_of("sgx/dcapqvl/sgx_quote.bin", "dcapqvl_sgx")
        accepted = '{ "ConfigurationAndSWHardeningNeeded" = ["INTEL-SA-00289", "INTEL-SA-00615"] }'
        table = f"[platforms.sgx]\nminimum_evaluation_number = 17\naccepted_statuses = {accepted}\n"
    else:
        capture = capture_of(
            "tdx/flashbots/gcp-tdx-1782809233226668671", "flashbots_gcp-tdx-collateral-1782809233226668671"
        )
        table = MINIMAL["tdx"]
    return Machine(
        evidence=Evidence(
            platform=platform, quote=capture.quote, endorsements={"collateral": capture.collateral}
        ),
        table=table,
        now=capture.now,
    )


def production(tables: str) -> ProductionPolicy:
    policy = Chain().policy(kind="production", platforms=tables)
    assert isinstance(policy, ProductionPolicy)
    return policy


@cache
def claims_of(platform: str) -> Claims:
    found = machine(platform)
    policy = production(found.table)
    return verify_hardware_quote(found.evidence, platforms=policy.platforms, now=found.now)


def refuse(platform: str, error: type[GlasshouseError], table: str, now: datetime | None = None) -> None:
    found = machine(platform)
    with pytest.raises(error):
        verify_hardware_quote(
            found.evidence, platforms=production(table).platforms, now=found.now if now is None else now
        )


@pytest.mark.parametrize("kind", ["development", "production"])
@pytest.mark.parametrize("platform", sorted(HARDWARE_PLATFORMS))
def test_a_table_becomes_the_policy_of_its_technology(platform: str, kind: str) -> None:
    policy = Chain().policy(kind=kind, platforms=MINIMAL[platform])
    assert type(policy) is (ProductionPolicy if kind == "production" else DevelopmentPolicy)
    assert {name: type(rules) for name, rules in policy.platforms.items()} == {platform: KINDS[platform]}


def test_one_policy_accepts_several_platforms() -> None:
    policy = production("".join(MINIMAL.values()))
    assert policy.platforms.keys() == HARDWARE_PLATFORMS


@pytest.mark.parametrize("platform", sorted(HARDWARE_PLATFORMS))
@pytest.mark.parametrize("line", ["unknown = 1\n", "root_spki_sha256 = []\n", "verify = false\n"])
def test_an_unknown_field_of_a_table_is_refused(platform: str, line: str) -> None:
    table = MINIMAL[platform].replace("[platforms.azure.tdx]", "[platforms.azure]\ntdx = {}")
    with pytest.raises(errors.PolicyError, match="unknown field"):
        production(table + line)


@pytest.mark.parametrize("platform", sorted(DEVICES))
def test_evidence_of_a_device_is_no_servers(platform: str) -> None:
    with pytest.raises(errors.PolicyError, match="unknown field"):
        production(f"[platforms.{platform}]\n")
    evidence = Evidence(platform=platform, quote=b"a report")
    with pytest.raises(errors.PlatformNotAllowedError):
        verify_hardware_quote(evidence, platforms=production(MINIMAL["snp"]).platforms, now=moment(0))


def test_evidence_of_an_unknown_platform_is_never_verified() -> None:
    evidence = Evidence(platform="abacus", quote=b"a report")
    with pytest.raises(errors.PlatformNotSupportedError, match="abacus"):
        verify_hardware(evidence, snp.Policy(), now=moment(0))


def test_rules_of_another_platform_are_the_callers_mistake() -> None:
    evidence = Evidence(platform="nitro", quote=b"a report")
    with pytest.raises(TypeError, match="another platform"):
        verify_hardware(evidence, snp.Policy(), now=moment(0))


@needs_vectors
@pytest.mark.parametrize("platform", sorted(HARDWARE_PLATFORMS))
def test_evidence_of_a_real_machine_verifies_under_a_policy_in_toml(platform: str) -> None:
    claims = claims_of(platform)
    assert claims.platform == platform
    assert claims.registers


@needs_vectors
@pytest.mark.parametrize("platform", sorted(HARDWARE_PLATFORMS))
def test_evidence_of_another_platform_than_the_policys_is_refused(platform: str) -> None:
    others = "".join(table for name, table in MINIMAL.items() if name != platform)
    refuse(platform, errors.PlatformNotAllowedError, others)


@needs_vectors
@pytest.mark.parametrize(
    ("platform", "error", "table"),
    [
        ("snp", UnavailableError, "[platforms.snp]\n"),
        ("snp", ProductError, '[platforms.snp]\nproducts = ["Turin"]\n'),
        ("sgx", TcbStatusError, "[platforms.sgx]\nminimum_evaluation_number = 17\n"),
        ("tdx", ProductError, '[platforms.tdx]\nfmspcs = ["000000000000"]\n'),
        ("nitro", IdentityError, '[platforms.nitro]\ninstances = ["i-00000000"]\n'),
        ("azure", errors.PlatformNotAllowedError, "[platforms.azure.snp]\n"),
    ],
)
def test_a_stricter_table_refuses(platform: str, error: type[GlasshouseError], table: str) -> None:
    refuse(platform, error, table)


@needs_vectors
def test_a_document_is_refused_when_it_has_grown_old() -> None:
    late = datetime.fromtimestamp(machine("nitro").now.timestamp() + 600, tz=timezone.utc)
    refuse("nitro", FreshnessError, MINIMAL["nitro"], late)


@needs_vectors
def test_no_table_lets_a_debuggable_enclave_pass() -> None:
    entry = case("nitro", "fortanix/request_proper.bin")
    evidence = Evidence(platform="nitro", quote=vector(entry["doc"]))
    with pytest.raises(DebugError):
        verify_hardware_quote(
            evidence, platforms=production(MINIMAL["nitro"]).platforms, now=moment(entry["test_time"])
        )


@needs_vectors
@pytest.mark.parametrize("platform", sorted(HARDWARE_PLATFORMS))
def test_every_register_that_is_compared_counts(platform: str) -> None:
    registers = dict(compared_registers(claims_of(platform)))
    ReferenceValues(platforms={platform: (registers,)}).check(platform, registers)
    for name, value in registers.items():
        flipped = bytes([value[0] ^ 1, *value[1:]])
        missing = {other: kept for other, kept in registers.items() if other != name}
        for expected in ({**registers, name: flipped}, missing):
            if expected:
                values = ReferenceValues(platforms={platform: (expected,)})
                with pytest.raises(errors.MeasurementMismatchError):
                    values.check(platform, registers)


@needs_vectors
@pytest.mark.parametrize("platform", sorted(HARDWARE_PLATFORMS - {"tdx"}))
def test_every_register_that_a_platform_reports_is_compared(platform: str) -> None:
    assert compared_registers(claims_of(platform)) == claims_of(platform).registers
    assert unproven_registers(claims_of(platform)) == ()


@needs_vectors
def test_of_tdx_all_is_compared_but_what_the_host_measures_and_that_is_said() -> None:
    claims = claims_of("tdx")
    names = {"mrtd.sha384", "rtmr1.sha384", "rtmr2.sha384", "rtmr3.sha384"}
    assert compared_registers(claims).keys() == names
    (told,) = unproven_registers(claims)
    assert claims.registers["rtmr0.sha384"].hex() in told
    with pytest.raises(errors.MeasurementMismatchError):
        ReferenceValues(platforms={"tdx": (claims.registers,)}).check("tdx", compared_registers(claims))


@needs_vectors
def test_a_released_rtmr3_of_zero_refuses_a_guest_that_extended_it() -> None:
    claims = claims_of("tdx")
    released = {**compared_registers(claims), "rtmr3.sha384": bytes(48)}
    extended = replace(claims, registers={**claims.registers, "rtmr3.sha384": b"\x01" * 48})
    with pytest.raises(errors.MeasurementMismatchError, match="rtmr3"):
        ReferenceValues(platforms={"tdx": (released,)}).check("tdx", compared_registers(extended))


@needs_vectors
@pytest.mark.parametrize("platform", sorted(HARDWARE_PLATFORMS))
def test_report_data_is_compared_in_full(platform: str) -> None:
    bound = bound_report_data(platform, REPORT_DATA)
    assert bound == (hashlib.sha256(REPORT_DATA).digest() if platform in ("azure", "tpm") else REPORT_DATA)
    claims = claims_of(platform)
    check_report_data(
        replace(claims, report_data=bound), channel=CHANNEL, receipt_public_key=bytes(32), configuration=b""
    )
    flips = [bytes([*bound[:at], bound[at] ^ 1, *bound[at + 1 :]]) for at in range(len(bound))]
    for other in (claims.report_data, b"", bound[:-1], bound + b"\x00", bound[:32] + bytes(32), *flips):
        if other == bound:
            continue
        with pytest.raises(errors.ReportDataMismatchError):
            check_report_data(
                replace(claims, report_data=other),
                channel=CHANNEL,
                receipt_public_key=bytes(32),
                configuration=b"",
            )


@needs_vectors
@pytest.mark.parametrize("platform", sorted(HARDWARE_PLATFORMS))
def test_genuine_evidence_of_released_registers_still_has_to_bind_the_channel(platform: str) -> None:
    """The relay: a real machine of the release, behind somebody else's TLS key."""
    found = machine(platform)
    values = ReferenceValues(platforms={platform: (compared_registers(claims_of(platform)),)})
    story = Story()
    with pytest.raises(errors.ReportDataMismatchError):
        verify_evidence(
            found.evidence,
            Chain().release(reference_values=values),
            production(found.table),
            channel=CHANNEL,
            receipt_public_key=bytes(32),
            configuration=b"",
            now=found.now,
            story=story,
        )
    verdict = story.end()
    assert [verdict[step].status.value for step in (Step.QUOTE, Step.MEASUREMENT, Step.CHANNEL)] == [
        "pass",
        "pass",
        "fail",
    ]
    for check in open_checks(claims_of(platform)):
        assert any(check.name in told for told in verdict.unproven)


def test_importing_the_client_imports_no_technology() -> None:
    code = (
        "import sys, glasshouse; print(*sorted(name for name in sys.modules if 'glasshouse_attest' in name))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    technologies = {"azure", "dcap", "nitro", "nvidia", "snp", "tpm"}
    assert not technologies & {part for name in done.stdout.split() for part in name.split(".")}
