"""Who only wants the client gets only the client, and gets it quickly."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from support.repository import ROOT

CLIENT = ("attestations", "transparency_log", "sdk")

# The direct dependencies and what those bring along; the last three depend on the version of Python.
EXPECTED = {
    *("glasshouse", "glasshouse-attestations", "glasshouse-log"),
    *("cffi", "cryptography", "grpcio", "numpy", "protobuf", "pycparser", "typing-extensions"),
}
IMPORT_BUDGET_SECONDS = 0.3


def test_the_client_brings_nothing_but_its_few_dependencies() -> None:
    resolved = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--dry-run",
                "--ignore-installed",
                "--report",
                "-",
            ),
            *("--no-build-isolation", "--only-binary=:all:", *(str(ROOT / folder) for folder in CLIENT)),
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = {item["metadata"]["name"].lower().replace("_", "-") for item in json.loads(resolved)["install"]}
    assert {"glasshouse", "cryptography", "grpcio"} <= names <= EXPECTED | {"tomli"}


@pytest.mark.bench
def test_importing_the_client_is_quick() -> None:
    assert min(import_seconds() for _ in range(5)) < IMPORT_BUDGET_SECONDS


def import_seconds() -> float:
    """How long one fresh interpreter takes for ``import glasshouse``, everything below it included."""
    report = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import glasshouse"],
        check=True,
        capture_output=True,
        text=True,
    ).stderr
    cumulative = re.search(r"\| +(\d+) \| glasshouse$", report, re.MULTILINE)
    assert cumulative is not None, report
    return int(cumulative.group(1)) / 1e6
