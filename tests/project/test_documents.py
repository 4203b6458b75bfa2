"""What the documents say is so: commands, help texts and links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.help_texts import BLOCK, documents, printed, with_real_help
from support.repository import DISTRIBUTIONS, ROOT

COMMANDS = ("python3 -m pip install nox && python3 -m nox -s demo", "python3 -m nox -s tests")


def links(text: str) -> list[str]:
    """The targets of links to files of the repository."""
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    return [target for target in targets if "://" not in target and not target.startswith("mailto:")]


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_help_text_in_a_document_is_the_real_one(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text == with_real_help(text), "nox -s docs writes the real ones"


def test_every_command_shows_its_help_in_some_document() -> None:
    shown = {
        block["line"] for path in documents() for block in BLOCK.finditer(path.read_text(encoding="utf-8"))
    }
    commands = {name for each in DISTRIBUTIONS for name in each.project.get("scripts", {})}
    assert {f"{name} --help" for name in commands} <= shown


def test_a_wrong_help_text_is_found_and_other_blocks_are_left_alone() -> None:
    other = "```console\n$ ls --help\nanything\n```\n"
    wrong = "```console\n$ glasshouse-audit --help\nusage: something else\n```\n"
    real = f"```console\n$ glasshouse-audit --help\n{printed('glasshouse-audit --help')}```\n"
    assert with_real_help(other + wrong) == other + real
    assert BLOCK.search(other) is None


def test_every_command_of_the_client_shows_its_help_in_some_document() -> None:
    shown = {
        block["line"] for path in documents() for block in BLOCK.finditer(path.read_text(encoding="utf-8"))
    }
    assert {f"{' '.join(each)} --help" for each in commands_of("glasshouse")} <= shown


def commands_of(*names: str) -> list[tuple[str, ...]]:
    """The commands that a help text lists, and those that theirs list, down to those that do something."""
    _, found, listed = printed(f"{' '.join(names)} --help").partition("positional arguments:\n")
    below = re.findall(r"^    ([a-z][a-z-]*)(?: |$)", listed.partition("options:")[0], re.MULTILINE)
    if not found or not re.search(r"^  (COMMAND|ACTION)$", listed, re.MULTILINE):
        return [names]
    return [each for name in below for each in commands_of(*names, name)]


def test_every_link_leads_to_a_file() -> None:
    broken = {
        f"{path.relative_to(ROOT)}: {target}"
        for path in documents()
        for target in links(path.read_text(encoding="utf-8"))
        if not (path.parent / target).exists()
    }
    assert broken == set()


def test_every_heading_that_a_link_names_is_there() -> None:
    broken = set()
    for path in documents():
        for target, heading in re.findall(r"\]\(([^)#\s:]+)#([^)]+)\)", path.read_text(encoding="utf-8")):
            headings = re.findall(r"(?m)^#+ (.+)$", (path.parent / target).read_text(encoding="utf-8"))
            if heading not in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}:
                broken.add(f"{path.relative_to(ROOT)}: {target}#{heading}")
    assert broken == set()


def test_every_document_is_in_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    named = {(index.parent / target).resolve() for target in links(index.read_text(encoding="utf-8"))}
    assert {path for path in documents() if path.is_relative_to(index.parent)} - named == {index}


def test_decisions_are_numbered_from_1_without_gap_or_double() -> None:
    paths = sorted(path for path in documents() if path.parent.name == "adr")
    titles = [path.read_text(encoding="utf-8").partition(".")[0] for path in paths]
    assert [path.name[:4] for path in paths] == [f"{number:04}" for number in range(1, len(paths) + 1)]
    assert titles == [f"# {number}" for number in range(1, len(paths) + 1)]


def test_the_readme_gives_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line in COMMANDS] == list(COMMANDS)


def test_continuous_integration_runs_the_readmes_own_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    pattern = re.search(r"grep -xE '([^']+)' README\.md", script)
    assert pattern is not None
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.fullmatch(pattern.group(1), line)] == [COMMANDS[1]]
