"""No byte of a real quote, nor of the collateral beside it, can be changed without being noticed."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from glasshouse_attestations.dcap import Collateral
from glasshouse_attestations.errors import MalformedError
from support.dcap_captures import LENIENT, capture_of
from support.mutations import a_bit_of_every_byte, accepted, every_bit
from support.vectors import needs_vectors

SGX = ("sgx/dcapqvl/sgx_quote.bin", "dcapqvl_sgx")
TDX_V4 = ("tdx/flashbots/dcap-tdx-1766059550570652607", "flashbots_dcap-quote-collateral-00")
TDX_V5 = ("tdx/gotdx/quote_v5_sample.dat", "flashbots_azure-collateral")
KINDS = [SGX, TDX_V4, TDX_V5]

# The offsets at which a change is tolerated, by the first offset of a region, with the reason.
#
# Bytes 8 to 11 and the rest of the header are signed, reserved ranges and the padding must be zero, and
# the chain is canonical base64: nothing is left over.
TOLERATED: frozenset[int] = frozenset()

# The parts are of one form for both, and signed in one way.
PARTS = [(SGX, field.name) for field in fields(Collateral)] + [(TDX_V5, "qe_identity")]

# The library warns of a negative serial number or an overlong name before the signature is looked at.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Parsed a serial number:Warning"),
    pytest.mark.filterwarnings("ignore:Attribute's length must be:UserWarning"),
]


@needs_vectors
@pytest.mark.parametrize("kind", KINDS, ids=["sgx", "tdx-v4", "tdx-v5"])
def test_every_byte_of_a_quote_counts(kind: tuple[str, str]) -> None:
    capture = capture_of(*kind)
    capture.verify(LENIENT)
    changes = a_bit_of_every_byte(capture.quote)
    assert accepted(changes, lambda quote: capture.verify(LENIENT, quote=quote)) == TOLERATED


@needs_vectors
def test_every_bit_of_what_is_signed_and_of_its_signature_counts() -> None:
    capture = capture_of(*TDX_V5)
    size = capture.quote.index(b"-----BEGIN")
    changes = every_bit(capture.quote, size)
    assert accepted(changes, lambda quote: capture.verify(LENIENT, quote=quote)) == TOLERATED


@needs_vectors
@pytest.mark.parametrize(("kind", "part"), PARTS)
def test_every_byte_of_the_collateral_counts(kind: tuple[str, str], part: str) -> None:
    capture = capture_of(*kind)
    collateral = Collateral.parse(capture.collateral)
    capture.verify(LENIENT, collateral=collateral.encode())

    def verify(value: bytes) -> object:
        if not value.isascii() and not part.endswith(("crl", "signature")):
            raise MalformedError("not a text, so it cannot be written as one")
        return capture.verify(LENIENT, collateral=replace(collateral, **{part: value}).encode())

    assert accepted(a_bit_of_every_byte(getattr(collateral, part)), verify) == set()


@needs_vectors
@pytest.mark.parametrize("kind", KINDS, ids=["sgx", "tdx-v4", "tdx-v5"])
def test_a_quote_cut_short_anywhere_is_refused(kind: tuple[str, str]) -> None:
    capture = capture_of(*kind)
    whole = len(capture.quote.rstrip(b"\0"))
    for size in range(0, whole, 7):
        with pytest.raises(MalformedError):
            capture.verify(LENIENT, quote=capture.quote[:size])


@needs_vectors
@pytest.mark.parametrize("kind", KINDS, ids=["sgx", "tdx-v4", "tdx-v5"])
def test_only_zeros_may_follow_a_quote(kind: tuple[str, str]) -> None:
    capture = capture_of(*kind)
    claims = capture.verify(LENIENT, quote=capture.quote + bytes(5))
    assert "zero bytes after it" in claims.checks[0].detail
    with pytest.raises(MalformedError, match="not zero"):
        capture.verify(LENIENT, quote=capture.quote + b"\0\1")
