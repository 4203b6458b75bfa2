"""`glasshouse-log keygen`: a new key for a log or a witness."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from glasshouse_log.keyfile import write_new_key_file
from glasshouse_log.note import KeyType, NoteSigner

if TYPE_CHECKING:
    from argparse import _SubParsersAction

__all__ = ["add_commands", "read_password"]

_TYPES = {"log": KeyType.ED25519, "witness": KeyType.COSIGNATURE_V1}


def add_commands(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "keygen",
        help="make a key for a log or a witness",
        description="Make a key file that only its owner can read, and print the verifier key to publish.",
    )
    parser.add_argument("type", choices=sorted(_TYPES), help="what the key is for")
    parser.add_argument("name", help="the log's origin or the witness's name, such as example.com/log")
    parser.add_argument("file", type=Path, help="the key file to write; never overwritten")
    parser.add_argument("--password-file", type=Path, help="encrypt the key with this file's first line")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_keygen)


def read_password(path: Path | None) -> bytes | None:
    """Return the first line of a password file, None without one. Raises ValueError if it is empty."""
    if path is None:
        return None
    password = path.read_bytes().partition(b"\n")[0].rstrip(b"\r")
    if not password:
        raise ValueError(f"the password in {path} is empty")
    return password


def _keygen(options: argparse.Namespace) -> int:
    signer = NoteSigner.generate(options.name, _TYPES[options.type])
    write_new_key_file(options.file, signer, read_password(options.password_file))
    vkey = signer.verifier_key.encode()
    if options.json:
        vkey = json.dumps({"schema": "glasshouse/log-key/v1", "type": options.type, "vkey": vkey})
    print(vkey)
    return 0
