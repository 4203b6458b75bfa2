"""The real launcher, started as a command on a real image, for every test that needs a running enclave.

``launched`` is the context manager; ``probe_image_path`` and ``launched_enclave`` are fixtures, to import
where they are used together with ``enclave_image``, on which they build.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from glasshouse_attestations.keys import PublicKey
from support.image import EnclaveImage
from support.images import probe_image
from support.repository import DISTRIBUTIONS

_NOBODY = 65534
_START_SECONDS = 60
_STOP_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """A launcher that serves. ``stderr`` is the file that it and its enclave write to."""

    process: subprocess.Popen[bytes]
    ready: dict[str, Any]
    stderr: Path
    temporary: Path

    @property
    def address(self) -> str:
        """Where the enclave serves, as HOST:PORT."""
        return str(self.ready["listen"])

    @property
    def launcher_key(self) -> PublicKey:
        """The key that signs its quotes."""
        return PublicKey.parse(self.ready["launcherKey"])

    @property
    def run_directory(self) -> Path:
        """The enclave's /run/glasshouse, as the host sees it."""
        return Path(self.ready["runDirectory"])

    def call(self, function: str, **arguments: object) -> Any:
        """Return the result of a function of the probe, if that is what the image holds."""
        host, _, port = self.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(json.dumps([function, arguments]).encode() + b"\n")
            with connection.makefile("rb") as answer:
                line = answer.readline()
        return json.loads(line) if line else None

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal to the launcher and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(_STOP_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launcher:
    """How to start the launcher: ``prefix`` wraps the command, for another user or a sandbox."""

    python: str = sys.executable
    prefix: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    uid: int = field(default_factory=os.geteuid)

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line of ``glasshouse-host`` with ``arguments``."""
        start = "import sys; from glasshouse_host.cli import main; sys.exit(main())"
        return [*self.prefix, self.python, "-c", start, *map(str, arguments)]


def as_nobody() -> Launcher:
    """Return how root starts the launcher as an ordinary user; skips where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user; the tests run as an ordinary user already")
    become = ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups")
    path = os.pathsep.join([*(str(item.source.parent) for item in DISTRIBUTIONS), *sys.path[1:]])
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}"):
        environment = {"PYTHONPATH": path} if python != sys.executable else {}
        launcher = Launcher(python=python, prefix=become, environment=environment, uid=_NOBODY)
        # The launcher starts its own interpreter again, so that has to work as well.
        again = (
            "import subprocess, sys, glasshouse_host.cli; subprocess.check_call([sys.executable, '-c', ''])"
        )
        probe = [*become, python, "-c", again]
        if (
            subprocess.run(probe, env=_environment(launcher), capture_output=True, check=False).returncode
            == 0
        ):
            return launcher
    pytest.skip(f"user {_NOBODY} can reach no {version} that has the project's dependencies")


@contextlib.contextmanager
def launched(
    image: Path, *arguments: str | Path, launcher: Launcher | None = None, temporary: Path | None = None
) -> Iterator[Launched]:
    """Run ``image`` on any free port until the end; ``arguments`` go to ``glasshouse-host run``.

    ``temporary`` is where the launcher keeps its files; by default a directory of its own.
    """
    launcher = launcher or Launcher()
    with contextlib.ExitStack() as stack:
        if temporary is None:
            # Not pytest's directory: the address of a socket is short, and another user has to get there.
            temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gh-")))
            temporary.chmod(0o755)
        own = temporary / "t"
        own.mkdir(exist_ok=True)
        os.chown(own, launcher.uid, -1)
        stderr = temporary / "stderr"
        process = stack.enter_context(_started(image, arguments, launcher, own, stderr))
        assert process.stdout is not None
        # The launcher bounds every wait of its own, so that this ends.
        line = process.stdout.readline()
        assert line, f"the launcher did not start:\n{stderr.read_text()}"
        yield Launched(process=process, ready=json.loads(line), stderr=stderr, temporary=own)


@contextlib.contextmanager
def _started(
    image: Path, arguments: Sequence[str | Path], launcher: Launcher, temporary: Path, stderr: Path
) -> Iterator[subprocess.Popen[bytes]]:
    command = launcher.command(
        *("run", "--image", image, "--platform", "simulated", "--listen", "127.0.0.1:0", "--json"), *arguments
    )
    with stderr.open("ab") as errors:
        process = subprocess.Popen(
            command,
            env={**_environment(launcher), "TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    with process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            finally:
                process.kill()


def _environment(launcher: Launcher) -> dict[str, str]:
    return {**os.environ, **launcher.environment}


def wait_until_gone(pids: Sequence[int], *, seconds: float = 10) -> None:
    """Return when none of the processes exists; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while alive := [pid for pid in pids if _is_alive(pid)]:
        assert time.monotonic() < deadline, f"processes {alive} are still there"
        time.sleep(0.02)


def descendants(pid: int) -> list[int]:
    """Return the processes below ``pid``, however deep."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [found for child in map(int, children) for found in (child, *descendants(child))]


def _is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture(scope="session")
def probe_image_path(enclave_image: EnclaveImage) -> Iterator[Path]:
    """An image like the built one, with the probe in place of the server."""
    with tempfile.TemporaryDirectory(prefix="gh-") as directory:
        Path(directory).chmod(0o755)
        path = Path(directory, "probe.efi")
        path.write_bytes(probe_image(enclave_image.path.read_bytes()))
        yield path


@pytest.fixture(scope="session")
def launched_enclave(enclave_image: EnclaveImage) -> Iterator[Launched]:
    """The built image, running with its defaults for the whole session."""
    with launched(enclave_image.path) as running:
        yield running
