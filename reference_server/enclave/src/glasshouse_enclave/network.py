"""The machine's network: the loopback, and one card with an address by DHCP, or a fixed one without it."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
import time
from pathlib import Path

from . import dhcp

__all__ = ["FALLBACK", "Card", "first_card", "raise_loopback", "refuse_ipv6"]

# What QEMU's user-mode network expects its guest to be (qemu-options, -netdev user).
FALLBACK = dhcp.Lease(
    interface=ipaddress.IPv4Interface("10.0.2.15/24"),
    router=ipaddress.IPv4Address("10.0.2.2"),
    seconds=24 * 3600,
)

_INTERFACES = Path("/sys/class/net")
_IPV6_OFF = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
_CARD_SECONDS = 5.0
# The requests of netdevice(7).
_GET_FLAGS, _SET_FLAGS, _SET_ADDRESS, _SET_MASK, _ADD_ROUTE = 0x8913, 0x8914, 0x8916, 0x891C, 0x890B
_UP = 1
_ROUTE_UP_GATEWAY = 3  # RTF_UP and RTF_GATEWAY


class Card:
    """A network card. It keeps its address as long as the lease says, and asks again at half that time."""

    def __init__(self, name: str, hardware_address: bytes) -> None:
        self.name = name
        self._hardware_address = hardware_address
        self._lease: dhcp.Lease | None = None
        self._renew_at = 0.0

    def configure(self) -> dhcp.Lease:
        """Give the card an address, and return what it got."""
        _set_up(self.name)
        lease = dhcp.acquire(self.name, self._hardware_address) or FALLBACK
        self._take(lease)
        return lease

    def renew(self) -> None:
        """Ask again if half of the lease is over; if nobody answers now, the address stays."""
        if time.monotonic() < self._renew_at:
            return
        lease = dhcp.acquire(self.name, self._hardware_address) or self._lease
        if lease is not None:
            self._take(lease)

    def _take(self, lease: dhcp.Lease) -> None:
        self._renew_at = time.monotonic() + lease.seconds / 2
        known = self._lease
        if known is None or (known.interface, known.router) != (lease.interface, lease.router):
            _set_address(self.name, lease.interface)
            if lease.router is not None:
                _set_router(lease.router)
        self._lease = lease


def raise_loopback() -> None:
    """Set the interface ``lo`` up; the kernel gives it its address."""
    _set_up("lo")


def refuse_ipv6() -> None:
    """Keep every card from taking part in IPv6: the server listens on IPv4, and less is less."""
    if _IPV6_OFF.exists():
        _IPV6_OFF.write_text("1", encoding="ascii")


def first_card() -> Card | None:
    """Return the first network card, which may need a moment to appear, or ``None`` if there is none."""
    deadline = time.monotonic() + _CARD_SECONDS
    while time.monotonic() < deadline:
        for interface in sorted(_INTERFACES.iterdir()):
            if (interface / "device").exists():
                text = (interface / "address").read_text(encoding="ascii").strip()
                return Card(interface.name, bytes.fromhex(text.replace(":", "")))
        time.sleep(0.05)
    return None


def _set_up(name: str) -> None:
    with _control() as control:
        request = struct.pack("16sH14x", name.encode("ascii"), 0)
        _, flags = struct.unpack("16sH14x", fcntl.ioctl(control, _GET_FLAGS, request))
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sH14x", name.encode("ascii"), flags | _UP))


def _set_address(name: str, interface: ipaddress.IPv4Interface) -> None:
    with _control() as control:
        for command, value in ((_SET_ADDRESS, interface.ip), (_SET_MASK, interface.netmask)):
            request = struct.pack("16s16s8x", name.encode("ascii"), _socket_address(value))
            fcntl.ioctl(control, command, request)


def _set_router(router: ipaddress.IPv4Address) -> None:
    # struct rtentry: destination and mask of zero make it the default route.
    anywhere = _socket_address(ipaddress.IPv4Address(0))
    route = struct.pack(
        "@L16s16s16sHhLPhPLLH",
        *(0, anywhere, _socket_address(router), anywhere, _ROUTE_UP_GATEWAY, 0, 0, 0, 0, 0, 0, 0, 0),
    )
    with _control() as control:
        fcntl.ioctl(control, _ADD_ROUTE, route)


def _socket_address(address: ipaddress.IPv4Address) -> bytes:
    return struct.pack("@HH4s8x", socket.AF_INET, 0, address.packed)


def _control() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
