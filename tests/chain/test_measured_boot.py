"""Measured boot, the whole path: the released image boots as a machine, and its vTPM attests to it."""

from __future__ import annotations

import io
import json
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

import glasshouse
from demo.people import trust_toml
from demo.server import Server
from demo.stage import Stage
from demo.story import World, ask
from glasshouse import Outcome, ProductionPolicy, Status
from glasshouse._attest import _ask
from glasshouse._channel import Address, fetch_certificate
from glasshouse._log import Remembered
from glasshouse._verifier import Attestation, Channel, VerifiedServer, verify_attestation
from glasshouse_attestations import canonical_json
from glasshouse_attestations.errors import (
    CertificateChainError,
    EvidenceSignatureError,
    KeyBindingError,
    MeasurementMismatchError,
    PcrError,
    PlatformNotAllowedError,
    ReportDataMismatchError,
)
from glasshouse_attestations.evidence import Evidence
from glasshouse_attestations.image import read_sections
from glasshouse_host import cli
from glasshouse_host.certificate_authority import CertificateAuthority
from glasshouse_host.virtual_tpm import VirtualTpm
from support.machines import RunningMachine, launched, need_machines

_STAPLE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A booted image, the world in which it was released, and whom its clients trust."""

    running: RunningMachine
    world: World
    authority: Path
    bundle: Path

    @property
    def policy(self) -> ProductionPolicy:
        """The clients' policy."""
        policy = glasshouse.load_policy(self.world.trust)
        assert isinstance(policy, ProductionPolicy)
        return policy


@pytest.fixture(scope="module")
def machine(stage: Stage, world: World) -> Iterator[Machine]:
    """The released image in a machine, and a *production* policy that names the operator's authority."""
    need_machines()
    folder = stage.folder / "measured"
    folder.mkdir()
    authority, bundle = folder / "ca", folder / "bundle.json"
    assert cli.main(["ca", str(authority)]) == 0
    shutil.copy(world.release / "bundle.json", bundle)
    trust = folder / "trust.toml"
    trust.write_text(policy_text(world, CertificateAuthority.load(authority)), encoding="utf-8")
    arguments = ["--image", str(world.image), "--bundle", str(bundle), "--ca", str(authority)]
    arguments += ["--api-key-hash", world.people.api_key_entry, "--console", str(folder / "console")]
    with launched(arguments, log=folder / "log") as running:
        yield Machine(running=running, world=replace(world, trust=trust), authority=authority, bundle=bundle)


def policy_text(world: World, authority: CertificateAuthority) -> str:
    """A production policy for machines whose vTPM's key ``authority`` certifies."""
    text = trust_toml(
        world.people, source=world.source.address, log_policy=world.log.policy_text, kind="production"
    )
    platform = f'[platforms.tpm]\nroot_sha256 = ["{authority.root_sha256.hex()}"]\n'
    head, _, _ = text.partition("[platforms.")
    return head + platform


@pytest.fixture(scope="module")
def shown(machine: Machine) -> tuple[Attestation, Channel]:
    """What the machine shows of itself, to a nonce of ours."""
    address = Address.parse(machine.running.address)
    certificate = fetch_certificate(address, timeout=30)
    channel = Channel(nonce=secrets.token_bytes(32), tls_spki_sha256=certificate.spki_sha256)
    return _ask(address, certificate, channel.nonce, timeout=30), channel


def verify(
    machine: Machine, attestation: Attestation, channel: Channel, policy: glasshouse.Policy | None = None
) -> VerifiedServer:
    return verify_attestation(
        attestation,
        policy or machine.policy,
        channel=channel,
        remembered=Remembered(),
        now=datetime.now(timezone.utc),
    )


def changed(attestation: Attestation, **endorsements: bytes) -> Attestation:
    """The attestation with other endorsements."""
    evidence = Evidence.parse(attestation.evidence)
    named = {name.replace("_", "-"): value for name, value in endorsements.items()}
    return replace(
        attestation,
        evidence=replace(evidence, endorsements={**evidence.endorsements, **named}).encode(),
    )


def test_a_machine_is_verified_before_it_is_sent_a_model_and_predicts_with_it(
    machine: Machine, stage: Stage
) -> None:
    world = machine.world
    image = json.loads((world.release / "measurements.json").read_bytes())["image"]["sha256"]
    server = Server(address=machine.running.address, isolation="machine", image_sha256=image)
    answer = ask(world, server, replace_folder(stage))
    assert answer.is_right
    assert answer.verdict.outcome is Outcome.VERIFIED
    assert [step.status for step in answer.verdict.steps] == [Status.PASS] * 12


def replace_folder(stage: Stage) -> Stage:
    """A stage of its own: this client has not met the log before."""
    folder = stage.folder / "measured-client"
    folder.mkdir()
    return Stage(folder, io.StringIO())


def test_the_verdict_shows_the_tpm_and_what_it_cannot_prove(
    machine: Machine, shown: tuple[Attestation, Channel]
) -> None:
    verdict = verify(machine, *shown).verdict
    facts = dict(verdict.facts)
    assert facts["platform"] == "tpm"
    assert int(facts["tpm resets"]) >= 1
    assert int(facts["tpm clock (ms)"]) > 0
    assert any("no confidential computing" in text for text in verdict.unproven)


def test_the_registers_are_those_that_the_maintainers_and_auditors_signed(machine: Machine) -> None:
    measured = json.loads((machine.world.release / "measurements.json").read_bytes())
    predicted = measured["referenceValues"]["tpm"]
    pcrs = machine.running.ready["pcrs"]
    assert isinstance(pcrs, dict)
    booted = {f"pcr{number}.sha256": value for number, value in pcrs.items()}
    assert any(booted.items() <= registers.items() for registers in predicted)
    assert {booted[f"pcr{number}.sha256"] for number in (8, 12, 13)} == {"00" * 32}


def test_a_replayed_quote_is_refused(machine: Machine, shown: tuple[Attestation, Channel]) -> None:
    attestation, channel = shown
    later = replace(channel, nonce=secrets.token_bytes(32))
    with pytest.raises(ReportDataMismatchError):
        verify(machine, attestation, later)


def test_a_quote_for_another_channel_is_refused(machine: Machine, shown: tuple[Attestation, Channel]) -> None:
    attestation, channel = shown
    with pytest.raises(ReportDataMismatchError):
        verify(machine, attestation, replace(channel, tls_spki_sha256=bytes(32)))


def test_a_key_of_another_authority_is_refused(machine: Machine, shown: tuple[Attestation, Channel]) -> None:
    other = CertificateAuthority.generate(now=datetime.now(timezone.utc))
    policy = glasshouse.parse_policy(policy_text(machine.world, other).encode())
    with pytest.raises(CertificateChainError):
        verify(machine, *shown, policy=policy)


def test_the_certificate_of_another_attestation_key_is_refused(
    machine: Machine, shown: tuple[Attestation, Channel], tmp_path: Path
) -> None:
    now = datetime.now(timezone.utc)
    other = VirtualTpm.provision(tmp_path, CertificateAuthority.load(machine.authority), now=now)
    attestation, channel = shown
    with pytest.raises(KeyBindingError):
        verify(machine, changed(attestation, ak_certificate=other.ak_certificate), channel)
    evidence = Evidence.parse(changed(attestation, ak_certificate=other.ak_certificate).evidence)
    without = {name: value for name, value in evidence.endorsements.items() if name != "ak-public"}
    alone = replace(attestation, evidence=replace(evidence, endorsements=without).encode())
    with pytest.raises(EvidenceSignatureError):
        verify(machine, alone, channel)


def test_registers_that_the_quote_is_not_over_are_refused(
    machine: Machine, shown: tuple[Attestation, Channel]
) -> None:
    attestation, channel = shown
    pcrs = canonical_json.encode({"sha256": {str(number): "00" * 32 for number in (4, 8, 11, 12, 13)}})
    with pytest.raises(PcrError):
        verify(machine, changed(attestation, pcrs=pcrs), channel)


def test_a_policy_without_the_platform_refuses_it(machine: Machine, stage: Stage, world: World) -> None:
    with pytest.raises(PlatformNotAllowedError):
        connect(machine.running.address, world.trust, stage.folder / "elsewhere")


def test_a_changed_bundle_reaches_the_machine(machine: Machine) -> None:
    before = machine.bundle.read_bytes()
    with machine.world.log.client() as client:
        envelopes = [json.loads(before)["entries"][0]["envelope"].encode()]
        fresh = client.build_bundle(envelopes).encode()
    assert fresh != before
    try:
        machine.bundle.write_bytes(fresh)
        assert served_bundle(machine, fresh) == fresh
    finally:
        machine.bundle.write_bytes(before)
    assert served_bundle(machine, before) == before


def served_bundle(machine: Machine, expected: bytes) -> bytes:
    """What the machine serves, as soon as that is ``expected``, or else after a while."""
    address = Address.parse(machine.running.address)
    certificate = fetch_certificate(address, timeout=30)
    deadline = time.monotonic() + _STAPLE_SECONDS
    while True:
        found = _ask(address, certificate, bytes(32), timeout=30).bundle
        if found == expected or time.monotonic() > deadline:
            return found
        time.sleep(1)


def test_a_machine_with_one_changed_byte_is_refused(machine: Machine, stage: Stage) -> None:
    world, folder = machine.world, stage.folder / "changed-byte"
    folder.mkdir()
    image = bytearray(world.image.read_bytes())
    release_file = read_sections(bytes(image))[".osrel"]
    image[image.index(release_file) + release_file.rindex(b"enclave")] ^= 0x20
    (folder / "enclave.efi").write_bytes(image)
    arguments = ["--image", str(folder / "enclave.efi"), "--ca", str(machine.authority)]
    arguments += ["--bundle", str(world.release / "bundle.json")]
    with (
        launched(arguments, log=folder / "log") as running,
        pytest.raises(MeasurementMismatchError, match=r"pcr11\.sha256"),
    ):
        connect(running.address, world.trust, folder / "client")


def connect(address: str, policy: Path, state: Path) -> None:
    """Connect as a new client, which ends at once if that succeeds."""
    glasshouse.Connection(address, policy=policy, state=state).close()
