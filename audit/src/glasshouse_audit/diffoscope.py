"""What diffoscope says of one file that differs, where it is installed: nothing is decided by it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

__all__ = ["explain"]

_SECONDS = 120
_MAX_LINES = 200


def explain(first: bytes, second: bytes, *, name: str) -> str | None:
    """Return diffoscope's text on two versions of a file; ``None`` if it is not installed or fails."""
    program = shutil.which("diffoscope")
    if program is None:
        return None
    with tempfile.TemporaryDirectory(prefix="glasshouse-") as folder:
        paths = [Path(folder) / side / (Path(name).name or "file") for side in ("first", "second")]
        for path, content in zip(paths, (first, second), strict=True):
            path.parent.mkdir()
            path.write_bytes(content)
        command = [program, "--text", "-", "--text-color", "never", *map(str, paths)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return None
    return "\n".join(done.stdout.splitlines()[:_MAX_LINES]) if done.returncode == 1 else None
