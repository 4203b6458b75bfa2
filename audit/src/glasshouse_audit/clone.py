"""Clones of the source: what is released and audited is a commit, never somebody's working tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .errors import CommitMissingError, DirtyTreeError, SourceError, VersionMismatchError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["changes", "check_clean", "check_version", "clone", "distribution_versions", "head"]

_TIMEOUT = 900.0

# Variables by which a surrounding git command (a hook, say) would send ours to another repository.
_REDIRECTING = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")


def head(tree: Path) -> bytes:
    """Return the commit that is checked out in ``tree``; raises :class:`SourceError` if it has none."""
    return bytes.fromhex(_git(tree, "rev-parse", "--verify", "HEAD^{commit}").strip())


def changes(tree: Path) -> tuple[str, ...]:
    """Return the paths in ``tree`` that its commit does not account for: changed or untracked."""
    lines = _git(tree, "status", "--porcelain", "--untracked-files=normal", "-z").split("\0")
    return tuple(line[3:] for line in lines if line)


def check_clean(tree: Path) -> None:
    """Return if ``tree`` is exactly its commit; raises :class:`DirtyTreeError` if it is not."""
    changed = changes(tree)
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise DirtyTreeError(
            f"the working tree has changes that no commit has: {changed[0]}{more}",
            hint="commit or remove them: what is released is a commit",
        )


def distribution_versions(tree: Path) -> dict[Path, str]:
    """Return the version of every distribution in ``tree``, by its file; :class:`SourceError` if none is."""
    found = {path: _version(path) for path in sorted(tree.rglob("pyproject.toml"))}
    versions = {path: version for path, version in found.items() if version is not None}
    if not versions:
        raise SourceError(f"{tree} has no distribution", hint="name the repository of Glasshouse")
    return versions


def check_version(tree: Path, version: str) -> None:
    """Return if every distribution in ``tree`` has ``version``; raises :class:`VersionMismatchError`."""
    for path, found in distribution_versions(tree).items():
        if found != version:
            raise VersionMismatchError(
                f"{path.relative_to(tree)} has version {found}, not {version}",
                hint="all distributions have one version: set it everywhere and commit",
            )


def clone(source: str | Path, commit: bytes, into: Path) -> Path:
    """Make ``into`` a clone of ``source`` with exactly ``commit`` checked out, and return it.

    Nothing is shared with ``source``: no hard links, no alternates, no configuration. Raises
    :class:`CommitMissingError` if the source does not have the commit; another one is never taken instead.
    """
    name = commit.hex()
    _git(None, "clone", "--quiet", "--no-hardlinks", "--no-checkout", "--", str(source), str(into))
    if not _has(into, name):
        _fetch(into, name, source)
    _git(into, "-c", "core.hooksPath=", "checkout", "--quiet", "--detach", name)
    if head(into) != commit or changes(into):
        raise SourceError(f"the clone of {source} is not commit {name} as it was committed")
    return into


def _has(repository: Path, name: str) -> bool:
    return _run(repository, "cat-file", "-e", f"{name}^{{commit}}").returncode == 0


def _fetch(repository: Path, name: str, source: str | Path) -> None:
    # A commit that no branch or tag leads to is not cloned, but most repositories give it when asked.
    done = _run(repository, "fetch", "--quiet", "origin", name)
    if done.returncode or not _has(repository, name):
        shallow = (repository / ".git" / "shallow").exists()
        hint = "the source is a shallow clone: run 'git fetch --unshallow' there" if shallow else None
        raise CommitMissingError(f"{source} does not have the commit {name}", hint=hint)


def _version(path: Path) -> str | None:
    project = tomllib.loads(path.read_text(encoding="utf-8")).get("project")
    return str(project["version"]) if project else None


def _git(tree: Path | None, *arguments: str) -> str:
    done = _run(tree, *arguments)
    if done.returncode:
        # git's own word comes first where it says more than one thing.
        lines = [line for line in done.stderr.splitlines() if line.startswith("fatal: ")]
        reason = lines[0].removeprefix("fatal: ") if lines else f"exit code {done.returncode}"
        raise SourceError(f"git {_command(arguments)} failed: {reason}", hint=_hint(reason))
    return done.stdout


def _command(arguments: tuple[str, ...]) -> str:
    return next(each for each in arguments if not each.startswith(("-", "core.")))


def _hint(reason: str) -> str | None:
    if "not a git repository" in reason or "Needed a single revision" in reason:
        return "a git clone with at least one commit is needed, not an unpacked archive"
    return None


def _run(tree: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("git") is None:
        raise SourceError("git is not installed", hint="install git, which fetches the released commit")
    environment = {name: value for name, value in os.environ.items() if name not in _REDIRECTING}
    # A replacement ref would show other content under the commit's own name.
    environment |= {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}
    try:
        return subprocess.run(
            ["git", *(() if tree is None else ("-C", str(tree))), *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise SourceError(f"git {_command(arguments)} took longer than {_TIMEOUT:.0f} s") from err
