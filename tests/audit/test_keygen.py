"""Signing keys in files: private from the first moment, never overwritten, encrypted on request."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.keys import PublicKey
from glasshouse_audit import cli, keygen
from glasshouse_audit.errors import KeyFileError
from glasshouse_log.keyfile import write_new_key_file
from glasshouse_log.note import KeyType, NoteSigner


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


def test_the_command_prints_the_key_as_policies_list_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["keygen", str(tmp_path / "maintainer")]) == 0
    printed = PublicKey.parse(capsys.readouterr().out.strip())
    assert keygen.load(tmp_path / "maintainer.pem").public_key == printed


def test_the_command_encrypts_under_a_password_from_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "password").write_text("correct horse\n")
    options = ["--encrypt", "--password-file", str(tmp_path / "password"), "--json"]
    assert cli.main(["keygen", str(tmp_path / "auditor.pem"), *options]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "glasshouse/key/v1"
    assert b"ENCRYPTED" in (tmp_path / "auditor.pem").read_bytes()
    key = keygen.load(tmp_path / "auditor.pem", password_file=tmp_path / "password")
    assert (key.public_key.encode(), key.public_key.key_id) == (document["publicKey"], document["keyId"])


def test_the_command_refuses_to_overwrite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keygen", str(tmp_path / "key")]) == 0
    before = (tmp_path / "key.pem").read_bytes()
    assert cli.main(["keygen", str(tmp_path / "key")]) == 2
    assert "never overwritten" in capsys.readouterr().err
    assert (tmp_path / "key.pem").read_bytes() == before


def test_a_password_that_is_not_confirmed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["correct horse", "correct house"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda *_, **__: next(answers))
    with pytest.raises(KeyFileError, match="differ"):
        keygen.new_password(tmp_path / "key.pem")


def test_a_key_that_is_a_logs_is_no_auditors(tmp_path: Path) -> None:
    path = tmp_path / "log.key"
    write_new_key_file(path, NoteSigner.generate("example.com/log", KeyType.ED25519))
    with pytest.raises(KeyFileError, match="not a key that glasshouse-audit keygen made"):
        keygen.load(path)
