"""What an image can see and do where it was started, in each way of isolation that this machine offers."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support.launched import Launched, Launcher, as_nobody, launched

CANARY = "GLASSHOUSE_TEST_CANARY"


# Only root can change its root directory, so that nobody's chroot is not among them.
CASES = ("namespaces-me", "namespaces-nobody", "chroot-me", "loader-me", "loader-nobody")
APART = CASES[:3]
WITH_PROC = (*CASES[:2], *CASES[3:])


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest, probe_image_path: Path) -> Iterator[Launched]:
    isolation, _, user = request.param.partition("-")
    launcher = as_nobody() if user == "nobody" else Launcher()
    if isolation == "chroot" and launcher.uid != 0:
        pytest.skip("only root can change its root directory")
    if isolation == "namespaces" and not _has_namespaces(launcher):
        pytest.skip(f"this machine forbids user {launcher.uid} the namespaces")
    with pytest.MonkeyPatch.context() as patch, Path("/dev/zero").open("rb") as leak:
        patch.setenv(CANARY, "must stay outside")
        os.set_inheritable(leak.fileno(), True)
        with launched(probe_image_path, "--isolation", isolation, launcher=launcher) as enclave:
            assert enclave.ready["isolation"] == isolation
            yield enclave


def in_each(cases: Sequence[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("running", cases, indirect=True, scope="module")


def _has_namespaces(launcher: Launcher) -> bool:
    everything = ["unshare", "--user", "--mount", "--pid", "--ipc", "--uts", "--fork", "true"]
    return subprocess.run([*launcher.prefix, *everything], check=False, capture_output=True).returncode == 0


@in_each(CASES)
def test_the_images_own_python_runs(running: Launched) -> None:
    executable = running.call("look")["executable"]
    root = "" if running.ready["isolation"] != "loader" else str(running.run_directory.parents[1])
    assert executable == f"{root}/usr/bin/python3.13"


@in_each(CASES)
def test_the_environment_does_not_leak(running: Launched) -> None:
    environment = running.call("look")["environment"]
    assert CANARY not in environment
    assert set(environment) <= {"LANG", "PATH", "LC_CTYPE"}


@in_each(WITH_PROC)
def test_no_descriptor_leaks(running: Launched) -> None:
    descriptors = running.call("look")["descriptors"]
    for name, target in descriptors.items():
        expected = "/dev/null" if name == "0" else r"pipe:.*|socket:.*|/proc/.*/fd|/proc/\d+/fd|"
        assert re.fullmatch(expected, target), f"descriptor {name} is {target}"


@in_each(WITH_PROC)
def test_no_capability_is_left_and_none_can_come(running: Launched) -> None:
    status = running.call("look")["status"]
    sets = dict(re.findall(r"^Cap(Inh|Prm|Eff|Amb):\t([0-9a-f]+)$", status, re.MULTILINE))
    assert {name: int(value, 16) for name, value in sets.items()} == dict.fromkeys(
        ("Inh", "Prm", "Eff", "Amb"), 0
    )
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)


@in_each(APART)
def test_the_host_is_out_of_reach(running: Launched, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    assert running.call("read", path=str(secret)) == "FileNotFoundError"
    assert running.call("read", path="/run/glasshouse/../../../../../etc/hostname") == "FileNotFoundError"
    assert "root" not in running.call("look")["root"]


@in_each(WITH_PROC)
def test_the_launchers_memory_is_out_of_reach(running: Launched) -> None:
    launcher = running.process.pid
    for name in ("mem", "environ", "maps"):
        assert running.call("read", path=f"/proc/{launcher}/{name}") in (
            "FileNotFoundError",
            "PermissionError",
        )


@in_each(APART)
def test_the_root_cannot_be_changed(running: Launched) -> None:
    expected = "OSError" if running.ready["isolation"] == "namespaces" else "PermissionError"
    for path in ("/usr/bin/python3.13", "/usr/lib/new", "/run/glasshouse/config.json", "/new"):
        assert running.call("write", path=path) == expected


@in_each(CASES[:2])
def test_namespaces_hide_the_host(running: Launched) -> None:
    seen = running.call("look")
    assert (seen["pid"], seen["host"]) == (1, "glasshouse")
    points = {line.split()[1] for line in seen["mounts"].splitlines()}
    devices = {f"/dev/{name}" for name in ("null", "zero", "random", "urandom", "shm")}
    assert points >= {"/", "/proc", "/dev", "/tmp", "/sys", "/sys/devices/system", *devices}
    assert not {point for point in points if point.startswith(("/home", "/root", "/var", "/etc"))}
    assert running.call("write", path="/proc/sys/kernel/core_pattern") in ("OSError", "PermissionError")
    assert running.call("write", path="/tmp/scratch") == ""


@in_each(CASES)
def test_the_operators_files_are_there(running: Launched) -> None:
    assert running.call("look")["run"] == ["attester.sock", "config.json", "models"]


@in_each(CASES)
def test_what_the_enclave_says_is_passed_on_without_control_characters(running: Launched) -> None:
    running.call("say", text="hello \x1b[31m terminal")
    assert "glasshouse-host: hello ?[31m terminal\n" in _text_with(running.stderr, "hello")


def _text_with(path: Path, expected: str) -> str:
    for _ in range(100):
        text = path.read_text()
        if expected in text:
            return text
        subprocess.run(["sleep", "0.05"], check=True)
    raise AssertionError(f"{expected!r} never came")
