"""`python -m glasshouse_log`, the same as the command `glasshouse-log`."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
