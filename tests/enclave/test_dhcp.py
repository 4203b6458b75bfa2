"""The DHCP client: what it asks, and what it takes from whom."""

from __future__ import annotations

import ipaddress
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glasshouse_attestations.errors import MalformedError

if sys.platform != "linux":
    pytest.skip("the enclave runs on linux only", allow_module_level=True)

from glasshouse_enclave.dhcp import Offer, discover, parse_reply, request

CARD = bytes.fromhex("525400123456")
TRANSACTION = 0x12345678
COOKIE = bytes.fromhex("63825363")
OPTIONS = {
    53: b"\2",
    54: bytes([10, 0, 2, 2]),
    1: bytes([255, 255, 255, 0]),
    3: bytes([10, 0, 2, 2]),
    51: (86400).to_bytes(4, "big"),
}


def reply(
    options: dict[int, bytes] | None = None,
    *,
    operation: int = 2,
    transaction: int = TRANSACTION,
    card: bytes = CARD,
    cookie: bytes = COOKIE,
    end: bytes = b"\xff",
) -> bytes:
    """A server's message, laid out by RFC 2131, figure 1."""
    head = bytes([operation, 1, 6, 0]) + transaction.to_bytes(4, "big") + bytes(8)
    head += bytes([10, 0, 2, 15]) + bytes(8) + card.ljust(16, b"\0") + bytes(192) + cookie
    options = OPTIONS if options is None else options
    return head + b"".join(bytes([code, len(data)]) + data for code, data in options.items()) + end


def parse(data: bytes) -> Offer:
    return parse_reply(data, TRANSACTION, CARD)


def test_an_offer_is_a_lease_and_who_gives_it() -> None:
    offer = parse(reply())
    assert offer.kind == 2
    assert offer.lease.interface == ipaddress.IPv4Interface("10.0.2.15/24")
    assert offer.lease.router == ipaddress.IPv4Address("10.0.2.2")
    assert offer.lease.seconds == 86400
    assert offer.server == bytes([10, 0, 2, 2])


def test_a_network_may_have_no_router_and_padding_between_options() -> None:
    options = {code: data for code, data in OPTIONS.items() if code != 3}
    padded = reply(options).replace(COOKIE, COOKIE + b"\0\0")
    assert parse(padded).lease.router is None


def test_a_lease_is_never_so_short_that_the_machine_only_asks() -> None:
    assert parse(reply({**OPTIONS, 51: bytes(4)})).lease.seconds == 60


@pytest.mark.parametrize(
    "data",
    [
        b"",
        reply()[:240],
        reply(operation=1),
        reply(transaction=1),
        reply(card=bytes(6)),
        reply(cookie=bytes(4)),
        reply({code: data for code, data in OPTIONS.items() if code != 1}),
        reply({code: data for code, data in OPTIONS.items() if code != 51}),
        reply({code: data for code, data in OPTIONS.items() if code != 53}),
        reply({code: data for code, data in OPTIONS.items() if code != 54}),
        reply({**OPTIONS, 1: bytes([255, 0, 255, 0])}),
        reply({**OPTIONS, 1: bytes(3)}),
        reply({**OPTIONS, 3: bytes(3)}),
        reply({**OPTIONS, 53: b""}),
        reply(end=b"\x07"),
        reply(end=b"\x07\x05ab"),
        reply() + bytes(1500),
    ],
)
def test_what_is_no_reply_to_us_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse(data)


@given(st.binary(max_size=1600))
def test_no_message_does_more_than_be_refused(noise: bytes) -> None:
    for data in (noise, reply()[:240] + noise):
        try:
            parse(data)
        except MalformedError:
            continue


def test_what_is_asked_has_the_layout_of_a_message() -> None:
    message = discover(TRANSACTION, CARD)
    assert message[:4] == bytes([1, 1, 6, 0])
    assert message[4:8] == TRANSACTION.to_bytes(4, "big")
    assert message[10:12] == b"\x80\0"
    assert message[28:44] == CARD.ljust(16, b"\0")
    assert message[236:240] == COOKIE
    assert message[240:243] == b"\x35\1\1"
    assert message[-1] == 0xFF


def test_a_request_names_the_address_and_the_server() -> None:
    message = request(TRANSACTION, CARD, parse(reply()))
    assert b"\x35\1\3" in message
    assert b"\x32\4" + bytes([10, 0, 2, 15]) in message
    assert b"\x36\4" + bytes([10, 0, 2, 2]) in message
