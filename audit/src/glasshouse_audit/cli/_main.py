"""The dispatcher: parses the arguments, runs one command, and turns errors into messages and exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from glasshouse_attestations.errors import GlasshouseError, VerificationError

from . import (
    _audit,
    _build,
    _bundle,
    _compare,
    _inspect,
    _keygen,
    _lock,
    _measure,
    _release,
    _reproduce,
    _reproducible,
    _tcb,
    _verify,
)

__all__ = ["main"]

_COMMANDS = (
    _build,
    _measure,
    _compare,
    _inspect,
    _tcb,
    _reproduce,
    _reproducible,
    _lock,
    _keygen,
    _release,
    _audit,
    _verify,
    _bundle,
)
_PROGRAM = "glasshouse-audit"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name and return its exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except GlasshouseError as err:
        _report(str(err), getattr(err, "hint", None))
        return 1 if isinstance(err, VerificationError) else 2
    except OSError as err:
        _report(f"{err.filename}: {err.strerror}" if err.filename else str(err))
        return 2
    except KeyboardInterrupt:
        _report("interrupted")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM, description="Build the enclave image, measure, reproduce, release and audit it."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.register(commands)
    return parser


def _report(message: str, hint: str | None = None) -> None:
    print(f"{_PROGRAM}: {message}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
