"""A machine without git cannot say what a commit builds: that is no verdict, and never a pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from glasshouse_audit.clone import clone, head
from glasshouse_audit.errors import SourceError
from glasshouse_audit.worktree import describe_changes


def test_without_git_nothing_is_cloned_and_no_commit_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="git is not installed"):
        head(tmp_path)
    with pytest.raises(SourceError, match="git is not installed"):
        clone(tmp_path, bytes(20), tmp_path / "clone")
    assert not (tmp_path / "clone").exists()
    (reason,) = describe_changes(tmp_path)
    assert "cannot be traced to a commit" in reason
