"""Arguments and results that several commands share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from glasshouse_attestations import canonical_json
from glasshouse_audit.compare import Comparison
from glasshouse_audit.recipe import IMAGE_FOLDER
from glasshouse_audit.worktree import describe_changes

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = object

__all__ = ["Commands", "add_json", "add_tree", "print_comparison", "tree_of", "warn_of_changes"]

_MAX_SHOWN = 20


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print the result as one JSON document")


def add_tree(parser: argparse.ArgumentParser) -> None:
    """Add ``--tree``: the working tree, by default the one around the current folder."""
    parser.add_argument(
        "--tree",
        type=Path,
        default=None,
        metavar="FOLDER",
        help="the source tree (default: the one you are in)",
    )


def tree_of(parsed: argparse.Namespace) -> Path:
    """Return the source tree that the arguments name, or that the current folder is in."""
    if parsed.tree is not None:
        return Path(parsed.tree)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / IMAGE_FOLDER / "recipe.toml").is_file():
            return folder
    return here


def warn_of_changes(tree: Path) -> None:
    """Say on standard error if the tree is not exactly its commit; build or not is up to the caller."""
    for line in describe_changes(tree):
        print(f"glasshouse-audit: warning: {line}", file=sys.stderr)


def print_comparison(comparison: Comparison, *, names: tuple[str, str], as_json: bool) -> int:
    """Print a comparison for people or as JSON, and return the exit code that goes with it."""
    if as_json:
        print(canonical_json.encode(comparison.to_json()).decode("utf-8"))
    elif comparison.identical:
        print(f"identical: sha256 {comparison.first_sha256.hex()}")
    else:
        for name, digest in zip(names, (comparison.first_sha256, comparison.second_sha256), strict=True):
            print(f"{name}: sha256 {digest.hex()}")
        for difference in comparison.differences[:_MAX_SHOWN]:
            print(f"differs: {difference.place}: {difference.detail}")
        if len(comparison.differences) > _MAX_SHOWN:
            print(f"and {len(comparison.differences) - _MAX_SHOWN} more differences")
    return 0 if comparison.identical else 1
