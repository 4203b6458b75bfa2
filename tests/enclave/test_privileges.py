"""What is left to the server's process: a user of its own, and nothing beyond."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("the enclave runs on linux only", allow_module_level=True)
if os.geteuid() != 0:
    pytest.skip("only root has privileges to drop", allow_module_level=True)

from glasshouse_enclave import privileges

_PROGRAM = """
import json, os, resource, signal
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
names = "Uid Gid Groups NoNewPrivs CapInh CapPrm CapEff CapBnd CapAmb SigBlk".split()
found = {name: status[name].split() for name in names}
found["core"] = resource.getrlimit(resource.RLIMIT_CORE)
found["mask"] = os.umask(0)
try:
    os.setuid(0)
    found["root"] = True
except PermissionError:
    found["root"] = False
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, object]:
    """How a process sees itself that began with :func:`privileges.drop`."""
    # The system's own Python: a test environment may lie where only root can read.
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", _PROGRAM],
        preexec_fn=privileges.drop,
        capture_output=True,
        text=True,
        cwd="/",
        check=True,
    )
    document = json.loads(done.stdout)
    assert isinstance(document, dict)
    return document


def test_it_is_a_user_of_its_own_in_all_ids_and_in_no_group(found: dict[str, object]) -> None:
    assert found["Uid"] == found["Gid"] == [str(privileges.SERVER)] * 4
    assert found["Groups"] == []
    assert found["root"] is False


@pytest.mark.parametrize("name", ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
def test_it_has_no_capability_and_no_way_to_one(found: dict[str, object], name: str) -> None:
    assert found[name] == ["0" * 16]


def test_executing_a_file_gives_it_nothing(found: dict[str, object]) -> None:
    assert found["NoNewPrivs"] == ["1"]


def test_it_dumps_no_memory_and_blocks_no_signal(found: dict[str, object]) -> None:
    assert found["core"] == [0, 0]
    assert found["mask"] == 0o077
    assert found["SigBlk"] == ["0" * 16]
