"""The command line, ``glasshouse-audit COMMAND``: one module for each command, and a dispatcher.

Exit codes: 0 built or identical, 1 checked and different, 2 could not be done, 130 interrupted. Results go to
standard output, everything else to standard error.
"""

from __future__ import annotations

from ._main import main

__all__ = ["main"]
