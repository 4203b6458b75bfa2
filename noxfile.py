"""The sessions of Glasshouse: ``python3 -m nox -l`` lists them, and there is no other entry point.

Each session installs one lock of ``locks/`` (names, versions, hashes), then our own distributions from the
tree, resolving nothing. What follows ``--`` on the command line goes to the tool that the session runs.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nox
import nox.project
from packaging.requirements import Requirement

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests"]

ROOT = Path(__file__).parent
DISTRIBUTIONS = (
    "attestations",
    "transparency_log",
    "sdk",
    "reference_server/enclave",
    "reference_server/host",
    "audit",
)
AUDITOR = ("attestations", "transparency_log", "sdk", "audit")


class Lock(NamedTuple):
    """What a lock resolves: the dependencies of some distributions, and groups of ``pyproject.toml``.

    An ``alone`` lock holds just what the groups name, without the dependencies of that.
    """

    distributions: tuple[str, ...]
    groups: tuple[str, ...]
    alone: bool = False


# The first one is resolved freely and the others keep its versions, so that every session runs the same code.
LOCKS = {
    "dev": Lock(DISTRIBUTIONS, ("build", "demo", "tests", "lint", "types", "isolation", "lock", "proto")),
    "audit": Lock(AUDITOR, ("build",)),
    "demo": Lock(DISTRIBUTIONS, ("build", "demo")),
    "tests": Lock(DISTRIBUTIONS, ("build", "demo", "tests", "proto")),
    "peers": Lock((), ("peers",), alone=True),
    "fuzz": Lock((), ("fuzz",), alone=True),
    "lint": Lock((), ("lint",)),
    "isolation": Lock((), ("isolation",)),
    "lock": Lock((), ("lock",)),
}


@nox.session
def demo(session: nox.Session) -> None:
    """Show the whole chain: build, sign, log, audit, boot, verify, predict, and every refusal."""
    install(session, "demo", DISTRIBUTIONS)
    session.run("python", "-m", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, or those of ``-- PATH``; ``GLASSHOUSE_TEST_TORCH=1`` adds those that need PyTorch."""
    install(session, "tests", DISTRIBUTIONS)
    install(session, "peers")
    if os.environ.get("GLASSHOUSE_TEST_TORCH") == "1":
        # Not in the lock: most platforms would download gigabytes of it for a handful of tests.
        session.install("--quiet", "torch==2.13.0")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz every parser of evidence, or those of ``-- TARGET``; needs Linux and Python 3.11 to 3.13."""
    install(session, "tests", DISTRIBUTIONS)
    install(session, "fuzz")
    session.run("python", "-m", "fuzz", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting; change nothing."""
    install(session, "lint")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of everything, strictly."""
    install(session, "dev", DISTRIBUTIONS)
    session.run("mypy", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build ``dist/enclave.efi`` and its reference values."""
    audit_tool(session, "build")


@nox.session
def reproduce(session: nox.Session) -> None:
    """Rebuild an image and compare: ``-- --against IMAGE``; fails where a byte differs."""
    audit_tool(session, "reproduce")


@nox.session
def reproducible(session: nox.Session) -> None:
    """Build under every variation of the surroundings; ``-- --axis NAME`` for one."""
    audit_tool(session, "reproducible")


@nox.session
def release(session: nox.Session) -> None:
    """Build twice, compare, sign, log and verify a release: ``-- X.Y.Z``; print how to publish it."""
    audit_tool(session, "release")


@nox.session
def audit(session: nox.Session) -> None:
    """Rebuild a release, compare, and sign and log the verdict: ``-- RELEASE``."""
    audit_tool(session, "audit")


@nox.session
def isolation(session: nox.Session) -> None:
    """Ask tox whether each distribution works alone on Python 3.10-3.13; ``-- -e sdk-py312`` asks for one."""
    install(session, "isolation")
    versions = Path(session.create_tmp(), "versions.txt")
    versions.write_text("".join(pins(ROOT / "locks" / "dev.txt")), encoding="utf-8")
    session.run("tox", "run", *session.posargs, env={"PIP_CONSTRAINT": str(versions)})


@nox.session
def bench(session: nox.Session) -> None:
    """Measure times, sizes and memory against bounds and baselines; write ``dist/bench.json``."""
    install(session, "tests", DISTRIBUTIONS)
    session.run("python", "-m", "benchmarks", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session(venv_backend="none")
def dev(session: nox.Session) -> None:
    """Make ``.venv`` with every distribution editable, every tool, and every command on its path."""
    environment = ROOT / ".venv"
    session.run(sys.executable, "-m", "venv", str(environment))
    python = str(environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    for arguments in (from_lock("dev"), from_tree(DISTRIBUTIONS)):
        session.run(python, "-m", "pip", "install", *arguments)
    session.log(f"ready: activate {environment}")


@nox.session
def docs(session: nox.Session) -> None:
    """Write into the documents what is generated: help texts, and the table of the trusted base."""
    install(session, "tests", DISTRIBUTIONS)
    session.run("python", "-m", "support.help_texts", env={"PYTHONPATH": "tests"})
    session.run("glasshouse-audit", "tcb", "--output", "docs/tcb.md")


@nox.session
def lock(session: nox.Session) -> None:
    """Resolve ``locks/*.txt``; ``-- --upgrade`` takes the newest, ``-- --image`` renews the image's locks."""
    install(session, "lock")
    wanted = Path(session.create_tmp(), "wanted.txt")
    options = [option for option in session.posargs if option != "--image"]
    for name, content in LOCKS.items():
        wanted.write_text("".join(f"{line}\n" for line in requirements(content)), encoding="utf-8")
        same_versions = () if name == "dev" else ("--constraints", "locks/dev.txt")
        depth = ("--no-deps",) if content.alone else ()
        session.run(
            *("uv", "pip", "compile", str(wanted), "--output-file", f"locks/{name}.txt", "--quiet"),
            *("--universal", "--python-version", "3.10", "--generate-hashes", "--no-annotate", "--no-header"),
            *(*same_versions, *depth, *options),
            env={"UV_NO_CONFIG": "1", "UV_PYTHON_DOWNLOADS": "never"},
        )
    if "--image" in session.posargs:
        install(session, "audit", AUDITOR)
        session.run("glasshouse-audit", "lock", "--constraint", "locks/dev.txt")


def audit_tool(session: nox.Session, command: str) -> None:
    """Run one command of ``glasshouse-audit`` with what follows ``--``."""
    install(session, "audit", AUDITOR)
    session.run("glasshouse-audit", command, *session.posargs)


def install(session: nox.Session, lock_name: str, distributions: tuple[str, ...] = ()) -> None:
    """Give the session's environment exactly one lock, and some of our distributions, editable.

    Nothing is asked of pip again until the lock or a distribution's metadata changes, so a session that has
    run once runs offline, and with whatever clock.
    """
    described = [
        ROOT / "locks" / f"{lock_name}.txt",
        *(ROOT / path / "pyproject.toml" for path in distributions),
    ]
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in described)).hexdigest()
    installed = Path(session.virtualenv.location, f"{lock_name}.installed")
    if installed.exists() and installed.read_text(encoding="ascii") == wanted:
        return
    session.install(*from_lock(lock_name))
    if distributions:
        session.install(*from_tree(distributions))
    note = "import sys; open(sys.argv[1], 'w').write(sys.argv[2])"
    session.run_install("python", "-c", note, str(installed), wanted, silent=True)


def from_lock(name: str) -> tuple[str, ...]:
    """pip's arguments for a lock: only wheels, since an sdist would run code and want a compiler."""
    path = ROOT / "locks" / f"{name}.txt"
    depth = ("--no-deps",) if LOCKS[name].alone else ()
    return ("--quiet", "--only-binary=:all:", "--require-hashes", *depth, "--requirement", str(path))


def from_tree(distributions: tuple[str, ...]) -> tuple[str, ...]:
    """pip's arguments for our own distributions: nothing is fetched, and flit_core comes from the lock."""
    editable = [option for path in distributions for option in ("--editable", str(ROOT / path))]
    return ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", *editable)


def requirements(content: Lock) -> Iterator[str]:
    """Everything a lock has to resolve; our own distributions come from the tree and never from an index."""
    yield from nox.project.dependency_groups(nox.project.load_toml(ROOT / "pyproject.toml"), *content.groups)
    for path in content.distributions:
        project = nox.project.load_toml(ROOT / path / "pyproject.toml")["project"]
        optional = project.get("optional-dependencies", {}).values()
        for line in (*project["dependencies"], *(line for extra in optional for line in extra)):
            if not Requirement(line).name.startswith("glasshouse"):
                yield line


def pins(path: Path) -> Iterator[str]:
    """The lines of a lock without their hashes."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith(" "):
            yield line.removesuffix("\\").rstrip() + "\n"
