"""The image's root file system: what packages, wheels, sources and recipe put together, as one archive."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from glasshouse_attestations.cpio import Archive, Kind, Member

from .errors import RecipeError
from .recipe import Recipe, SourcePackage

__all__ = ["Root", "read_sources"]


class Root:
    """Collects members under the recipe's rules; each path comes from one place only.

    Invariants: paths are those of a merged ``/usr``, nothing that the recipe excludes is kept, and
    :meth:`archive` has every directory that a member needs and no link that leads nowhere.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._members: dict[str, Member] = {}
        self._merged = {path: target for path, target in recipe.links.items() if "/" not in path}
        self._keep = [(rule, re.compile(fnmatch.translate(rule))) for rule in recipe.keep]
        self._exclude = [(rule, re.compile(fnmatch.translate(rule))) for rule in recipe.exclude]
        self._unused = {*recipe.keep, *recipe.exclude}
        self._boot: dict[str, Member] = {}
        self._origins: dict[str, str] = {}
        try:
            self._put_recipe()
        except ValueError as err:
            raise RecipeError(f"recipe has a path that cannot be in the image: {err}") from err

    def add(self, members: Iterable[Member], *, origin: str) -> None:
        """Add the files and links of one package; raises :class:`RecipeError` for a path already there."""
        for member in map(self._merge, members):
            if member.path == self._recipe.stub or fnmatch.fnmatchcase(member.path, self._recipe.kernel):
                self._boot[member.path] = member
                self._origins[member.path] = origin
            if not self._is_excluded(member.path):
                self._put(member, origin)

    def boot_file(self, pattern: str) -> Member:
        """Return the one file for booting that matches ``pattern``: the kernel's or the stub's."""
        matching = [member for path, member in self._boot.items() if fnmatch.fnmatchcase(path, pattern)]
        if len(matching) != 1:
            raise RecipeError(f"{pattern!r} matches {len(matching)} files of the packages, expected one")
        return matching[0]

    def origins(self) -> dict[str, str]:
        """Return for each path that was put here, or is for booting, where it comes from."""
        return dict(self._origins)

    def archive(self) -> Archive:
        """Return the whole file system: what was added, and what the recipe itself lists."""
        if self._unused:
            raise RecipeError(f"recipe has rules for what is not there: {' '.join(sorted(self._unused))}")
        try:
            members = {**self._directories(), **self._members}
            for member in self._members.values():
                self._check_link(member, members)
            ordered = sorted(members.values(), key=lambda member: member.path.encode("utf-8"))
            return Archive(mtime=self._recipe.mtime, members=tuple(ordered))
        except ValueError as err:
            raise RecipeError(f"the root file system is not consistent: {err}") from err

    def _put_recipe(self) -> None:
        for path, target in self._recipe.links.items():
            self._put(Member(path=path, kind=Kind.LINK, data=target.encode("utf-8")), "recipe")
        for path, content in self._recipe.files.items():
            self._put(Member(path=path, kind=Kind.FILE, data=content), "recipe")
        for path, content in self._recipe.executables.items():
            self._put(Member(path=path, kind=Kind.EXECUTABLE, data=content), "recipe")

    def _put(self, member: Member, origin: str) -> None:
        if member.path in self._members:
            raise RecipeError(f"{origin} has {member.path!r}, which is there already")
        self._members[member.path] = member
        self._origins[member.path] = origin

    def _is_excluded(self, path: str) -> bool:
        # Every rule is tried, so that one rule covering another does not make it look unused.
        kept = [rule for rule, pattern in self._keep if pattern.fullmatch(path)]
        excluded = [rule for rule, pattern in self._exclude if pattern.fullmatch(path)]
        self._unused.difference_update(kept, excluded)
        return bool(excluded) and not kept

    def _merge(self, member: Member) -> Member:
        """Move a member of ``/bin``, ``/lib`` and so on below ``/usr``, and make links relative."""
        path = self._merged_path(member.path)
        if member.kind is not Kind.LINK:
            return Member(path=path, kind=member.kind, data=member.data)
        target = self._merged_path(_resolve(member))
        relative = posixpath.relpath(f"/{target}", start=f"/{posixpath.dirname(path)}")
        return Member(path=path, kind=Kind.LINK, data=relative.encode("utf-8"))

    def _merged_path(self, path: str) -> str:
        top, slash, rest = path.partition("/")
        return self._merged[top] + slash + rest if top in self._merged and slash else path

    def _directories(self) -> dict[str, Member]:
        paths = set(self._recipe.directories)
        for path in [*self._members, *self._recipe.directories]:
            while path := posixpath.dirname(path):
                paths.add(path)
        return {path: Member(path=path, kind=Kind.DIRECTORY) for path in paths}

    def _check_link(self, link: Member, members: dict[str, Member]) -> None:
        if link.kind is Kind.LINK and self._merged_path(_resolve(link)) not in members:
            raise RecipeError(
                f"link {link.path!r} leads to {link.data.decode()!r}, which is not in the image"
            )


def _resolve(link: Member) -> str:
    """Return the path, from the root, that ``link`` names."""
    target = posixpath.join("/", posixpath.dirname(link.path), link.data.decode("utf-8"))
    return posixpath.normpath(target).lstrip("/")


def read_sources(tree: Path, source: SourcePackage, suffixes: tuple[str, ...]) -> Iterator[Member]:
    """Yield the files of one folder of sources that the recipe lists, whatever their modes.

    They match a pattern of ``source.files`` and have one of the suffixes. Raises :class:`RecipeError` for
    links and unreadable files, and for a pattern that matches no file.
    """
    folder = tree / source.origin
    unused = set(source.files)
    for name in sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")):
        path = folder / name
        matching = [rule for rule in source.files if fnmatch.fnmatchcase(name, rule)]
        if matching and path.is_symlink():
            raise RecipeError(f"{source.origin}/{name} is a link, which cannot be in the image")
        if matching and path.suffix in suffixes and path.is_file():
            unused.difference_update(matching)
            yield _read_source(path, f"{source.target}/{name}")
    if unused:
        raise RecipeError(f"{source.origin} has no sources {' '.join(sorted(unused))}")


def _read_source(path: Path, target: str) -> Member:
    try:
        return Member(path=target, kind=Kind.FILE, data=path.read_bytes())
    except (OSError, ValueError) as err:
        raise RecipeError(f"cannot take {path.name} into the image as {target}: {err}") from err
