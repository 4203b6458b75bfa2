"""``glasshouse-host config``, and the arguments by which every command takes a runtime configuration."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from glasshouse_attestations.configuration import ApiKey, RuntimeConfiguration
from glasshouse_attestations.errors import MalformedError
from glasshouse_host import files
from glasshouse_host.errors import InputFileError

if TYPE_CHECKING:
    from . import Commands

__all__ = ["add_arguments", "add_to", "chosen", "load"]

_MAX_SIZE = 64 << 10
_LIMITS = tuple(field.name for field in dataclasses.fields(RuntimeConfiguration) if field.type == "int")


def add_to(commands: Commands) -> None:
    """Add the command ``config``."""
    parser = commands.add_parser(
        "config",
        help="write or check a runtime configuration, and show its SHA-256",
        description="Write the runtime configuration that the options describe, or check that of --config. "
        "Its SHA-256 stands in every quote, and clients can hold it against their policy.",
    )
    add_arguments(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the configuration there: a new file, or --config's"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_run)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a configuration: a file, limits, and API keys by hash."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="start from this runtime configuration")
    parser.add_argument(
        "--api-key-hash",
        action="append",
        default=[],
        metavar="NAMESPACE=SHA256",
        help="who may upload and delete in a namespace; repeatable",
    )
    defaults = RuntimeConfiguration()
    for name in _LIMITS:
        text = f"default {getattr(defaults, name)}, or what --config says"
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N", help=text)


def chosen(options: argparse.Namespace) -> RuntimeConfiguration:
    """Return the configuration that the options describe, checked."""
    base = load(options.config) if options.config else RuntimeConfiguration()
    limits = {name: getattr(options, name) for name in _LIMITS if getattr(options, name) is not None}
    added = tuple(_parse_api_key(text) for text in options.api_key_hash)
    configuration = dataclasses.replace(base, api_keys=base.api_keys + added, **limits)
    return RuntimeConfiguration.parse(configuration.encode())


def load(path: Path) -> RuntimeConfiguration:
    """Return the configuration in the file at ``path``."""
    try:
        return RuntimeConfiguration.parse(files.read(path, max_size=_MAX_SIZE))
    except InputFileError:
        raise
    except MalformedError as err:
        raise InputFileError(f"{path} is not a runtime configuration: {err}") from err


def _parse_api_key(text: str) -> ApiKey:
    namespace, equals, digest = text.partition("=")
    if not equals or len(digest) != 64:
        raise MalformedError("--api-key-hash takes NAMESPACE=SHA256, the digest in hexadecimal")
    return ApiKey(namespace=namespace, sha256=bytes.fromhex(digest))


def _run(options: argparse.Namespace) -> None:
    content = chosen(options).encode()
    if options.out and options.out.exists() and options.out != options.config:
        # It would take the API keys away that were added to it.
        raise FileExistsError(f"{options.out} exists: to change it, name it with --config too")
    digest = hashlib.sha256(content).hexdigest()
    if options.out:
        files.write_atomically(options.out, content)
    if options.json:
        configuration = json.loads(content)
        print(
            json.dumps(
                {"schema": "glasshouse/host-config/v1", "sha256": digest, "configuration": configuration}
            )
        )
    elif options.out:
        print(f"sha256:{digest}")
    else:
        sys.stdout.write(content.decode("utf-8"))
        print(f"glasshouse-host: sha256:{digest}", file=sys.stderr)
