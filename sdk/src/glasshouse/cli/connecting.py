"""The options that every command has which connects to a server."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._connection import Connection

__all__ = ["add_connection_options", "connect"]


def add_connection_options(parser: argparse.ArgumentParser, *, address: bool = True) -> None:
    """Add the options; with ``address`` also the server's address as an option."""
    if address:
        parser.add_argument("--address", metavar="HOST:PORT", help="the server")
    parser.add_argument("--policy", metavar="FILE", help="your trust.toml: whom you trust")
    parser.add_argument("--state", metavar="DIRECTORY", help="where to remember what logs have shown")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=30.0, help="for each call (default: 30)"
    )


def connect(arguments: argparse.Namespace) -> Connection:
    """Return a connection to the server that the arguments name, once it is verified."""
    from .._connection import Connection

    return Connection(
        arguments.address, policy=arguments.policy, state=arguments.state, timeout=arguments.timeout
    )
