"""``glasshouse-host keygen`` and ``glasshouse-host api-key``: secrets are made here and shown once."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from glasshouse_attestations.configuration import ApiKey, RuntimeConfiguration, generate_api_key
from glasshouse_attestations.keys import SigningKey
from glasshouse_host import files
from glasshouse_host.errors import InputFileError

from . import configuration

if TYPE_CHECKING:
    from . import Commands

__all__ = ["add_to", "load_launcher_key"]

_MAX_PEM = 4096


def add_to(commands: Commands) -> None:
    """Add the commands ``keygen`` and ``api-key``."""
    keygen = commands.add_parser(
        "keygen",
        help="make the key with which a launcher signs quotes",
        description="Write a fresh Ed25519 key, readable by you alone, and print its public half, which a "
        "development policy names under launcher_keys.",
    )
    keygen.add_argument("out", type=Path, metavar="FILE", help="the private key, PEM; must not exist")
    keygen.add_argument("--json", action="store_true", help="print JSON")
    keygen.set_defaults(command=_make_launcher_key)
    api_key = commands.add_parser(
        "api-key",
        help="make an API key for a namespace",
        description="Print a fresh API key, which is stored nowhere, and the hash that a server is given.",
    )
    api_key.add_argument("--namespace", required=True, help="where the key may upload and delete")
    api_key.add_argument("--config", type=Path, metavar="FILE", help="add the hash to this configuration")
    api_key.add_argument("--json", action="store_true", help="print JSON")
    api_key.set_defaults(command=_make_api_key)


def load_launcher_key(path: Path) -> SigningKey:
    """Return the key in ``path``; raises :class:`InputFileError` if anybody else may read that file."""
    pem = files.read(path, max_size=_MAX_PEM)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise InputFileError(f"others may read {path}: a launcher's key has mode 0600")
    return SigningKey.load_pem(pem)


def _make_launcher_key(options: argparse.Namespace) -> None:
    key = SigningKey.generate()
    try:
        descriptor = os.open(options.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise FileExistsError(f"{options.out} exists: a key is never overwritten") from None
    except OSError as err:
        raise InputFileError(f"cannot make {options.out}: {err.strerror}") from err
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.to_pem())
    public = key.public_key
    result = {"schema": "glasshouse/launcher-key/v1", "publicKey": public.encode(), "keyId": public.key_id}
    print(json.dumps(result) if options.json else public.encode())


def _make_api_key(options: argparse.Namespace) -> None:
    text = generate_api_key()
    entry = ApiKey.of(text, namespace=options.namespace)
    digest = entry.sha256.hex()
    if options.config:
        _add(entry, options.config)
    if options.json:
        result = {"apiKey": text, "namespace": entry.namespace, "sha256": digest}
        print(json.dumps({"schema": "glasshouse/api-key/v1", **result}))
        return
    print(text)
    if options.config:
        print(f"glasshouse-host: its hash was added to {options.config}", file=sys.stderr)
    else:
        print(f"glasshouse-host: start with --api-key-hash {entry.namespace}={digest}", file=sys.stderr)


def _add(entry: ApiKey, path: Path) -> None:
    """Add ``entry`` to the configuration in ``path``; a file that does not exist yet is made."""
    base = configuration.load(path) if path.exists() else RuntimeConfiguration()
    content = dataclasses.replace(base, api_keys=(*base.api_keys, entry)).encode()
    RuntimeConfiguration.parse(content)
    files.write_atomically(path, content)
