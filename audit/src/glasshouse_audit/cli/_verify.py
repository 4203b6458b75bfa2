"""``glasshouse-audit verify``: a release's folder, checked as a client would and file by file."""

from __future__ import annotations

import argparse
from pathlib import Path

from glasshouse_attestations import canonical_json
from glasshouse_audit.measure import read_image
from glasshouse_audit.publication import Publication
from glasshouse_audit.verification import verify_publication

from ._arguments import Commands, add_json, add_tree, tree_of
from ._trust_arguments import add_release, add_trust, now, policy_of, release_folder

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "verify",
        help="check a release's folder, offline",
        description="Check every file of a release against its statement, its log proofs, and its bundle "
        "as a client does. Offline.",
    )
    add_release(parser)
    add_trust(parser)
    add_tree(parser)
    parser.add_argument(
        "--image", type=Path, default=None, metavar="FILE", help="check and measure this image too"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Verify, and print every check as a table or as JSON."""
    policy = policy_of(parsed)
    publication = Publication.read(release_folder(parsed.release, tree_of(parsed)))
    image = None if parsed.image is None else read_image(parsed.image)
    report = verify_publication(publication, policy, now=now(), image=image)
    print(canonical_json.encode(report.to_json()).decode("utf-8") if parsed.json else report.to_table())
    return report.exit_code
