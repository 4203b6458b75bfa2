"""Evidence captured from real machines: ``shared/vectors`` beside the checkout, where it is there.

``CASES.json`` says of each capture what it contains and what became of it when it was looked at first.
A test whose captures are absent is skipped, and the skip is counted and says what is missing.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from support.repository import SHARED

VECTORS = SHARED / "vectors"

needs_vectors = pytest.mark.skipif(
    not VECTORS.is_dir(), reason="the captured evidence (shared/vectors) is absent"
)


@cache
def vector(path: str) -> bytes:
    """Return the captured file at ``path`` below the folder of vectors; skip the test if there is none."""
    file = VECTORS / path
    if not file.is_file():
        pytest.skip(f"the captured evidence shared/vectors/{path} is absent")
    return file.read_bytes()


def cases(technology: str) -> tuple[dict[str, Any], ...]:
    """Return the entries of ``CASES.json`` about ``technology``; none at all if the captures are absent."""
    return tuple(case for case in _all_cases() if case["tech"] == technology)


def case(technology: str, source: str) -> dict[str, Any]:
    """Return the one entry about ``technology`` that is named ``source``; skip the test if there is none."""
    found = [entry for entry in cases(technology) if entry["source"] == source]
    if len(found) != 1:
        pytest.skip(f"the case {source} of {technology} is absent from shared/vectors/CASES.json")
    return found[0]


def moment(seconds: int) -> datetime:
    """Return the Unix time at which a case is to be looked at, such as its ``test_time``."""
    return datetime.fromtimestamp(seconds, tz=timezone.utc)


@cache
def _all_cases() -> tuple[dict[str, Any], ...]:
    index: Path = VECTORS / "CASES.json"
    return tuple(json.loads(index.read_bytes())) if index.is_file() else ()
