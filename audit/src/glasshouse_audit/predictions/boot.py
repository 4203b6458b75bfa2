"""A measured boot of the image, as the list of what is measured into which register, in its order.

The way is that of QEMU's ``-kernel enclave.efi`` without any other file or text: the firmware loads the image
as an EFI program, systemd's stub in it loads the kernel, and the kernel leaves the firmware behind. Who has
a TPM extends PCRs with these events, a TDX guest its RTMRs (UEFI 2.11, 38.4.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from glasshouse_attestations.errors import MalformedError

from .authenticode import authenticode
from .stub import behind_initrd, load_options

__all__ = ["MEASURED_SECTIONS", "Event", "boot_events", "extend_all", "pcr", "rtmr"]

MEASURED_SECTIONS = (".linux", ".osrel", ".cmdline", ".initrd", ".uname", ".sbat")
"""The sections of the image in the order in which systemd's stub measures them."""

_CALLING = b"Calling EFI Application from Boot Option"
_SEPARATOR = bytes(4)
_EXIT_BOOT_SERVICES = (b"Exit Boot Services Invocation", b"Exit Boot Services Returned with Success")
_RTMR_OF_PCRS = {1: range(2, 7), 2: range(8, 16)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One digest, and the PCR that it is extended into."""

    pcr: int
    digest: bytes


def boot_events(image: bytes, sections: Mapping[str, bytes], *, algorithm: str) -> tuple[Event, ...]:
    """Return every event of a boot of ``image`` that depends on nothing but its bytes.

    That is PCR 4 (programs: TCG PC Client Platform Firmware Profile 1.06, 3.3.4.5), PCR 5 (leaving the boot
    services), PCR 9 (what the kernel was given: its command line and initrd), and PCR 11 (the sections).
    Raises :class:`MalformedError` for an image that lacks a section, and for a command line that the stub
    would not hand on as it is.
    """
    missing = [name for name in MEASURED_SECTIONS if name not in sections]
    if missing:
        raise MalformedError(f"image has no section {missing[0]}")
    initrd = hashlib.new(algorithm, sections[".initrd"])
    # Large, and measured twice: by the stub as a section, and by the kernel with what the stub put behind it.
    handed_on = initrd.copy()
    handed_on.update(behind_initrd(sections))

    def text(number: int, measured: bytes) -> Event:
        return Event(pcr=number, digest=hashlib.new(algorithm, measured).digest())

    def program(code: bytes) -> Event:
        return Event(pcr=4, digest=authenticode(code, algorithm=algorithm))

    def content(name: str) -> bytes:
        return (initrd if name == ".initrd" else hashlib.new(algorithm, sections[name])).digest()

    events = [program(image), text(4, _CALLING), text(4, _SEPARATOR)]
    for name in MEASURED_SECTIONS:
        events += [text(11, name.encode("ascii") + b"\0"), Event(pcr=11, digest=content(name))]
    events += [program(sections[".linux"]), text(9, load_options(sections))]
    events += [Event(pcr=9, digest=handed_on.digest())]
    return (*events, *(text(5, measured) for measured in _EXIT_BOOT_SERVICES))


def pcr(events: Iterable[Event], number: int, *, algorithm: str) -> bytes:
    """Return a PCR that starts at zero and that nothing but ``events`` extends."""
    return extend_all((event.digest for event in events if event.pcr == number), algorithm=algorithm)


def rtmr(events: Iterable[Event], number: int) -> bytes:
    """Return RTMR 1 or 2 after ``events``, whose digests are SHA-384.

    EFI's confidential computing protocol maps PCRs 2 to 6 to RTMR 1 and PCRs 8 to 15 to RTMR 2 and keeps
    the order of all the events that meet in one register.
    """
    pcrs = _RTMR_OF_PCRS[number]
    return extend_all((event.digest for event in events if event.pcr in pcrs), algorithm="sha384")


def extend_all(digests: Iterable[bytes], *, algorithm: str) -> bytes:
    """Return a register that started at zero and was extended with ``digests``, one after the other.

    TPM 2.0 Part 1, "Extend of a PCR"; a TDX guest's RTMRs are extended in the same way.
    """
    register = bytes(hashlib.new(algorithm).digest_size)
    for digest in digests:
        register = hashlib.new(algorithm, register + digest).digest()
    return register
