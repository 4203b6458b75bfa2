"""The image as the launcher sees it: bytes that are read once, measured, and unpacked."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from glasshouse_attestations.cpio import Member
from glasshouse_attestations.image import MAX_IMAGE_SIZE, read_initrd, read_sections, unpack

from . import files
from .errors import ImageContentError

__all__ = ["MeasuredImage", "Measurement"]

_PYTHON = "usr/bin/python3.13"
_DIRECTORIES = ("dev", "proc", "run", "sys", "tmp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The digests of an image file."""

    sha256: bytes
    sha384: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredImage:
    """An image file's measurement, and the members of the initrd inside exactly the bytes measured."""

    measurement: Measurement
    members: tuple[Member, ...]

    @classmethod
    def read(cls, path: Path) -> MeasuredImage:
        """Return the image in the file at ``path``, which is read once: what is measured is what will run.

        Raises :class:`MalformedError` if it is no image or its initrd is not normalised.
        """
        image = files.read(path, max_size=MAX_IMAGE_SIZE)
        sections = read_sections(image)
        if ".initrd" not in sections:
            raise ImageContentError(f"{path} has no section .initrd")
        return cls(
            measurement=Measurement(
                sha256=hashlib.sha256(image).digest(), sha384=hashlib.sha384(image).digest()
            ),
            members=read_initrd(sections[".initrd"]),
        )

    def unpack(self, root: Path) -> None:
        """Write the image's root file system to ``root``, with the directories that the launcher needs.

        Nothing is written outside ``root``, now or when the launcher fills those directories: the image has
        them, they are no links, and they are empty.
        """
        unpack(self.members, root)
        for name in _DIRECTORIES:
            if not _is_directory(root / name):
                raise ImageContentError(f"the image has no directory {name}")
            if any((root / name).iterdir()):
                raise ImageContentError(f"the image has something in {name}, which the launcher fills")
        if not (root / _PYTHON).is_file() or root not in Path(os.path.realpath(root / _PYTHON)).parents:
            raise ImageContentError(f"the image has no {_PYTHON} of its own")
        (root / "tmp").chmod(0o1777)


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False
