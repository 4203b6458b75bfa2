"""A release: only of a commit, only if two builds agree, and checked before it is written."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from glasshouse import Status
from glasshouse_attestations.document import format_time
from glasshouse_attestations.errors import UntrustedKeyError
from glasshouse_audit import cli
from glasshouse_audit.errors import (
    DirtyTreeError,
    NotReproducedError,
    RebuildError,
    SourceError,
    VersionMismatchError,
)
from glasshouse_audit.release import check_identical
from glasshouse_log.local import LocalLog, run_local_log
from support.miniature import (
    SOURCE,
    VERSION,
    Miniature,
    People,
    make_repository,
    policy_toml,
    release_of,
    written,
)
from support.synthetic_pe import make_pe

PEOPLE = People.meet()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalLog]:
    with run_local_log(tmp_path_factory.mktemp("log")) as running:
        yield running


@pytest.fixture
def miniature(tmp_path: Path) -> Miniature:
    return make_repository(tmp_path / "repository")


def test_a_release_is_of_the_commit_and_names_what_went_in(miniature: Miniature, log: LocalLog) -> None:
    released = release_of(miniature, PEOPLE, log)
    assert released.release.version == VERSION
    assert released.release.source.repository == SOURCE
    assert released.release.source.commit.hex() == miniature.git("rev-parse", "HEAD")
    folder = miniature.tree / "reference_server" / "image"
    assert released.release.locks == {
        f"reference_server/image/{name}": hashlib.sha256((folder / name).read_bytes()).digest()
        for name in ("debs.lock", "firmware.lock", "wheels.lock")
    }
    assert {"simulated", "tpm"} <= set(released.release.reference_values.platforms)
    bill = json.loads(released.publication.sbom)
    assert bill["metadata"]["component"]["version"] == VERSION
    assert "sample-firmware" not in {each["name"] for each in bill["components"]}


def test_everything_but_audits_is_checked_and_audits_are_said_not_to_be(
    miniature: Miniature, log: LocalLog
) -> None:
    checks = {check.name: check.status for check in release_of(miniature, PEOPLE, log).report.checks}
    assert checks.pop("client, step 3: audits") is Status.NOT_CHECKED
    assert set(checks.values()) == {Status.PASS}
    assert "image" in checks


def test_a_second_release_of_a_commit_has_the_same_image_and_sbom(
    miniature: Miniature, log: LocalLog
) -> None:
    first, second = (release_of(miniature, PEOPLE, log) for _ in range(2))
    assert first.image == second.image
    assert first.publication.sbom == second.publication.sbom
    assert first.publication.measurements == second.publication.measurements


def test_a_changed_file_makes_the_tree_dirty(miniature: Miniature, log: LocalLog) -> None:
    (miniature.tree / "enclave.txt").write_text("changed")
    with pytest.raises(DirtyTreeError, match=r"enclave\.txt"):
        release_of(miniature, PEOPLE, log)


def test_a_file_that_no_commit_has_makes_the_tree_dirty(miniature: Miniature, log: LocalLog) -> None:
    (miniature.tree / "extra.py").touch()
    with pytest.raises(DirtyTreeError, match=r"extra\.py"):
        release_of(miniature, PEOPLE, log)


def test_a_version_that_the_distributions_do_not_have_is_refused(miniature: Miniature, log: LocalLog) -> None:
    with pytest.raises(VersionMismatchError, match=r"has version 1\.2\.3, not 1\.2\.4"):
        release_of(miniature, PEOPLE, log, version="1.2.4")


def test_one_distribution_with_another_version_is_refused(miniature: Miniature, log: LocalLog) -> None:
    (miniature.tree / "sdk" / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "9.9.9"\n')
    miniature.commit("another version")
    with pytest.raises(VersionMismatchError, match=r"sdk"):
        release_of(miniature, PEOPLE, log)


def test_a_folder_without_git_is_refused(tmp_path: Path, log: LocalLog) -> None:
    (tmp_path / "unpacked").mkdir()
    with pytest.raises(SourceError, match="not a git repository") as caught:
        release_of(Miniature(tree=tmp_path / "unpacked"), PEOPLE, log)
    assert caught.value.hint is not None


def test_an_image_that_depends_on_its_surroundings_is_not_released(
    miniature: Miniature, log: LocalLog
) -> None:
    miniature.commit("depends on TZ")
    with pytest.raises(NotReproducedError, match="two builds of one commit differ"):
        release_of(miniature, PEOPLE, log)


def test_a_build_that_fails_gives_its_reason(miniature: Miniature, log: LocalLog) -> None:
    miniature.commit("fail")
    with pytest.raises(RebuildError, match="told to fail") as caught:
        release_of(miniature, PEOPLE, log)
    assert caught.value.hint == "tell it otherwise"


def test_two_images_that_differ_in_one_byte_are_no_release() -> None:
    with pytest.raises(NotReproducedError, match=r"first \.osrel"):
        check_identical(make_pe({".osrel": b"a" * 600}), make_pe({".osrel": b"a" * 599 + b"b"}))


def test_a_maintainer_whom_the_policy_does_not_know_cannot_release(
    miniature: Miniature, log: LocalLog
) -> None:
    with pytest.raises(UntrustedKeyError):
        release_of(miniature, People.meet(), log, trusted=PEOPLE)


def test_the_folder_is_read_back_as_it_was_written(
    miniature: Miniature, log: LocalLog, tmp_path: Path
) -> None:
    folder = written(release_of(miniature, PEOPLE, log), tmp_path / "releases" / VERSION)
    assert sorted(path.name for path in folder.parent.iterdir()) == [VERSION, "enclave.efi"]


def test_the_validity_is_what_was_asked_for(miniature: Miniature, log: LocalLog) -> None:
    release = release_of(miniature, PEOPLE, log).release
    assert format_time(release.not_after)[4:] == format_time(release.not_before)[4:]


@pytest.fixture
def arguments(tmp_path: Path, miniature: Miniature, log: LocalLog) -> list[str]:
    """The arguments of a release that succeeds; its log is the policy's."""
    (tmp_path / "maintainer.pem").write_bytes(PEOPLE.maintainer.to_pem())
    (tmp_path / "trust.toml").write_text(policy_toml(PEOPLE, log))
    options = {"--key": "maintainer.pem", "--trust": "trust.toml", "--tree": "repository"}
    return [
        "release",
        VERSION,
        *(text for name, file in options.items() for text in (name, str(tmp_path / file))),
    ]


def test_the_command_writes_the_folder_and_prints_what_publishes_it(
    arguments: list[str], miniature: Miniature, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 0
    printed = capsys.readouterr()
    folder = miniature.tree / "attestations" / "releases" / VERSION
    assert {path.name for path in folder.iterdir()} == {
        "audits",
        "bundle.json",
        "measurements.json",
        "provenance.dsse.json",
        "provenance.tlog-proof",
        "release.dsse.json",
        "release.tlog-proof",
        "sbom.cdx.json",
    }
    assert f"git tag --annotate v{VERSION} {miniature.git('rev-parse', 'HEAD')}" in printed.out
    assert "not checked: audits. The policy requires 2" in printed.err
    assert miniature.git("tag") == ""
    assert (miniature.tree / "dist" / VERSION / "enclave.efi").is_file()


def test_the_command_prints_json(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "glasshouse/release-result/v1"
    assert document["verification"]["outcome"] == "verified"
    assert any(line.startswith("git push") for line in document["publish"])


@pytest.mark.parametrize(
    ("content", "exit_code", "reason"),
    [("depends on TZ", 1, "two builds of one commit differ"), ("fail", 2, "told to fail")],
    ids=["not reproducible", "not buildable"],
)
def test_a_failed_command_leaves_nothing_behind(
    arguments: list[str],
    miniature: Miniature,
    capsys: pytest.CaptureFixture[str],
    content: str,
    exit_code: int,
    reason: str,
) -> None:
    miniature.commit(content)
    before = sorted(miniature.tree.rglob("*"))
    assert cli.main(arguments) == exit_code
    assert reason in capsys.readouterr().err
    assert sorted(path for path in miniature.tree.rglob("*") if ".git" not in path.parts) == [
        path for path in before if ".git" not in path.parts
    ]


def test_a_key_that_is_no_maintainers_builds_and_logs_nothing(
    arguments: list[str], tmp_path: Path, log: LocalLog, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trust.toml").write_text(policy_toml(People.meet(), log))
    assert cli.main(arguments) == 2
    printed = capsys.readouterr().err
    assert "a key is not one of the policy's maintainers\nhint: " in printed
    assert "building" not in printed


def test_fewer_keys_than_the_threshold_build_and_log_nothing(
    arguments: list[str], tmp_path: Path, log: LocalLog, capsys: pytest.CaptureFixture[str]
) -> None:
    one, another = (people.maintainer.public_key.encode() for people in (PEOPLE, People.meet()))
    text = policy_toml(PEOPLE, log).replace(f'"{one}"', f'"{one}", "{another}"')
    (tmp_path / "trust.toml").write_text(text.replace("threshold = 1", "threshold = 2"))
    assert cli.main(arguments) == 2
    printed = capsys.readouterr().err
    assert "the policy wants 2 maintainers, and 1 would sign\nhint: " in printed
    assert "building" not in printed


def test_a_version_is_not_released_over(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*arguments]) == 0
    assert cli.main([*arguments]) == 2
    assert "exists" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["--key", "--trust"])
def test_what_the_command_lacks_is_named(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for name in ("GLASSHOUSE_KEY", "GLASSHOUSE_TRUST"):
        monkeypatch.delenv(name, raising=False)
    position = arguments.index(missing)
    assert cli.main(arguments[:position] + arguments[position + 2 :]) == 2
    assert missing in capsys.readouterr().err


def test_a_shallow_clone_has_all_that_its_own_commit_needs(
    miniature: Miniature, log: LocalLog, tmp_path: Path
) -> None:
    miniature.commit("a second commit\n")
    shallow = Miniature(tree=tmp_path / "shallow")
    miniature.git("clone", "--quiet", "--depth", "1", miniature.tree.as_uri(), str(shallow.tree))
    assert shallow.git("rev-parse", "--is-shallow-repository") == "true"
    assert release_of(shallow, PEOPLE, log).release.source.commit.hex() == miniature.git("rev-parse", "HEAD")


def test_a_log_that_does_not_answer_leaves_nothing_behind(
    arguments: list[str], miniature: Miniature, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    assert cli.main([*arguments, "--log", f"http://127.0.0.1:{port}"]) == 2
    assert "no answer from the log" in capsys.readouterr().err
    assert not (miniature.tree / "attestations" / "releases").exists()
    assert not (miniature.tree / "dist").exists()
