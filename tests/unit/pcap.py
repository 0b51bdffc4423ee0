"""The UDP payloads of a classic pcap file (Ethernet, IPv4), for tests."""

from __future__ import annotations

from pathlib import Path
from struct import Struct

_FILE_HEADER = 24
_RECORD = Struct("<IIII")
_ETHERNET = 14
_UDP = 8


def udp_payloads(path: Path) -> list[tuple[float, str, bytes]]:
    """(time in seconds, source address, payload) of every datagram."""
    data = path.read_bytes()
    assert data[:4] == b"\xd4\xc3\xb2\xa1", "a little endian pcap with microseconds"
    found = []
    position = _FILE_HEADER
    while position < len(data):
        seconds, microseconds, size, original = _RECORD.unpack_from(data, position)
        assert size == original, "nothing may be cut off"
        position += _RECORD.size
        packet = data[position + _ETHERNET : position + size]
        position += size
        header = (packet[0] & 15) * 4
        length = int.from_bytes(packet[header + 4 : header + 6], "big")
        source = ".".join(map(str, packet[12:16]))
        found.append((seconds + microseconds / 1e6, source, packet[header + _UDP : header + length]))
    return found
