"""Two documents name the tests of each row of the checklist, and each test that they name exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from support.repository import ROOT, SHARED

DOCUMENT = ROOT / "docs" / "evidence.md"
ROWS = {DOCUMENT: range(1, 21), ROOT / "docs" / "checklist.md": range(20, 38)}
TECHNOLOGIES = sorted(path.name for path in (ROOT / "docs" / "evidence").glob("*.md"))
ROW = re.compile(r"^\| (?P<number>[0-9]+): [^|]+ \| (?P<tests>[^|]+) \|$", re.MULTILINE)
NAMED = re.compile(r"`(?P<test>test_[a-z0-9_]+)(?:\[(?P<case>[^`]+)\])?`")
CHECKLIST = SHARED / "VERIFIER-CHECKLIST.md"


@cache
def all_tests() -> dict[str, str]:
    """Every test function of the repository, with the source of the file that it is in."""
    found = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found[node.name] = text
    return found


def named() -> list[tuple[str, str]]:
    return sorted(
        {
            (each["test"], each["case"] or "")
            for path in ROWS
            for each in NAMED.finditer(path.read_text("utf-8"))
        }
    )


@pytest.mark.parametrize("path", ROWS, ids=lambda path: str(path.name))
def test_each_row_has_tests(path: Path) -> None:
    rows = list(ROW.finditer(path.read_text(encoding="utf-8")))
    assert list(dict.fromkeys(int(row["number"]) for row in rows)) == list(ROWS[path])
    assert all(NAMED.search(row["tests"]) for row in rows)


@pytest.mark.skipif(not CHECKLIST.is_file(), reason="the checklist (shared/VERIFIER-CHECKLIST.md) is absent")
def test_the_checklist_still_has_its_rows() -> None:
    evidence, heading, others = CHECKLIST.read_text(encoding="utf-8").partition("## Channel")
    for text, last in ((evidence, 20), (evidence + heading + others, 37)):
        numbers = [int(number) for number in re.findall(r"^([0-9]+)\. ", text, re.MULTILINE)]
        assert numbers == list(range(1, last + 1))


@pytest.mark.parametrize(("test", "case"), named())
def test_a_named_test_exists(test: str, case: str) -> None:
    assert test in all_tests()
    # The rest of a case's name may be filled in, as in "{name} TCB below the floor".
    words = re.escape(case).replace(r"\ ", " ")
    assert not case or re.search(rf'"{words}"', all_tests()[test]) or _is_filled_in(case, all_tests()[test])


def _is_filled_in(case: str, text: str) -> bool:
    patterns = (
        re.sub(r"\\\{[^}]*\\\}", ".+", re.escape(each)) for each in re.findall(r'f"([^"]*\{[^"]*)"', text)
    )
    return any(re.fullmatch(pattern, case) for pattern in patterns)


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_the_page_of_each_technology_is_linked(name: str) -> None:
    assert f"(evidence/{name})" in DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_a_page_says_what_is_proven_trusted_and_not_checked(name: str) -> None:
    text = (ROOT / "docs" / "evidence" / name).read_text(encoding="utf-8")
    for heading in ("What is proven", "What is trusted", "What is not checked", "Failures of "):
        assert re.search(rf"^## {heading}", text, re.MULTILINE), heading


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_the_tests_that_a_page_names_exist(name: str) -> None:
    text = (ROOT / "docs" / "evidence" / name).read_text(encoding="utf-8")
    missing = {
        test for test in re.findall(r"\btest_[a-z0-9_]+\b(?!\.py|`? ?–)", text) if test not in all_tests()
    }
    files = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    assert missing - files == set()


def test_the_commands_that_the_document_shows_are_those_about_evidence() -> None:
    shown = re.findall(
        r"^\$ glasshouse ([a-z ]+) --help$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert shown == ["evidence inspect", "evidence verify", "tcb status", "collateral fetch"]
