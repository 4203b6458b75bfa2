"""The kept facts about firmware are those of the locked packages, and a firmware is not believed anything."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_attestations.errors import MalformedError
from glasshouse_audit.locks import parse_debs
from glasshouse_audit.predictions.firmware import OVMF_AMDSEV, OVMF_INTELTDX
from glasshouse_audit.predictions.ovmf import SevSectionType, read_sev_metadata, read_tdx_sections
from glasshouse_audit.predictions.snp import firmware_digest
from glasshouse_audit.predictions.tdx import Order, mrtd
from glasshouse_audit.recipe import IMAGE_FOLDER
from support.firmware import firmware_file
from support.repository import ROOT
from support.synthetic_firmware import (
    SEV_HASHES_TABLE,
    SEV_METADATA,
    SEV_RESET_BLOCK,
    SEV_SECTIONS,
    TDX_METADATA,
    make_firmware,
)


def test_the_lock_names_the_two_packages_with_the_firmware() -> None:
    lock = parse_debs((ROOT / IMAGE_FOLDER / "firmware.lock").read_text(encoding="ascii"))
    assert [deb.name for deb in lock] == ["ovmf-amdsev", "ovmf-inteltdx"]
    assert len({deb.version for deb in lock}) == 1


def test_the_facts_for_sev_snp_are_those_of_the_locked_firmware() -> None:
    firmware = firmware_file("ovmf-amdsev")
    assert hashlib.sha256(firmware).digest() == OVMF_AMDSEV.sha256
    assert firmware_digest(firmware) == OVMF_AMDSEV.digest
    assert read_sev_metadata(firmware) == OVMF_AMDSEV.metadata


def test_the_facts_for_tdx_are_those_of_the_locked_firmware() -> None:
    firmware = firmware_file("ovmf-inteltdx")
    assert hashlib.sha256(firmware).digest() == OVMF_INTELTDX.sha256
    assert {order: mrtd(firmware, order) for order in Order} == OVMF_INTELTDX.mrtd


def test_a_firmware_that_would_not_check_the_kernel_is_refused() -> None:
    """Debian's for TDX: it has the tables, with nothing in them."""
    with pytest.raises(MalformedError):
        read_sev_metadata(firmware_file("ovmf-inteltdx"))


def test_a_small_firmware_is_read() -> None:
    metadata = read_sev_metadata(make_firmware())
    assert [(section.address, section.size, section.type) for section in metadata.sections] == [
        (address, size, SevSectionType(kind)) for address, size, kind in SEV_SECTIONS
    ]
    assert (metadata.hashes_table, metadata.reset_vector) == (0x810C00, 0x80B004)


@pytest.mark.parametrize("kind", [2, 3, 0x10], ids=["secrets", "cpuid", "kernel-hashes"])
def test_a_firmware_without_a_section_that_a_launch_needs_is_refused(kind: int) -> None:
    without = [section for section in SEV_SECTIONS if section[2] != kind]
    twice = [*SEV_SECTIONS, (0x900000, 0x1000, kind)]
    for sections in (without, twice):
        with pytest.raises(MalformedError, match="one section each"):
            read_sev_metadata(make_firmware(sev=sections))


@pytest.mark.parametrize("guid", [SEV_METADATA, SEV_HASHES_TABLE, SEV_RESET_BLOCK])
@pytest.mark.parametrize("entry", [None, b"", bytes(4), b"\1\0"], ids=["absent", "empty", "zero", "short"])
def test_a_firmware_whose_table_lacks_an_entry_is_refused(guid: str, entry: bytes | None) -> None:
    with pytest.raises(MalformedError):
        read_sev_metadata(make_firmware(entries={guid: entry}))


@pytest.mark.parametrize("address", [0x80FFFF, 0x811000, 0x1000])
def test_a_hashes_table_outside_of_its_section_is_refused(address: int) -> None:
    with pytest.raises(MalformedError, match="kernel hashes"):
        read_sev_metadata(make_firmware(entries={SEV_HASHES_TABLE: address.to_bytes(4, "little")}))


@pytest.mark.parametrize(
    "sections",
    [[], [(0x800001, 0x1000, 1)], [(0x800000, 0x1001, 1)], [(0x800000, 0, 1)], [(0x800000, 0x1000, 9)]],
    ids=["none", "address", "size", "empty", "type"],
)
def test_malformed_sev_sections_are_refused(sections: list[tuple[int, int, int]]) -> None:
    with pytest.raises(MalformedError, match=r"sev metadata|whole pages"):
        read_sev_metadata(make_firmware(sev=sections))


@pytest.mark.parametrize("distance", [1, 0x10000000])
def test_metadata_outside_of_the_firmware_is_refused(distance: int) -> None:
    entry = distance.to_bytes(4, "little")
    with pytest.raises(MalformedError, match="outside"):
        read_sev_metadata(make_firmware(entries={SEV_METADATA: entry}))
    with pytest.raises(MalformedError, match="outside"):
        read_tdx_sections(make_firmware(entries={TDX_METADATA: entry}))


def test_another_signature_is_refused() -> None:
    with pytest.raises(MalformedError, match="sev metadata"):
        read_sev_metadata(make_firmware(sev_head=b"BSEV"))
    with pytest.raises(MalformedError, match="tdx metadata"):
        read_tdx_sections(make_firmware(tdx_head=b"TDVG"))


@pytest.mark.parametrize("size", [0, 100, 4095, 4096, 8192])
def test_a_file_without_a_table_is_refused(size: int) -> None:
    for read in (read_sev_metadata, read_tdx_sections):
        with pytest.raises(MalformedError):
            read(bytes(size))


@given(changes=st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=8))
def test_a_changed_firmware_is_read_or_refused_as_malformed(changes: list[tuple[int, int]]) -> None:
    firmware = bytearray(make_firmware())
    for offset, value in changes:
        firmware[offset] = value
    for read in (read_sev_metadata, read_tdx_sections):
        try:
            read(bytes(firmware))
        except MalformedError:
            continue
