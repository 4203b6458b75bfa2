"""``glasshouse-audit compare``: where two images differ, down to the file and the line."""

from __future__ import annotations

import argparse
from pathlib import Path

from glasshouse_audit.compare import compare
from glasshouse_audit.measure import read_image

from ._arguments import Commands, add_json, print_comparison

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("compare", help="compare two images and name what differs")
    parser.add_argument("first", type=Path, metavar="A", help="an image")
    parser.add_argument("second", type=Path, metavar="B", help="another image")
    add_json(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Compare, print the differences, and return 1 if there are any."""
    comparison = compare(read_image(parsed.first), read_image(parsed.second))
    return print_comparison(comparison, names=(str(parsed.first), str(parsed.second)), as_json=parsed.json)
