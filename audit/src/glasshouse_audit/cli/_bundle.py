"""``glasshouse-audit bundle``: a fresh bundle of a release, for servers to staple."""

from __future__ import annotations

import argparse

from glasshouse_audit.audit import refresh_bundle

from ._arguments import Commands, add_tree, tree_of
from ._trust_arguments import add_log, add_release, add_trust, log_of, policy_of, release_folder

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "bundle",
        help="renew a release's bundle under the log's latest checkpoint",
        description="Write the bundle of a release anew: its statement and audits, under the log's latest "
        "checkpoint. Clients accept a checkpoint for as long as their policy says.",
    )
    add_release(parser)
    add_log(parser)
    add_trust(parser)
    add_tree(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Renew the bundle, and print where it is."""
    folder = release_folder(parsed.release, tree_of(parsed))
    policy = policy_of(parsed)
    with log_of(parsed, policy) as log:
        refresh_bundle(folder, log)
    print(folder / "bundle.json")
    return 0
