"""Other interpreters of this machine, each with the locked libraries, and another zlib below them.

The builder's libraries come from ``locks/audit.txt`` whatever the interpreter; an environment is made once
for each interpreter and each content of that lock, and kept in the cache.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from glasshouse_attestations.cpio import Kind

from .build import Plan, progress_bars
from .deb import read_deb
from .inputs import Inputs, cache_folder
from .variations import Setting, Variation

__all__ = ["other_interpreters", "other_zlib"]

_MINORS = (10, 11, 12, 13)
_SECONDS = 600.0
_MAKE_ENVIRONMENT = ("-m", "venv")
_ZLIB_PACKAGE = "zlib1g"


def other_interpreters(lock: Path) -> Iterator[Variation]:
    """Yield a variation for every supported Python but the running one, found or not."""
    for minor in _MINORS:
        value = f"3.{minor}"
        if sys.version_info[:2] == (3, minor):
            continue
        found = _find(value)
        try:
            python = _environment(found, lock) if found else None
        except _NoEnvironmentError as err:
            yield Variation(axis="python", value=value, reason=str(err))
            continue
        if python is None:
            yield Variation(axis="python", value=value, reason="it is not installed")
        else:
            shows = "sys.version_info[:2]"
            yield Variation(axis="python", value=value, shows=shows, setting=Setting(python=python))


def other_zlib(plan: Plan, tree: Path, folder: Path) -> Variation:
    """Return the variation that puts the zlib of the image itself below the interpreter."""
    axis, value = "zlib", "the image's own"
    packages = [deb for deb in plan.debs if deb.name == _ZLIB_PACKAGE]
    foreign = platform.system() != "Linux" or platform.machine() != plan.recipe.python.architecture
    if not packages or foreign:
        return Variation(axis=axis, value=value, reason="the image has no zlib that runs here")
    inputs = Inputs(tree=tree, python=plan.recipe.python)
    inputs.fetch(packages, progress_bars(shown=False))
    members = read_deb(inputs.read(packages[0]), packages[0], architecture=plan.recipe.debian.architecture)
    (library,) = (m for m in members if m.kind is Kind.FILE and Path(m.path).name.startswith("libz.so"))
    preloaded = folder / "libz.so.1"
    preloaded.write_bytes(library.data)
    preloaded.chmod(0o644)
    return Variation(
        axis=axis,
        value=packages[0].version,
        shows="zlib.ZLIB_RUNTIME_VERSION",
        setting=Setting(variables={"LD_PRELOAD": str(preloaded)}),
    )


class _NoEnvironmentError(Exception):
    """An interpreter was found, but the locked libraries cannot be had for it."""


def _find(version: str) -> Path | None:
    candidates: Iterable[Path] = (Path.home() / ".pyenv" / "versions").glob(
        f"{version}.*/bin/python{version}"
    )
    on_path = shutil.which(f"python{version}")
    for candidate in (*sorted(candidates), *([Path(on_path)] if on_path else [])):
        command = [str(candidate), "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return candidate
    return None


def _environment(python: Path, lock: Path) -> Path:
    """Return the interpreter of an environment that has exactly the lock, made now or before."""
    wanted = hashlib.sha256(lock.read_bytes() + os.fsencode(python)).hexdigest()[:32]
    kept = cache_folder().parents[1] / "environments" / wanted
    interpreter = kept / "bin" / "python"
    if interpreter.exists():
        return interpreter
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=kept.parent) as folder:
        new = Path(folder) / "environment"
        _run([str(python), *_MAKE_ENVIRONMENT, str(new)])
        install = [
            "install",
            "--quiet",
            "--only-binary=:all:",
            "--require-hashes",
            "--requirement",
            str(lock),
        ]
        _run([str(new / "bin" / "python"), "-m", "pip", *install])
        # Nothing but the environment's own command scripts names the folder, and none of them is used.
        new.rename(kept)
    return interpreter


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except subprocess.TimeoutExpired as err:
        raise _NoEnvironmentError("its environment took too long to make") from err
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise _NoEnvironmentError(f"its environment cannot be made: {lines[-1]}")
