"""Whatever way a launch ends, no process, mount or file of it stays."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from glasshouse_attestations.bundle import Bundle, LoggedStatement
from glasshouse_attestations.configuration import RuntimeConfiguration
from support.launched import Launched, Launcher, descendants, launched, wait_until_gone


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)])
def test_a_signal_leaves_no_mess(probe_image_path: Path, number: signal.Signals, code: int) -> None:
    mounts = Path("/proc/self/mounts").read_text()
    with launched(probe_image_path) as running:
        children = descendants(running.process.pid)
        assert children
        assert running.stop(number) == code
        wait_until_gone(children)
        assert list(running.temporary.iterdir()) == []
    assert Path("/proc/self/mounts").read_text() == mounts


def test_a_signal_before_the_server_is_ready_leaves_no_mess(probe_image_path: Path, tmp_path: Path) -> None:
    command = Launcher().command("run", "--image", probe_image_path, "--platform", "simulated")
    with subprocess.Popen(command, env={"TMPDIR": str(tmp_path)}, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while b"unpacking" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("isolation", ["auto", "loader"])
def test_a_killed_launcher_takes_its_enclave_along(probe_image_path: Path, isolation: str) -> None:
    with launched(probe_image_path, "--isolation", isolation) as running:
        children = descendants(running.process.pid)
        running.stop(signal.SIGKILL)
        wait_until_gone(children)
        [left] = running.temporary.iterdir()
        with launched(probe_image_path, temporary=running.temporary.parent) as successor:
            assert not left.exists()
            assert f"removed {left}" in successor.stderr.read_text()


def test_a_live_launchers_files_are_left_alone(probe_image_path: Path) -> None:
    with launched(probe_image_path) as first:
        with launched(probe_image_path, temporary=first.temporary.parent) as second:
            assert second.run_directory != first.run_directory
        assert first.call("look")["run"]


def test_a_servers_end_is_the_launchers_with_its_reason(probe_image_path: Path) -> None:
    with launched(probe_image_path) as running:
        running.call("die", code=7)
        assert running.process.wait(10) == 2
        assert "glasshouse-host: the server ended with exit code 7\n" in running.stderr.read_text()
        assert list(running.temporary.iterdir()) == []


def test_a_changed_bundle_is_stapled_without_a_restart(probe_image_path: Path, tmp_path: Path) -> None:
    source = tmp_path / "bundle.json"
    first, second = (
        Bundle(entries=(LoggedStatement(envelope=b"{}", proof=proof),)).encode() for proof in (b"1", b"2")
    )
    source.write_bytes(first)
    with launched(probe_image_path, "--bundle", source) as running:
        stapled = f"{_seen_run_directory(running)}/bundle.json"
        assert running.call("read", path=stapled) == first.decode()
        source.write_bytes(b"broken")
        _wait_for(lambda: "kept the old bundle" in running.stderr.read_text())
        assert running.call("read", path=stapled) == first.decode()
        source.write_bytes(second)
        _wait_for(lambda: running.call("read", path=stapled) == second.decode())


def test_models_and_configuration_reach_the_enclave(probe_image_path: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    model.write_bytes(b"a model")
    digest = hashlib.sha256(b"a model").hexdigest()
    limits = ("--max-models", "3", "--api-key-hash", f"alice={'ab' * 32}")
    with launched(probe_image_path, "--model", f"public/m={model}", *limits) as running:
        directory = _seen_run_directory(running)
        assert running.call("read", path=f"{directory}/models/{digest}.onnx") == "a model"
        content = running.call("read", path=f"{directory}/config.json").encode()
    configuration = RuntimeConfiguration.parse(content)
    assert [(str(item.model_id), item.sha256.hex()) for item in configuration.models] == [
        ("public/m", digest)
    ]
    assert (configuration.max_models, configuration.api_keys[0].namespace) == (3, "alice")
    assert hashlib.sha256(content).hexdigest() == running.ready["configuration"]["sha256"]


def _seen_run_directory(running: Launched) -> str:
    return str(running.run_directory) if running.ready["isolation"] == "loader" else "/run/glasshouse"


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
