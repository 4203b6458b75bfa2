"""``glasshouse delete``: delete a model from a verified server."""

from __future__ import annotations

import argparse

from .connecting import add_connection_options, connect

__all__ = ["add_to"]


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "delete",
        help="delete a model (needs an API key)",
        description="Verify the server, and delete one of your models from it.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="namespace/name, or a name in your API key's namespace"
    )
    add_connection_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    with connect(arguments) as connection:
        connection.delete_model(arguments.model)
    return 0
