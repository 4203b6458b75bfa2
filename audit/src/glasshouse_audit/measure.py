"""What each platform will report of an image, computed from the file alone.

``simulated`` reports the digests of the file. A TPM reports what the firmware and the EFI stub extended:
PCR 4 for the programs that were started (TCG PC Client Platform Firmware Profile, 3.3.4.5), PCR 11 for the
sections of the image (systemd's TPM2 PCR measurements), and PCR 8, 12 and 13 stay zero unless the operator
passed in another command line, credentials or extensions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import pefile  # type: ignore[import-untyped]

from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.image import MAX_IMAGE_SIZE, read_sections
from glasshouse_attestations.measurements import Measurements
from glasshouse_attestations.reference_values import ReferenceValues

__all__ = ["authenticode_sha256", "measure", "pcr11_sha256", "read_image"]

_MEASURED_SECTIONS = (".linux", ".osrel", ".cmdline", ".initrd", ".uname", ".sbat")
_ZERO = bytes(32)
_SECURITY_DIRECTORY = 4


def read_image(path: Path) -> bytes:
    """Return the bytes of an image file, at most ``MAX_IMAGE_SIZE`` of them."""
    with path.open("rb") as file:
        image = file.read(MAX_IMAGE_SIZE + 1)
    if len(image) > MAX_IMAGE_SIZE:
        raise MalformedError(f"image has more than {MAX_IMAGE_SIZE} bytes")
    return image


def measure(image: bytes) -> Measurements:
    """Return the digests of ``image`` and the reference values for every platform that has a prediction."""
    sections = read_sections(image)
    missing = [name for name in _MEASURED_SECTIONS if name not in sections]
    if missing:
        raise MalformedError(f"image has no section {missing[0]}")
    sha256, sha384 = hashlib.sha256(image).digest(), hashlib.sha384(image).digest()
    tpm = {
        "pcr4.sha256": _pcr4(image, sections[".linux"]),
        "pcr8.sha256": _ZERO,
        "pcr11.sha256": pcr11_sha256(sections),
        "pcr12.sha256": _ZERO,
        "pcr13.sha256": _ZERO,
    }
    simulated = {"image.sha256": sha256, "image.sha384": sha384}
    return Measurements(
        sha256=sha256,
        sha384=sha384,
        size=len(image),
        reference_values=ReferenceValues(platforms={"simulated": (simulated,), "tpm": (tpm,)}),
    )


def _pcr4(image: bytes, kernel: bytes) -> bytes:
    return _extend_all(
        [
            authenticode_sha256(image),
            hashlib.sha256(b"Calling EFI Application from Boot Option").digest(),
            hashlib.sha256(bytes(4)).digest(),
            authenticode_sha256(kernel),
        ]
    )


def pcr11_sha256(sections: Mapping[str, bytes]) -> bytes:
    """Return PCR 11 when the stub has measured ``sections`` and no boot phase has begun.

    Of each section that is there, in the stub's order, its name with a NUL and its content are extended.
    """
    digests = []
    for name in filter(sections.__contains__, _MEASURED_SECTIONS):
        digests += [hashlib.sha256(name.encode("ascii") + b"\0").digest()]
        digests += [hashlib.sha256(sections[name]).digest()]
    return _extend_all(digests)


def _extend_all(digests: Iterable[bytes]) -> bytes:
    register = _ZERO
    for digest in digests:
        register = hashlib.sha256(register + digest).digest()
    return register


def authenticode_sha256(image: bytes) -> bytes:
    """Return the Authenticode digest of a PE file: all of it but checksum and signature.

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
    digest = hashlib.sha256(view[:checksum])
    digest.update(view[checksum + 4 : entry])
    digest.update(view[entry + 8 : optional.SizeOfHeaders])
    for start, size in stored:
        digest.update(view[start : start + size])
    digest.update(view[hashed : len(image) - security.Size])
    return digest.digest()
