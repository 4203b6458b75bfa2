"""Taking an image apart: sections and initrd, under limits, and nothing that contradicts itself."""

from __future__ import annotations

import struct

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_attestations import image
from glasshouse_attestations.cpio import Archive, Kind, Member
from glasshouse_attestations.errors import MalformedError
from support.synthetic_pe import SECTION_TABLE, make_pe

_SECTIONS = {".text": b"code", ".linux": b"kernel" * 99, ".cmdline": b"quiet"}
_ARCHIVE = Archive(mtime=5, members=(Member(path="init", kind=Kind.EXECUTABLE, data=b"#!"),))


def test_sections_are_read_without_their_padding() -> None:
    assert image.read_sections(make_pe(_SECTIONS)) == _SECTIONS


@given(data=st.binary(max_size=300))
def test_arbitrary_bytes_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        image.read_sections(data)


def test_every_truncation_loses_a_section_and_is_refused() -> None:
    whole = make_pe(_SECTIONS)
    for length in range(0, len(whole), 37):
        with pytest.raises(MalformedError):
            image.read_sections(whole[:length])


def test_a_section_named_twice_is_refused() -> None:
    twice = bytearray(make_pe(_SECTIONS))
    twice[SECTION_TABLE + 40 : SECTION_TABLE + 48] = b".text\0\0\0"
    with pytest.raises(MalformedError, match="two sections"):
        image.read_sections(bytes(twice))


def test_a_section_larger_in_memory_than_in_the_file_is_refused() -> None:
    larger = bytearray(make_pe(_SECTIONS))
    struct.pack_into("<I", larger, SECTION_TABLE + 8, 0x10000)
    with pytest.raises(MalformedError, match="larger in memory"):
        image.read_sections(bytes(larger))


def test_a_section_beyond_the_file_is_refused() -> None:
    beyond = bytearray(make_pe(_SECTIONS))
    struct.pack_into("<I", beyond, SECTION_TABLE + 20, 0x100000)
    with pytest.raises(MalformedError, match="section"):
        image.read_sections(bytes(beyond))


def test_a_section_with_a_name_that_is_not_text_is_refused() -> None:
    unnamed = bytearray(make_pe(_SECTIONS))
    unnamed[SECTION_TABLE] = 0xFF
    with pytest.raises(MalformedError, match="ascii"):
        image.read_sections(bytes(unnamed))


def test_an_oversize_image_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "MAX_IMAGE_SIZE", 100)
    with pytest.raises(MalformedError, match="at most 100"):
        image.read_sections(make_pe(_SECTIONS))


def test_an_initrd_is_decompressed_and_parsed() -> None:
    assert image.read_initrd(zstandard.compress(_ARCHIVE.encode())) == _ARCHIVE.members
    assert image.read_archive(zstandard.compress(_ARCHIVE.encode())) == _ARCHIVE


def test_a_compressed_bomb_is_refused_by_its_stated_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "MAX_INITRD_SIZE", 1000)
    with pytest.raises(MalformedError, match="1 to 1000"):
        image.read_initrd(zstandard.compress(bytes(1001)))


def test_a_frame_that_does_not_state_its_size_is_refused() -> None:
    stream = zstandard.ZstdCompressor(write_content_size=False).compress(_ARCHIVE.encode())
    with pytest.raises(MalformedError, match="states"):
        image.read_initrd(stream)


def test_a_frame_with_bytes_behind_it_is_refused() -> None:
    with pytest.raises(MalformedError, match="zstd"):
        image.read_initrd(zstandard.compress(_ARCHIVE.encode()) + b"more")


def test_a_truncated_frame_is_refused() -> None:
    with pytest.raises(MalformedError):
        image.read_initrd(zstandard.compress(_ARCHIVE.encode())[:-3])


def test_an_initrd_in_another_format_is_refused() -> None:
    with pytest.raises(MalformedError, match="zstd"):
        image.read_initrd(b"\x1f\x8b" + bytes(50))
