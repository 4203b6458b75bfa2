"""The command line: what it prints, what it leaves, and its exit codes."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from glasshouse_attestations.bundle import Bundle
from glasshouse_log.cli import main
from glasshouse_log.errors import MalformedKeyError
from glasshouse_log.keyfile import encode_key_file, parse_key_file
from glasshouse_log.note import KeyType, NoteSigner, VerifierKey
from support.log_service import LocalLog, envelope, local_log
from support.log_trees import Simulator

__all__ = ["local_log"]


@pytest.fixture
def policy_file(tmp_path: Path, local_log: LocalLog) -> Path:
    path = tmp_path / "log.policy"
    path.write_bytes(local_log.policy_text)
    return path


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize("key_type", ["log", "witness"])
@pytest.mark.parametrize("password", [None, b"correct horse"])
def test_keygen_writes_a_private_file_and_prints_the_key_to_publish(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key_type: str, password: bytes | None
) -> None:
    path = tmp_path / "a.key"
    options = ["--password-file", write(tmp_path / "password", password + b"\n")] if password else []
    assert run("keygen", key_type, "example.com/log", path, *options) == 0
    key = VerifierKey.parse(capsys.readouterr().out.strip())
    assert key.type is {"log": KeyType.ED25519, "witness": KeyType.COSIGNATURE_V1}[key_type]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert parse_key_file(path.read_bytes(), password).verifier_key == key
    assert (b"ENCRYPTED" in path.read_bytes()) is (password is not None)
    if password:
        for wrong in (None, b"another"):
            with pytest.raises(MalformedKeyError):
                parse_key_file(path.read_bytes(), wrong)


def test_keygen_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "a.key", b"precious")
    assert run("keygen", "log", "example.com/log", path) == 2
    assert path.read_bytes() == b"precious"
    assert "hint: keys are never overwritten" in capsys.readouterr().err


def test_a_key_file_that_names_another_key_is_refused() -> None:
    one, other = (NoteSigner.generate("example.com/log", KeyType.ED25519) for _ in range(2))
    mixed = encode_key_file(one).partition(b"\n")[0] + b"\n" + encode_key_file(other).partition(b"\n")[2]
    for data in (mixed, b"", b"nonsense", encode_key_file(one).partition(b"\n")[2], b"\xff\n"):
        with pytest.raises(MalformedKeyError):
            parse_key_file(data)


def test_add_prove_verify_and_bundle(
    tmp_path: Path, policy_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = write(tmp_path / "entry.json", envelope(b"from the command line"))
    for command in ("add", "prove"):
        proof = tmp_path / f"{command}.tlog-proof"
        assert run(command, entry, "--policy", policy_file, "--output", proof) == 0
        assert run("verify", entry, proof, "--policy", policy_file, "--json") == 0
        outcome = json.loads(capsys.readouterr().out)
        assert (outcome["schema"], outcome["verified"]) == ("glasshouse/log-verification/v1", True)
        assert outcome["witnessed"]
        assert run("verify", entry, proof, "--policy", policy_file) == 0
        assert "witnessed at" in capsys.readouterr().out
    bundle = tmp_path / "bundle.json"
    assert run("bundle", entry, "--policy", policy_file, "--output", bundle) == 0
    assert Bundle.parse(bundle.read_bytes()).entries[0].envelope == entry.read_bytes()


def test_what_does_not_verify_exits_with_1_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Simulator()
    entry = write(tmp_path / "entry", log.entries[1])
    policy = write(tmp_path / "policy", log.policy("all").encode())
    cases = {
        "InclusionError": log.proof(2, log.note(times=(1, 1, 1))),
        "QuorumError": log.proof(1, log.note(by=(1,), times=(1,))),
        "MalformedProofError": b"",
        "FutureCosignatureError": log.proof(1, log.note(times=(1, 1, 2**62))),
    }
    for error, proof in cases.items():
        path = write(tmp_path / "proof", proof)
        assert run("verify", entry, path, "--policy", policy, "--json") == 1
        printed = capsys.readouterr()
        outcome = json.loads(printed.out)
        assert (outcome["verified"], outcome["error"]) == (False, error)
        assert printed.err.startswith("glasshouse-log: ")


def test_what_could_not_be_checked_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = Simulator()
    entry = write(tmp_path / "entry", log.entries[1])
    proof = write(tmp_path / "proof", log.proof(1))
    policy = write(tmp_path / "policy", log.policy("all").encode())
    nonsense = write(tmp_path / "nonsense", b"nonsense\n")
    assert run("verify", entry, proof, "--policy", nonsense) == 2
    assert run("verify", entry, tmp_path / "missing", "--policy", policy) == 2
    assert run("add", entry, "--policy", policy) == 2  # no URL
    output = tmp_path / "output"
    assert run("add", entry, "--policy", policy, "--log", "http://127.0.0.1:9", "--output", output) == 2
    assert not output.exists()
    with pytest.raises(SystemExit) as caught:
        run("verify", entry)
    assert caught.value.code == 2
    assert "hint: a policy has log, witness, group and quorum lines" in capsys.readouterr().err


def test_a_monitor_prints_what_is_new_and_remembers_it(
    tmp_path: Path, local_log: LocalLog, policy_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "seen"
    with local_log.client() as client:
        client.add(envelope(b"before"))
        size = client.checkpoint().size
    assert run("monitor", "--policy", policy_file, "--state", state) == 0
    assert len(capsys.readouterr().out.splitlines()) == size
    assert run("monitor", "--policy", policy_file, "--state", state, "--json") == 0
    assert capsys.readouterr().out == ""
    with local_log.client() as client:
        client.add(envelope(b"after"))
    assert run("monitor", "--policy", policy_file, "--state", state, "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert (json.loads(line)["index"], json.loads(line)["payloadType"]) == (size, "text/plain")


def test_a_corrupt_memory_of_the_monitor_is_loud(
    tmp_path: Path, policy_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = write(tmp_path / "seen", b"corrupt")
    assert run("monitor", "--policy", policy_file, "--state", state) == 1
    assert state.read_bytes() == b"corrupt"
    assert "a note" in capsys.readouterr().err


def start(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "glasshouse_log", *(str(argument) for argument in arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    ("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (None, 0)], ids=["ctrl-c", "sigterm", "eof"]
)
def test_a_server_stops_cleanly(tmp_path: Path, stop: signal.Signals | None, code: int) -> None:
    key = tmp_path / "log.key"
    run("keygen", "log", "example.com/log", key)
    process = start(
        "serve", "--key", key, "--store", tmp_path / "log", "--no-witnesses", "--until-stdin-closes"
    )
    with process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["event"] == "ready"
        assert ready["listen"].startswith("127.0.0.1:")
        if stop is not None:
            process.send_signal(stop)
            process.wait(30)
        _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert err.decode() == "glasshouse-log: no witness is asked: clients must say quorum none\n"


def test_a_server_does_not_start_with_what_does_not_fit(tmp_path: Path, local_log: LocalLog) -> None:
    log_key, witness_key = tmp_path / "log.key", tmp_path / "witness.key"
    run("keygen", "log", "example.com/log", log_key)
    run("keygen", "witness", "example.com/w1", witness_key)
    witnesses = write(tmp_path / "policy", Simulator().policy().encode())
    store = ["--store", tmp_path / "log"]
    used = ["--store", local_log.directory / "log", "--no-witnesses"]
    assert run("serve", "--key", witness_key, *store, "--no-witnesses") == 2
    assert run("serve", "--key", log_key, *store, "--policy", witnesses) == 2
    assert run("serve", "--key", log_key, *store, "--no-witnesses", "--listen", "nowhere") == 2
    assert run("serve", "--key", log_key, *store, "--no-witnesses", "--admit", "nonsense") == 2
    assert run("serve", "--key", log_key, *used) == 2
    assert run("witness", "--key", log_key, "--state", tmp_path / "w", "--log", local_log.key.encode()) == 2
    assert run("witness", "--key", witness_key, "--state", tmp_path / "w", "--log", "nonsense") == 2


def test_a_file_of_another_kind_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log_key, missing = tmp_path / "log.key", tmp_path / "missing.key"
    run("keygen", "log", "example.com/log", log_key)
    capsys.readouterr()
    witness = ["--state", tmp_path / "w", "--log", "nonsense"]
    assert run("witness", "--key", log_key, *witness) == 2
    assert capsys.readouterr().err == f"glasshouse-log: {log_key} is the key of a log: example.com/log\n"
    assert run("witness", "--key", missing, *witness) == 2
    assert capsys.readouterr().err.startswith(f"glasshouse-log: {missing}: No such file or directory\nhint: ")


def test_the_checks_need_neither_server_nor_client_libraries() -> None:
    program = (
        "import sys, glasshouse_log\n"
        "found = {'starlette', 'uvicorn', 'httpx', 'anyio', 'asyncio', 'ssl', 'fcntl'} & set(sys.modules)\n"
        "import glasshouse_log.cli\n"
        "found |= {'starlette', 'uvicorn', 'httpx', 'anyio'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_public_names_are_there_and_sorted() -> None:
    import glasshouse_log

    assert glasshouse_log.__all__ == sorted(glasshouse_log.__all__)
    assert all(hasattr(glasshouse_log, name) for name in glasshouse_log.__all__)
