"""The whole chain on the real image: published, booted, verified, and only then asked to predict."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

import glasshouse
from demo.refusals import CASES, Case, attempt
from demo.server import Server
from demo.stage import Stage
from demo.story import World, ask
from glasshouse import Outcome, Status
from glasshouse.errors import (
    AuditError,
    InclusionError,
    MeasurementMismatchError,
    PlatformNotAllowedError,
    QuorumError,
    ReportDataMismatchError,
)
from glasshouse_audit import cli
from glasshouse_audit.publication import Publication
from glasshouse_audit.verification import verify_publication

EXPECTED = {
    "a": MeasurementMismatchError,
    "b": AuditError,
    "c": InclusionError,
    "d": ReportDataMismatchError,
    "e": QuorumError,
    "f": PlatformNotAllowedError,
}


def test_a_verified_server_predicts_digits_as_onnxruntime_does(
    world: World, server: Server, stage: Stage
) -> None:
    answer = ask(world, server, stage)
    assert answer.is_right
    assert answer.accuracy > 0.9
    assert answer.difference <= 1e-5
    assert answer.count == 450


def test_the_verdict_names_all_twelve_steps_and_what_nobody_proved(
    world: World, server: Server, stage: Stage
) -> None:
    with glasshouse.Connection(server.address, policy=world.trust, state=stage.folder / "verdict") as client:
        verdict = client.verdict
    assert verdict.outcome is Outcome.VERIFIED
    assert [step.status for step in verdict.steps] == [Status.PASS] * 12
    assert any("memory" in text for text in verdict.unproven)


def test_the_image_that_runs_is_the_one_that_was_released(world: World, server: Server) -> None:
    measured = json.loads((world.release / "measurements.json").read_bytes())
    assert server.image_sha256 == measured["image"]["sha256"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.letter)
def test_an_attack_is_refused_with_the_error_of_its_step(
    case: Case, world: World, server: Server, stage: Stage
) -> None:
    assert case.expected is EXPECTED[case.letter]
    refusal = attempt(case, world, server, stage)
    assert refusal.error == EXPECTED[case.letter].__name__, refusal.message


def test_there_is_a_test_for_every_attack() -> None:
    assert [case.letter for case in CASES] == sorted(EXPECTED)


def test_the_release_passes_every_check_with_its_image(world: World, policy: glasshouse.Policy) -> None:
    publication = Publication.read(world.release)
    report = verify_publication(
        publication, policy, image=world.image.read_bytes(), now=datetime.now(timezone.utc)
    )
    assert report.exit_code == 0, report.to_table()
    assert {check.status for check in report.checks} == {Status.PASS}


def test_the_command_agrees_in_text_json_and_exit_code(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["verify", str(world.release), "--trust", str(world.trust)]
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "verified; not checked: image"
    assert cli.main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["outcome"] == "verified"
    assert document["checks"][-1] == {
        "name": "image",
        "status": "not checked",
        "detail": "no image was given",
        "error": None,
    }


def test_the_wrong_image_makes_the_command_exit_with_1(
    world: World, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    image = bytearray(world.image.read_bytes())
    image[-1] ^= 1
    path = stage.folder / "changed.efi"
    path.write_bytes(image)
    arguments = ["verify", str(world.release), "--trust", str(world.trust), "--image", str(path), "--json"]
    assert cli.main(arguments) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["outcome"] == "refused"
    assert [each["error"] for each in document["checks"] if each["error"]] == ["MeasurementMismatchError"]
