"""The six distributions have one version, and every dependency of theirs has a stated reason."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement

from support.repository import DISTRIBUTIONS, ROOT, Distribution

VERSION = DISTRIBUTIONS[0].project["version"]


def declared(distribution: Distribution) -> list[Requirement]:
    project = distribution.project
    optional = project.get("optional-dependencies", {}).values()
    return [Requirement(line) for lines in (project["dependencies"], *optional) for line in lines]


def explained_dependencies() -> dict[str, tuple[set[str], str]]:
    """The rows of docs/dependencies.md: name -> (folders that use it, why)."""
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| ([^|]+) \| ([^|]+) \|$", text, re.MULTILINE)
    return {name: (set(users.strip().split(", ")), why.strip()) for name, users, why in rows}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda each: each.package)
def test_versions_move_in_lockstep(distribution: Distribution) -> None:
    assert distribution.project["version"] == VERSION
    siblings = [each for each in declared(distribution) if each.name.startswith("glasshouse")]
    assert {str(each.specifier) for each in siblings} <= {f"=={VERSION}"}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda each: each.package)
def test_every_distribution_is_built_the_same_way(distribution: Distribution) -> None:
    project = distribution.project
    assert project["requires-python"] == ">=3.10"
    assert project["license"] == "Apache-2.0"


def test_every_dependency_and_its_users_are_explained() -> None:
    users: dict[str, set[str]] = {}
    for distribution in DISTRIBUTIONS:
        for requirement in declared(distribution):
            if not requirement.name.startswith("glasshouse"):
                users.setdefault(requirement.name, set()).add(distribution.folder)
    assert {name: folders for name, (folders, _) in explained_dependencies().items()} == users


def test_every_explanation_is_a_sentence() -> None:
    assert [name for name, (_, why) in explained_dependencies().items() if not why.endswith(".")] == []


def test_the_changelog_knows_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[(Unreleased|{re.escape(VERSION)})\]", changelog, re.MULTILINE)
