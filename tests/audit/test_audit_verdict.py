"""An audit: of the released commit and no other, with a verdict that is signed and logged whatever it is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from glasshouse_attestations import dsse
from glasshouse_attestations.audit import Audit, Verdict
from glasshouse_attestations.bundle import Bundle, LoggedStatement
from glasshouse_attestations.errors import UntrustedKeyError
from glasshouse_attestations.keys import SigningKey
from glasshouse_attestations.release import Release
from glasshouse_attestations.statement import Statement
from glasshouse_audit import cli
from glasshouse_audit.audit import Finding, examine, expected_release, log_finding
from glasshouse_audit.errors import CommitMissingError, SourceError
from glasshouse_audit.publication import Publication, audit_name
from glasshouse_log.errors import InclusionError
from glasshouse_log.local import LocalLog, run_local_log
from support.miniature import (
    VERSION,
    Miniature,
    People,
    make_repository,
    now,
    policy_of,
    policy_toml,
    release_of,
    written,
)

PEOPLE = People.meet()
AUDITOR = PEOPLE.auditors[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A repository, its release in a folder, and the log that has it."""

    miniature: Miniature
    folder: Path
    release: Release
    log: LocalLog

    def examine(self, *, source: Path | None = None, image: bytes | None = None) -> Finding:
        return examine(
            expected_release(Publication.read(self.folder), policy_of(PEOPLE, self.log), now=now()),
            source=source or self.miniature.tree,
            image=image,
            now=now(),
            validity=timedelta(days=30),
            tell=lambda _: None,
        )

    def logged_audit(self, key: SigningKey = AUDITOR) -> Audit:
        """What the folder has of an auditor."""
        envelope = dsse.Envelope.parse(
            Publication.read(self.folder).audits[audit_name(key.public_key)].envelope
        )
        return Audit.parse(Statement.parse(envelope.payload))

    def stapled(self) -> list[bytes]:
        return [entry.envelope for entry in Bundle.parse(Publication.read(self.folder).bundle).entries]

    def arguments(self, *more: str) -> list[str]:
        here = self.folder.parent
        (here / "auditor.pem").write_bytes(AUDITOR.to_pem())
        (here / "trust.toml").write_text(policy_toml(PEOPLE, self.log))
        given = ["--key", str(here / "auditor.pem"), "--trust", str(here / "trust.toml")]
        return ["audit", str(self.folder), *given, "--source", str(self.miniature.tree), *more]

    def release_another_content(self) -> None:
        """Let the maintainers state, falsely, that another commit gave the released image."""
        commit = self.miniature.commit("what the source really gives\n")
        false = replace(self.release, source=replace(self.release.source, commit=commit))
        envelope = false.to_statement().sign(PEOPLE.maintainer).encode()
        with self.log.client() as client:
            statement = LoggedStatement(envelope=envelope, proof=client.add(envelope))
        (self.folder / "release.dsse.json").write_bytes(statement.envelope)
        (self.folder / "release.tlog-proof").write_bytes(statement.proof)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalLog]:
    with run_local_log(tmp_path_factory.mktemp("log")) as running:
        yield running


@pytest.fixture
def world(tmp_path: Path, log: LocalLog) -> World:
    miniature = make_repository(tmp_path / "repository")
    released = release_of(miniature, PEOPLE, log)
    folder = written(released, tmp_path / VERSION)
    return World(miniature=miniature, folder=folder, release=released.release, log=log)


def test_the_same_bytes_are_reproduced(world: World) -> None:
    finding = world.examine()
    assert finding.audit.verdict is Verdict.REPRODUCED
    assert finding.audit.rebuilt_sha256 == world.release.image_sha256
    assert finding.audit.reference_values == world.release.reference_values
    assert finding.exit_code == 0


def test_the_released_commit_is_built_and_not_what_is_checked_out(world: World) -> None:
    world.miniature.commit("a later commit\n")
    assert world.examine().audit.verdict is Verdict.REPRODUCED


def test_the_working_tree_is_not_what_is_built(world: World) -> None:
    (world.miniature.tree / "enclave.txt").write_text("not committed\n")
    assert world.examine().audit.verdict is Verdict.REPRODUCED


def test_a_commit_that_no_branch_leads_to_is_found(world: World) -> None:
    world.miniature.git("commit", "--quiet", "--amend", "--message", "rewritten")
    assert world.examine().audit.verdict is Verdict.REPRODUCED


def test_a_source_without_the_commit_is_no_verdict(world: World, tmp_path: Path) -> None:
    other = make_repository(tmp_path / "other", content="another history\n")
    with pytest.raises(CommitMissingError, match=world.release.source.commit.hex()):
        world.examine(source=other.tree)


def test_a_shallow_source_is_named_as_the_reason(world: World, tmp_path: Path) -> None:
    world.miniature.commit("a later commit\n")
    shallow = tmp_path / "shallow"
    address = world.miniature.tree.as_uri()
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", address, str(shallow)], check=True)
    with pytest.raises(CommitMissingError) as caught:
        world.examine(source=shallow)
    assert caught.value.hint is not None
    assert "unshallow" in caught.value.hint


def test_what_is_no_repository_is_no_verdict(world: World, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="git clone failed"):
        world.examine(source=tmp_path / "nowhere")


def test_a_replaced_commit_deceives_nobody(world: World) -> None:
    released = world.release.source.commit.hex()
    other = world.miniature.commit("what the replacement has\n").hex()
    world.miniature.git("replace", released, other)
    assert world.examine().audit.verdict is Verdict.REPRODUCED


def test_other_bytes_differ(world: World) -> None:
    world.release_another_content()
    finding = world.examine()
    assert finding.audit.verdict is Verdict.DIFFERS
    assert finding.audit.rebuilt_sha256 != world.release.image_sha256
    assert finding.exit_code == 1


def test_a_commit_that_does_not_build_has_failed(world: World) -> None:
    world.miniature.commit("fail")
    released = replace(world.release.source, commit=bytes.fromhex(world.miniature.git("rev-parse", "HEAD")))
    finding = examine(
        replace(world.release, source=released),
        source=world.miniature.tree,
        image=None,
        now=now(),
        validity=timedelta(days=1),
        tell=lambda _: None,
    )
    assert finding.audit.verdict is Verdict.FAILED
    assert finding.audit.rebuilt_sha256 is None
    assert finding.exit_code == 2


def test_the_same_image_with_other_reference_values_is_not_confirmed(world: World) -> None:
    values = world.release.reference_values
    tampered = replace(values, platforms={"simulated": values.platforms["simulated"]})
    finding = examine(
        replace(world.release, reference_values=tampered),
        source=world.miniature.tree,
        image=None,
        now=now(),
        validity=timedelta(days=1),
        tell=lambda _: None,
    )
    assert finding.audit.reference_values == values
    assert not finding.is_confirmed
    assert finding.exit_code == 1


def test_an_older_commit_that_knew_fewer_platforms_is_confirmed(tmp_path: Path, world: World) -> None:
    miniature = make_repository(tmp_path / "older", content="knows simulated only")
    released = release_of(miniature, PEOPLE, world.log).release
    values = released.reference_values
    only = replace(values, platforms={"simulated": values.platforms["simulated"]})
    finding = examine(
        replace(released, reference_values=only),
        source=miniature.tree,
        image=None,
        now=now(),
        validity=timedelta(days=1),
        tell=lambda _: None,
    )
    assert finding.is_confirmed
    assert finding.audit.reference_values == only


def test_a_release_by_a_stranger_is_not_audited(world: World) -> None:
    strangers = policy_of(People.meet(), world.log)
    with pytest.raises(UntrustedKeyError):
        expected_release(Publication.read(world.folder), strangers, now=now())


def test_a_release_that_was_never_logged_is_not_audited(world: World) -> None:
    publication = Publication.read(world.folder)
    again = replace(world.release, version="1.2.4").to_statement().sign(PEOPLE.maintainer).encode()
    unlogged = replace(publication, release=replace(publication.release, envelope=again))
    with pytest.raises(InclusionError):
        expected_release(unlogged, policy_of(PEOPLE, world.log), now=now())


def test_a_verdict_is_signed_logged_and_stapled(world: World) -> None:
    with world.log.client() as client:
        path = log_finding(world.folder, world.examine(), AUDITOR, client)
        assert path.read_bytes() in list(client.entries(0, client.checkpoint()))
    assert path.name == f"{AUDITOR.public_key.key_id[:16]}.dsse.json"
    assert world.logged_audit().verdict is Verdict.REPRODUCED
    assert path.read_bytes() in world.stapled()


def test_a_later_verdict_of_an_auditor_takes_the_place_of_the_earlier(world: World) -> None:
    with world.log.client() as client:
        log_finding(world.folder, world.examine(), AUDITOR, client)
        finding = world.examine()
        later = replace(finding.audit, expires=finding.audit.expires + timedelta(days=1))
        log_finding(world.folder, replace(finding, audit=later), AUDITOR, client)
    assert world.logged_audit().expires == later.expires
    assert len(world.stapled()) == 2


def test_the_command_exits_with_0_if_reproduced(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(world.arguments("--json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["verdict"] == "reproduced"
    assert document["confirmed"] is True
    assert document["released"] == document["rebuilt"]


def test_the_command_logs_a_difference_and_shows_it(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.release_another_content()
    image = str(world.folder.with_name("enclave.efi"))
    assert cli.main(world.arguments("--image", image)) == 1
    printed = capsys.readouterr().out
    assert "verdict: differs" in printed
    assert "differs: .osrel" in printed
    assert "what the source really gives" in printed
    assert world.logged_audit().verdict is Verdict.DIFFERS
    assert len(world.stapled()) == 2


def test_the_command_logs_a_failure_and_exits_2(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.miniature.commit("fail")
    commit = bytes.fromhex(world.miniature.git("rev-parse", "HEAD"))
    false = replace(world.release, source=replace(world.release.source, commit=commit))
    envelope = false.to_statement().sign(PEOPLE.maintainer).encode()
    with world.log.client() as client:
        (world.folder / "release.tlog-proof").write_bytes(client.add(envelope))
    (world.folder / "release.dsse.json").write_bytes(envelope)
    assert cli.main(world.arguments()) == 2
    printed = capsys.readouterr()
    assert "told to fail" in printed.err
    assert "hint: tell it otherwise" in printed.err
    assert "verdict: failed" in printed.out
    assert world.logged_audit().verdict is Verdict.FAILED


def test_nothing_is_expected_from_the_image_under_audit(world: World) -> None:
    finding = world.examine(image=b"whatever a server hands out")
    assert finding.audit.verdict is Verdict.REPRODUCED
    assert finding.comparison is not None
    assert not finding.comparison.identical
