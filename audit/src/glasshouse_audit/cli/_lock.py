"""``glasshouse-audit lock``: choose the versions of everything in the image anew."""

from __future__ import annotations

import argparse
from pathlib import Path

from glasshouse_audit.build import write_together
from glasshouse_audit.locks import encode
from glasshouse_audit.recipe import IMAGE_FOLDER, Recipe
from glasshouse_audit.resolve import parse_constraints, resolve_debs, resolve_wheels

from ._arguments import Commands, add_tree, tree_of

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("lock", help="choose the versions of the image's packages anew")
    add_tree(parser)
    parser.add_argument(
        "--constraint",
        type=Path,
        default=None,
        metavar="FILE",
        help="a requirements file whose versions the wheels keep to",
    )
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Resolve both locks, then write both."""
    tree = tree_of(parsed)
    recipe = Recipe.load(tree)
    constraints = parsed.constraint.read_text(encoding="utf-8") if parsed.constraint else ""
    debs = encode(resolve_debs(recipe.debian))
    wheels = encode(resolve_wheels(recipe.python, parse_constraints(constraints)))
    folder = tree / IMAGE_FOLDER
    locks = {folder / "debs.lock": debs, folder / "wheels.lock": wheels}
    write_together({path: text.encode("ascii") for path, text in locks.items()})
    for path, text in locks.items():
        print(f"{path}: {len(text.splitlines())} packages")
    return 0
