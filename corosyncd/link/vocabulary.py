"""The words that the executive and an engine exchange over their link.

One FIFO each way. An entry of a frame is a list: one of these kinds, then its arguments (msgpack types only). The bodies of
DELIVER and MULTICAST travel raw behind the frame's head, in the order of the lengths named there.
"""

from __future__ import annotations

from enum import IntEnum


class ToEngine(IntEnum):
    """Executive to engine."""

    DELIVER = 1
    """[source, function, length, source, function, length, ...]: ring messages in total order; bodies raw."""
    CONFIGURATION = 2
    """transitional, members: the frame's ring id is the new ring's. The gate closes; GATE_CLOSED is the answer."""
    SYNC_STEP = 3
    """Send this engine's sync data; SYNC_STEP_DONE is the answer."""
    SYNC_ACTIVATE = 4
    """All barriers of this engine's step were delivered; SYNC_ACTIVATED is the answer."""
    SYNC_ABORT = 5
    """The round is void."""
    SYNC_COMPLETE = 6
    """All engines have activated: gates open, and clients may connect; GATE_OPENED is the answer."""
    CREDIT = 7
    """bytes: room for more NORMAL messages (added to what is left)."""
    KEYS = 8
    """confirm, [[event, name, type, data, old type, old data], ...]: changes of tracked keys; KEYS_CONFIRM(confirm) is the
    answer when confirm is not 0. Before READY they are the snapshot, where confirm -1 means that more of it follows."""
    KEYS_RESULT = 9
    """token, [status, ...]: answer to KEYS_CHANGE."""
    QUORUM = 10
    """quorate, members, confirm: the quorum decision of the frame's ring; QUORUM_CONFIRM(confirm) is the answer when not 0."""
    QUORATE_CONFIRMED = 11
    """To votequorum: its decision is known everywhere on this node."""
    STATISTICS_REQUEST = 12
    """token: say STATISTICS(token, own counters)."""
    STATISTICS = 13
    """token, {name: [type, data]}: the stats map that was asked for."""
    RELOADED = 14
    """token, status: answer to RELOAD."""
    STOP = 15
    """Close the clients, hand over leaves, say STOPPED, then end when the link closes."""
    CLEAR_STATISTICS = 16
    """what: reset the engine's own counters."""
    CONNECTION = 17
    """To cmap: what an engine said with CONNECTION."""
    ALIVE = 18
    """Somebody waits for a word of this engine: ALIVE is the answer, whatever the engine itself waits for."""


class ToExecutive(IntEnum):
    """Engine to executive."""

    HELLO = 1
    """{field: value}: the engine's description (see Description); the replica's snapshot (KEYS) is the answer."""
    READY = 2
    """The engine has started."""
    MULTICAST = 3
    """kind, [length, ...]: ring messages, header included; bodies raw. kind is a MulticastClass."""
    GATE_CLOSED = 4
    """The gate to clients is closed for the frame's ring id."""
    SYNC_STEP_DONE = 5
    """This engine's sync data of the frame's ring id is all handed over."""
    SYNC_ACTIVATED = 6
    """This engine has applied the round of the frame's ring id."""
    CONSUMED = 7
    """bytes: bodies of DELIVER that the engine has worked off."""
    KEYS_CHANGE = 8
    """token, [[kind, name, type, data, step, permission], ...]; KEYS_RESULT is the answer (token may be nil: none)."""
    KEYS_CONFIRM = 9
    """confirm: the changes were applied."""
    SET_QUORATE = 10
    """quorate, members: votequorum's decision for the frame's ring id."""
    QUORUM_CONFIRM = 11
    """confirm: the decision was told to this engine's clients."""
    KEEP = 12
    """blob: what a successor starts with."""
    STATISTICS_REQUEST = 13
    """token: STATISTICS is the answer."""
    STATISTICS = 14
    """token, {name: [type, data]}: this engine's counters."""
    CLEAR_STATISTICS = 15
    """what."""
    RELOAD = 16
    """token: RELOADED is the answer."""
    REOPEN_LOGS = 17
    SHUTDOWN_REQUEST = 18
    """reason."""
    FATAL = 19
    """exit status, reason."""
    REFUSED = 20
    """reason: the engine refuses the configuration (start fails with exit status 20)."""
    STOPPED = 21
    """Clients are closed and last words are handed over."""
    CONNECTION = 23
    """added, {name: [type, data]}: a program has connected, or (added False) is gone; its keys in the stats map."""
    GATE_OPENED = 22
    """Answer to SYNC_COMPLETE: programs are served from here on."""
    ALIVE = 24
    """Answer to ALIVE: this process works off what it is told."""
