"""Captured ring messages in short: hex, ``[00*7]`` a byte repeated, ``..`` a byte that stock daemons leave undefined."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\[(..)\*(\d+)\]|(..)")


class Vector:
    """A captured message; undefined bytes equal anything."""

    def __init__(self, notation: str) -> None:
        cells: list[str] = []
        for repeated, times, single in _TOKEN.findall(re.sub(r"\s", "", notation)):
            cells.extend([repeated] * int(times) if repeated else [single])
        self.data = bytes(0xEE if cell == ".." else int(cell, 16) for cell in cells)
        """The message with garbage where it is undefined, as it comes from a stock node."""
        self._defined = [cell != ".." for cell in cells]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, bytes) or len(other) != len(self.data):
            return False
        return all(mine == its or not defined for mine, its, defined in zip(self.data, other, self._defined, strict=True))

    def __hash__(self) -> int:
        return hash(self.data)

    def __repr__(self) -> str:
        return self.data.hex(" ")


NAME_GRP_A = "04 [00*7] 67727041 [00*124]"

CMAP_SYNC = Vector(
    "[00*8] 4801 [00*6] 00 [00*7] 01 [00*7] [00*16] 14 [00*7] 746f74656d2e636f6e6669675f76657273696f6e [00*236] 00 [00*7] [00*8]"
)
CMAP_VERSION_6 = Vector(
    "[00*8] 5001 [00*6] 01 [00*7] 01 [00*7] [00*16] 14 [00*7] "
    "746f74656d2e636f6e6669675f76657273696f6e [00*236] 08 [00*7] 08 [00*7] 06 [00*7]"
)
CPG_JOIN = Vector(f"00000200 00000000 a8 [00*7] {NAME_GRP_A} 853f0000 00000000 01 [00*7]")
CPG_LEAVE = Vector(f"01000200 00000000 a8 [00*7] {NAME_GRP_A} 8b3f0000 00000000 02 [00*7]")
CPG_JOIN_DIRTY = Vector("00000200 00000000 a8 [00*7] 05 [00*7] 6f74686572 [aa*123] be050000 00000000 01 [00*7]")
CPG_MCAST = Vector(
    f"03000200 00000000 c6 [00*7] {NAME_GRP_A} 0e [00*7] 853f0000 00000000 01 [00*7] "
    "d0a061c121560000 68656c6c6f2066726f6d206f6e65"
)
CPG_PARTIAL_FIRST_HEAD = Vector(
    "06000200 [..*4] c8fc0f00 [..*4] 04 [00*3] [00*4] 67727041 [00*124] 01fc0f00 [..*4] 00fc0f00 [..*4] "
    "94050000 [..*4] 01000000 [..*4] 01000000 00000000 b0c9f8a872550000"
)
CPG_PARTIAL_LAST = Vector(
    "06000200 [..*4] c9000000 [..*4] 04 [00*7] 67727041 [00*124] 01fc0f00 [..*4] 01000000 [..*4] "
    "94050000 [..*4] 03000000 [..*4] 01000000 00000000 b0c9f8a872550000 78"
)
CPG_DOWN_LIST = Vector("05000200 00000000 2006 [00*6] 03 [00*7] 01 [00*7] 03000000 [00*1532]")
CPG_JOIN_LIST = Vector(
    f"02000200 00000000 3801 [00*6] [00*8] 853f0000 00000000 {NAME_GRP_A} 7d4c0000 00000000 04 [00*7] 7a657461 [00*124]"
)
CFG_RELOAD = Vector("03000100 [..*4] 20000000 [..*4] 01000000 00000000 20ba61c121560000")
CFG_SHUTDOWN = Vector("02000100 [..*4] 10000000 [..*4]")
CFG_KILL_NODE = Vector(
    "01000100 [..*4] 20010000 [..*4] 03000000 [..*4] 1b00 [00*6] 4b696c6c656420627920636f726f73796e632d636667746f6f6c00 [..*229]"
)
CFG_CRYPTO_PHASE_1 = Vector("04000100 [..*4] 18000000 [..*4] 01000000 [..*4]")
