"""Debian packages as members of the image: read in memory, nothing run, nothing trusted.

Maintainer scripts are never looked at. Each file of the package becomes a :class:`Member` with a plain mode;
directories are left to the image, which makes those that its files need.
"""

from __future__ import annotations

import io
import lzma
import posixpath
import tarfile
from collections.abc import Iterator

from debian.arfile import ArError
from debian.debfile import DebError, DebFile

from glasshouse_attestations.cpio import Kind, Member

from .errors import ArchiveError
from .locks import LockedDeb

__all__ = ["read_deb"]

_MAX_FILES = 50_000
_MAX_UNPACKED = 1024 * 2**20
_MAX_PADDING = 64 * 2**10
_UNREADABLE = (ArError, DebError, EOFError, KeyError, OSError, lzma.LZMAError, tarfile.TarError, ValueError)


def read_deb(data: bytes, locked: LockedDeb, *, architecture: str) -> tuple[Member, ...]:
    """Return the files and links of a package, which is the one that ``locked`` names.

    Raises :class:`ArchiveError` for a package of another name, version or architecture, for a path or link
    that leaves the root, for a name that is there twice, and for anything but files, directories and
    symbolic links.
    """
    try:
        with DebFile(fileobj=io.BytesIO(data)) as package:
            _check_identity(package, locked, architecture)
            tar = package.data.tgz()
            members = tuple(_members(tar, locked.name))
            _check_end(tar, locked.name)
            return members
    except _UNREADABLE as err:
        raise ArchiveError(f"{locked.file_name} is not a debian package: {err}") from err


def _check_identity(package: DebFile, locked: LockedDeb, architecture: str) -> None:
    control = package.debcontrol()
    found = (control["Package"], control["Version"])
    if found != (locked.name, locked.version) or control["Architecture"] not in (architecture, "all"):
        raise ArchiveError(
            f"{locked.file_name} holds {found[0]} {found[1]} for {control['Architecture']}, "
            f"expected {locked.name} {locked.version} for {architecture}"
        )


def _members(tar: tarfile.TarFile, package: str) -> Iterator[Member]:
    seen: set[str] = set()
    unpacked = 0
    for info in tar:
        path = info.name.removeprefix("./")
        if info.isdir() and path in ("", "."):
            continue
        unpacked += info.size
        if len(seen) >= _MAX_FILES or unpacked > _MAX_UNPACKED:
            raise ArchiveError(
                f"{package} is larger unpacked than {_MAX_FILES} files or {_MAX_UNPACKED} bytes"
            )
        member = _member(tar, info, path, package)
        if path in seen:
            raise ArchiveError(f"{package} has {path!r} twice")
        seen.add(path)
        if member.kind is not Kind.DIRECTORY:
            yield member


def _check_end(tar: tarfile.TarFile, package: str) -> None:
    """Read on to the end of the compressed stream, which tarfile does not: it checks its own sum there."""
    rest = tar.fileobj.read(_MAX_PADDING + 1)
    if len(rest) > _MAX_PADDING or rest.strip(b"\0"):
        raise ArchiveError(f"{package} has data behind the end of its archive")


def _member(tar: tarfile.TarFile, info: tarfile.TarInfo, path: str, package: str) -> Member:
    try:
        if info.isdir():
            return Member(path=path, kind=Kind.DIRECTORY)
        if info.issym():
            _check_link(path, info.linkname)
            return Member(path=path, kind=Kind.LINK, data=info.linkname.encode("utf-8"))
        content = tar.extractfile(info) if info.isreg() else None
        if content is None:
            raise ValueError(f"{path[:80]!r} is neither a file, a directory nor a symbolic link")
        kind = Kind.EXECUTABLE if info.mode & 0o100 else Kind.FILE
        return Member(path=path, kind=kind, data=content.read())
    except ValueError as err:
        raise ArchiveError(f"{package} is refused: {err}") from err


def _check_link(path: str, target: str) -> None:
    # An absolute target starts at the image's root; ".." beyond that root is refused though a kernel
    # would stop there, because an unpacker on a host would not.
    start = "" if target.startswith("/") else posixpath.dirname(path)
    place = posixpath.normpath(posixpath.join(start, target.lstrip("/")))
    if place == ".." or place.startswith("../"):
        raise ValueError(f"link {path[:80]!r} leaves the root")
