"""A machine whose readings a test sets, and which records what is done to it."""

from __future__ import annotations


class FakeWatchdog:
    """Records signs of life; ``insists_on`` is a timeout that the device keeps whatever is wished."""

    def __init__(self) -> None:
        self.signs_of_life = 0
        self.timeout: int | None = None
        self.insists_on: int | None = None
        self.disarmed = False

    def keep_alive(self) -> None:
        self.signs_of_life += 1

    def set_timeout(self, seconds: int) -> int | None:
        self.timeout = self.insists_on or seconds
        return self.timeout

    def disarm(self) -> None:
        self.disarmed = True


class FakeMachine:
    """A machine with one watchdog at ``/dev/watchdog``."""

    def __init__(self) -> None:
        self.memory: int | None = 40
        """None: the reading fails."""
        self.load = 0.5
        self.watchdog = FakeWatchdog()
        self.opened: list[str] = []
        self.ended: list[str] = []

    def memory_used(self) -> int:
        if self.memory is None:
            raise OSError("no /proc")
        return self.memory

    def load_15min(self) -> float:
        return self.load

    def open_watchdog(self, path: str) -> FakeWatchdog:
        if path != "/dev/watchdog":
            raise FileNotFoundError(2, "No such file or directory")
        self.opened.append(path)
        return self.watchdog

    def restart(self) -> None:
        self.ended.append("restart")

    def power_off(self) -> None:
        self.ended.append("power off")
