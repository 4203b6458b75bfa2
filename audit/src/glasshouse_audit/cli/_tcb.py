"""``glasshouse-audit tcb``: the table of what runs in the enclave, as ``docs/tcb.md`` has it."""

from __future__ import annotations

import argparse
from pathlib import Path

from glasshouse_audit.build import gather, progress_bars, write_atomically
from glasshouse_audit.tcb import table

from ._arguments import Commands, add_tree, tree_of

__all__ = ["register"]


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("tcb", help="print what the enclave's trusted computing base consists of")
    parser.add_argument("--output", type=Path, default=None, metavar="FILE", help="write there instead")
    add_tree(parser)
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Gather the image's parts, and print or write the table."""
    with progress_bars(shown=True) as bars:
        text = table(gather(tree_of(parsed), bars))
    if parsed.output is None:
        print(text, end="")
    else:
        write_atomically(parsed.output, text.encode("utf-8"))
    return 0
