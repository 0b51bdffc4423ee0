"""The ring's settings as the map has them: what a reload brought, and what a program changes while the node runs.

Source: reference config section 15 (a single ``totem.*`` key that is set is applied at once).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from corosyncd.keyspace.values import Value
from corosyncd.totem.timeouts import DEFAULTS

PREFIX: Final = "totem."
_NAMES: Final = frozenset((*DEFAULTS, "token_retransmit", "hold", "consensus"))
_FLAGS: Final = {"yes": 1, "no": 0}


def totem_settings(keys: Iterable[tuple[str, Value]]) -> dict[str, int]:
    """What ``timeouts.derive`` takes, from keys of the map. Raises ValueError for one that is neither a number nor yes or no."""
    settings = {}
    for key, value in keys:
        name = key.removeprefix(PREFIX)
        if not key.startswith(PREFIX) or name not in _NAMES:
            continue
        content = value.python()
        number = content if isinstance(content, int) else _FLAGS.get(str(content))
        if number is None or number < 0:
            raise ValueError(f"{key} is {content!r}, which is neither a number nor yes or no.")
        settings[name] = number
    return settings
