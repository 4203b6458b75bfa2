"""The operator's volumes: files handed to a machine as the raw content of a disk, without a file system.

A volume is one sector of header, the files as a normalised cpio archive, and zeros up to whatever size the
disk has. So no file system driver of the kernel ever parses what an operator supplies. The header is::

    16 bytes  "glasshouse vol 1"
     8 bytes  size of the archive, big-endian
    32 bytes  SHA-256 of the archive
   456 bytes  zero

The digest is no protection: whoever writes the archive writes the digest. It tells a reader that the archive
was rewritten while it was being read.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from .cpio import Archive, Kind, Member
from .errors import MalformedError

__all__ = [
    "BUNDLE",
    "CONFIGURATION",
    "CONFIGURATION_VOLUME",
    "ENDORSEMENTS",
    "HEADER_SIZE",
    "MAX_STAPLE_SIZE",
    "MAX_VOLUME_SIZE",
    "MODELS",
    "STAPLE_VOLUME",
    "VolumeHeader",
    "encode_volume",
    "parse_files",
]

CONFIGURATION_VOLUME = "gh-config"
"""The serial number of the disk with the configuration and the models; it is read once."""

STAPLE_VOLUME = "gh-staple"
"""The serial number of the disk with the bundle and the endorsements; it is read again when it changes."""

CONFIGURATION = "config.json"
BUNDLE = "bundle.json"
MODELS = "models"
ENDORSEMENTS = "endorsements"

HEADER_SIZE = 512
MAX_VOLUME_SIZE = 2 << 30
MAX_STAPLE_SIZE = 8 << 20
_MAGIC = b"glasshouse vol 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeHeader:
    """What the first sector says of the archive behind it."""

    size: int
    sha256: bytes

    @classmethod
    def parse(cls, sector: bytes, *, max_size: int) -> VolumeHeader:
        """Return the header in ``sector``; its archive has at most ``max_size`` bytes."""
        header = cls(size=int.from_bytes(sector[16:24], "big"), sha256=sector[24:56])
        if sector != header.encode():
            raise MalformedError("the volume does not begin with a header")
        if header.size > max_size:
            raise MalformedError(f"the volume has {header.size} bytes, at most {max_size} are allowed")
        return header

    def encode(self) -> bytes:
        """Write the header as :meth:`parse` reads it."""
        return (_MAGIC + self.size.to_bytes(8, "big") + self.sha256).ljust(HEADER_SIZE, b"\0")


def encode_volume(files: Mapping[str, bytes]) -> bytes:
    """Return the volume with ``files``, by their paths; raises ``ValueError`` for a path that is none."""
    members = [Member(path=path, kind=Kind.FILE, data=data) for path, data in files.items()]
    directories = {member.parent for member in members} - {""}
    members += [Member(path=path, kind=Kind.DIRECTORY) for path in directories]
    members.sort(key=lambda member: member.path.encode("utf-8"))
    archive = Archive(mtime=0, members=tuple(members)).encode()
    header = VolumeHeader(size=len(archive), sha256=hashlib.sha256(archive).digest())
    content = header.encode() + archive
    # A disk is a whole number of sectors.
    return content.ljust(-(-len(content) // HEADER_SIZE) * HEADER_SIZE, b"\0")


def parse_files(header: VolumeHeader, archive: bytes) -> dict[str, bytes]:
    """Return the files in the archive that ``header`` announces, by their paths.

    Raises :class:`MalformedError` for another archive, and for anything in it but files and directories.
    """
    if not hmac.compare_digest(hashlib.sha256(archive).digest(), header.sha256):
        raise MalformedError("the volume's archive is not the one that its header announces")
    members = Archive.parse(archive).members
    if any(member.kind not in (Kind.FILE, Kind.DIRECTORY) for member in members):
        raise MalformedError("the volume has something else than files and directories")
    return {member.path: member.data for member in members if member.kind is Kind.FILE}
