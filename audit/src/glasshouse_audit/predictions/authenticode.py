"""The Authenticode digest of a PE file: what firmware measures, and a signature names, of a program."""

from __future__ import annotations

import hashlib

import pefile  # type: ignore[import-untyped]

from glasshouse_attestations.errors import MalformedError

__all__ = ["authenticode"]

_SECURITY_DIRECTORY = 4


def authenticode(image: bytes, *, algorithm: str) -> bytes:
    """Return the digest of all of a PE file but its checksum and signature.

    The steps are those of "Calculating the PE Image Hash" in Microsoft's Windows Authenticode Portable
    Executable Signature Format. Raises :class:`MalformedError` if the headers contradict the file.
    """
    try:
        parsed = pefile.PE(data=image, fast_load=True)
        optional = parsed.OPTIONAL_HEADER
        security = optional.DATA_DIRECTORY[_SECURITY_DIRECTORY]
    except (pefile.PEFormatError, AttributeError, IndexError) as err:
        raise MalformedError(f"not a pe file with a security directory: {err}") from err
    checksum = optional.get_field_absolute_offset("CheckSum")
    entry = security.get_file_offset()
    stored = sorted((s.PointerToRawData, s.SizeOfRawData) for s in parsed.sections if s.SizeOfRawData)
    hashed = optional.SizeOfHeaders + sum(size for _, size in stored)
    if any(start + size > len(image) for start, size in stored) or hashed + security.Size > len(image):
        raise MalformedError("pe file is shorter than its headers say")
    view = memoryview(image)
    digest = hashlib.new(algorithm, view[:checksum])
    digest.update(view[checksum + 4 : entry])
    digest.update(view[entry + 8 : optional.SizeOfHeaders])
    for start, size in stored:
        digest.update(view[start : start + size])
    digest.update(view[hashed : len(image) - security.Size])
    return digest.digest()
