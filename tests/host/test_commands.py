"""The command line: keys, API keys, configurations, and requests that are refused before anything starts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from glasshouse_attestations.configuration import RuntimeConfiguration
from glasshouse_attestations.keys import SigningKey
from glasshouse_host.cli import main

Captured = pytest.CaptureFixture[str]


def test_keygen_writes_a_key_for_its_owner_alone(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "launcher.pem"
    assert main(["keygen", str(path)]) == 0
    assert path.stat().st_mode & 0o777 == 0o600
    key = SigningKey.load_pem(path.read_bytes())
    assert capsys.readouterr().out == key.public_key.encode() + "\n"


def test_keygen_never_overwrites(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "launcher.pem"
    path.write_text("precious")
    assert main(["keygen", str(path)]) == 2
    assert path.read_text() == "precious"
    assert capsys.readouterr().out == ""


def test_an_api_key_is_shown_once_and_its_hash_admits_it(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "config.json"
    keys = []
    for namespace in ("alice", "bob"):
        assert main(["api-key", "--namespace", namespace, "--config", str(path)]) == 0
        captured = capsys.readouterr()
        keys.append(captured.out.strip())
        assert keys[-1] not in captured.err
    content = path.read_bytes()
    configuration = RuntimeConfiguration.parse(content)
    assert [configuration.namespace_of(key) for key in keys] == ["alice", "bob"]
    assert not any(key.encode() in content for key in keys)


def test_an_api_key_without_a_file_comes_with_the_option_for_its_hash(capsys: Captured) -> None:
    assert main(["api-key", "--namespace", "alice", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["sha256"] == hashlib.sha256(result["apiKey"].encode()).hexdigest()
    assert main(["config", "--api-key-hash", f"alice={result['sha256']}"]) == 0
    configuration = RuntimeConfiguration.parse(capsys.readouterr().out.encode())
    assert configuration.namespace_of(result["apiKey"]) == "alice"


@pytest.mark.parametrize("namespace", ["", "Alice", "a/b", "../x", "a" * 64])
def test_a_namespace_that_is_none_gets_no_key(namespace: str, capsys: Captured) -> None:
    assert main(["api-key", "--namespace", namespace]) == 2
    assert capsys.readouterr().out == ""


def test_config_writes_what_the_options_say_over_what_the_file_says(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "config.json"
    assert main(["config", "--max-models", "3", "--max-request-bytes", "2000", "--out", str(path)]) == 0
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert capsys.readouterr().out == f"sha256:{digest}\n"
    assert main(["config", "--config", str(path), "--max-models", "4", "--json"]) == 0
    configuration = json.loads(capsys.readouterr().out)["configuration"]
    assert (configuration["max_models"], configuration["max_request_bytes"]) == (4, 2000)


def test_config_replaces_no_file_but_the_one_it_starts_from(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "config.json"
    assert main(["api-key", "--namespace", "alice", "--config", str(path)]) == 0
    before = path.read_bytes()
    assert main(["config", "--max-models", "3", "--out", str(path)]) == 2
    assert "exists" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert main(["config", "--config", str(path), "--max-models", "3", "--out", str(path)]) == 0
    changed = json.loads(path.read_bytes())
    assert (changed["max_models"], len(changed["api_keys"])) == (3, 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--max-models", "0"],
        ["--max-request-bytes", str(1 << 31)],
        ["--api-key-hash", "alice"],
        ["--api-key-hash", "alice=" + "g" * 64],
        ["--api-key-hash", "alice=ab"],
        ["--api-key-hash", f"ALICE={'ab' * 32}"],
    ],
)
def test_a_configuration_out_of_bounds_is_refused(arguments: list[str], capsys: Captured) -> None:
    assert main(["config", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("glasshouse-host: ")


def test_a_broken_configuration_is_refused_by_name(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}")
    assert main(["config", "--config", str(path)]) == 2
    assert f"{path} is not a runtime configuration" in capsys.readouterr().err


@pytest.mark.parametrize("platform", ["snp", "tdx"])
def test_a_hardware_platform_is_not_supported_yet(platform: str, capsys: Captured) -> None:
    assert main(["run", "--image", "none.efi", "--platform", platform]) == 2
    captured = capsys.readouterr()
    assert f"this version boots no image on the platform {platform}\nhint: " in captured.err
    assert captured.out == ""


def test_a_key_that_others_may_read_is_refused(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "launcher.pem"
    path.write_bytes(SigningKey.generate().to_pem())
    path.chmod(0o640)
    assert main(["run", "--image", "none.efi", "--platform", "simulated", "--key", str(path)]) == 2
    assert "others may read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--listen", "nowhere"],
        ["--listen", "127.0.0.1:1 --run-dir=/"],
        ["--model", "resnet"],
        ["--model", "public/m="],
        ["--model", "Public/m=x"],
        ["--model", "public/m=a", "--model", "public/m=b"],
    ],
)
def test_a_request_that_makes_no_sense_is_refused(arguments: list[str], capsys: Captured) -> None:
    assert main(["run", "--image", "none.efi", "--platform", "simulated", *arguments]) == 2
    assert "none.efi" not in capsys.readouterr().err
