"""The command `glasshouse-log`: keys, servers, and the checks of a log.

Exit codes: 0 done or verified, 1 checked and not verified, 2 could not check, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from glasshouse_attestations.errors import GlasshouseError, MalformedError, VerificationError
from glasshouse_log.errors import MalformedKeyError, MalformedTrustPolicyError, StoreLockedError

from . import keygen, reading, serving

__all__ = ["main"]

_HINTS: dict[type[Exception], str] = {
    MalformedTrustPolicyError: "a policy has log, witness, group and quorum lines, see docs/log.md",
    StoreLockedError: "stop the other process, or give this one a directory of its own",
    FileNotFoundError: "check the path",
    FileExistsError: "keys are never overwritten; choose another file",
}


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="glasshouse-log",
        description="Keep, witness, read and check a transparency log.",
        epilog="exit codes: 0 done or verified, 1 not verified, 2 could not check, 130 interrupted",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (keygen, serving, reading):
        module.add_commands(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = create_parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read the output has gone; the interpreter must not fail again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except (GlasshouseError, OSError, ValueError) as err:
        return _report(err, as_json=getattr(options, "json", False))


def _report(error: Exception, *, as_json: bool) -> int:
    code = _exit_code(error)
    if as_json:
        outcome = {
            "schema": "glasshouse/log-error/v1",
            "verified": False,
            "error": type(error).__name__,
            "message": _message(error),
        }
        print(json.dumps(outcome, sort_keys=True))
    print(f"glasshouse-log: {_message(error)}", file=sys.stderr)
    for kind, hint in _HINTS.items():
        if isinstance(error, kind):
            print(f"hint: {hint}", file=sys.stderr)
    return code


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _exit_code(error: Exception) -> int:
    """A malformed proof was checked and is none; a malformed policy or key means nothing could be checked."""
    if isinstance(error, (MalformedKeyError, MalformedTrustPolicyError)):
        return 2
    return 1 if isinstance(error, (VerificationError, MalformedError)) else 2
