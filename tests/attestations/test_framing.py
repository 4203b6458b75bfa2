"""Framing: two different lists of fields never have the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_attestations.framing import field, frame


def small_lists() -> Iterator[tuple[bytes, ...]]:
    """Every list of at most three fields of at most two of the bytes that occur in a length."""
    alphabet = (b"\0", b"\1", b"\2")
    fields = [b"".join(letters) for size in range(3) for letters in product(alphabet, repeat=size)]
    for count in range(4):
        yield from product(fields, repeat=count)


def test_no_two_small_lists_of_fields_have_the_same_frame() -> None:
    lists = list(small_lists())
    assert len({frame(b"d", *fields) for fields in lists}) == len(lists)


def test_no_two_small_domains_have_the_same_frame() -> None:
    domains = [bytes(letters) for size in range(3) for letters in product((1, 2, 8), repeat=size)]
    frames = {frame(domain, *fields) for domain in domains for fields in ((), (b"",), (b"\1",), (b"", b""))}
    assert len(frames) == 4 * len(domains)


@given(st.lists(st.binary(max_size=20)), st.lists(st.binary(max_size=20)))
def test_frames_are_equal_if_and_only_if_the_fields_are(left: list[bytes], right: list[bytes]) -> None:
    assert (frame(b"d", *left) == frame(b"d", *right)) == (left == right)


def test_moving_a_byte_across_a_boundary_changes_the_frame() -> None:
    whole = b"model" + b"inputs"
    assert len({frame(b"d", whole[:cut], whole[cut:]) for cut in range(len(whole) + 1)}) == len(whole) + 1


def test_a_field_is_its_length_in_eight_bytes_and_itself() -> None:
    assert field(b"") == bytes(8)
    assert field(b"abc") == b"\0\0\0\0\0\0\0\x03abc"
    assert field(bytes(256))[:8] == b"\0\0\0\0\0\0\1\0"


def test_a_domain_holds_no_nul() -> None:
    with pytest.raises(ValueError, match="NUL"):
        frame(b"a\0b", b"c")
