"""``glasshouse verify``: all twelve steps against a server, or the first eight against a bundle."""

from __future__ import annotations

import argparse
from datetime import datetime, timezone
from pathlib import Path

from glasshouse_attestations.bundle import MAX_BUNDLE_SIZE
from glasshouse_attestations.document import parse_hex

from .._memory import Memory
from .._policy import load_policy
from .._settings import load_settings
from .._verdict import Verdict
from .._verifier import verify_bundle
from ..errors import ConfigurationError, GlasshouseError
from .connecting import add_connection_options, connect

__all__ = ["add_to"]


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "verify",
        help="verify a server, or a bundle offline",
        description="Verify a server in twelve steps, or offline the eight that concern its bundle. Prints"
        " the verdict: every step, what was proven, by whom, and what was not.",
    )
    parser.add_argument("address", metavar="HOST:PORT", nargs="?", help="the server")
    add_connection_options(parser, address=False)
    parser.add_argument("--bundle", metavar="FILE", help="verify this bundle instead of a server")
    parser.add_argument("--image-digest", metavar="HEX", help="the SHA-256 that the bundle's image must have")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        verdict = _verify(arguments)
    except GlasshouseError as err:
        if isinstance(err.verdict, Verdict):
            _show(err.verdict, arguments)
        raise
    _show(verdict, arguments)
    return verdict.outcome.exit_code


def _verify(arguments: argparse.Namespace) -> Verdict:
    if arguments.bundle is not None:
        if arguments.address is not None:
            raise ConfigurationError(
                "both a server and a bundle are given", hint="verify one of them at a time"
            )
        return _verify_bundle(arguments)
    if arguments.image_digest is not None:
        raise ConfigurationError(
            "an image digest is given without a bundle",
            hint="a server's image is that of the release which its evidence proves",
        )
    with connect(arguments) as connection:
        return connection.verdict


def _verify_bundle(arguments: argparse.Namespace) -> Verdict:
    settings = load_settings()
    policy = arguments.policy or settings.policy
    if not policy:
        raise ConfigurationError("no policy is given or configured", hint="pass --policy trust.toml")
    digest = arguments.image_digest
    with Path(arguments.bundle).open("rb") as file:
        data = file.read(MAX_BUNDLE_SIZE + 1)
    return verify_bundle(
        data,
        load_policy(policy),
        image_sha256=None if digest is None else parse_hex(digest, "the image digest", 32),
        # What is remembered counts here too, but only a server's verification adds to it.
        remembered=Memory(Path(arguments.state or settings.state)).recall(),
        now=datetime.now(timezone.utc),
    ).verdict


def _show(verdict: Verdict, arguments: argparse.Namespace) -> None:
    print(verdict.to_json() if arguments.json else verdict.to_table())
