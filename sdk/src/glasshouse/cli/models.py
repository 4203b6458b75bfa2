"""``glasshouse models``: list the models of a verified server."""

from __future__ import annotations

import argparse
import json

from .connecting import add_connection_options, connect

__all__ = ["add_to"]

_SCHEMA = "glasshouse/models/v1"


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "models",
        help="list the models",
        description="Verify the server, and list its public models and those of your API key's namespace.",
    )
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    add_connection_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    with connect(arguments) as connection:
        models = connection.list_models()
    if arguments.json:
        listed = [{"model": m.model_id, "sha256": m.sha256.hex(), "size": m.size} for m in models]
        print(json.dumps({"schema": _SCHEMA, "models": listed}))
    else:
        for model in models:
            print(f"{model.model_id} {model.sha256.hex()} {model.size}")
    return 0
