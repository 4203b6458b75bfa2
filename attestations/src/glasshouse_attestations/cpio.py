"""The initrd's archive: the "newc" cpio format, in the one normalised form that the image has.

A list of members has exactly one encoding: sorted by path, each path once, every parent a directory of
the archive, four modes, owner root, inode numbers counted from 1, one modification time for all.
The format is that of the Linux kernel's ``Documentation/driver-api/early-userspace/buffer-format.rst``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from .errors import MalformedError

__all__ = ["Archive", "Kind", "Member"]

_HEADER_SIZE = 110
_HEADER = re.compile(rb"070701(?:[0-9A-F]{8}){13}")
_TRAILER = "TRAILER!!!"
_MAX_PATH = 1024
_MAX_MEMBERS = 100_000


class Kind(Enum):
    """What a member is; the value is its whole ``st_mode``, so no other permission can be expressed."""

    DIRECTORY = 0o040755
    FILE = 0o100644
    EXECUTABLE = 0o100755
    LINK = 0o120777


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file, directory or symbolic link; ``path`` is relative and stays below the root.

    ``data`` is a file's content, a link's target, and empty for a directory.
    """

    path: str
    kind: Kind
    data: bytes = b""

    def __post_init__(self) -> None:
        encoded = self.path.encode("utf-8")
        parts = self.path.split("/")
        if not 0 < len(encoded) <= _MAX_PATH or b"\0" in encoded or self.path == _TRAILER:
            raise ValueError(f"{self.path[:80]!r} cannot be the path of a member")
        if any(part in ("", ".", "..") for part in parts):
            raise ValueError(f"path {self.path[:80]!r} is not relative and normalised")
        if self.kind is Kind.DIRECTORY and self.data:
            raise ValueError(f"directory {self.path!r} has content")
        if self.kind is Kind.LINK and (b"\0" in self.data or not 0 < len(self.data) <= _MAX_PATH):
            raise ValueError(f"link {self.path!r} has no usable target")

    @property
    def parent(self) -> str:
        """The path of the directory that holds this member; empty at the top."""
        return self.path.rpartition("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Members in the order of their encoded paths, under one modification time."""

    mtime: int
    members: tuple[Member, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.mtime < 2**32:
            raise ValueError(f"modification time {self.mtime} does not fit the format")
        if not 0 < len(self.members) <= _MAX_MEMBERS:
            raise ValueError(f"{len(self.members)} members, 1 to {_MAX_MEMBERS} are allowed")
        directories, previous = {""}, b""
        for member in self.members:
            encoded = member.path.encode("utf-8")
            if encoded <= previous:
                raise ValueError(f"member {member.path!r} is out of order or there twice")
            # A parent sorts before its children, so it has been seen; a link is no parent, and so
            # unpacking member by member never writes through one.
            if member.parent not in directories:
                raise ValueError(f"member {member.path!r} is not in a directory of the archive")
            if member.kind is Kind.DIRECTORY:
                directories.add(member.path)
            previous = encoded

    @property
    def size(self) -> int:
        """The length of the encoding in bytes, without making it."""
        heads = sum(_padded(_HEADER_SIZE + len(member.path.encode("utf-8")) + 1) for member in self.members)
        return heads + sum(_padded(len(member.data)) for member in self.members) + len(_trailer())

    def encode(self) -> bytes:
        """Return the archive's bytes."""
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """Yield the encoding member by member, so that a compressor need not hold all of it."""
        for number, member in enumerate(self.members, start=1):
            yield _head(member, inode=number, mtime=self.mtime)
            yield member.data + _padding(len(member.data))
        yield _trailer()

    @classmethod
    def parse(cls, data: bytes) -> Archive:
        """Return the archive that encodes to exactly ``data``; refuse anything else as malformed."""
        limit = len(data) - len(_trailer())
        if limit < 0 or data[limit:] != _trailer():
            raise MalformedError("cpio archive does not end with its trailer")
        members: list[Member] = []
        mtime, offset = 0, 0
        while offset < limit:
            if len(members) >= _MAX_MEMBERS:
                raise MalformedError(f"cpio archive has more than {_MAX_MEMBERS} members")
            member, member_mtime, content = _parse_member(data, offset, limit)
            members.append(member)
            mtime = mtime if len(members) > 1 else member_mtime
            if data[offset:content] != _head(member, inode=len(members), mtime=mtime):
                raise MalformedError(f"cpio member {member.path!r} is not in the normalised form")
            offset = content + _padded(len(member.data))
        try:
            return cls(mtime=mtime, members=tuple(members))
        except ValueError as err:
            raise MalformedError(f"cpio archive is not normalised: {err}") from err


def _parse_member(data: bytes, offset: int, limit: int) -> tuple[Member, int, int]:
    """Return the member at ``offset``, its modification time, and where its content starts."""
    header = data[offset : offset + _HEADER_SIZE]
    if not _HEADER.fullmatch(header):
        raise MalformedError(f"no cpio header at offset {offset}")
    fields = [int(header[at : at + 8], 16) for at in range(6, _HEADER_SIZE, 8)]
    mode, mtime, size, name_size = fields[1], fields[5], fields[6], fields[11]
    content = offset + _padded(_HEADER_SIZE + name_size)
    end = content + _padded(size)
    if end > limit:
        raise MalformedError(f"cpio member at offset {offset} is cut short")
    if data[content + size : end] != _padding(size):
        raise MalformedError(f"cpio member at offset {offset} is not padded with zeros")
    name = data[offset + _HEADER_SIZE : offset + _HEADER_SIZE + max(name_size - 1, 0)]
    try:
        member = Member(path=name.decode("utf-8"), kind=Kind(mode), data=data[content : content + size])
    except ValueError as err:
        raise MalformedError(f"cpio member at offset {offset} is refused: {err}") from err
    return member, mtime, content


def _head(member: Member, *, inode: int, mtime: int) -> bytes:
    return _encode_head(member.path, inode=inode, mode=member.kind.value, mtime=mtime, size=len(member.data))


def _trailer() -> bytes:
    return _encode_head(_TRAILER, inode=0, mode=0, mtime=0, size=0)


def _encode_head(path: str, *, inode: int, mode: int, mtime: int, size: int) -> bytes:
    name = path.encode("utf-8") + b"\0"
    # inode, mode, uid, gid, links, mtime, size, device (2), special device (2), name size, checksum
    numbers = (inode, mode, 0, 0, 1, mtime, size, 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name
    return head + _padding(len(head))


def _padded(size: int) -> int:
    return size + len(_padding(size))


def _padding(size: int) -> bytes:
    return bytes(-size % 4)
