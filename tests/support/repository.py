"""Where things stand in this repository."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]

# Vectors made by others, beside the repository and no part of it; a test that needs them skips without.
SHARED = ROOT.parent / "shared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """One of the six: its folder in the repository and the package it installs."""

    folder: str
    package: str

    @property
    def source(self) -> Path:
        return ROOT / self.folder / "src" / self.package

    @property
    def project(self) -> dict[str, Any]:
        text = (ROOT / self.folder / "pyproject.toml").read_text(encoding="utf-8")
        project: dict[str, Any] = tomllib.loads(text)["project"]
        return project


DISTRIBUTIONS = (
    Distribution(folder="attestations", package="glasshouse_attestations"),
    Distribution(folder="transparency_log", package="glasshouse_log"),
    Distribution(folder="sdk", package="glasshouse"),
    Distribution(folder="reference_server/enclave", package="glasshouse_enclave"),
    Distribution(folder="reference_server/host", package="glasshouse_host"),
    Distribution(folder="audit", package="glasshouse_audit"),
)


def command(name: str) -> str:
    """The path of one of our commands, in the environment of this interpreter and nowhere else."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found is not None, f"{name} is not installed beside {sys.executable}"
    return found


def git(*arguments: str) -> str:
    """What git says about this repository."""
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True, encoding="utf-8"
    ).stdout


def tracked_files() -> list[Path]:
    """Every file that git tracks and that the working tree has."""
    names = git("ls-files", "-z").split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]
