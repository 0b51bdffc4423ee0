"""The udpu transport: every "multicast" is one unicast copy to each configured node, over plain UDP.

One socket receives everything; one connected socket a peer sends, so that data and token keep their order and the kernel's error
queue tells when a peer's port is closed, and who says so. Trains of equal frames leave in one system call (UDP_SEGMENT) and
arrive in one (UDP_GRO) where the kernel has them; on the wire they are ordinary datagrams. Source: reference totem section 5.2.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
from collections.abc import Mapping, Sequence

SOL_UDP = 17
UDP_SEGMENT = 103
UDP_GRO = 104
SOL_IP = 0
IP_RECVERR = 11
SOL_IPV6 = 41
IPV6_RECVERR = 25
SOCKET_BUFFER = 2_179_072
"""Bytes asked for in both directions, as stock does (16 frames of its largest size)."""
SOCKET_PRIORITY = 6
LARGEST_DATAGRAM = 65_536
ETHERNET_SEGMENT = 1472
"""Bytes of a datagram that fit an Ethernet packet behind the headers of IPv4 ..."""
ETHERNET_SEGMENT_IPV6 = 1452
"""... and of IPv6."""
LARGEST_TRAIN = 64_000
"""Bytes in one UDP_SEGMENT send; the kernel's own limit is a little under 64 KiB."""
TRAIN_SEGMENTS = 60
"""Segments in one UDP_SEGMENT send (the kernel takes 64)."""
LONE_DATAGRAM = 128
"""A single datagram below this size ends a batch; what may wait behind it is announced by the event loop again."""
RECEIVE_BATCH = 64
"""Datagrams or trains read before the ring gets its turn."""
ERROR_BATCH = 64
"""Entries of one peer's error queue read at a time."""

_SEGMENT_SIZE = struct.Struct("=H")
_GRO_SIZE = struct.Struct("=i")
_REFUSED = frozenset({errno.ECONNREFUSED})
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
"""struct sock_extended_err: errno, origin, ICMP type and code, padding, info, data; the offender's address follows."""
_PORT_UNREACHABLE = frozenset({(2, 3, 3), (3, 1, 4)})
"""(origin, type, code): from ICMP, and from ICMPv6."""
_OFFENDER = {socket.AF_INET: slice(4, 8), socket.AF_INET6: slice(8, 24)}
"""Where the address lies in a socket address."""
_NO_SEGMENTATION = frozenset({errno.EINVAL, errno.EMSGSIZE, errno.EIO, errno.EOPNOTSUPP, errno.ENOPROTOOPT})


class BindError(Exception):
    """The node's own address or port cannot be had; the text is one line that names it."""


class Counters:
    """What the transport saw since the start, or since ``clear``; the names are those of the keys ``stats.net.*``."""

    __slots__ = (
        "foreign_address",
        "foreign_source",
        "send_full",
        "send_refused",
        "send_unreachable",
        "truncated",
        "unreachable_reason",
    )

    def __init__(self) -> None:
        """All zero."""
        self.clear()

    def clear(self) -> None:
        """Begin at zero."""
        self.foreign_source = 0
        """Datagrams from addresses that the node list does not name (block_unlisted_ips)."""
        self.foreign_address = ""
        """The last of them."""
        self.truncated = 0
        self.send_refused = 0
        """Sends that the peer's host answered with "port unreachable"."""
        self.send_unreachable = 0
        """Sends that this host could not carry out."""
        self.unreachable_reason = ""
        """Why the last of them failed, in the kernel's words."""
        self.send_full = 0
        """Datagrams not sent because the socket's buffer was full: the ring asks for them again."""


def trains(frames: Sequence[bytes], largest_segment: int) -> list[tuple[int, Sequence[bytes]]]:
    """Cut frames into sends: (segment size, frames), where all but the last frame have that size; 0 means a single datagram."""
    result: list[tuple[int, Sequence[bytes]]] = []
    start = 0
    count = len(frames)
    while start < count:
        size = len(frames[start])
        end = start + 1
        if size <= largest_segment:
            most = min(TRAIN_SEGMENTS, LARGEST_TRAIN // size)
            while end < count and end - start < most and len(frames[end]) == size:
                end += 1
            if end < count and end - start < most and len(frames[end]) < size:
                end += 1
        result.append((size if end - start > 1 else 0, frames[start:end]))
        start = end
    return result


class UdpuTransport:
    """Sockets of one node. ``members`` maps node ids to addresses, this node's own among them."""

    def __init__(self, node_id: int, members: Mapping[int, str], port: int, *, block_unlisted: bool = True) -> None:
        """Opens and binds the sockets. Raises BindError."""
        self.counters = Counters()
        self._node_id = node_id
        self._own = members[node_id]
        self._port = port
        self._family = socket.AF_INET6 if ":" in self._own else socket.AF_INET
        self._block_unlisted = block_unlisted
        self._largest_segment = ETHERNET_SEGMENT_IPV6 if self._family == socket.AF_INET6 else ETHERNET_SEGMENT
        self._buffer = bytearray(LARGEST_DATAGRAM)
        self._view = memoryview(self._buffer)
        self._receiver = self._open(port)
        self._receiver.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, SOCKET_PRIORITY)
        self._accept_trains()
        self._peers: dict[int, socket.socket] = {}
        self._by_descriptor: dict[int, int] = {}
        self._errors = select.epoll()
        self._unconnected: dict[socket.socket, str] = {}
        """Peers that no route leads to yet: tried again with every send."""
        try:
            self.set_members(members)
        except BindError:
            self.close()
            raise

    def set_members(self, members: Mapping[int, str]) -> None:
        """Another node list: sockets for who is new, none for who is gone; whoever stays keeps its address and its socket.

        Raises BindError where there is no socket to be had; then the old list is in force.
        """
        fresh: dict[int, socket.socket] = {}
        try:
            for peer in members:
                if peer != self._node_id and peer not in self._peers:
                    fresh[peer] = self._open(0)
        except BindError:
            for sock in fresh.values():
                sock.close()
            raise
        for peer in self._peers.keys() - members.keys():
            sock = self._peers.pop(peer)
            self._errors.unregister(sock)
            del self._by_descriptor[sock.fileno()]
            self._unconnected.pop(sock, None)
            sock.close()
        for peer, sock in fresh.items():
            self._peers[peer] = sock
            self._unconnected[sock] = members[peer]
            self._watch_errors(peer, sock)
        self._list(members)
        self._connect()

    def _list(self, members: Mapping[int, str]) -> None:
        """Whom datagrams may come from, and whose host an address is."""
        self._owners = {socket.inet_pton(self._family, address): peer for peer, address in members.items()}
        self._node_ids = frozenset(members)
        self._listed = {socket.inet_ntop(self._family, address) for address in self._owners} if self._block_unlisted else None

    def _open(self, port: int) -> socket.socket:
        try:
            sock = socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        except OSError as error:
            raise BindError(f"cannot open a socket for UDP {self._own}: {error.strerror}") from error
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
            sock.bind((self._own, port))
        except OSError as error:
            sock.close()
            raise BindError(f"cannot bind UDP {self._own} port {port}: {error.strerror}") from error
        return sock

    def _watch_errors(self, peer: int, sock: socket.socket) -> None:
        level, option = (SOL_IPV6, IPV6_RECVERR) if self._family == socket.AF_INET6 else (SOL_IP, IP_RECVERR)
        sock.setsockopt(level, option, 1)
        self._errors.register(sock, 0)  # only errors, which are always reported
        self._by_descriptor[sock.fileno()] = peer

    def _connect(self) -> None:
        for sock, address in list(self._unconnected.items()):
            try:
                sock.connect((address, self._port))
            except OSError:
                continue  # the send that follows fails, and is counted
            del self._unconnected[sock]

    def _accept_trains(self) -> None:
        try:
            self._receiver.setsockopt(SOL_UDP, UDP_GRO, 1)
        except OSError:
            pass  # an old kernel: datagrams come one by one

    @property
    def node_ids(self) -> frozenset[int]:
        """The nodes of the node list, this one among them."""
        return self._node_ids

    @property
    def port(self) -> int:
        """The ring's UDP port, the same at all nodes."""
        return self._port

    def fileno(self) -> int:
        """The receiving socket's descriptor."""
        return self._receiver.fileno()

    def errors_fileno(self) -> int:
        """A descriptor that is readable while ``refusals`` has something to tell."""
        return self._errors.fileno()

    def refusals(self) -> list[tuple[int, int]]:
        """Read the error queues: (peer, node whose host says that the peer's port is closed), 0 for a host of no node.

        Several refusals by one host since the last call count as one; other errors are left out.
        """
        refusals: list[tuple[int, int]] = []
        for descriptor, _events in self._errors.poll(0):
            peer = self._by_descriptor[descriptor]
            refusals += [(peer, offender) for offender in self._offenders(self._peers[peer])]
        return refusals

    def _offenders(self, sock: socket.socket) -> list[int]:
        offenders: dict[int, None] = {}
        for _ in range(ERROR_BATCH):
            try:
                _content, ancillary, _flags, _address = sock.recvmsg(1, 128, socket.MSG_ERRQUEUE)
            except OSError:
                break
            for _level, _kind, data in ancillary:
                if len(data) < _EXTENDED_ERROR.size:
                    continue
                _errno, origin, kind, code, *_ = _EXTENDED_ERROR.unpack_from(data)
                if (origin, kind, code) in _PORT_UNREACHABLE:
                    address = data[_EXTENDED_ERROR.size :][_OFFENDER[self._family]]
                    offenders[self._owners.get(address, 0)] = None
        return list(offenders)

    def close(self) -> None:
        """Close every socket."""
        self._errors.close()
        self._receiver.close()
        for sock in self._peers.values():
            sock.close()

    def receive(self) -> list[tuple[bytes, int]]:
        """Read what waits, at most RECEIVE_BATCH: (bytes, segment size), size 0 for a single datagram."""
        received: list[tuple[bytes, int]] = []
        receive = self._receiver.recvmsg_into
        buffers = [self._view]
        listed = self._listed
        for _ in range(RECEIVE_BATCH):
            try:
                size, ancillary, flags, address = receive(buffers, 64)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _REFUSED:
                    continue
                raise
            if flags & socket.MSG_TRUNC:
                self.counters.truncated += 1
            elif listed is not None and address[0] not in listed:
                self.counters.foreign_source += 1
                self.counters.foreign_address = address[0]
            else:
                segment = 0
                if ancillary:
                    for level, kind, data in ancillary:
                        if level == SOL_UDP and kind == UDP_GRO:
                            segment = _GRO_SIZE.unpack(data)[0]
                received.append((bytes(self._view[:size]), segment))
                if size < LONE_DATAGRAM and not segment:
                    # Nearly always the token, and nothing follows it: asking again would cost a call that fails.
                    break
        return received

    def send(self, frames: Sequence[bytes], target: int = 0, token: bytes | None = None) -> None:
        """Send frames to every peer, and behind them a token to one.

        The token joins the last train to its target (a train's last segment may be shorter). A target that is not configured gets
        nothing: the token's loss is found by its timer.
        """
        if self._unconnected:
            self._connect()
        if token is not None:
            sock = self._peers.get(target)
            if not frames:
                if sock is not None:
                    self._send_one(sock, token)
                return
            if sock is not None:
                self._send(sock, trains([*frames, token], self._largest_segment))
        plan = trains(frames, self._largest_segment)
        for peer, sock in self._peers.items():
            if token is None or peer != target:
                self._send(sock, plan)

    def _send(self, sock: socket.socket, plan: list[tuple[int, Sequence[bytes]]]) -> None:
        for segment, frames in plan:
            if segment == 0:
                for frame in frames:
                    self._send_one(sock, frame)
                continue
            try:
                sock.sendmsg(frames, [(SOL_UDP, UDP_SEGMENT, _SEGMENT_SIZE.pack(segment))])
            except OSError as error:
                if error.errno in _NO_SEGMENTATION:
                    # The path's MTU is smaller, or the kernel has no UDP_SEGMENT: never try this size again.
                    self._largest_segment = min(self._largest_segment, segment - 1)
                elif not self._again(error):
                    continue
                for frame in frames:
                    self._send_one(sock, frame)

    def _send_one(self, sock: socket.socket, frame: bytes) -> None:
        try:
            sock.send(frame)
        except OSError as error:
            if self._again(error):
                try:
                    sock.send(frame)
                except OSError as second:
                    if self._again(second) and second.errno not in _REFUSED:
                        # No route, no interface, a firewall, an own address that went away: the ring finds out by its timers.
                        self.counters.send_unreachable += 1
                        self.counters.unreachable_reason = str(second.strerror)

    def _again(self, error: OSError) -> bool:
        """Whether to send again: the error may belong to an earlier datagram, and this one was not sent yet."""
        if error.errno == errno.EAGAIN or error.errno == errno.ENOBUFS:
            self.counters.send_full += 1
            return False
        if error.errno in _REFUSED:
            self.counters.send_refused += 1
        return True
