"""Who only wants the client gets only the client."""

from __future__ import annotations

import json
import subprocess
import sys

from support.repository import ROOT

CLIENT = ("attestations", "transparency_log", "sdk")

# The direct dependencies and what those bring along; the last three depend on the version of Python.
EXPECTED = {
    *("glasshouse", "glasshouse-attestations", "glasshouse-log"),
    *("cffi", "cryptography", "grpcio", "numpy", "protobuf", "pycparser", "typing-extensions"),
}


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


def test_importing_the_client_brings_in_nothing_heavy() -> None:
    program = "import sys, glasshouse; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    heavy = {
        "onnx",
        "onnxruntime",
        "pandas",
        "pytest",
        "rich",
        "scipy",
        "sklearn",
        "starlette",
        "torch",
        "uvicorn",
    }
    loaded = set(done.stdout.split())
    assert "glasshouse" in loaded
    assert loaded & heavy == set()
