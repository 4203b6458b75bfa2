"""``glasshouse-audit inspect``: what is in an image, and where each part of it comes from."""

from __future__ import annotations

import argparse
from pathlib import Path

from glasshouse_attestations import canonical_json
from glasshouse_audit.build import gather, progress_bars
from glasshouse_audit.inspect import Inspection, inspect
from glasshouse_audit.measure import read_image

from ._arguments import Commands, add_json, add_tree, tree_of, warn_of_changes

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "inspect",
        help="list what is in an image and where it comes from",
        description="Account for every byte of an image by a package of the locks, a source file or the "
        "recipe of the tree. Exits with 0 if nothing is left over, 1 if something is, 2 if it could not be "
        "found out.",
    )
    parser.add_argument("image", type=Path, metavar="FILE", help="the image")
    parser.add_argument("--files", action="store_true", help="list every file of the initrd")
    add_tree(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Inspect, print, and return 1 if anything is unaccounted for."""
    tree, image = tree_of(parsed), read_image(parsed.image)
    warn_of_changes(tree)
    with progress_bars(shown=True) as bars:
        parts = gather(tree, bars)
        inspection = inspect(image, parts, parts.put_together(bars))
    if parsed.json:
        print(canonical_json.encode(inspection.to_json(with_files=parsed.files)).decode("utf-8"))
    else:
        _print(inspection, with_files=parsed.files)
    return 1 if inspection.unaccounted else 0


def _print(inspection: Inspection, *, with_files: bool) -> None:
    print(f"image: {inspection.size} bytes, sha256 {inspection.sha256.hex()}")
    print(f"kernel: {inspection.kernel}")
    print(f"command line: {inspection.command_line}")
    for region in inspection.regions:
        print(f"{region.start:>10} {region.size:>10} {region.name:<9} {region.origin or 'unaccounted for'}")
    print(f"initrd: {inspection.archive_size} bytes, of which {inspection.framing} are the archive's own")
    for origin, (count, size) in inspection.sizes().items():
        print(f"{size:>10} bytes in {count:>4} files: {origin}")
    for file in inspection.files if with_files else ():
        print(f"{file.sha256.hex()} {file.size:>9} {file.kind.name.lower():<10} {file.path} <- {file.origin}")
    for name in inspection.unaccounted:
        print(f"unaccounted for: {name}")
    if not inspection.unaccounted:
        print("every byte is accounted for")
