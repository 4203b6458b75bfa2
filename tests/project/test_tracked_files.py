"""What is tracked is small, and names neither a package registry nor anyone's machine."""

from __future__ import annotations

import re

from support.repository import ROOT, git, tracked_files

# Written in two halves, so that this file does not contain what it looks for.
REGISTRIES = (
    "package-files",
    "pypi[.]org",
    "(deb|security|ftp|snapshot)[.]debian[.]org",
    "registry[.]npmjs",
    "npmjs[.](org|com)",
)
MACHINES = (
    "/work/[a-z.]",
    "/farm/",
    "/tmp/jobs",
    "/home/[a-z]+/",
    "/root/[.a-z]",
    "/Users/[A-Za-z]",
)
FORBIDDEN = re.compile("|".join(REGISTRIES + MACHINES).encode(), re.IGNORECASE)


def test_no_tracked_file_names_a_registry_or_a_machine() -> None:
    named = {
        f"{path.relative_to(ROOT)}: {found.group().decode()}"
        for path in tracked_files()
        if (found := FORBIDDEN.search(path.read_bytes()))
    }
    assert named == set()


def test_no_commit_message_does_either() -> None:
    found = FORBIDDEN.search(git("log", "--format=%B").encode())
    assert found is None, found


def test_the_search_finds_what_it_looks_for() -> None:
    assert FORBIDDEN.search(b"https://files.PY" + b"THONHOSTED.example/x")
    assert FORBIDDEN.search(b"cd /wo" + b"rk/main")
    assert not FORBIDDEN.search(b"https://glasshouse.invalid/attestations/release/v1")


def test_no_tracked_file_is_large() -> None:
    large = {str(path.relative_to(ROOT)) for path in tracked_files() if path.stat().st_size > 1 << 20}
    assert large == set()
