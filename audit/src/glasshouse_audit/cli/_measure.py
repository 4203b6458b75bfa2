"""``glasshouse-audit measure``: the reference values of an image, from the file alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from glasshouse_audit.measure import measure, read_image

from ._arguments import Commands, add_json

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("measure", help="print what each platform will report of an image")
    parser.add_argument("image", type=Path, metavar="FILE", help="the image")
    add_json(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Measure, and print one line for each register, or the measurements as JSON."""
    measurements = measure(read_image(parsed.image))
    if parsed.json:
        print(measurements.encode().decode("utf-8"), end="")
        return 0
    for platform, alternatives in sorted(measurements.reference_values.platforms.items()):
        for number, registers in enumerate(alternatives, start=1):
            label = platform if len(alternatives) == 1 else f"{platform}[{number}]"
            for name, value in sorted(registers.items()):
                print(f"{label} {name} {value.hex()}")
    return 0
