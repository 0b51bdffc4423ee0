"""Client library for the quorum service: whether this part of the cluster may act, and who is in it.

with Quorum() as quorum:
    print(quorum.getquorate())
    quorum.trackstart()
    for event in quorum.events(timeout=1.0):
        print(event)
"""

from libquorum.api import AsyncQuorum, Quorum
from libquorum.messages import (
    Event,
    Model,
    NodeListNotification,
    Provider,
    QuorumNotification,
    QuorumNotificationV0,
    Track,
)

__all__ = [
    "AsyncQuorum",
    "Event",
    "Model",
    "NodeListNotification",
    "Provider",
    "Quorum",
    "QuorumNotification",
    "QuorumNotificationV0",
    "Track",
]
