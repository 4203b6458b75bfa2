"""Signing keys in files: private from the first moment, never overwritten, encrypted on request."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from glasshouse_attestations.errors import MalformedError
from glasshouse_audit import keygen
from glasshouse_audit.errors import KeyFileError


@pytest.fixture(autouse=True)
def _no_password_of_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(keygen.PASSWORD_VARIABLE, raising=False)


def test_a_plain_key_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "auditor.pem"
    public_key = keygen.generate(path, password=None)
    key = keygen.load(path)
    public_key.verify(key.sign(b"message"), b"message")


@pytest.mark.skipif(os.name == "nt", reason="no file modes on Windows")
def test_a_key_is_its_owners_alone_under_any_umask(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        keygen.generate(tmp_path / "key.pem", password=None)
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("precious")
    with pytest.raises(KeyFileError, match="never overwritten"):
        keygen.generate(path, password=None)
    assert path.read_text() == "precious"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        keygen.generate(tmp_path / "nowhere" / "key.pem", password=None)


def test_an_encrypted_key_needs_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key.pem"
    public_key = keygen.generate(path, password=b"correct horse")
    with pytest.raises(KeyFileError, match=keygen.PASSWORD_VARIABLE):
        keygen.load(path)
    monkeypatch.setenv(keygen.PASSWORD_VARIABLE, "wrong")
    with pytest.raises(MalformedError, match="not its password"):
        keygen.load(path)
    monkeypatch.setenv(keygen.PASSWORD_VARIABLE, "correct horse")
    assert keygen.load(path).public_key == public_key


def test_a_password_file_goes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(keygen.PASSWORD_VARIABLE, "of the environment")
    (tmp_path / "password").write_bytes(b"of the file\n")
    keygen.generate(tmp_path / "key.pem", password=b"of the file")
    keygen.load(tmp_path / "key.pem", password_file=tmp_path / "password")


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 5000], ids=["empty", "blank", "huge"])
def test_a_useless_password_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "password").write_bytes(content)
    with pytest.raises(KeyFileError):
        keygen.new_password(tmp_path / "key.pem", password_file=tmp_path / "password")


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"missing\.pem"):
        keygen.load(tmp_path / "missing.pem")


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(MalformedError):
        keygen.load(tmp_path / "key.pem")
