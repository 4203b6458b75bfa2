"""MRTD and RTMRs: the records of the TDX module's specification over the firmware's own metadata."""

from __future__ import annotations

import hashlib
import struct

import pytest

from glasshouse_attestations.errors import MalformedError
from glasshouse_audit.measure import measure
from glasshouse_audit.predictions.boot import boot_events, rtmr
from glasshouse_audit.predictions.firmware import OVMF_INTELTDX
from glasshouse_audit.predictions.ovmf import read_tdx_sections
from glasshouse_audit.predictions.tdx import Order, mrtd
from support.firmware import firmware_file
from support.synthetic_firmware import make_firmware
from support.synthetic_pe import make_pe

_SECTIONS = {
    ".linux": make_pe({".text": b"kernel"}),
    ".osrel": b"ID=x\n",
    ".cmdline": b"quiet",
    ".initrd": b"initrd",
    ".uname": b"6.12",
    ".sbat": b"sbat,1\n",
}
_IMAGE = make_pe(_SECTIONS)
_PAGE = 4096
_VARIABLE_STORE = 0x84000


def _added(address: int) -> bytes:
    return struct.pack("<16sQ104x", b"MEM.PAGE.ADD", address)


def _extended(address: int, content: bytes) -> bytes:
    return struct.pack("<16sQ104x", b"MR.EXTEND", address) + content


def test_the_records_of_a_small_firmware_written_out_by_hand() -> None:
    """Two pages by content, one by address alone, one that the guest itself accepts, in this order."""
    content = bytes(range(256)) * 16
    sections = [(0, 0x1000, 0x10000, 0x2000, 1), (0, 0, 0x20000, 0x1000, 0), (0, 0, 0x30000, 0x1000, 2)]
    firmware = make_firmware(tdx=sections, content=content)
    pages = content + bytes(_PAGE)
    chunks = [_extended(0x10000 + at, pages[at : at + 256]) for at in range(0, 2 * _PAGE, 256)]
    one_by_one = [_added(0x10000), *chunks[:16], _added(0x11000), *chunks[16:], _added(0x20000)]
    by_section = [_added(0x10000), _added(0x11000), *chunks, _added(0x20000)]
    assert mrtd(firmware, Order.PAGE_BY_PAGE) == hashlib.sha384(b"".join(one_by_one)).digest()
    assert mrtd(firmware, Order.SECTION_BY_SECTION) == hashlib.sha384(b"".join(by_section)).digest()


@pytest.mark.parametrize("order", Order)
def test_the_variable_store_does_not_enter_the_mrtd_and_the_code_does(order: Order) -> None:
    """So Secure Boot's keys, which Debian's build comes with, can be taken out of it."""
    firmware = firmware_file("ovmf-inteltdx")
    store = read_tdx_sections(firmware)[1]
    assert (store.size, store.is_added, store.is_measured) == (_VARIABLE_STORE, True, False)
    expected = OVMF_INTELTDX.mrtd[order]
    assert mrtd(bytes(_VARIABLE_STORE) + firmware[_VARIABLE_STORE:], order) == expected
    changed = bytearray(firmware)
    changed[_VARIABLE_STORE] ^= 1
    assert mrtd(bytes(changed), order) != expected


def test_the_alternatives_are_one_for_each_order_and_leave_out_rtmr_0() -> None:
    events = boot_events(_IMAGE, _SECTIONS, algorithm="sha384")
    booted = {"rtmr1.sha384": rtmr(events, 1), "rtmr2.sha384": rtmr(events, 2), "rtmr3.sha384": bytes(48)}
    alternatives = measure(_IMAGE).reference_values.platforms["tdx"]
    assert [dict(registers) for registers in alternatives] == [
        {"mrtd.sha384": OVMF_INTELTDX.mrtd[order], **booted} for order in Order
    ]


@pytest.mark.parametrize("name", _SECTIONS)
def test_a_change_in_a_section_changes_both_registers_of_the_boot(name: str) -> None:
    other = make_pe({".text": b"cernel"}) if name == ".linux" else b"changed"
    before, after = (
        measure(image).reference_values.platforms["tdx"][0]
        for image in (_IMAGE, make_pe({**_SECTIONS, name: other}))
    )
    assert before["mrtd.sha384"] == after["mrtd.sha384"]
    assert before["rtmr1.sha384"] != after["rtmr1.sha384"]
    assert before["rtmr2.sha384"] != after["rtmr2.sha384"]


@pytest.mark.parametrize(
    "section",
    [
        (0, 0x1000, 0x10800, 0x1000, 1),
        (0, 0x1000, 0x10000, 0x800, 1),
        (0, 0x1000, 0x10000, 0, 1),
        (0, 0x2000, 0x10000, 0x1000, 1),
        (0xFFFFF000, 0x1000, 0x10000, 0x1000, 1),
        (0, 0x1000, 0x10000, 0x1000, 4),
        (0, 0x1000, 0x10000, 1 << 40, 1),
    ],
    ids=["address", "size", "empty", "stored", "offset", "attribute", "huge"],
)
def test_a_malformed_section_is_refused(section: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(MalformedError, match="section"):
        mrtd(make_firmware(tdx=[section]), Order.PAGE_BY_PAGE)
