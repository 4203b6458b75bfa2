"""A DHCP client, as small as a machine with one card and one address needs (RFC 2131, RFC 2132).

It asks, takes the first offer, and is done: no other option than address, mask, router and time is looked
at, and no name, domain or time server is taken from anybody. An address is all that a network can give to
this machine; whom it talks to is settled by TLS and quotes.
"""

from __future__ import annotations

import functools
import ipaddress
import secrets
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from glasshouse_attestations.errors import MalformedError

__all__ = ["Lease", "Offer", "acquire", "discover", "parse_reply", "request"]

_HEADER = struct.Struct("!4BIHH4s4s4s4s16s192s4s")  # RFC 2131, figure 1, and the cookie
_COOKIE = b"\x63\x82\x53\x63"
_BROADCAST = 0x8000
_BOOT_REQUEST, _BOOT_REPLY, _ETHERNET = 1, 2, 1
_MASK, _ROUTER, _ADDRESS, _TIME, _TYPE, _SERVER, _WANTED = 1, 3, 50, 51, 53, 54, 55
_PAD, _END = 0, 255
_DISCOVER, _OFFER, _REQUEST, _ACKNOWLEDGED = 1, 2, 3, 5
_MAX_REPLY = 1500
_TRIES = 3
_WAIT_SECONDS = 1.5
_SHORTEST_LEASE = 60
_BIND_TO_DEVICE = 25  # SO_BINDTODEVICE, socket(7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """An address in its network, the way out of it if there is one, and for how many seconds."""

    interface: ipaddress.IPv4Interface
    router: ipaddress.IPv4Address | None
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A reply of a server: its message type, the lease, and who gives it."""

    kind: int
    lease: Lease
    server: bytes


def acquire(name: str, hardware_address: bytes) -> Lease | None:
    """Return the lease that a server in the network of the card ``name`` gives, or ``None`` if none does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        channel.setsockopt(socket.SOL_SOCKET, _BIND_TO_DEVICE, name.encode("ascii"))
        channel.bind(("", 68))
        for _ in range(_TRIES):
            transaction = secrets.randbits(32)
            answer = functools.partial(_ask, channel, transaction, hardware_address)
            offer = answer(discover(transaction, hardware_address), _OFFER)
            if offer is None:
                continue
            granted = answer(request(transaction, hardware_address, offer), _ACKNOWLEDGED)
            if granted is not None:
                return granted.lease
    return None


def _ask(
    channel: socket.socket, transaction: int, hardware_address: bytes, message: bytes, kind: int
) -> Offer | None:
    channel.sendto(message, ("255.255.255.255", 67))
    deadline = time.monotonic() + _WAIT_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        channel.settimeout(left)
        try:
            reply = parse_reply(channel.recv(_MAX_REPLY), transaction, hardware_address)
        except TimeoutError:
            return None
        except MalformedError:
            # Anybody in the network may send here; the right answer may still come.
            continue
        if reply.kind == kind:
            return reply
    return None


def discover(transaction: int, hardware_address: bytes) -> bytes:
    """Return the message that asks every server for an offer (RFC 2131, 4.4.1)."""
    return _message(transaction, hardware_address, {_TYPE: bytes([_DISCOVER])})


def request(transaction: int, hardware_address: bytes, offer: Offer) -> bytes:
    """Return the message that accepts ``offer`` (RFC 2131, 4.3.2)."""
    options = {_TYPE: bytes([_REQUEST]), _ADDRESS: offer.lease.interface.ip.packed, _SERVER: offer.server}
    return _message(transaction, hardware_address, options)


def _message(transaction: int, hardware_address: bytes, options: dict[int, bytes]) -> bytes:
    nowhere = bytes(4)
    head = _HEADER.pack(
        *(_BOOT_REQUEST, _ETHERNET, 6, 0, transaction, 0, _BROADCAST),
        *(nowhere, nowhere, nowhere, nowhere, hardware_address, b"", _COOKIE),
    )
    options = {**options, _WANTED: bytes([_MASK, _ROUTER, _TIME])}
    return head + b"".join(bytes([code, len(data)]) + data for code, data in options.items()) + bytes([_END])


def parse_reply(data: bytes, transaction: int, hardware_address: bytes) -> Offer:
    """Return the offer or acknowledgement in ``data``; ``MalformedError`` if it is none, or not for us."""
    if not _HEADER.size < len(data) <= _MAX_REPLY:
        raise MalformedError("a reply has another size")
    operation, kind, length, _, number, *_, address, _, _, hardware, _, cookie = _HEADER.unpack_from(data)
    if (operation, kind, length, number, cookie) != (_BOOT_REPLY, _ETHERNET, 6, transaction, _COOKIE):
        raise MalformedError("a message is no reply to ours")
    if hardware != hardware_address.ljust(16, b"\0"):
        raise MalformedError("a reply is for another machine")
    options = dict(_options(data[_HEADER.size :]))
    try:
        mask = ipaddress.IPv4Address(options[_MASK])
        lease = Lease(
            interface=ipaddress.IPv4Interface(f"{ipaddress.IPv4Address(address)}/{mask}"),
            router=ipaddress.IPv4Address(options[_ROUTER][:4]) if _ROUTER in options else None,
            seconds=max(_SHORTEST_LEASE, int.from_bytes(options[_TIME], "big")),
        )
        return Offer(kind=options[_TYPE][0], lease=lease, server=options[_SERVER])
    except (KeyError, IndexError, ValueError) as err:
        raise MalformedError("a reply gives no usable lease") from err


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield code and content of each option up to the end mark (RFC 2132, 2)."""
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _PAD:
            at += 1
            continue
        content = data[at + 2 : at + 2 + data[at + 1]] if at + 1 < len(data) else b""
        if at + 1 >= len(data) or len(content) != data[at + 1]:
            raise MalformedError("a reply ends inside an option")
        yield data[at], content
        at += 2 + len(content)
