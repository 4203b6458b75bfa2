"""``glasshouse-audit reproducible``: the same bytes under every variation of the surroundings, or not."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from glasshouse_attestations import canonical_json
from glasshouse_audit.build import Plan
from glasshouse_audit.errors import ToolError
from glasshouse_audit.interpreters import other_interpreters, other_zlib
from glasshouse_audit.reproducible import Outcome, Row, Table, reproducible, workshop
from glasshouse_audit.variations import Variation, available

from ._arguments import Commands, add_json, add_tree, tree_of, warn_of_changes

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "reproducible",
        help="build under every variation of the surroundings and compare",
        description="Build the image in surroundings that differ in one thing at a time, then in all at "
        "once. Exits with 0 if all builds gave the same bytes, 1 if one differs, 2 if one could not be made. "
        "What this machine cannot vary is named and is no pass.",
    )
    add_tree(parser)
    parser.add_argument(
        "--axis",
        action="append",
        default=None,
        metavar="NAME",
        help="vary only this axis; can be given several times",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="builds at a time (default: 1)")
    add_json(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Build, tell of each build as it ends, and print the table."""
    tree = tree_of(parsed)
    warn_of_changes(tree)
    with tempfile.TemporaryDirectory(prefix="glasshouse-", ignore_cleanup_errors=True) as folder:
        variations = _chosen(tree, Path(folder), parsed.axis)
        shop = workshop(tree, Path(folder) / "workshop")
        table = reproducible(shop, variations, jobs=max(parsed.jobs, 1), tell=_tell)
    if parsed.json:
        print(canonical_json.encode(table.to_json()).decode("utf-8"))
    else:
        _print(table)
    return table.exit_code


def _chosen(tree: Path, folder: Path, axes: list[str] | None) -> tuple[Variation, ...]:
    """Return the variations of the axes, or all; what an axis needs is made only if it is asked for."""
    folder.chmod(0o755)
    found = list(available(folder))
    if axes is None or "python" in axes:
        found += other_interpreters(tree / "locks" / "audit.txt")
    if axes is None or "zlib" in axes:
        found.append(other_zlib(Plan.load(tree), tree, folder))
    unknown = set(axes or ()) - {variation.axis for variation in found}
    if unknown:
        known = sorted({variation.axis for variation in found} | {"python", "zlib"})
        raise ToolError(f"there is no axis {min(unknown)!r}", hint=f"one of: {', '.join(known)}")
    return tuple(variation for variation in found if axes is None or variation.axis in axes)


def _tell(row: Row) -> None:
    print(f"glasshouse-audit: {row.axis}, {row.value}: {row.outcome.value}", file=sys.stderr, flush=True)


def _print(table: Table) -> None:
    print(f"{'axis':<15} {'value':<26} {'result':<11} sha256, or why there is none")
    print(f"{'none':<15} {'the reference':<26} {'':<11} {table.sha256.hex()}")
    for row in table.rows:
        digest = "" if row.sha256 is None else row.sha256.hex()
        said = " ".join(part for part in (digest, row.detail) if part)
        print(f"{row.axis:<15} {row.value:<26} {row.outcome.value:<11} {said}")
    counts = Counter(row.outcome for row in table.rows)
    print(", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome))
