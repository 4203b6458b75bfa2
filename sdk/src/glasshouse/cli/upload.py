"""``glasshouse upload``: give a verified server a model."""

from __future__ import annotations

import argparse
import json
import sys

from .connecting import add_connection_options, connect

__all__ = ["add_to"]

_SCHEMA = "glasshouse/upload/v1"


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "upload",
        help="upload a model (needs an API key)",
        description="Verify the server, upload an ONNX model, and compare the digest of what it received.",
    )
    parser.add_argument("file", metavar="FILE", help="an ONNX model")
    parser.add_argument(
        "model", metavar="MODEL", help="namespace/name, or a name in your API key's namespace"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_connection_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    progress = _show_progress if sys.stderr.isatty() else None
    with connect(arguments) as connection:
        model = connection.upload_model(arguments.file, arguments.model, progress=progress)
    if arguments.json:
        shown = {"schema": _SCHEMA, "model": model.model_id, "sha256": model.sha256.hex(), "size": model.size}
        print(json.dumps(shown))
    else:
        print(f"{model.model_id} {model.sha256.hex()} {model.size}")
    return 0


def _show_progress(sent: int, total: int) -> None:
    end = "\n" if sent == total else ""
    print(f"\r{100 * sent // total:3d} % of {total} bytes", end=end, file=sys.stderr, flush=True)
