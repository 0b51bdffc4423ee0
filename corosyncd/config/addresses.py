"""This host's names and addresses: name resolution under the rules of ``ip_version``, and the addresses of the interfaces."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import socket
from typing import NamedTuple

INTERFACE_UP = 1
MAXIMUM_INTERFACE_ADDRESSES = 4096
"""Guards the walk along the kernel's list."""


class Address(NamedTuple):
    """A numeric address; ``family`` is 4 or 6."""

    family: int
    text: str


# Families in order of preference; with more than one, the first that has an answer.
_FAMILIES: dict[str, tuple[int, ...]] = {"ipv4": (4,), "ipv6": (6,), "ipv4-6": (4, 6), "ipv6-4": (6, 4)}
_NUMBERS = {4: socket.AF_INET, 6: socket.AF_INET6}


class SystemResolver:
    """Asks the host's resolver (files, DNS, whatever nsswitch.conf says). Blocks: for short-lived processes only."""

    def __init__(self, ip_version: str) -> None:
        """``ip_version`` is totem.ip_version: ipv4, ipv6, ipv4-6 or ipv6-4."""
        self._families = _FAMILIES[ip_version]

    def lookup(self, name: str) -> Address | None:
        """The first address of the preferred family, else of the other one; None where there is none."""
        for family in self._families:
            found = self._query(name, family)
            if found:
                return found[0]
        return None

    def addresses(self, name: str) -> list[str]:
        """Every address of a name."""
        return [address.text for family in self._families for address in self._query(name, family)]

    def reverse(self, address: str) -> str | None:
        """The name of an address; None where it has none."""
        try:
            return socket.getnameinfo((address, 0), socket.NI_NAMEREQD)[0]
        except OSError:
            return None

    def _query(self, name: str, family: int) -> list[Address]:
        try:
            answers = socket.getaddrinfo(name, None, family=_NUMBERS[family], type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError):
            return []
        return [Address(family, str(answer[4][0])) for answer in answers]


class _SocketAddress(ctypes.Structure):
    _fields_ = (("family", ctypes.c_ushort), ("data", ctypes.c_ubyte * 26))


class _InterfaceAddress(ctypes.Structure):
    """struct ifaddrs, getifaddrs(3)."""


_InterfaceAddress._fields_ = (
    ("next", ctypes.POINTER(_InterfaceAddress)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.POINTER(_SocketAddress)),
    ("netmask", ctypes.c_void_p),
    ("destination", ctypes.c_void_p),
    ("data", ctypes.c_void_p),
)

# Where sockaddr_in and sockaddr_in6 keep the address behind their family, and how long it is.
_PLACES: dict[int, tuple[int, int]] = {socket.AF_INET: (2, 4), socket.AF_INET6: (6, 16)}


def interface_addresses() -> list[str]:
    """The numeric addresses of all interfaces that are up, in the kernel's order."""
    libc = ctypes.CDLL(None, use_errno=True)
    first = ctypes.POINTER(_InterfaceAddress)()
    if libc.getifaddrs(ctypes.byref(first)) != 0:
        raise OSError(ctypes.get_errno(), f"the interfaces cannot be listed: {os.strerror(ctypes.get_errno())}")
    found: list[str] = []
    try:
        entry = first
        while entry and len(found) < MAXIMUM_INTERFACE_ADDRESSES:
            interface = entry.contents
            if interface.address and interface.flags & INTERFACE_UP:
                address = interface.address.contents
                if address.family in _PLACES:
                    start, length = _PLACES[address.family]
                    found.append(socket.inet_ntop(address.family, bytes(address.data[start : start + length])))
            entry = interface.next
    finally:
        libc.freeifaddrs(first)
    return found
