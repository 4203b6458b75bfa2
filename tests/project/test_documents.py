"""What the documents say is so: commands, help texts and links."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

from support.repository import ROOT, command, tracked_files

COMMANDS = ("python3 -m pip install nox && python3 -m nox -s demo", "python3 -m nox -s tests")


def documents() -> list[Path]:
    return [path for path in tracked_files() if path.suffix == ".md"]


def help_blocks(text: str) -> Iterator[tuple[str, str]]:
    """Each ``console`` block that asks a command of ours for its help: command line, and what it printed."""
    pattern = r"^```console\n\$ (glasshouse[a-z-]*(?: [a-z-]+)* --help)\n(.*?)^```$"
    yield from re.findall(pattern, text, re.MULTILINE | re.DOTALL)


def links(text: str) -> list[str]:
    """The targets of links to files of the repository."""
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    return [target for target in targets if "://" not in target and not target.startswith("mailto:")]


def test_every_help_text_in_the_documents_is_the_real_one() -> None:
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    for path in documents():
        for line, shown in help_blocks(path.read_text(encoding="utf-8")):
            name, *arguments = shlex.split(line)
            printed = subprocess.run(
                [command(name), *arguments], check=True, capture_output=True, text=True, env=environment
            ).stdout
            assert shown == printed, f"{path.relative_to(ROOT)}: {line}"


def test_a_help_block_is_found_and_others_are_not() -> None:
    text = "```console\n$ glasshouse-log serve --help\nusage: x\n```\n\n```console\n$ ls --help\nno\n```\n"
    assert list(help_blocks(text)) == [("glasshouse-log serve --help", "usage: x\n")]


def test_every_link_leads_to_a_file() -> None:
    broken = {
        f"{path.relative_to(ROOT)}: {target}"
        for path in documents()
        for target in links(path.read_text(encoding="utf-8"))
        if not (path.parent / target).exists()
    }
    assert broken == set()


def test_the_readme_gives_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line in COMMANDS] == list(COMMANDS)


def test_continuous_integration_runs_the_readmes_own_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    pattern = re.search(r"grep -xE '([^']+)' README\.md", script)
    assert pattern is not None
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.fullmatch(pattern.group(1), line)] == [COMMANDS[1]]
