"""What a key of the configuration map may be called.

Source: cmap_keys(8), reference config section 17.
"""

from __future__ import annotations

import re

MINIMUM_NAME_LENGTH = 3
MAXIMUM_NAME_LENGTH = 255

_NAME = re.compile(f"[A-Za-z0-9._/:-]{{{MINIMUM_NAME_LENGTH},{MAXIMUM_NAME_LENGTH}}}")

# Sorts behind every character that a name may hold, so ``prefix + AFTER_NAMES`` ends the range of names with that prefix.
AFTER_NAMES = "\x7f"


def is_valid_name(name: str) -> bool:
    """Whether a new key may have this name: 3 to 255 ASCII letters, digits and ``. _ - / :``."""
    return _NAME.fullmatch(name) is not None
