"""The locks hold names, versions and hashes, agree with each other, and cover what we declare."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.repository import DISTRIBUTIONS, ROOT

LOCKS = sorted((ROOT / "locks").glob("*.txt"))
PIN = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[0-9][0-9a-z.+]*)(?P<marker> ; [^\\#]+)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


def pins(lock: Path) -> set[str]:
    lines = lock.read_text(encoding="utf-8").splitlines()
    return {line.split(" ")[0] for line in lines if not line.startswith(" ")}


def names(lock: Path) -> set[str]:
    return {pin.split("==")[0] for pin in pins(lock)}


def sessions_locks() -> set[str]:
    """The locks that the noxfile makes, read without running it."""
    for node in ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LOCKS":
            assert isinstance(node.value, ast.Dict)
            return {ast.literal_eval(key) for key in node.value.keys if key is not None}
    raise AssertionError("noxfile.py has no LOCKS")


def test_there_is_one_lock_for_each_that_the_noxfile_makes() -> None:
    assert {lock.stem for lock in LOCKS} == sessions_locks()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_is_names_versions_and_hashes(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    strange = [line for line in text.splitlines() if not (PIN.fullmatch(line) or HASH.fullmatch(line))]
    assert strange == []
    assert re.search(r"^[a-z].*\n[a-z]", text, re.MULTILINE) is None, "a version without a hash"


# What is installed beside a session's lock, without dependencies of its own.
ALONE = {"fuzz", "peers"}


@pytest.mark.parametrize(
    "lock", [lock for lock in LOCKS if lock.stem not in ALONE], ids=lambda lock: lock.stem
)
def test_every_lock_has_the_versions_that_developers_use(lock: Path) -> None:
    assert pins(lock) <= pins(ROOT / "locks" / "dev.txt")


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_no_lock_brings_torch(lock: Path) -> None:
    assert {name for name in names(lock) if name.startswith(("torch", "nvidia")) or name == "triton"} == set()


def test_the_compressor_of_the_image_has_one_version() -> None:
    pinned = {pin for lock in LOCKS for pin in pins(lock) if pin.startswith("zstandard==")}
    assert pinned == {"zstandard==0.25.0"}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda each: each.package)
@pytest.mark.parametrize("lock", ["dev", "tests", "demo"])
def test_what_a_distribution_declares_is_locked(distribution: object, lock: str) -> None:
    locked = names(ROOT / "locks" / f"{lock}.txt")
    project = next(each for each in DISTRIBUTIONS if each is distribution).project
    extras = project.get("optional-dependencies", {}).values()
    declared = [Requirement(line).name for line in sum(extras, project["dependencies"])]
    ours = {name for name in map(canonicalize_name, declared) if not name.startswith("glasshouse")}
    assert ours <= locked
