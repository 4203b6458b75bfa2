"""What bytes say, as a tree for people and for JSON, with the names that the specifications use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import IntFlag
from typing import TypeAlias

from glasshouse_attestations.document import format_time

__all__ = ["Node", "Value", "bits", "branch", "leaf", "printable", "to_json", "to_text"]

Value: TypeAlias = "str | int | bool | bytes | datetime | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A field by its name, with a value, with fields below it, or with both."""

    name: str
    value: str | int | bool | None = None
    below: tuple[Node, ...] = ()


def leaf(name: str, value: Value) -> Node:
    """Return a field with its value: bytes become hexadecimal, times RFC 3339."""
    if isinstance(value, bytes):
        return Node(name=name, value=value.hex())
    return Node(name=name, value=format_time(value) if isinstance(value, datetime) else value)


def branch(name: str, below: Iterable[Node], value: Value = None) -> Node:
    """Return a field with others below it."""
    return Node(name=name, value=leaf(name, value).value, below=tuple(below))


def bits(name: str, value: int, names: type[IntFlag] | dict[int, str], *, width: int = 16) -> Node:
    """Return a field of ``width`` hexadecimal digits and below it each bit by name, then unknown bits."""
    known = names if isinstance(names, dict) else {flag.value.bit_length() - 1: flag.name for flag in names}
    below = [
        leaf(f"{text or bit} (bit {bit})", bool(value >> bit & 1)) for bit, text in sorted(known.items())
    ]
    unknown = value & ~sum(1 << bit for bit in known)
    if unknown:
        below.append(leaf("bits without a name here", f"{unknown:#x}"))
    return branch(name, below, f"{value:#0{width + 2}x}")


def to_text(node: Node, depth: int = 0) -> Iterator[str]:
    """Yield the tree as lines, two spaces deeper for each level; no byte of it can steer a terminal."""
    shown = _shown(node.value)
    value = f": {shown}" if node.value is not None or not node.below else ""
    yield f"{'  ' * depth}{node.name}{value}"
    for each in node.below:
        yield from to_text(each, depth + 1)


def _shown(value: str | int | bool | None) -> str:
    if value is None:
        return "none"
    return printable(str(value).lower() if isinstance(value, bool) else str(value))


def printable(text: str) -> str:
    """Return ``text`` with everything but printable ASCII escaped: what is not verified may hold anything."""
    return "".join(each if " " <= each <= "~" else each.encode("unicode_escape").decode() for each in text)


def to_json(node: Node) -> dict[str, object]:
    """Return the tree as JSON values: ``name``, ``value``, and ``fields`` where there are any below."""
    written: dict[str, object] = {"name": node.name, "value": node.value}
    if node.below:
        written["fields"] = [to_json(each) for each in node.below]
    return written
