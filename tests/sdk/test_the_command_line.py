"""``glasshouse``: exit codes, text and JSON agree, results and complaints go where they belong."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from glasshouse import Outcome, errors
from glasshouse.cli import main
from support import models
from support.chain import Chain, sign
from support.enclave_server import ALICE
from support.repository import command
from support.served import Served

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def configured(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The shared server as the configured one, and an empty home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GLASSHOUSE_ADDRESS", served.address)
    monkeypatch.setenv("GLASSHOUSE_POLICY", str(served.policy_file))
    monkeypatch.setenv("GLASSHOUSE_API_KEY", ALICE)
    monkeypatch.setenv("GLASSHOUSE_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return served


def statuses(table: str) -> list[str]:
    """The status of each step in a table, by its fixed columns."""
    return [line[19:31].strip() for line in table.splitlines()[:12]]


def test_a_verified_server_is_zero_in_text_and_json(
    configured: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", configured.address]) == 0
    table = capsys.readouterr().out
    assert main(["verify", "--json"]) == 0
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["schema"], verdict["outcome"]) == ("glasshouse/verdict/v1", "verified")
    assert [step["number"] for step in verdict["steps"]] == list(range(1, 13))
    assert [step["status"] for step in verdict["steps"]] == statuses(table) == ["pass"] * 12
    assert table.splitlines()[-1] == "verified"
    assert "not proven: that the operator cannot read the memory of the server" in table


@pytest.mark.parametrize("as_json", [True, False])
def test_a_refused_server_is_one_and_names_the_step(
    configured: Served, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    stranger = replace_auditors(configured.chain)
    Path("other.toml").write_text(stranger.policy_text(), encoding="utf-8")
    assert main(["verify", "--policy", "other.toml", *(["--json"] if as_json else [])]) == 1
    out, err = capsys.readouterr()
    if as_json:
        verdict = json.loads(out)
        assert verdict["outcome"] == "refused"
        found = [step["status"] for step in verdict["steps"]]
    else:
        assert out.splitlines()[-1] == "refused"
        found = statuses(out)
    assert found == ["pass", "pass", "fail"] + ["not checked"] * 9
    assert err.startswith("glasshouse: 0 of the 2 audits required")
    assert err.splitlines()[1].startswith("hint: ")


def replace_auditors(chain: Chain) -> Chain:
    return replace(chain, auditors=Chain().auditors)


def test_what_could_not_be_checked_is_two(configured: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "127.0.0.1:1"]) == 2
    assert capsys.readouterr().out == ""
    memory = Path("state")
    memory.mkdir()
    (memory / "memory.json").write_bytes(b"{}")
    assert main(["verify"]) == 2
    assert "corrupt" in capsys.readouterr().err


def test_without_any_configuration_the_hint_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("GLASSHOUSE_ADDRESS", "GLASSHOUSE_POLICY", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert main(["models"]) == 2
    assert "GLASSHOUSE_ADDRESS" in capsys.readouterr().err
    assert main(["models", "--address", "127.0.0.1:1"]) == 2
    assert "GLASSHOUSE_POLICY" in capsys.readouterr().err


def test_the_configuration_file_is_enough(configured: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(".config", "glasshouse")
    folder.mkdir(parents=True)
    (folder / "trust.toml").write_bytes(configured.policy_file.read_bytes())
    lines = f'address = "{configured.address}"\npolicy = "trust.toml"\napi_key = "{ALICE}"\n'
    (folder / "config.toml").write_text(lines, encoding="utf-8")
    for name in ("GLASSHOUSE_ADDRESS", "GLASSHOUSE_POLICY", "GLASSHOUSE_API_KEY", "GLASSHOUSE_STATE"):
        monkeypatch.delenv(name)
    assert main(["verify"]) == 0
    assert Path(".local", "state", "glasshouse", "memory.json").is_file()
    (folder / "config.toml").write_text(lines + "insecure = true\n", encoding="utf-8")
    with pytest.raises(errors.ConfigurationError, match="unknown field 'insecure'"):
        configured.connect()


def test_a_model_is_uploaded_listed_used_and_deleted(
    configured: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("m.onnx").write_bytes(models.affine())
    np.save("x.npy", X)
    assert main(["upload", "m.onnx", "alice/cli", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "alice/cli"
    assert main(["models", "--json"]) == 0
    assert "alice/cli" in [each["model"] for each in json.loads(capsys.readouterr().out)["models"]]
    assert main(["models"]) == 0
    assert "alice/cli " in capsys.readouterr().out
    assert (
        main(["predict", "alice/cli", "--input", "x=x.npy", "--output", "y.npy", "--receipt", "r.json"]) == 0
    )
    np.testing.assert_array_equal(np.load("y.npy"), 2 * X + 1)
    assert Path("r.json").stat().st_size > 1000
    assert main(["predict", "alice/cli", "--input", "x.npy", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["outputs"][0]["data"] == (2 * X + 1).ravel().tolist()
    assert main(["predict", "alice/cli", "--input", "x.npy"]) == 0
    assert "y: FP32 [2, 3]" in capsys.readouterr().out
    assert main(["delete", "alice/cli"]) == 0
    assert main(["delete", "alice/cli"]) == 2


def test_several_outputs_go_to_an_archive(configured: Served, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("x.npy", np.array([3.0], np.float32))
    predict = ["predict", "public/two-outputs", "--input", "x.npy", "--output"]
    assert main([*predict, "y.npy"]) == 2
    assert not Path("y.npy").exists()
    assert ".npz" in capsys.readouterr().err
    assert main([*predict, "y.npz"]) == 0
    with np.load("y.npz") as saved:
        assert {name: saved[name].tolist() for name in saved} == {"double": [6.0], "square": [9.0]}


def test_a_prediction_that_fails_leaves_no_file(configured: Served) -> None:
    np.save("x.npy", np.zeros((2, 4), np.float32))
    assert main(["predict", "public/affine", "--input", "x.npy", "--output", "y.npy"]) == 2
    assert not Path("y.npy").exists()


@pytest.mark.parametrize("inputs", [["none.npy"], ["x=x.npy", "x=x.npy"], ["x=x.npy", "x.npy"], ["p.npy"]])
def test_inputs_that_cannot_be_read_are_two(configured: Served, inputs: list[str]) -> None:
    np.save("x.npy", X)
    np.save("p.npy", np.array([{}], dtype=object), allow_pickle=True)
    options = [word for each in inputs for word in ("--input", each)]
    assert main(["predict", "public/affine", *options]) == 2


class TestOffline:
    @pytest.fixture
    def chain(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("GLASSHOUSE_STATE", str(tmp_path / "state"))
        chain = Chain(now=datetime.now(timezone.utc).replace(microsecond=0))
        Path("trust.toml").write_text(chain.policy_text(), encoding="utf-8")
        Path("bundle.json").write_bytes(chain.bundle().encode())
        return chain

    OPTIONS = ("verify", "--policy", "trust.toml", "--bundle", "bundle.json")

    def test_a_bundle_is_verified_and_what_it_cannot_show_is_not_checked(
        self, chain: Chain, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main([*self.OPTIONS, "--image-digest", chain.sha256.hex(), "--json"]) == 0
        verdict = json.loads(capsys.readouterr().out)
        assert [step["status"] for step in verdict["steps"]] == ["pass"] * 8 + ["not checked"] * 4

    @pytest.mark.usefixtures("chain")
    def test_another_image_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main([*self.OPTIONS, "--image-digest", "00" * 32]) == 1
        assert statuses(capsys.readouterr().out)[:2] == ["pass", "fail"]

    def test_a_revoked_image_is_refused(self, chain: Chain) -> None:
        revoked = sign(chain.revocation().to_statement(), *chain.maintainers)
        Path("bundle.json").write_bytes(chain.bundle([*chain.fixed, revoked]).encode())
        assert main(list(self.OPTIONS)) == 1

    @pytest.mark.usefixtures("chain")
    @pytest.mark.parametrize(
        "options",
        [
            ["--image-digest", "abc"],
            ["--image-digest", "AA" * 32],
            ["127.0.0.1:1"],
            ["--policy", "none.toml"],
            ["--bundle", "none.json"],
        ],
    )
    def test_what_makes_no_sense_is_two(self, options: list[str]) -> None:
        assert main([*self.OPTIONS, *options]) == 2

    @pytest.mark.usefixtures("chain")
    def test_an_image_digest_without_a_bundle_is_two(self) -> None:
        assert main(["verify", "127.0.0.1:1", "--policy", "trust.toml", "--image-digest", "00" * 32]) == 2


def test_usage_is_two_and_help_is_zero(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, code in ([], 2), (["nonsense"], 2), (["--help"], 0), (["verify", "--help"], 0):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == code


def test_interruption_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("glasshouse.cli.models.connect", interrupt)
    assert main(["models"]) == 130


def test_the_installed_command_is_this_one(configured: Served) -> None:
    done = subprocess.run(
        [command("glasshouse"), "verify", "--json"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, json.loads(done.stdout)["outcome"], done.stderr) == (0, "verified", "")


def test_every_outcome_has_its_exit_code() -> None:
    codes = {outcome.value: outcome.exit_code for outcome in Outcome}
    assert codes == {"verified": 0, "refused": 1, "unavailable": 2}
