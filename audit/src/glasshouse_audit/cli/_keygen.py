"""``glasshouse-audit keygen``: a maintainer's or an auditor's key."""

from __future__ import annotations

import argparse
from pathlib import Path

from glasshouse_attestations import canonical_json
from glasshouse_audit import keygen

from ._arguments import Commands, add_json

__all__ = ["register"]

_SUFFIX = ".pem"


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("keygen", help="make a maintainer's or an auditor's signing key")
    parser.add_argument(
        "name", type=Path, metavar="NAME", help=f"the file to write, which gets the suffix {_SUFFIX}"
    )
    parser.add_argument("--encrypt", action="store_true", help="encrypt the file under a password")
    parser.add_argument(
        "--password-file",
        type=Path,
        metavar="FILE",
        help=f"that password (default: {keygen.PASSWORD_VARIABLE}, then the terminal)",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Write the private key, and print the public one as ``trust.toml`` lists it."""
    path = parsed.name if parsed.name.suffix == _SUFFIX else parsed.name.with_name(parsed.name.name + _SUFFIX)
    password = keygen.new_password(path, password_file=parsed.password_file) if parsed.encrypt else None
    key = keygen.generate(path, password=password)
    if parsed.json:
        document = {"schema": "glasshouse/key/v1", "file": str(path), "keyId": key.key_id}
        print(canonical_json.encode({**document, "publicKey": key.encode()}).decode("utf-8"))
    else:
        print(key.encode())
    return 0
