"""The events of a measured boot: the same, in the same registers and order, as in captured boots."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pytest

from glasshouse_attestations.tpm import event_log
from glasshouse_attestations.tpm.structures import HashAlgorithm
from glasshouse_audit.predictions.boot import Event, boot_events, extend_all, pcr, rtmr
from support.synthetic_pe import make_pe
from support.vectors import needs_vectors, vector

_BANK = "sha256"
_KERNEL = make_pe({".text": b"kernel"})
_SECTIONS = {
    ".linux": _KERNEL,
    ".osrel": b"ID=x\n",
    ".cmdline": b"quiet panic=-1",
    ".initrd": b"initrd" * 100,
    ".uname": b"6.12",
    ".sbat": b"sbat,1\n",
}
_IMAGE = make_pe(_SECTIONS)
_CALLING = hashlib.sha256(b"Calling EFI Application from Boot Option").digest()


def _predicted(algorithm: str = _BANK) -> tuple[Event, ...]:
    return boot_events(_IMAGE, _SECTIONS, algorithm=algorithm)


def _captured(name: str) -> tuple[event_log.Event, ...]:
    return event_log.parse(
        vector(f"normalized/measure/swtpm_{name}_boot.eventlog.bin"), bank=HashAlgorithm.SHA256
    )


def _of(events: Sequence[event_log.Event], register: int) -> list[bytes]:
    return [event.digest for event in events if event.register == register]


@needs_vectors
@pytest.mark.parametrize("name", ["uki", "direct"])
@pytest.mark.parametrize("register", range(10))
def test_extending_the_logged_events_gives_the_captured_register(name: str, register: int) -> None:
    captured: dict[str, Any] = json.loads(vector(f"normalized/measure/swtpm_{name}_boot.pcrs.json"))
    events = [Event(pcr=event.register, digest=event.digest) for event in _captured(name)]
    assert pcr(events, register, algorithm=_BANK).hex() == captured["pcrs_sha256"][str(register)]


@needs_vectors
def test_the_stub_measured_name_and_content_of_each_section_in_our_order() -> None:
    captured, ours = _of(_captured("uki"), 11), [event.digest for event in _predicted() if event.pcr == 11]
    # That image had no .uname, and its stub's .sbat was not measured yet.
    assert len(captured) == 8
    assert captured[::2] == ours[:8:2]


@needs_vectors
def test_the_kernel_measured_its_command_line_and_then_its_initrd() -> None:
    events = _captured("uki")
    options, initrd = (event for event in events if event.register == 9)
    assert (b"LOADED_IMAGE::LoadOptions" in options.data, b"Linux initrd" in initrd.data) == (True, True)
    # That stub, of version 252, added nothing: what it measured as a section is what the kernel got.
    assert initrd.digest == _of(events, 11)[7]


def test_the_kernel_gets_the_command_line_as_utf_16_and_the_initrd_with_the_release_behind_it() -> None:
    sections = {**_SECTIONS, ".initrd": b"odd size"[:7]}
    handed_on = sections[".initrd"] + b"\0" + _archive_of_the_stub(sections[".osrel"])
    events = boot_events(_IMAGE, sections, algorithm=_BANK)
    assert [event.digest for event in events if event.pcr == 9] == [
        hashlib.sha256("quiet panic=-1\0".encode("utf-16-le")).digest(),
        hashlib.sha256(handed_on).digest(),
    ]


def _archive_of_the_stub(release: bytes) -> bytes:
    zeros = "00000000"
    head = f"{zeros}{zeros}00000001{zeros}"
    devices = zeros * 4
    return (
        f"070701000000010000416d{head}{zeros}{devices}00000007{zeros}.extra\0".encode()
        + b"\0" * 3
        + f"0707010000000200008124{head}{len(release):08x}{devices}00000012{zeros}".encode()
        + b".extra/os-release\0"
        + release.ljust(8, b"\0")
        + f"070701{zeros}{zeros}{head}{zeros}{devices}0000000B{zeros}TRAILER!!!\0\0\0\0".encode()
    )


@needs_vectors
@pytest.mark.parametrize("name", ["uki", "direct"])
def test_leaving_the_boot_services_is_measured_as_captured(name: str) -> None:
    separator, *leaving = _of(_captured(name), 5)
    assert separator == hashlib.sha256(bytes(4)).digest()
    assert leaving == [event.digest for event in _predicted() if event.pcr == 5]


@needs_vectors
def test_an_image_given_to_qemu_is_measured_before_the_firmware_says_that_it_boots() -> None:
    _, calling, separator = _of(_captured("direct"), 4)
    ours = [event.digest for event in _predicted() if event.pcr == 4]
    assert [calling, separator] == ours[1:3]
    # Otherwise than from a disk, where the firmware announces the boot option first.
    assert _of(_captured("uki"), 4)[0] == calling == _CALLING


@needs_vectors
def test_a_real_guests_rtmr_1_and_2_come_from_our_mapping() -> None:
    """A TDX guest that booted a kernel with ``-kernel``: its quote's registers, from its files' digests."""
    captured: dict[str, Any] = json.loads(vector("normalized/measure/tdx_rtmr_groundtruth.json"))
    files = {name: bytes.fromhex(captured["inputs"]["image"][name]) for name in captured["inputs"]["image"]}
    texts = [event for event in _predicted("sha384") if event.pcr in (4, 5)]
    _, calling, separator, _, *leaving = texts
    events = [
        Event(pcr=4, digest=files["kernel_authenticode"]),
        *(calling, separator),
        Event(pcr=9, digest=files["cmdline_sha384"]),
        Event(pcr=9, digest=files["initrd_sha384"]),
        *leaving,
    ]
    assert rtmr(events, 1).hex() == captured["expected"]["rtmr1"]
    assert rtmr(events, 2).hex() == captured["expected"]["rtmr2"]
    quote = vector("normalized/dcap/quotes/tdx__dstack__tdx-lite-getquote.json.bin")
    assert rtmr(events, 1) + rtmr(events, 2) in quote


@needs_vectors
def test_the_captured_guest_logged_the_digests_that_we_predict_for_fixed_texts() -> None:
    captured: dict[str, Any] = json.loads(vector("normalized/measure/tdx_rtmr_groundtruth.json"))
    logged = [bytes.fromhex(event["digest"]) for event in captured["events"] if event["imr"] == 1]
    program, calling, separator, kernel, *leaving = (
        event.digest for event in _predicted("sha384") if event.pcr in (4, 5)
    )
    assert logged[1:] == [calling, separator, *leaving]
    assert kernel != program


def test_a_register_of_two_kinds_of_events_keeps_their_order() -> None:
    events = _predicted("sha384")
    sections = [event.digest for event in events if event.pcr == 11]
    handed_on = [event.digest for event in events if event.pcr == 9]
    assert rtmr(events, 2) == extend_all([*sections, *handed_on], algorithm="sha384")
    assert rtmr(events, 2) != extend_all([*handed_on, *sections], algorithm="sha384")


def test_a_register_that_nothing_extends_is_zero() -> None:
    assert pcr(_predicted(), 8, algorithm=_BANK) == bytes(32)
    assert extend_all([], algorithm="sha384") == bytes(48)
