"""The builder that an auditor runs is somebody else's code: what it gets to know of the auditor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from glasshouse_audit.errors import RebuildError
from glasshouse_audit.keygen import PASSWORD_VARIABLE
from glasshouse_audit.rebuild import Surroundings, rebuild

_CURIOUS = """
import json, os, pathlib

def main():
    pathlib.Path("seen.json").write_text(json.dumps(dict(os.environ)))
    return 2
"""


def test_a_commits_builder_is_not_told_the_password_of_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "audit" / "src" / "glasshouse_audit"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(_CURIOUS, encoding="utf-8")
    monkeypatch.setenv(PASSWORD_VARIABLE, "correct horse battery staple")
    monkeypatch.setenv("SOMETHING_ELSE", "is passed on")
    with pytest.raises(RebuildError):
        rebuild(tmp_path, surroundings=Surroundings())
    seen = json.loads((tmp_path / "seen.json").read_text(encoding="utf-8"))
    assert seen["SOMETHING_ELSE"] == "is passed on"
    assert PASSWORD_VARIABLE not in seen
    assert "correct horse battery staple" not in seen.values()
