"""What a module imports, read from its source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = ["imported_modules"]


def imported_modules(source: str, package: str) -> Iterator[str]:
    """Dotted names of everything a module imports, wherever in it the import stands.

    ``from a import b`` yields ``a.b``: whether ``b`` is a module is for the reader to decide. A relative
    import is counted from ``package``, the package that the module is in.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)
