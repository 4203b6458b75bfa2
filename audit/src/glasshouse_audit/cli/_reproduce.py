"""``glasshouse-audit reproduce``: rebuild an image from the source tree and compare."""

from __future__ import annotations

import argparse
from pathlib import Path

from glasshouse_audit.build import progress_bars
from glasshouse_audit.measure import read_image
from glasshouse_audit.reproduce import reproduce

from ._arguments import Commands, add_json, add_tree, print_comparison, tree_of, warn_of_changes

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("reproduce", help="rebuild an image from source and compare")
    add_tree(parser)
    parser.add_argument("--against", type=Path, required=True, metavar="FILE", help="the image to reproduce")
    add_json(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Rebuild, print the differences, and return 1 if there are any."""
    tree = tree_of(parsed)
    against = read_image(parsed.against)
    warn_of_changes(tree)
    comparison = reproduce(tree, against, progress=progress_bars(shown=True))
    return print_comparison(comparison, names=(str(parsed.against), "rebuilt"), as_json=parsed.json)
