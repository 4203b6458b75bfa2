"""``glasshouse-audit compare``: where two images differ, down to the file and the line."""

from __future__ import annotations

import argparse
from pathlib import Path

from glasshouse_attestations.errors import MalformedError
from glasshouse_audit.compare import compare, contents
from glasshouse_audit.diffoscope import explain
from glasshouse_audit.measure import read_image

from ._arguments import Commands, add_json, print_comparison

__all__ = ["register"]

_MAX_EXPLAINED = 3


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("compare", help="compare two images and name what differs")
    parser.add_argument("first", type=Path, metavar="A", help="an image")
    parser.add_argument("second", type=Path, metavar="B", help="another image")
    add_json(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Compare, print the differences, and return 1 if there are any."""
    first, second = read_image(parsed.first), read_image(parsed.second)
    comparison = compare(first, second)
    code = print_comparison(comparison, names=(str(parsed.first), str(parsed.second)), as_json=parsed.json)
    for difference in comparison.differences[:_MAX_EXPLAINED] if not parsed.json else ():
        _print_explanation(first, second, difference.place)
    return code


def _print_explanation(first: bytes, second: bytes, place: str) -> None:
    try:
        ours, theirs = contents(first, place), contents(second, place)
    except MalformedError:
        return
    if ours is not None and theirs is not None and (text := explain(ours, theirs, name=place)):
        print(f"diffoscope on {place}:")
        print(text)
