"""The recipe of the image: ``reference_server/image/recipe.toml`` as a value, read strictly."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from glasshouse_attestations.canonical_json import JSON
from glasshouse_attestations.document import Document
from glasshouse_attestations.errors import MalformedError

from .errors import RecipeError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["IMAGE_FOLDER", "DebianArchive", "PythonTarget", "Recipe", "SourcePackage"]

IMAGE_FOLDER = "reference_server/image"
"""Where the recipe and its locks are in the tree."""

_MAX_SIZE = 1 << 20
_MAX_ITEMS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianArchive:
    """Which packages of which part of the Debian archive are resolved into ``debs.lock``."""

    suite: str
    component: str
    architecture: str
    packages: tuple[str, ...]
    metapackages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonTarget:
    """The interpreter in the image, which wheels must fit, and where they are unpacked."""

    version: str
    glibc: str
    architecture: str
    target: str
    wheels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePackage:
    """A folder of the tree, where its files are in the image, and patterns of those that are."""

    origin: str
    target: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides the image's bytes beside the locks and the enclave's sources."""

    mtime: int
    compressor: str
    libzstd: str
    compression_level: int
    command_line: str
    kernel: str
    stub: str
    os_release: str
    debian: DebianArchive
    python: PythonTarget
    sources: tuple[SourcePackage, ...]
    suffixes: tuple[str, ...]
    directories: tuple[str, ...]
    keep: tuple[str, ...]
    exclude: tuple[str, ...]
    links: Mapping[str, str]
    files: Mapping[str, bytes]
    executables: Mapping[str, bytes]

    @classmethod
    def load(cls, tree: Path) -> Recipe:
        """Return the recipe of the working tree at ``tree``."""
        path = tree / IMAGE_FOLDER / "recipe.toml"
        try:
            return cls.parse(path.read_bytes())
        except OSError as err:
            raise RecipeError(f"cannot read {IMAGE_FOLDER}/recipe.toml: {err.strerror}") from err

    @classmethod
    def parse(cls, data: bytes) -> Recipe:
        """Return the recipe in ``data``; raises :class:`RecipeError`, also for an unknown field."""
        if len(data) > _MAX_SIZE:
            raise RecipeError(f"recipe has {len(data)} bytes, at most {_MAX_SIZE} are allowed")
        try:
            document = Document(cast(JSON, tomllib.loads(data.decode("utf-8"))), "recipe")
            recipe = _parse_recipe(document)
            document.end()
        except (MalformedError, ValueError) as err:
            raise RecipeError(f"recipe is malformed: {err}") from err
        return recipe


def _parse_recipe(document: Document) -> Recipe:
    document.constant("version", 1)
    sources, root = document.document("sources"), document.document("root")
    recipe = Recipe(
        mtime=document.integer("mtime", maximum=2**32 - 1),
        compressor=document.text("compressor"),
        libzstd=document.text("libzstd"),
        compression_level=document.integer("compression_level", minimum=1, maximum=22),
        command_line=document.text("command_line"),
        kernel=document.text("kernel"),
        stub=document.text("stub"),
        os_release=document.text("os_release"),
        debian=_parse_debian(document.document("debian")),
        python=_parse_python(document.document("python")),
        sources=tuple(map(_parse_source, sources.documents("packages", max_count=_MAX_ITEMS))),
        suffixes=_texts(sources, "suffixes"),
        directories=_texts(root, "directories"),
        keep=_texts(root, "keep"),
        exclude=_texts(root, "exclude"),
        links=_table(root, "links"),
        files=_contents(root, "files"),
        executables=_contents(root, "executables"),
    )
    sources.end()
    root.end()
    return recipe


def _parse_debian(document: Document) -> DebianArchive:
    archive = DebianArchive(
        suite=document.text("suite"),
        component=document.text("component"),
        architecture=document.text("architecture"),
        packages=_texts(document, "packages"),
        metapackages=_texts(document, "metapackages"),
    )
    document.end()
    return archive


def _parse_python(document: Document) -> PythonTarget:
    target = PythonTarget(
        version=document.text("version"),
        glibc=document.text("glibc"),
        architecture=document.text("architecture"),
        target=document.text("target"),
        wheels=_texts(document, "wheels"),
    )
    document.end()
    return target


def _parse_source(document: Document) -> SourcePackage:
    source = SourcePackage(
        origin=document.text("origin"), target=document.text("target"), files=_texts(document, "files")
    )
    document.end()
    return source


def _texts(document: Document, name: str) -> tuple[str, ...]:
    items = document.list(name, max_count=_MAX_ITEMS)
    texts = tuple(item for item in items if isinstance(item, str) and item)
    if len(texts) != len(items) or len(set(texts)) != len(texts):
        raise MalformedError(f"{name} is not a list of different texts")
    return texts


def _table(document: Document, name: str) -> dict[str, str]:
    table = document.document(name)
    return {key: _text_of(table.value(key), f"{name}.{key}") for key in table.names()}


def _contents(document: Document, name: str) -> dict[str, bytes]:
    # Written with a line break after the opening quotes in TOML, which TOML itself leaves out.
    return {path: text.encode("utf-8") for path, text in _table(document, name).items()}


def _text_of(value: JSON, path: str) -> str:
    if not isinstance(value, str):
        raise MalformedError(f"{path} is not a text")
    return value
