"""The wd service engine: it watches resources that others report on, and recovers the machine when one has failed.

A resource is a set of keys ``resources.<type>.<name>.*`` with a ``state``: mon writes those of this host, libsam those of
supervised programs. It has failed when its reporter says so or has said nothing for one and a half of its periods; what then
happens stands in its key ``recovery``. Source: reference services section 6.7.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar, Final

from coroipc.map_values import ValueType
from corosyncd.engines.engine import Description, Engine, Host, KeyChange, KeyOperation
from corosyncd.engines.resources import FAILED, NANOSECONDS, PREFIX, STOPPED, poll_period
from corosyncd.engines.wd.dog import ASK, DEFAULT_TIMEOUT, TIMEOUTS, Dog
from corosyncd.keyspace.changes import Track
from corosyncd.keyspace.values import Value, uint32, uint64

PERIOD_MS: Final = 6000
FIRST_CHECK_MS: Final = 6000
"""A new resource gets at least this long before it is looked at: its reporter has to begin."""
GRACE: Final = 1.5
"""Periods without an update that are tolerated."""
DEVICE_KEY: Final = "resources.watchdog_device"
TIMEOUT_KEY: Final = "resources.watchdog_timeout"
NOT_CHECKED: Final = (STOPPED, "waiting for quorum")
"""States in which nobody reports. Stock checks a program that waits for quorum, and resets the machine of one that waits long."""
DISABLED: Final = "disabled"

_RESOURCE = re.compile(r"resources\.([^.]+)\.([^.]+)\.([^.]+)")
_TYPES_AT_RUN_TIME: Final = ("process", "system")
"""Resources of other types are found at the start only, as in stock."""
_SILENT_LEAVES: Final = ("last_updated", "current")
"""Keys that change all the time and say nothing about how to watch."""


class State(Enum):
    """Where the watching of a resource stands."""

    STOPPED = auto()
    RUNNING = auto()
    FAILED = auto()


@dataclass(slots=True)
class Resource:
    """One watched resource."""

    prefix: str
    name: str
    period_ms: int = PERIOD_MS
    state: State = State.STOPPED


class WdEngine(Engine):
    """Watches every resource, and the executive behind the watchdog device."""

    description: ClassVar[Description] = Description(
        name="wd",
        service_id=7,
        load_name="corosync_wd",
        title="corosync watchdog service",
        tracked=(PREFIX,),
    )

    def __init__(self, host: Host, kept: bytes | None = None) -> None:
        """``kept``: there when the watchdog is to bite; then the device is not opened, which would start its timer anew."""
        super().__init__(host, kept)
        self._biting = kept is not None
        self._dog = Dog(host, DEFAULT_TIMEOUT)
        self._resources: dict[str, Resource] = {}
        self._recoveries: dict[str, Callable[[], None]] = {
            "watchdog": self._let_bite,
            "quit": self._let_bite,
            "reboot": lambda: self.host.machine.restart(),
            "shutdown": lambda: self.host.machine.power_off(),
        }

    def start(self) -> None:
        """The device first: from here on the machine is guarded."""
        self._read_timeout()
        if not self._biting:
            self._dog.open(self.host.key(DEVICE_KEY))
        for name, _value in list(self.host.keys(PREFIX)):
            match = _RESOURCE.fullmatch(name)
            if match is not None and match[3] == "state":
                self._add(match[1], match[2])

    def stop(self) -> None:
        """An orderly stop of the node is no reason to reset the machine."""
        self._dog.disarm()

    def keys_changed(self, changes: list[KeyChange]) -> None:
        """Resources come and go, and their keys change."""
        for change in changes:
            if change.name == TIMEOUT_KEY:
                if change.event != Track.DELETE:
                    self._read_timeout()
                continue
            match = _RESOURCE.fullmatch(change.name)
            if match is None or match[3] in _SILENT_LEAVES:
                continue
            kind, name, leaf = match.groups()
            resource = self._resources.get(_prefix(kind, name))
            if resource is not None:
                self._changed(resource, leaf, change.event)
            elif leaf == "state" and change.event == Track.ADD and kind in _TYPES_AT_RUN_TIME:
                self._add(kind, name)

    def keys_changed_result(self, token: Hashable, statuses: list[int]) -> None:
        """The executive works: see Dog."""
        self._dog.answered(token)

    def timer(self, token: Hashable) -> None:
        """The dog wants a sign of life, or a resource is to be checked."""
        if token == ASK:
            self._dog.ask()
            return
        resource = self._resources.get(str(token))
        if resource is None or resource.state is not State.RUNNING:
            return
        if self._is_well(resource):
            self.host.after(resource.period_ms / 1000, resource.prefix)
        else:
            self._fail(resource)

    # The timeout of the device.

    def _read_timeout(self) -> None:
        value = self.host.key(TIMEOUT_KEY)
        seconds = value.python() if value is not None and value.type == ValueType.UINT32 else None
        if isinstance(seconds, int) and seconds in TIMEOUTS:
            if seconds != self._dog.timeout:
                self._dog.set_timeout(seconds)
            return
        if value is not None:
            allowed = f"it must be {TIMEOUTS.start} to {TIMEOUTS.stop - 1} (u32, seconds)"
            self.host.log("warning", f"{TIMEOUT_KEY} {value.python()!r} is not used: {allowed}; it stays {self._dog.timeout}")
        self._set(TIMEOUT_KEY, uint32(self._dog.timeout))

    # Resources.

    def _add(self, kind: str, name: str) -> None:
        resource = Resource(_prefix(kind, name), name)
        self._resources[resource.prefix] = resource
        if self.host.key(resource.prefix + "poll_period") is None:
            self._set(resource.prefix + "poll_period", uint64(PERIOD_MS))
        self._read_period(resource)
        if self._may_run(resource):
            self._run(resource, max(2 * resource.period_ms, FIRST_CHECK_MS))

    def _changed(self, resource: Resource, leaf: str, event: int) -> None:
        """Any change of what is not a report starts the watching anew, also of a failed resource."""
        if event == Track.DELETE:
            if leaf == "state":
                self.host.log("warning", f"resource {resource.name} was deleted from the map: it is not watched any more")
                self.host.cancel(resource.prefix)
                del self._resources[resource.prefix]
            return
        before = resource.period_ms
        if leaf == "poll_period":
            self._read_period(resource)
            if resource.period_ms == before:
                return
        if self._may_run(resource):
            self._run(resource, max(before, resource.period_ms))

    def _read_period(self, resource: Resource) -> None:
        resource.period_ms = poll_period(
            self.host.key(resource.prefix + "poll_period"),
            resource.period_ms,
            lambda warning: self.host.log("warning", f"resource {resource.name}: {warning}"),
        )

    def _may_run(self, resource: Resource) -> bool:
        """Whether there is something to check; otherwise the watching stops."""
        state = self._text(resource, "state")
        if self._text(resource, "recovery") is None:
            self.host.log("warning", f"resource {resource.name} has no recovery key: it is not watched")
        elif state is not None and state not in NOT_CHECKED:
            return True
        self.host.cancel(resource.prefix)
        resource.state = State.STOPPED
        return False

    def _run(self, resource: Resource, first_check_ms: int) -> None:
        resource.state = State.RUNNING
        self.host.after(first_check_ms / 1000, resource.prefix)

    def _is_well(self, resource: Resource) -> bool:
        updated = self.host.key(resource.prefix + "last_updated")
        state = self._text(resource, "state")
        if updated is None or updated.type != ValueType.UINT64 or state in (None, DISABLED):
            return False
        stamp = int.from_bytes(updated.data, "little")
        if not stamp:
            return True  # nothing was reported yet
        late_ms = self.host.now() * 1000 - stamp * 1000 / NANOSECONDS - GRACE * resource.period_ms
        if late_ms > 0:
            late = f"{late_ms:.0f} ms late (period {resource.period_ms} ms)"
            self.host.log("error", f"resource {resource.name}: its report is {late}")
            return False
        return state != FAILED

    def _fail(self, resource: Resource) -> None:
        resource.state = State.FAILED
        recovery = self._text(resource, "recovery") or ""
        self.host.log("crit", f"resource {resource.name} has failed; recovery: {recovery}")
        action = self._recoveries.get(recovery)
        if action is not None:
            try:
                action()
            except OSError as error:
                self.host.log("alert", f"resource {resource.name}: {recovery} is not possible: {error.strerror or error}")

    def _let_bite(self) -> None:
        self.host.keep(b"biting")
        self._dog.let_bite()

    def _text(self, resource: Resource, leaf: str) -> str | None:
        value = self.host.key(resource.prefix + leaf)
        return str(value.python()) if value is not None and value.type == ValueType.STRING else None

    def _set(self, name: str, value: Value) -> None:
        self.host.change_keys([KeyOperation("set", name, value, permission=False)])


def _prefix(kind: str, name: str) -> str:
    return f"{PREFIX}{kind}.{name}."
