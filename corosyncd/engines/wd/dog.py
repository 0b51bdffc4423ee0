"""The watchdog device: opened as configured, and kept quiet only while the executive answers.

A sign of life of this process would prove nothing about the node: before each one the executive is asked, and an answer to a
question that is older than half the timeout counts for nothing. Source: reference services section 6.7.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from corosyncd.engines.engine import Host
from corosyncd.engines.machine import Watchdog
from corosyncd.keyspace.values import Value

DEFAULT_TIMEOUT: Final = 6
TIMEOUTS: Final = range(2, 121)
ASK: Final = "dog"
"""The timer's token."""
_OFF: Final = ("", "off")


class Dog:
    """At most one device. ``timeout`` is the configured one in seconds; the device may insist on another."""

    def __init__(self, host: Host, timeout: int) -> None:
        """No device is open."""
        self._host = host
        self._device: Watchdog | None = None
        self._kept_quiet = True
        self.timeout = timeout
        self._half = timeout / 2

    def open(self, configured: Value | None) -> None:
        """Open the device that ``resources.watchdog_device`` names. Without one the node runs all the same, as stock does."""
        path = "" if configured is None else str(configured.python())
        if path in _OFF:
            how = "not enabled" if configured is None else "disabled"
            self._host.log("warning", f"The watchdog is {how} by the configuration (resources.watchdog_device)")
            return
        try:
            self._device = self._host.machine.open_watchdog(path)
            self._device.keep_alive()
        except OSError as error:
            hint = "is a watchdog driver loaded (for example softdog)?"
            self._host.log("warning", f"The watchdog {path} cannot be used ({error.strerror or error}): {hint}")
            self._device = None
            return
        self._host.log("info", f"The watchdog {path} is armed")
        self.set_timeout(self.timeout)

    def set_timeout(self, seconds: int) -> None:
        """Another timeout holds from now on."""
        self.timeout = seconds
        self._half = seconds / 2
        if self._device is None:
            return
        in_force = self._device.set_timeout(seconds)
        if in_force != seconds:
            told = "does not say its timeout" if in_force is None else f"keeps its timeout of {in_force} s"
            self._host.log("warning", f"The watchdog {told} when {seconds} s are wanted")
            self._half = (in_force or seconds) / 2
        self.ask()

    def ask(self) -> None:
        """The time of a sign of life: let the executive show that it works."""
        if self._device is not None and self._kept_quiet:
            self._host.change_keys([], (ASK, self._host.now()))
            self._host.after(self._half, ASK)

    def answered(self, token: Hashable) -> None:
        """The executive has answered the question of that token."""
        assert isinstance(token, tuple)
        if self._device is None or not self._kept_quiet:
            return
        late = self._host.now() - token[1]
        if late > self._half:
            self._host.log("error", f"The executive took {late:.1f} s to answer: no sign of life for the watchdog")
            return
        try:
            self._device.keep_alive()
        except OSError as error:
            self._host.log("error", f"The watchdog cannot be reached: {error.strerror}")

    def let_bite(self) -> None:
        """Give no sign of life any more: the device, if there is one, resets the machine."""
        if self._kept_quiet:
            self._kept_quiet = False
            self._host.cancel(ASK)
            self._host.log("alert", "The watchdog gets no sign of life any more")

    def disarm(self) -> None:
        """The node stops as it should."""
        if self._device is not None:
            device, self._device = self._device, None
            try:
                device.disarm()
            except OSError as error:
                self._host.log("error", f"The watchdog cannot be disarmed: {error.strerror}")
