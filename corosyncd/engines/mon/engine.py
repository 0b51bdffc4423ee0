"""The mon service engine: readings of memory and load go into the map; one above its ``max`` makes the resource fail.

What follows from a failure is wd's part. Source: reference services section 6.5.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import ClassVar, Final

from coroipc.map_values import ValueType
from corosyncd.engines.engine import Description, Engine, Host, KeyChange, KeyOperation
from corosyncd.engines.machine import Machine
from corosyncd.engines.resources import FAILED, NANOSECONDS, PREFIX, RUNNING, STOPPED, leading_number, poll_period
from corosyncd.keyspace.values import Value, number, text, uint64

PERIOD_MS: Final = 3000


@dataclass(frozen=True, slots=True)
class Resource:
    """One reading and its keys; ``first`` is the type of ``current`` before the first reading, ``kind`` afterwards."""

    name: str
    read: Callable[[Machine], float]
    first: ValueType
    kind: ValueType

    def key(self, leaf: str) -> str:
        """Name of one of its keys."""
        return f"{PREFIX}system.{self.name}.{leaf}"


RESOURCES: Final = (
    Resource("memory_used", lambda machine: machine.memory_used(), ValueType.INT32, ValueType.UINT32),
    Resource("load_15min", lambda machine: machine.load_15min(), ValueType.DOUBLE, ValueType.DOUBLE),
)


@dataclass(slots=True)
class Monitoring:
    """How a resource is watched now; without a ``limit`` it is not."""

    limit: float | None = None
    period_ms: int = PERIOD_MS
    state: str = STOPPED


class MonEngine(Engine):
    """Reads each resource that has a limit once in its period."""

    description: ClassVar[Description] = Description(
        name="mon",
        service_id=6,
        load_name="corosync_mon",
        title="corosync resource monitoring service",
        tracked=tuple(resource.key("") for resource in RESOURCES),
    )

    def __init__(self, host: Host, kept: bytes | None = None) -> None:
        """A successor begins anew: there is nothing to keep."""
        super().__init__(host, kept)
        self._monitored = {resource.name: (resource, Monitoring()) for resource in RESOURCES}

    def start(self) -> None:
        """Every resource has its keys, whether it is monitored or not."""
        for resource, monitoring in self._monitored.values():
            pairs = [
                (resource.key("current"), number(resource.first, 0)),
                (resource.key("last_updated"), uint64(0)),
            ]
            if leading_number(self.host.key(resource.key("poll_period"))) is None:
                pairs.append((resource.key("poll_period"), uint64(PERIOD_MS)))
            self._set([*pairs, (resource.key("state"), text(STOPPED))])
            self._configure(resource, monitoring)

    def keys_changed(self, changes: list[KeyChange]) -> None:
        """Another limit or period holds at once."""
        changed = {change.name for change in changes}
        for resource, monitoring in self._monitored.values():
            if changed & {resource.key("max"), resource.key("poll_period")}:
                self._configure(resource, monitoring)

    def timer(self, token: Hashable) -> None:
        """Time for a reading."""
        for resource, monitoring in self._monitored.values():
            if resource.name == token:
                self._poll(resource, monitoring)

    def _configure(self, resource: Resource, monitoring: Monitoring) -> None:
        """A changed limit or period is the only thing that lets a failed resource run again, as in stock."""
        period = poll_period(
            self.host.key(resource.key("poll_period")),
            monitoring.period_ms,
            lambda warning: self.host.log("warning", f"resource {resource.name}: {warning}"),
        )
        limit = leading_number(self.host.key(resource.key("max")))
        if (limit, period) == (monitoring.limit, monitoring.period_ms):
            return
        monitoring.limit, monitoring.period_ms = limit, period
        if limit is None:
            self.host.cancel(resource.name)
            self._enter(resource, monitoring, STOPPED)
        else:
            self._enter(resource, monitoring, RUNNING)
            self._poll(resource, monitoring)

    def _poll(self, resource: Resource, monitoring: Monitoring) -> None:
        if monitoring.limit is None:
            return
        try:
            current = resource.read(self.host.machine)
        except OSError as error:
            self.host.log("error", f"resource {resource.name} cannot be read: {error}")
        else:
            self._set(
                [
                    (resource.key("current"), number(resource.kind, current)),
                    (resource.key("last_updated"), uint64(int(self.host.now() * NANOSECONDS))),
                ]
            )
            if current > monitoring.limit:
                self._enter(resource, monitoring, FAILED)
        self.host.after(monitoring.period_ms / 1000, resource.name)

    def _enter(self, resource: Resource, monitoring: Monitoring, state: str) -> None:
        if state != monitoring.state:
            self.host.log("info", f"resource {resource.name} was {monitoring.state} and is {state}")
            monitoring.state = state
            self._set([(resource.key("state"), text(state))])

    def _set(self, pairs: list[tuple[str, Value]]) -> None:
        self.host.change_keys([KeyOperation("set", name, value, permission=False) for name, value in pairs])
