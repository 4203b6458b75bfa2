"""What each platform will report of an image, computed from the file alone, before it is ever started.

``simulated`` reports the digests of the file; what a TPM and the processors of AMD and Intel report is the
business of :mod:`glasshouse_audit.predictions`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.image import MAX_IMAGE_SIZE, read_sections
from glasshouse_attestations.measurements import Measurements
from glasshouse_attestations.reference_values import ReferenceValues, Registers

from .predictions.boot import Event, boot_events, pcr, rtmr
from .predictions.firmware import OVMF_AMDSEV, OVMF_INTELTDX
from .predictions.snp import PROCESSOR_COUNTS, PROCESSORS, KernelHashes, launch_digests

__all__ = ["measure", "read_image"]

_PROGRAMS, _SECTIONS = 4, 11
# An overridden command line, credentials and extensions would show here.
_OVERRIDES = (8, 12, 13)


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
    sha256, sha384 = hashlib.sha256(image).digest(), hashlib.sha384(image).digest()
    events = {bank: boot_events(image, sections, algorithm=bank) for bank in ("sha256", "sha384")}
    platforms: dict[str, tuple[Registers, ...]] = {
        "simulated": ({"image.sha256": sha256, "image.sha384": sha384},),
        "snp": _snp(sha256),
        "tdx": _tdx(events["sha384"]),
        "tpm": tuple(_tpm(in_bank, bank) for bank, in_bank in events.items()),
    }
    return Measurements(
        sha256=sha256,
        sha384=sha384,
        size=len(image),
        reference_values=ReferenceValues(platforms=platforms),
    )


def _tpm(events: Sequence[Event], bank: str) -> Registers:
    """Return the PCRs of one bank: a quote is of one bank, so the banks are alternatives."""
    size = hashlib.new(bank).digest_size
    registers = {f"pcr{number}.{bank}": bytes(size) for number in _OVERRIDES}
    registers |= {
        f"pcr{number}.{bank}": pcr(events, number, algorithm=bank) for number in (_PROGRAMS, _SECTIONS)
    }
    return registers


def _snp(image_sha256: bytes) -> tuple[Registers, ...]:
    """Return the launch digest of each processor type with each number of processors."""
    hashes = KernelHashes.of_kernel_alone(image_sha256)
    return tuple(
        {"launch.sha384": digest}
        for signature in PROCESSORS.values()
        for digest in launch_digests(OVMF_AMDSEV, hashes, signature=signature, counts=PROCESSOR_COUNTS)
    )


def _tdx(events: Sequence[Event]) -> tuple[Registers, ...]:
    """Return the registers for each order in which a hypervisor may put the firmware into memory.

    RTMR 0 is not among them: the memory size and the ACPI tables, which the hypervisor makes, enter it.
    """
    booted = {"rtmr1.sha384": rtmr(events, 1), "rtmr2.sha384": rtmr(events, 2), "rtmr3.sha384": bytes(48)}
    return tuple({"mrtd.sha384": mrtd, **booted} for mrtd in OVMF_INTELTDX.mrtd.values())
