"""The pload service engine: every node sends a number of messages as fast as the ring takes them, then every daemon ends.

It is stock's own load test, and does what it does there: nobody starts it by accident, for its key must have a value that says
what it does to the cluster. Source: reference services section 6.6.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import ClassVar, Final

from coroipc.map_values import ValueType
from corosyncd.engines.engine import Description, Engine, Host, KeyChange
from corosyncd.engines.pload import wire
from corosyncd.engines.pload.wire import Function, Start

START_KEY: Final = "pload.start"
START_VALUE: Final = "i_totally_understand_pload_will_crash_my_cluster_and_kill_corosync_on_exit"
DEFAULT_COUNT: Final = 1_500_000
DEFAULT_SIZE: Final = 300
EXIT_STATUS: Final = 99
BURST: Final = 256
"""Messages sent before the engine's other work gets its turn."""
RETRY_SECONDS: Final = 0.002
"""When the ring had no room, or a burst was sent: tried again so much later."""


class PloadEngine(Engine):
    """Idle until a START is delivered; only one test in the life of a daemon."""

    description: ClassVar[Description] = Description(
        name="pload",
        service_id=wire.SERVICE_ID,
        load_name="corosync_pload",
        title="corosync profile loading service",
        functions=len(Function),
        tracked=("pload.",),
    )

    def __init__(self, host: Host, kept: bytes | None = None) -> None:
        """A successor takes no part in a test that its predecessor had begun."""
        super().__init__(host, kept)
        self._test: Start | None = None
        self._message = b""
        self._left = 0
        self._delivered = 0
        self._first_at = 0.0

    def keys_changed(self, changes: list[KeyChange]) -> None:
        """Any change below ``pload.`` starts the test if the key says so; what stands there at the daemon's start does not."""
        value = self.host.key(START_KEY)
        if self._test is not None or value is None or value.python() != START_VALUE:
            return
        size = self._number("pload.size", DEFAULT_SIZE)
        if size > wire.SIZE_MAXIMUM:
            size = wire.SIZE_MAXIMUM
            self.host.log("warning", f"pload.size is limited to {size}")
        self.host.log("warning", "Starting the load test: it ends every daemon of the cluster")
        start = Start(self._number("pload.count", DEFAULT_COUNT), size)
        self.host.multicast(Function.START, [wire.encode_start(start)])

    def deliver(self, source: int, function: int, message: bytes) -> None:
        """START begins the test, unless one runs; each MCAST of any node counts."""
        if function == Function.START:
            start = wire.decode_start(message)
            if self._test is None:
                self._begin(source, start)
            return
        self._delivered += 1
        if self._delivered == 1:
            self._first_at = self.host.now()
        if self._test is not None and self._delivered == self._test.messages:
            self._finish(self._test)

    def timer(self, token: Hashable) -> None:
        """The ring may have room again."""
        self._send()

    def _begin(self, source: int, start: Start) -> None:
        if not start.messages or start.size > wire.SIZE_MAXIMUM:
            wanted = f"{start.messages} messages of {start.size} bytes"
            self.host.log("warning", f"node {source} wants a load test of {wanted}: ignored")
            return
        self._test = start
        self._message = wire.load_message(start.size)
        self._left = start.messages
        self._send()

    def _send(self) -> None:
        for _ in range(min(BURST, self._left)):
            if self.host.room() < len(self._message):
                break
            self.host.multicast_raw(self._message)
            self._left -= 1
        if self._left:
            self.host.after(RETRY_SECONDS, "send")

    def _finish(self, test: Start) -> None:
        seconds = max(self.host.now() - self._first_at, 1e-9)
        rate = test.messages / seconds
        speed = f"{rate:.3f} messages/s, {rate * test.size / 2**20:.3f} MiB/s"
        self.host.log("notice", f"{test.messages} messages of {test.size} bytes in {seconds:.3f} s: {speed}")
        self.host.fatal(EXIT_STATUS, "the load test is over")

    def _number(self, key: str, default: int) -> int:
        value = self.host.key(key)
        return int.from_bytes(value.data, "little") if value is not None and value.type == ValueType.UINT32 else default
