"""The command line: ``glasshouse-host run | keygen | ca | api-key | config``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TypeAlias

from glasshouse_attestations.errors import GlasshouseError, PlatformNotSupportedError
from glasshouse_host.errors import (
    EnclaveError,
    ImageContentError,
    InputFileError,
    IsolationError,
    MissingProgramError,
)

from . import authority, configuration, keys, run
from .interrupts import Interrupted, interruptible

__all__ = ["Commands", "main"]

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_HINTS: dict[type[GlasshouseError], str] = {
    PlatformNotSupportedError: "this version boots images with --platform simulated or tpm",
    MissingProgramError: "on debian: apt-get install qemu-system-x86 ovmf swtpm swtpm-tools tpm2-tools",
    IsolationError: "with --isolation auto the next way is tried; a TMPDIR without noexec may be needed",
    ImageContentError: "build the image with glasshouse-audit build",
    InputFileError: "--help, after the command's name, says what each file has to be",
    EnclaveError: "the lines above are the server's own",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 if it could not be done, 130 if interrupted."""
    options = _parser().parse_args(arguments)
    try:
        with interruptible():
            options.command(options)
    except Interrupted as interrupt:
        return interrupt.exit_code
    except (GlasshouseError, ValueError, OSError) as err:
        print(f"glasshouse-host: {err}", file=sys.stderr)
        hint = next((text for kind, text in _HINTS.items() if isinstance(err, kind)), None)
        if hint:
            print(f"hint: {hint}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="glasshouse-host",
        description="The operator's launcher: measures an image, boots it, and vouches for what it booted.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run.add_to(commands)
    keys.add_to(commands)
    authority.add_to(commands)
    configuration.add_to(commands)
    return parser
