"""Rebuilding an image from source, and holding the result against what somebody published."""

from __future__ import annotations

from pathlib import Path

from rich.progress import Progress

from .build import build_image, progress_bars
from .compare import Comparison, compare

__all__ = ["reproduce"]


def reproduce(tree: Path, against: bytes, *, progress: Progress | None = None) -> Comparison:
    """Build the image of the working tree at ``tree`` and return how ``against`` differs from it.

    Nothing of ``against`` enters the build. Raises what :func:`build_image` raises.
    """
    with progress or progress_bars(shown=False) as bars:
        rebuilt = build_image(tree, bars)
    return compare(against, rebuilt)
