"""``glasshouse``: verify a server, and talk to it.

Results go to standard output, everything else to standard error. Exit codes: 0 verified and done; 1 checked
and not verified; 2 could not be checked or done; 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Protocol

from .._verdict import Verdict
from ..errors import GlasshouseError, VerificationError
from . import collateral, delete, evidence, models, predict, tcb, upload, verify

__all__ = ["main"]

_NAME = "glasshouse"
_COMMANDS = (verify, predict, upload, models, delete, evidence, tcb, collateral)


class _Run(Protocol):
    def __call__(self, arguments: argparse.Namespace) -> int: ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parsed = _parser().parse_args(arguments)
    run: _Run = parsed.run
    try:
        return run(parsed)
    except KeyboardInterrupt:
        return 130
    except GlasshouseError as err:
        _complain(str(err), err.hint)
        return _exit_code(err)
    except OSError as err:
        _complain(f"{err.filename}: {err.strerror}" if err.filename else str(err), None)
        return 2
    except ValueError as err:
        # An argument that a function of ours refused.
        _complain(str(err), None)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_NAME,
        description="Verify an inference server that runs in an enclave, and talk to it.",
        epilog="The address, the policy and the API key come from ~/.config/glasshouse/config.toml or"
        " GLASSHOUSE_ADDRESS, GLASSHOUSE_POLICY and GLASSHOUSE_API_KEY where no option gives them.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_to(commands)
    return parser


def _exit_code(err: GlasshouseError) -> int:
    if isinstance(err.verdict, Verdict):
        return err.verdict.outcome.exit_code
    return 1 if isinstance(err, VerificationError) else 2


def _complain(message: str, hint: str | None) -> None:
    print(f"{_NAME}: {message}", file=sys.stderr)
    if hint is not None:
        print(f"hint: {hint}", file=sys.stderr)
