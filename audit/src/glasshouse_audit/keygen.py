"""Signing keys in files: Ed25519 as PKCS #8 PEM, readable by their owner only, encrypted or plain."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from glasshouse_attestations.keys import PublicKey, SigningKey

from .errors import KeyFileError

__all__ = ["PASSWORD_VARIABLE", "generate", "load", "new_password", "read_password"]

PASSWORD_VARIABLE = "GLASSHOUSE_KEY_PASSWORD"
_MAX_FILE_SIZE = 4096


def generate(path: Path, *, password: bytes | None) -> PublicKey:
    """Write a fresh key to ``path``, which must not exist, and return its public half.

    The file is the owner's alone (mode 0600) from the moment it exists. Raises :class:`KeyFileError`.
    """
    key = SigningKey.generate()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileError(f"{path} exists; a key is never overwritten") from None
    except OSError as err:
        raise KeyFileError(f"cannot write {path}: {err.strerror}") from err
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.to_pem(password))
    return key.public_key


def load(path: Path, *, password_file: Path | None = None) -> SigningKey:
    """Return the key in ``path``, asking for its password only if it is encrypted."""
    pem = _read(path)
    if not pem.startswith(b"-----BEGIN "):
        # The key of a log or a witness names itself before the PEM: one key must not stand for two parties.
        raise KeyFileError(f"{path} is not a key that glasshouse-audit keygen made")
    password = read_password(path, password_file=password_file) if b"ENCRYPTED" in pem else None
    return SigningKey.load_pem(pem, password)


def read_password(path: Path, *, password_file: Path | None = None) -> bytes:
    """Return the password of the key ``path``: of the file, else of the environment, else of the terminal."""
    given = _given_password(password_file)
    if given is not None:
        return given
    return _prompt(f"password of {path}: ")


def new_password(path: Path, *, password_file: Path | None = None) -> bytes:
    """Return a password for the new key ``path``; on a terminal it is asked for twice."""
    given = _given_password(password_file)
    if given is not None:
        return given
    password = _prompt(f"new password of {path}: ")
    if password != _prompt("the same again: "):
        raise KeyFileError("the two passwords differ")
    return password


def _given_password(password_file: Path | None) -> bytes | None:
    if password_file is not None:
        return _not_empty(_read(password_file).rstrip(b"\r\n"))
    from_environment = os.environ.get(PASSWORD_VARIABLE)
    return None if from_environment is None else _not_empty(from_environment.encode())


def _prompt(text: str) -> bytes:
    if not sys.stdin.isatty():
        raise KeyFileError(f"no password for the key: set {PASSWORD_VARIABLE} or give --password-file")
    return _not_empty(getpass.getpass(text, stream=sys.stderr).encode())


def _not_empty(password: bytes) -> bytes:
    if not password:
        raise KeyFileError("the password of a key is empty")
    return password


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_SIZE + 1)
    except OSError as err:
        raise KeyFileError(f"cannot read {path}: {err.strerror}") from err
    if len(data) > _MAX_FILE_SIZE:
        raise KeyFileError(f"{path} has more than {_MAX_FILE_SIZE} bytes")
    return data
