"""Reproducible: surroundings really differ, the same bytes pass, and nothing passes that did not vary."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from glasshouse_audit.cli import main
from glasshouse_audit.interpreters import other_interpreters
from glasshouse_audit.reproducible import Outcome, Row, Table, reproducible, workshop
from glasshouse_audit.variations import Setting, Variation, all_at_once, available
from support.synthetic_tree import SyntheticTree, make_tree

_QUICK = {"path", "HOME", "umask", "time zone", "hash seed", "creation order", "folder order"}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SyntheticTree:
    return make_tree(tmp_path, monkeypatch)


def _table(tree: SyntheticTree, tmp_path: Path, *variations: Variation) -> Table:
    return reproducible(workshop(tree.path, tmp_path / "shop"), variations, tell=lambda _: None)


def test_quick_axes_of_a_small_tree_are_varied_and_the_same(tree: SyntheticTree, tmp_path: Path) -> None:
    variations = [each for each in available(tmp_path / "used") if each.axis in _QUICK]
    table = _table(tree, tmp_path, *variations)
    assert {row.axis for row in table.rows} == {*_QUICK, "all at once"}
    assert {row.outcome for row in table.rows} == {Outcome.SAME}, table.rows
    assert {row.sha256 for row in table.rows} == {table.sha256}
    assert table.exit_code == 0


def test_a_build_with_another_result_is_named_with_where_it_differs(
    tree: SyntheticTree, tmp_path: Path
) -> None:
    # A module that the interpreter loads on its own, and that changes a source as it is read.
    cheat = """
import pathlib
read = pathlib.Path.read_bytes
pathlib.Path.read_bytes = lambda path: read(path).replace(b"LIMIT = 1", b"LIMIT = 2")
"""
    setting = Setting(modules={"sitecustomize.py": cheat})
    table = _table(tree, tmp_path, Variation(axis="cheat", value="one", setting=setting))
    (row,) = table.rows
    assert row.outcome is Outcome.DIFFERENT
    assert row.sha256 != table.sha256
    assert "server.py: line 2: 'LIMIT = 1', then 'LIMIT = 2'" in row.detail
    assert table.exit_code == 1


def test_what_has_no_effect_here_is_not_varied_and_no_pass(tree: SyntheticTree, tmp_path: Path) -> None:
    idle = Variation(axis="idle", value="none", shows="os.getcwd()[:1]", setting=Setting())
    broken = Variation(
        axis="broken", value="none", shows="1", setting=Setting(wrapper=("false",), variables={})
    )
    absent = Variation(axis="absent", value="none", reason="it is not installed")
    table = _table(tree, tmp_path, idle, broken, absent)
    assert [row.outcome for row in table.rows] == [Outcome.NOT_VARIED] * 3
    assert "no effect" in table.rows[0].detail
    assert table.rows[2].detail == "it is not installed"
    assert table.exit_code == 2


def test_a_build_that_fails_is_no_pass(tree: SyntheticTree, tmp_path: Path) -> None:
    setting = Setting(variables={"XDG_CACHE_HOME": "/proc/none", "GLASSHOUSE_INPUTS": "/proc/none"})
    table = _table(tree, tmp_path, Variation(axis="cache", value="none", setting=setting))
    assert table.rows[0].outcome is Outcome.FAILED
    assert table.exit_code == 2


def test_one_difference_outweighs_every_failure() -> None:
    rows = [Row(axis="a", value="b", outcome=outcome) for outcome in Outcome]
    assert Table(sha256=bytes(32), rows=tuple(rows)).exit_code == 1
    assert Table(sha256=bytes(32), rows=()).exit_code == 2


def test_everything_at_once_takes_the_last_value_of_each_axis(tmp_path: Path) -> None:
    merged = all_at_once(available(tmp_path)).setting
    assert merged is not None
    assert merged.umask == 0o077
    assert merged.is_reversed
    assert merged.folder != "tree"
    assert merged.variables["HOME"] is None


def test_everything_at_once_gives_up_rights_only_when_they_are_no_longer_needed(tmp_path: Path) -> None:
    varied = {each.axis: each.setting for each in available(tmp_path) if each.setting is not None}
    merged = all_at_once(available(tmp_path)).setting
    assert merged is not None
    tail = [word for axis in ("user", "clock") if axis in varied for word in varied[axis].wrapper]
    assert list(merged.wrapper[len(merged.wrapper) - len(tail) :]) == tail


def test_every_axis_of_the_promise_is_in_the_table_or_named_as_missing(tmp_path: Path) -> None:
    axes = {each.axis for each in available(tmp_path)}
    promised = {"path", "user", "HOME", "umask", "time zone", "locale", "clock", "host name", "processors"}
    promised |= {"creation order", "folder order", "hash seed", "network", "architecture"}
    assert promised <= axes
    values = {each.value for each in available(tmp_path) if each.axis == "locale"}
    assert "tr_TR.UTF-8" in values


def test_an_interpreter_without_the_locked_libraries_is_not_varied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lock = tmp_path / "audit.txt"
    lock.write_text("no-such-thing==1\n")
    # Making an environment takes long, and only its failure is looked at.
    monkeypatch.setattr(
        "glasshouse_audit.interpreters._MAKE_ENVIRONMENT", ("-c", "raise SystemExit('broken')")
    )
    variations = list(other_interpreters(lock))
    assert len(variations) >= 3
    assert all(each.setting is None and each.reason for each in variations)
    assert not list((tmp_path / "glasshouse" / "environments").glob("*"))


def test_the_command_prints_a_table_and_json(tree: SyntheticTree, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["reproducible", "--tree", str(tree.path), "--axis", "umask"]
    assert main(arguments) == 0
    assert "3 same, 0 different, 0 failed, 0 not varied" in capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["schema"] == "glasshouse/reproducible/v1"
    assert {row["sha256"] for row in answer["builds"]} == {answer["sha256"]}
    assert main(["reproducible", "--tree", str(tree.path), "--axis", "phase of the moon"]) == 2
    assert "umask" in capsys.readouterr().err
