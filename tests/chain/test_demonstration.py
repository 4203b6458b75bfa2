"""The demonstration itself: it ends cleanly however it ends, and does not call a failure a success."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from demo.refusals import Refusal
from demo.stage import DemoError, Stage, work_folder
from demo.story import check_out
from glasshouse_audit.errors import SourceError
from support.image import EnclaveImage
from support.repository import ROOT

_SECONDS = 120


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_demonstration_leaves_nothing_behind(
    enclave_image: EnclaveImage, number: signal.Signals
) -> None:
    # Not pytest's directory, whose path is too long for a socket. That the image can be built is known.
    with tempfile.TemporaryDirectory(prefix="gh-") as folder:
        environment = {**os.environ, "TMPDIR": folder}
        process = subprocess.Popen(
            [sys.executable, "-m", "demo"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        with process:
            assert process.stdout is not None
            wait_for_line(process, "first clone")
            # To all of its group, as a terminal does.
            os.killpg(process.pid, number)
            _, errors = process.communicate(timeout=_SECONDS)
        assert process.returncode == 130
        assert errors.splitlines()[-1] == "demo: interrupted; everything it started has been ended"
        assert list(Path(folder).iterdir()) == []
        assert processes_in(folder) == []


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    """Read what the demonstration says until a line has ``text``."""
    assert process.stdout is not None
    deadline = time.monotonic() + _SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            if not selector.select(timeout=deadline - time.monotonic()):
                break
            line = process.stdout.readline()
            if text in line:
                return
            assert line, process.stderr and process.stderr.read()
    process.kill()
    pytest.fail(f"the demonstration did not come to {text!r} in {_SECONDS} s")


def processes_in(folder: str) -> list[str]:
    """Processes that have ``folder`` in their arguments."""
    if not Path("/proc/self/cmdline").exists():
        return []
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if folder.encode() in command:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_an_unpacked_archive_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not a git repository") as caught:
        check_out(tmp_path, Stage(tmp_path, sys.stderr))
    assert caught.value.hint is not None
    assert "git clone" in caught.value.hint


def test_a_repository_without_a_commit_is_no_source(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    with pytest.raises(SourceError) as caught:
        check_out(tmp_path, Stage(tmp_path, sys.stderr))
    assert caught.value.hint is not None
    assert "commit" in caught.value.hint


@pytest.mark.parametrize("error", ["", "VerificationError", "ServerUnavailableError"])
def test_an_attack_that_is_not_refused_for_its_reason_is_a_failure(error: str) -> None:
    refusal = Refusal(letter="a", title="an attack", expected="AuditError", error=error, message="")
    assert not refusal.is_right


def test_a_folder_that_is_kept_must_be_empty(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(DemoError, match="not empty"), work_folder(tmp_path):
        pytest.fail("the folder was used")
    assert (tmp_path / "precious").exists()


def test_a_folder_that_is_kept_stays(tmp_path: Path) -> None:
    with work_folder(tmp_path / "kept") as folder:
        (folder / "file").touch()
    assert (tmp_path / "kept" / "file").exists()
