"""What git knows of the source tree, where there is git and a repository."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

__all__ = ["describe_changes"]


def describe_changes(tree: Path) -> tuple[str, ...]:
    """Return a sentence for each reason why an image of ``tree`` is not one of a commit; empty if it is.

    Nothing can be said without git or a repository, and that too is a reason.
    """
    git = shutil.which("git")
    if git is None:
        return ("git is not installed, so the image cannot be traced to a commit",)
    command = [git, "-C", str(tree), "--no-optional-locks", "status", "--porcelain"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        return ("git knows no commit of the tree, so the image cannot be traced to one",)
    changed = answer.stdout.splitlines()
    if not changed:
        return ()
    return (f"the tree has uncommitted changes in {len(changed)} places, first {changed[0][3:]}",)
