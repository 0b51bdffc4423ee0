"""Property 1, integrity: what is delivered was sent, once, before, by a member, and has the same bytes.

A delivered message was sent exactly once, earlier, by a member of the regular configuration in which (or in whose transitional
configuration) it is delivered, and its bytes are those that were sent. Source: Moser et al., ICDCS 1994, specification 1
(basic delivery); a tap on the wire says when and on which ring a message was sent.
"""

from __future__ import annotations

from collections.abc import Iterator

from corosyncsim.checkers.violation import Property, Violation
from corosyncsim.history import Delivered, Epoch, History

PROPERTY = Property(1, "integrity")


def check(history: History) -> Iterator[Violation]:
    """Every breach of integrity; linear in the number of deliveries."""
    for process, epochs in history.epochs.items():
        for epoch in epochs:
            for delivery in epoch.delivered():
                fault = _fault(history, epoch, delivery)
                if fault:
                    yield PROPERTY.broken(process.node_id, delivery.time, fault)


def _fault(history: History, epoch: Epoch, delivery: Delivered) -> str | None:
    message = delivery.message
    submitted = history.submitted.get(message) if message else None
    if message is None or submitted is None:
        return f"{delivery.size} bytes said to be from node {delivery.originator} are no message that any process submitted"
    if delivery.originator != message.sender.node_id:
        return f"message {message} should be delivered as from its sender, not from node {delivery.originator}"
    if (delivery.size, delivery.digest) != (submitted.size, submitted.digest):
        return f"message {message} should have the {submitted.size} bytes that were submitted; {delivery.size} others came out"
    sent = history.sent.get(message)
    if sent is None or sent.order > delivery.order:
        return f"message {message} should have been sent before it is delivered"
    if sent.ring != epoch.ring:
        return f"message {message} was sent on ring {sent.ring} and should be delivered in it, not in {epoch.ring}"
    if message.sender.node_id not in epoch.members:
        return f"message {message} in ring {epoch.ring} should come from one of its members {epoch.members}"
    return None
