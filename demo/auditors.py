"""The auditors: each rebuilds the released commit in surroundings of their own, and signs what they found.

An auditor is a process with the tool of their own clone, another folder, time zone, locale and umask; one
of them works with another version of Python, if this machine has one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from glasshouse_audit.clone import clone

from .people import Person
from .stage import DemoError, Processes, Stage

__all__ = ["Assignment", "Opinion", "audit_all"]

_AT_ONCE = 2
_RUN = "import sys; from glasshouse_audit.cli import main; sys.exit(main())"
_DISTRIBUTIONS = ("attestations", "transparency_log", "sdk", "audit")
_OTHER_VERSIONS = ("3.13", "3.12", "3.14", "3.11", "3.10")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What differs between auditors, and must not matter."""

    folder: str
    time_zone: str
    locale: str
    umask: int
    wants_other_python: bool = False


_SURROUNDINGS = (
    Surroundings(folder="auditor-1", time_zone="America/New_York", locale="C", umask=0o077),
    Surroundings(
        folder="Prüfer zwei – с пробелами", time_zone="Pacific/Chatham", locale="de_DE.UTF-8", umask=0o022
    ),
    Surroundings(
        folder="auditor-3",
        time_zone="Asia/Kolkata",
        locale="tr_TR.UTF-8",
        umask=0o027,
        wants_other_python=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What is audited: the release in ``release``, of ``commit`` in ``source``, under ``trust``."""

    source: Path
    commit: bytes
    release: Path
    trust: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What an auditor came to: the verdict, the digest, and where and how they built."""

    name: str
    verdict: str
    rebuilt_sha256: str
    surroundings: str
    seconds: float
    folder: Path


def audit_all(assignment: Assignment, people: Sequence[Person], stage: Stage) -> list[Opinion]:
    """Return every auditor's opinion, each signed, logged, and in ``audits/`` of the auditor's own copy.

    Two of them work at the same time. Raises :class:`DemoError` if one cannot finish.
    """
    processes = Processes()
    # Who has to install another Python first would otherwise keep everybody waiting at the end.
    pairs = list(zip(people, _SURROUNDINGS, strict=True))
    by_length = sorted(pairs, key=lambda pair: not pair[1].wants_other_python)
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        work = [
            pool.submit(_audit, assignment, person, where, stage, processes) for person, where in by_length
        ]
        try:
            return sorted((each.result() for each in work), key=lambda opinion: opinion.name)
        except BaseException:
            processes.end()
            pool.shutdown(cancel_futures=True)
            raise


def _audit(
    assignment: Assignment, person: Person, where: Surroundings, stage: Stage, processes: Processes
) -> Opinion:
    began = time.monotonic()
    home = stage.folder / where.folder
    tool = clone(assignment.source, assignment.commit, home / "glasshouse")
    release = Path(shutil.copytree(assignment.release, home / "release"))
    (home / "tmp").mkdir()
    environment = _environment(where, tool, home / "tmp")
    python = sys.executable
    if where.wants_other_python:
        python = _other_python(home, tool, environment, stage, processes)
    command = [python, "-c", _RUN, "audit", str(release), "--source", str(assignment.source), "--json"]
    command += ["--key", str(person.key_file), "--trust", str(assignment.trust), "--tree", str(tool)]
    done = processes.run(command, environment=environment, umask=where.umask, folder=home)
    if not done.stdout:
        raise DemoError(f"{person.name} could not finish: {_last_line(done.stderr)}")
    said = json.loads(done.stdout)
    return Opinion(
        name=person.name,
        verdict=said["verdict"],
        rebuilt_sha256=said["rebuilt"]["sha256"] if said["rebuilt"] else "",
        surroundings=f"Python {_version(python)}, {where.time_zone}, {where.locale}, umask {where.umask:03o}",
        seconds=time.monotonic() - began,
        folder=release,
    )


def _environment(where: Surroundings, tool: Path, temporary: Path) -> dict[str, str]:
    own = {
        "TZ": where.time_zone,
        "LC_ALL": where.locale,
        "TMPDIR": str(temporary),
        "PYTHONPATH": os.pathsep.join(str(tool / name / "src") for name in _DISTRIBUTIONS),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NO_COLOR": "1",
    }
    return {**os.environ, **own}


def _other_python(
    home: Path, tool: Path, environment: dict[str, str], stage: Stage, processes: Processes
) -> str:
    """Return a Python of another version with the locked packages, or this one with the reason why."""
    found = next((path for version in _OTHER_VERSIONS if (path := _find(version))), None)
    if found is None:
        stage.tell("no other version of Python is installed, so all auditors use the same")
        return sys.executable
    venv, without_path = home / "venv", {**environment, "PYTHONPATH": ""}
    python = str(venv / "bin" / "python")
    lock = str(tool / "locks" / "audit.txt")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install += ["--only-binary=:all:", "--require-hashes", "--requirement", lock]
    for command in ([found, "-m", "venv", str(venv)], install):
        done = processes.run(command, environment=without_path, umask=0o022, folder=home)
        if done.returncode:
            stage.tell(
                f"{found} cannot be used, {_last_line(done.stderr)}; so all auditors use the same Python"
            )
            return sys.executable
    return python


def _find(version: str) -> str | None:
    """Return the path of a Python of this version that works, unless it is the running one."""
    path = shutil.which(f"python{version}")
    if path is None or version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return None
    probe = [path, "-c", "import ensurepip, ssl, venv"]
    try:
        done = subprocess.run(probe, capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return path if done.returncode == 0 else None


def _version(python: str) -> str:
    program = "import platform; print(platform.python_version())"
    return subprocess.run([python, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
