"""What is tracked is small, and names neither a package registry nor anyone's machine."""

from __future__ import annotations

import re

from support.repository import ROOT, git, tracked_files

# A class of one character in each pattern keeps this file from containing what it looks for.
REGISTRIES = (
    "p[y]thonhosted",
    "p[y]pi[.]org",
    "(deb|security|ftp|snapshot)[.]d[e]bian[.]org",
    "r[e]gistry[.]npmjs",
    "n[p]mjs[.](org|com)",
)
MACHINES = ("/w[o]rk/[a-z.]", "/f[a]rm/", "/tmp/b[a]sh_jobs", "/r[o]ot/[.]")
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
    for pattern in REGISTRIES + MACHINES:
        example = re.sub(r"\[(.).*?\]|\((\w+)\|.*?\)", lambda found: found[1] or found[2], pattern).replace(
            "+", ""
        )
        assert FORBIDDEN.search(example.encode()), pattern
    assert not FORBIDDEN.search(b"https://glasshouse.invalid/attestations/release/v1")


def test_no_tracked_file_is_large() -> None:
    large = {str(path.relative_to(ROOT)) for path in tracked_files() if path.stat().st_size > 1 << 20}
    assert large == set()
