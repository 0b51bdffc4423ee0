"""Client library for the cpg service: closed process groups with totally ordered messages.

with Cpg() as cpg:
    cpg.join("group")
    cpg.mcast(b"hello")
    for event in cpg.events(timeout=1.0):
        print(event)
"""

from libcpg.api import AsyncCpg, Cpg
from libcpg.messages import (
    ATOMIC_MESSAGE_LIMIT,
    GROUP_NAME_LIMIT,
    Address,
    ConfigurationChange,
    Deliver,
    Guarantee,
    Iteration,
    IterationNextResponse,
    Reason,
    TotemConfiguration,
)
from libcpg.session import Event
from libcpg.zero_copy_buffer import ZeroCopyBuffer

__all__ = [
    "ATOMIC_MESSAGE_LIMIT",
    "GROUP_NAME_LIMIT",
    "Address",
    "AsyncCpg",
    "ConfigurationChange",
    "Cpg",
    "Deliver",
    "Event",
    "Guarantee",
    "Iteration",
    "IterationNextResponse",
    "Reason",
    "TotemConfiguration",
    "ZeroCopyBuffer",
]
