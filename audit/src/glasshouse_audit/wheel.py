"""Wheels as members of the image: every file held against the wheel's own RECORD, none installed by pip.

The format is that of the PyPA's binary distribution specification.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from email.parser import BytesParser
from email.policy import compat32

from packaging.tags import Tag, compatible_tags, cpython_tags, parse_tag
from packaging.utils import canonicalize_name

from glasshouse_attestations.cpio import Kind, Member

from .errors import ArchiveError
from .locks import LockedWheel
from .recipe import PythonTarget

__all__ = ["platforms", "read_wheel"]

_MAX_FILES = 20_000
_MAX_UNPACKED = 512 * 2**20
_UNSIGNED = ("RECORD", "RECORD.jws", "RECORD.p7s")
_UNREADABLE = (
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_wheel(data: bytes, locked: LockedWheel, python: PythonTarget) -> tuple[Member, ...]:
    """Return the files of a wheel below ``python.target``; it is the one that ``locked`` names.

    Raises :class:`ArchiveError` for a wheel of another name, version or platform, for a file that RECORD
    does not list with its SHA-256, for unsafe or repeated paths, links, and files meant for elsewhere than
    the import path.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = dict(_files(archive))
        info = _dist_info(files, locked)
        _check_tags(files.pop(f"{info}/WHEEL"), python, locked.file_name)
        _check_record(files, info)
        return tuple(
            Member(path=f"{python.target}/{path}", kind=Kind.FILE, data=content)
            for path, content in files.items()
        )
    except KeyError as err:
        raise ArchiveError(f"{locked.file_name} has no file {err}") from err
    except _UNREADABLE as err:
        raise ArchiveError(f"{locked.file_name} is not a wheel: {err}") from err


def platforms(python: PythonTarget) -> list[str]:
    """Return the platform tags that fit the image's C library, best first (PEP 600 and its predecessors)."""
    minor = int(python.glibc.partition(".")[2])
    tags = [f"manylinux_2_{version}_{python.architecture}" for version in range(minor, 16, -1)]
    return [*tags, f"manylinux2014_{python.architecture}"]


def _files(archive: zipfile.ZipFile) -> Iterator[tuple[str, bytes]]:
    seen: set[str] = set()
    unpacked = 0
    for info in archive.infolist():
        unpacked += info.file_size
        if len(seen) >= _MAX_FILES or unpacked > _MAX_UNPACKED:
            raise ArchiveError(f"wheel is larger unpacked than {_MAX_FILES} files or {_MAX_UNPACKED} bytes")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveError(f"wheel has {info.filename[:80]!r}, which is not a plain file")
        if info.orig_filename in seen:
            raise ArchiveError(f"wheel has {info.filename[:80]!r} twice")
        seen.add(info.orig_filename)
        if info.is_dir():
            continue
        # The zip module rewrites what its platform cannot name, so the path is checked as it is stored.
        Member(path=info.orig_filename, kind=Kind.FILE)
        if "\\" in info.orig_filename:
            raise ArchiveError(f"wheel has a backslash in {info.filename[:80]!r}")
        yield info.orig_filename, archive.read(info)


def _dist_info(files: dict[str, bytes], locked: LockedWheel) -> str:
    tops = {path.partition("/")[0] for path in files}
    infos = [top for top in tops if top.endswith(".dist-info")]
    if len(infos) != 1 or any(top.endswith(".data") for top in tops):
        raise ArchiveError(f"{locked.file_name} has no single .dist-info folder, or has a .data folder")
    metadata = BytesParser(policy=compat32).parsebytes(files[f"{infos[0]}/METADATA"], headersonly=True)
    name, version = str(metadata["Name"]), str(metadata["Version"])
    if (canonicalize_name(name), version) != (canonicalize_name(locked.name), locked.version):
        raise ArchiveError(
            f"{locked.file_name} holds {name} {version}, expected {locked.name} {locked.version}"
        )
    return infos[0]


def _check_tags(wheel: bytes, python: PythonTarget, file_name: str) -> None:
    lines = BytesParser(policy=compat32).parsebytes(wheel, headersonly=True).get_all("Tag", [])
    found: set[Tag] = set().union(*(parse_tag(str(line)) for line in lines))
    major, minor = map(int, python.version.split("."))
    fitting = {
        *cpython_tags((major, minor), platforms=platforms(python)),
        *compatible_tags((major, minor), f"cp{major}{minor}", platforms(python)),
    }
    if found.isdisjoint(fitting):
        raise ArchiveError(f"{file_name} does not run on cpython {python.version} with glibc {python.glibc}")


def _check_record(files: dict[str, bytes], info: str) -> None:
    rows = csv.reader(io.StringIO(files[f"{info}/RECORD"].decode("utf-8"), newline=""), strict=True)
    recorded: dict[str, str] = {}
    for row in rows:
        if len(row) != 3 or row[0] in recorded:
            raise ArchiveError("wheel has a RECORD that is malformed or lists a file twice")
        recorded[row[0]] = row[1]
    exempt = {f"{info}/{name}" for name in _UNSIGNED}
    if recorded.keys() - exempt != files.keys() - exempt | {f"{info}/WHEEL"}:
        raise ArchiveError("wheel has a RECORD that does not list exactly its files")
    for path, content in files.items():
        if path not in exempt and recorded[path] != _record_hash(content):
            raise ArchiveError(f"wheel has {path!r} with another sha-256 than its RECORD says")


def _record_hash(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return "sha256=" + digest.rstrip(b"=").decode("ascii")
