"""The directory of a launch: private, locked, removed, and never somebody else's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from glasshouse_host.private_directory import private_directory, remove_stale


def test_it_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    with private_directory(tmp_path) as directory:
        assert directory.stat().st_mode & 0o777 == 0o700
        (directory / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_it_is_gone_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), private_directory(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_one_in_use_is_kept(tmp_path: Path) -> None:
    with private_directory(tmp_path) as directory:
        assert remove_stale(tmp_path) == ()
        assert directory.is_dir()


def test_one_whose_launcher_is_gone_is_removed(tmp_path: Path) -> None:
    stale = tmp_path / "glasshouse-host-stale"
    stale.mkdir(mode=0o700)
    (stale / "root").mkdir()
    assert remove_stale(tmp_path) == (stale,)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_a_launchers_is_kept(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    (tmp_path / "glasshouse-host-open").mkdir()
    (tmp_path / "glasshouse-host-open").chmod(0o755)
    (tmp_path / "glasshouse-host-link").symlink_to(other)
    (tmp_path / "glasshouse-host-file").write_text("x")
    before = sorted(tmp_path.iterdir())
    assert remove_stale(tmp_path) == ()
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's directory")
def test_another_users_is_kept(tmp_path: Path) -> None:
    theirs = tmp_path / "glasshouse-host-theirs"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, 65534, 65534)
    assert remove_stale(tmp_path) == ()
    assert theirs.is_dir()
