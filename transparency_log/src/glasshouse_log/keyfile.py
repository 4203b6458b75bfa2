"""Private key files: the verifier key on the first line, then PKCS #8 PEM, plain or encrypted.

RFC 7468, section 2, allows text before the PEM block. So one file says what its key is for, and its
public half can be read without the password.
"""

from __future__ import annotations

import os
from pathlib import Path

from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.keys import SigningKey

from .errors import MalformedKeyError
from .note import NoteSigner, VerifierKey

__all__ = ["encode_key_file", "parse_key_file", "write_new_key_file"]


def encode_key_file(signer: NoteSigner, password: bytes | None = None) -> bytes:
    """Write a private key, encrypted if there is a password."""
    pem = SigningKey(private=signer.private_key).to_pem(password)
    return signer.verifier_key.encode().encode() + b"\n" + pem


def parse_key_file(data: bytes, password: bytes | None = None) -> NoteSigner:
    """Return the private key in a file, which must be the one its first line names."""
    line, _, pem = data.partition(b"\n")
    try:
        named = VerifierKey.parse(line.decode("utf-8"))
        key = SigningKey.load_pem(pem, password)
    except (UnicodeDecodeError, MalformedError) as err:
        raise MalformedKeyError(f"not a key file of this log: {err}") from err
    signer = NoteSigner(name=named.name, type=named.type, private_key=key.private)
    if signer.verifier_key != named:
        raise MalformedKeyError("the private key is not the one that the file's first line names")
    return signer


def write_new_key_file(path: Path, signer: NoteSigner, password: bytes | None = None) -> None:
    """Write a key file that only its owner can read. Raises FileExistsError rather than replace one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(encode_key_file(signer, password))
        file.flush()
        os.fsync(file.fileno())
