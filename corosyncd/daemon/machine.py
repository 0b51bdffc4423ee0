"""The machine as engines see it: /proc for readings, a watchdog device, and reboot(2).

Sources: proc(5), reboot(2), the kernel's watchdog-api.rst.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from pathlib import Path
from typing import Final

from corosyncd.engines.machine import Watchdog

_WDIOC_SETTIMEOUT: Final = 0xC0045706
_WDIOC_GETTIMEOUT: Final = 0x80045707
_SECONDS: Final = struct.Struct("=i")
_KEEP_ALIVE: Final = b"\0"
"""Any byte but the magic one keeps the dog quiet, as the ioctl does; a write works on a stand-in file too."""
_MAGIC_CLOSE: Final = b"V"
_RB_AUTOBOOT: Final = 0x01234567
_RB_POWER_OFF: Final = 0x4321FEDC
_libc = ctypes.CDLL(None, use_errno=True)


class WatchdogDevice:
    """A /dev/watchdog that is open. If this process ends without ``disarm``, the timer runs on."""

    def __init__(self, path: str) -> None:
        """Opening starts the timer. Raises OSError."""
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)

    def keep_alive(self) -> None:
        """See Watchdog."""
        os.write(self._descriptor, _KEEP_ALIVE)

    def set_timeout(self, seconds: int) -> int | None:
        """See Watchdog. A device that cannot be set keeps its own timeout, and one that is no watchdog has none."""
        for request, value in ((_WDIOC_SETTIMEOUT, seconds), (_WDIOC_GETTIMEOUT, 0)):
            try:
                answer = fcntl.ioctl(self._descriptor, request, _SECONDS.pack(value))
            except OSError:
                continue
            in_force: int = _SECONDS.unpack(answer)[0]
            return in_force
        return None

    def disarm(self) -> None:
        """See Watchdog."""
        try:
            os.write(self._descriptor, _MAGIC_CLOSE)
        finally:
            os.close(self._descriptor)


class LocalMachine:
    """The machine that this process runs on."""

    def memory_used(self) -> int:
        """See Machine."""
        sizes: dict[str, int] = {}
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, rest = line.partition(":")
            sizes[name] = int(rest.split()[0])
        total = sizes["MemTotal"] + sizes["SwapTotal"]
        # What caches hold can be had. Stock takes all of "Cached" for that, shared memory and tmpfs too.
        free = sizes["MemAvailable"] + sizes["SwapFree"]
        return (total - free) * 100 // total

    def load_15min(self) -> float:
        """See Machine."""
        return os.getloadavg()[2]

    def open_watchdog(self, path: str) -> Watchdog:
        """See Machine."""
        return WatchdogDevice(path)

    def restart(self) -> None:
        """See Machine."""
        _reboot(_RB_AUTOBOOT)

    def power_off(self) -> None:
        """See Machine."""
        _reboot(_RB_POWER_OFF)


def _reboot(what: int) -> None:
    if _libc.reboot(ctypes.c_int(what)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
