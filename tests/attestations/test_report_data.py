"""Report data: what a quote binds, by the formula as it is written."""

from __future__ import annotations

import hashlib
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_attestations.report_data import NONCE_SIZE, REPORT_DATA_SIZE, report_data

NAMES = ("nonce", "tls_spki_sha256", "receipt_public_key", "configuration_sha256")
VALUES = (b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, b"\x04" * 32)
values = st.binary(min_size=32, max_size=32)


def computed(*inputs: bytes) -> bytes:
    return report_data(**dict(zip(NAMES, inputs, strict=True)))


def by_the_formula(*inputs: bytes) -> bytes:
    """SHA-512(domain ‖ NUL ‖ four times: length as eight bytes, big-endian ‖ value)."""
    message = bytearray(b"glasshouse report data v1\x00")
    for value in inputs:
        message += b"\x00\x00\x00\x00\x00\x00\x00\x20"
        message += value
    return hashlib.sha512(message).digest()


def test_the_vector_of_the_specification() -> None:
    assert computed(*VALUES) == bytes.fromhex(
        "3851a7749ba002065b02b13e579974bfd13432ab9193aaea97efe3610997b188"
        "e0f90f8236008cb789b8a0ab89d22ea474851068e0847008e9a206d09644a51d"
    )


@given(values, values, values, values)
def test_the_formula_holds_for_any_values(a: bytes, b: bytes, c: bytes, d: bytes) -> None:
    assert computed(a, b, c, d) == by_the_formula(a, b, c, d)


def test_report_data_fills_the_field_of_a_quote() -> None:
    assert len(computed(*VALUES)) == REPORT_DATA_SIZE == 64
    assert NONCE_SIZE == 32


def test_confusing_two_values_changes_it() -> None:
    assert len({computed(*order) for order in permutations(VALUES)}) == 24


def test_changing_any_byte_of_any_value_changes_it() -> None:
    seen = {computed(*VALUES)}
    for index in range(4):
        for position in range(32):
            inputs = [bytearray(value) for value in VALUES]
            inputs[index][position] ^= 1
            seen.add(computed(*map(bytes, inputs)))
    assert len(seen) == 1 + 4 * 32


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_value_of_another_size_is_the_callers_mistake(index: int, size: int) -> None:
    inputs = list(VALUES)
    inputs[index] = bytes(size)
    with pytest.raises(ValueError, match="32 bytes"):
        computed(*inputs)
