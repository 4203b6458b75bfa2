"""``glasshouse-audit build``: the image of the source tree, and its reference values beside it."""

from __future__ import annotations

import argparse
from pathlib import Path

from glasshouse_audit.build import MEASUREMENTS_NAME, build, progress_bars

from ._arguments import Commands, add_json, add_tree, tree_of, warn_of_changes

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("build", help="build enclave.efi and its reference values")
    add_tree(parser)
    parser.add_argument(
        "--output",
        type=Path,
        default=None,
        metavar="FILE",
        help="where to write the image (default: dist/enclave.efi in the tree); "
        f"{MEASUREMENTS_NAME} is written beside it",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Build, and print where the image is and its digest, or its measurements as JSON."""
    tree = tree_of(parsed)
    output = parsed.output or tree / "dist" / "enclave.efi"
    warn_of_changes(tree)
    measurements = build(tree, output, progress=progress_bars(shown=True))
    if parsed.json:
        print(measurements.encode().decode("utf-8"), end="")
    else:
        print(f"{output}: {measurements.size} bytes, sha256 {measurements.sha256.hex()}")
    return 0
