"""The trusted computing base as a table: what is in the image, component by component, and how large it is.

Sizes are those of the files as they are in the image; the kernel and the stub count as they stand beside the
archive. Nothing but the tree and its locks enters the table, so that a test can compare it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from glasshouse_attestations.cpio import Kind, Member

from .build import Parts

__all__ = ["Component", "components", "table"]

_INTRODUCTION = """\
# The trusted computing base

Everything that runs in the enclave, and so everything that a client trusts beside the hardware: an
error in any of it can undo what the measurements promise. Packages are those of the locks, by
version and hash. Our own sources are counted in lines too, without empty ones and comments.
`python3 -m nox -s docs` writes this page, and a test compares it with the image's parts.

| component | version | files | bytes | lines of ours |
|---|---|---:|---:|---:|
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One package, our sources of one folder, or the recipe's own files; ``lines`` counts only our code."""

    name: str
    version: str
    files: int
    size: int
    lines: int

    def to_row(self) -> str:
        """Return the row of the table."""
        lines = f"{self.lines:,}" if self.lines else ""
        return f"| {self.name} | {self.version} | {self.files:,} | {self.size:,} | {lines} |\n"


def components(parts: Parts) -> tuple[Component, ...]:
    """Return every component, the largest first."""
    by_origin: dict[str, list[Member]] = {}
    for member in (*parts.archive.members, parts.kernel, parts.stub):
        if member.kind is not Kind.DIRECTORY:
            by_origin.setdefault(parts.origins[member.path], []).append(member)
    found = (_component(origin, members) for origin, members in by_origin.items())
    return tuple(sorted(found, key=lambda one: (-one.size, one.name)))


def table(parts: Parts) -> str:
    """Return ``docs/tcb.md``."""
    listed = components(parts)
    total = Component(
        name="**all**",
        version="",
        files=sum(one.files for one in listed),
        size=sum(one.size for one in listed),
        lines=sum(one.lines for one in listed),
    )
    return _INTRODUCTION + "".join(one.to_row() for one in (*listed, total))


def _component(origin: str, members: list[Member]) -> Component:
    kind, _, rest = origin.partition(" ")
    name, _, version = rest.partition(" ")
    is_ours = kind in ("source", "recipe")
    return Component(
        name=f"{name.rpartition('/')[2]} (ours)" if kind == "source" else name or "the recipe's own files",
        version=version,
        files=len(members),
        size=sum(len(member.data) for member in members),
        lines=sum(len(list(_lines(member))) for member in members) if is_ours else 0,
    )


def _lines(member: Member) -> Iterator[bytes]:
    """Yield the lines of a file that are neither empty nor only a comment."""
    for line in member.data.splitlines() if member.kind is not Kind.LINK else ():
        if line.strip() and not line.lstrip().startswith(b"#"):
            yield line
