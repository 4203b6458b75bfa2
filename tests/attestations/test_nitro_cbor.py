"""The strict subset of CBOR that Nitro documents are read with."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from glasshouse_attestations.errors import MalformedError
from glasshouse_attestations.nitro import cbor
from support.pki_nitro import encode

_LEAVES = st.none() | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=300) | st.text(max_size=40)
_KEYS = st.integers(-(2**64), 2**64 - 1) | st.text(max_size=20)
_ARRAYS = st.lists(_LEAVES, max_size=30).map(tuple)
_VALUES = _LEAVES | _ARRAYS | st.dictionaries(_KEYS, _LEAVES | _ARRAYS, max_size=30)


@given(_VALUES, st.booleans())
def test_a_value_is_read_as_it_was_written(value: object, indefinite: bool) -> None:
    assert cbor.decode(encode(value, indefinite=indefinite), max_size=1 << 20) == value


@given(st.binary(max_size=70_000))
def test_a_byte_string_is_written_with_the_shortest_length(value: bytes) -> None:
    if len(value) < 1 << 16:
        assert cbor.encode_bytes(value) == encode(value)


@pytest.mark.parametrize("size", [0, 1, 23, 24, 255, 256, 65535])
def test_each_width_of_a_length_is_written(size: int) -> None:
    assert cbor.encode_bytes(bytes(size)) == encode(bytes(size))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(data: bytes) -> None:
    try:
        cbor.decode(data, max_size=128)
    except MalformedError:
        return
    assert len(data) <= 128


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "cut short"),
        ("42 00", "cut short"),
        ("5b ffffffffffffffff", "cut short"),
        ("83 00 00", "cut short"),
        ("00 00", "other bytes"),
        ("a2 01 00 01 00", "duplicate key"),
        ("bf 61 61 00 61 61 00 ff", "duplicate key"),
        ("bf 01 00", "cut short"),
        ("bf 01 ff", "unused kind|reserved or indefinite"),
        ("a1 40 00", "neither integer nor text"),
        ("a1 80 00", "neither integer nor text"),
        ("a1 f6 00", "neither integer nor text"),
        ("18 17", "shortest form"),
        ("19 00ff", "shortest form"),
        ("1a 0000ffff", "shortest form"),
        ("1b 00000000ffffffff", "shortest form"),
        ("58 01 00", "shortest form"),
        ("b8 01 01 00", "shortest form"),
        ("5f 41 00 ff", "indefinite"),
        ("7f 61 61 ff", "indefinite"),
        ("9f 00 ff", "indefinite"),
        ("1c", "reserved"),
        ("1f", "reserved"),
        ("ff", "reserved"),
        ("61 ff", "not UTF-8"),
        ("f4", "unused kind"),
        ("f7", "unused kind"),
        ("f9 0000", "unused kind|shortest form"),
        ("fb 3ff0000000000000", "unused kind"),
        ("c0 00", "unused kind"),
        ("d2 80", "unused kind"),
        ("81 81 81 81 00", "nests deeper"),
        ("81" * 10_000, "nests deeper"),
        ("98 41" + "00" * 65, "more than 64"),
        ("9a ffffffff", "more than 64"),
        ("bb ffffffffffffffff", "more than 64"),
        ("bf" + "".join(f"18{key:02x}00" for key in range(24, 89)) + "ff", "more than 64"),
    ],
)
def test_what_is_not_the_strict_subset_is_refused(data: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        cbor.decode(bytes.fromhex(data), max_size=20_000)


def test_an_oversize_document_is_refused_before_it_is_read() -> None:
    with pytest.raises(MalformedError, match="more than 4 bytes"):
        cbor.decode(encode(bytes(4)), max_size=4)
