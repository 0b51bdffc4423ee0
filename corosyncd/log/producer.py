"""The producing side: loggers that hand records to the log process over a socket and never wait for it.

A record that the socket has no room for is dropped and counted; the count is logged as soon as there is room again. Nothing heavy
is imported here: the executive logs through this module.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Final

from corosyncd.log.levels import BY_WORD, WORDS, Priority
from corosyncd.log.records import Message, Record, Reopen, Where, pack
from corosyncd.log.settings import Settings

DEFAULT_SUBSYSTEM: Final = "MAIN"
_FRAMES_TO_CALLER: Final = 2


class Channel:
    """A process's way to the log process: filters, stamps and sends."""

    def __init__(self, sock: socket.socket, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        """Takes the socket over (SOCK_SEQPACKET or SOCK_DGRAM) and tells the log process the settings."""
        sock.setblocking(False)
        self._socket = sock
        self._clock = clock
        self._pid = os.getpid()
        self._thresholds: dict[str, int] = {}
        self._waiting: list[Message] = []
        self.dropped = 0
        """Records lost since the last one that told of it."""
        self.dropped_in_all = 0
        self.subsystem = DEFAULT_SUBSYSTEM
        """Under which the channel's own lines appear."""
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Log by these settings from now on, here and in the log process."""
        self.settings = settings
        self._thresholds = {name: settings.threshold(name) for name in settings.subsystems}
        self._base = settings.threshold("")
        self._where_wanted = settings.fileline or settings.function_name
        # Only the newest settings matter.
        self._waiting = [message for message in self._waiting if not isinstance(message, Settings)]
        self._waiting.append(settings)
        self.flush()

    def reopen(self) -> None:
        """Let the log process close its files and open them again (their names are read anew)."""
        if not any(isinstance(message, Reopen) for message in self._waiting):
            self._waiting.append(Reopen())
        self.flush()

    def flush(self) -> bool:
        """Send what had no room: settings, a wish to reopen, the count of lost records. True where nothing waits any more."""
        while self._waiting:
            if not self._send(self._waiting[0]):
                return False
            self._waiting.pop(0)
        if self.dropped:
            text = f"{self.dropped} log records were dropped: the log process did not keep up"
            lost = Record(self._pid, self._clock(), self.subsystem, Priority.WARNING, text, {"dropped": self.dropped})
            if not self._send(lost):
                return False
            self.dropped = 0
        return True

    def wants(self, subsystem: str, priority: int) -> bool:
        """Whether any target takes such a record: ask before building an expensive text."""
        return priority <= self._thresholds.get(subsystem, self._base)

    def write(self, subsystem: str, priority: int, text: str, fields: dict[str, object], frames: int = _FRAMES_TO_CALLER) -> None:
        """Send one record; ``frames`` says how far up the caller stands, for fileline and function_name."""
        if priority > self._thresholds.get(subsystem, self._base):
            return
        where = _caller(frames + 1) if self._where_wanted else None
        if not self.flush() or not self._send(Record(self._pid, self._clock(), subsystem, priority, text, fields, where)):
            self.dropped += 1
            self.dropped_in_all += 1

    def _send(self, message: Message) -> bool:
        try:
            self._socket.send(pack(message))
        except OSError:
            return False
        return True

    def close(self) -> None:
        """End the log process's input: it writes what it has and ends."""
        self._socket.close()


def _caller(frames: int) -> Where:
    code_frame = sys._getframe(frames)
    code = code_frame.f_code
    return Where(os.path.basename(code.co_filename), code.co_name, code_frame.f_lineno)


_channel: Channel | None = None


def configure(sock: socket.socket, settings: Settings, subsystem: str = DEFAULT_SUBSYSTEM) -> Channel:
    """Give this process its channel; a second call replaces it (the log process was started anew).

    ``subsystem`` is where the channel's own lines appear.
    """
    global _channel
    _channel = Channel(sock, settings)
    _channel.subsystem = subsystem
    return _channel


def _emit(subsystem: str, priority: int, text: str, fields: dict[str, object]) -> None:
    if _channel is not None:
        _channel.write(subsystem, priority, text, fields, frames=3)
    elif priority <= Priority.WARNING:
        # Before logging is set up there is only one place; lesser news can wait.
        print(f"corosyncd: {text}", file=sys.stderr)


def write(subsystem: str, level: str, text: str) -> None:
    """Log one text under a subsystem; ``level`` is a stock priority word, any other counts as an error."""
    _emit(subsystem, BY_WORD.get(level, Priority.ERROR), text, {})


def reopen() -> None:
    """Close the log files and open them again; nothing where logging is not set up."""
    if _channel is not None:
        _channel.reopen()


def apply(settings: Settings) -> None:
    """Log by new settings; nothing where logging is not set up."""
    if _channel is not None:
        _channel.apply(settings)


class Logger:
    """One subsystem's logger. Keyword arguments become fields of the JSON format."""

    __slots__ = ("subsystem",)

    def __init__(self, subsystem: str) -> None:
        """``subsystem`` is a stock word such as TOTEM; six letters of it are shown."""
        self.subsystem = subsystem

    def wants(self, level: str) -> bool:
        """Whether a record of this priority would be written anywhere."""
        return _channel is not None and _channel.wants(self.subsystem, BY_WORD[level])

    def emerg(self, text: str, **fields: object) -> None:
        """The system is unusable."""
        _emit(self.subsystem, Priority.EMERG, text, fields)

    def alert(self, text: str, **fields: object) -> None:
        """Somebody must act at once."""
        _emit(self.subsystem, Priority.ALERT, text, fields)

    def crit(self, text: str, **fields: object) -> None:
        """A part has failed."""
        _emit(self.subsystem, Priority.CRIT, text, fields)

    def error(self, text: str, **fields: object) -> None:
        """Something could not be done."""
        _emit(self.subsystem, Priority.ERROR, text, fields)

    def warning(self, text: str, **fields: object) -> None:
        """Something may go wrong later."""
        _emit(self.subsystem, Priority.WARNING, text, fields)

    def notice(self, text: str, **fields: object) -> None:
        """Normal, and worth knowing."""
        _emit(self.subsystem, Priority.NOTICE, text, fields)

    def info(self, text: str, **fields: object) -> None:
        """Normal."""
        _emit(self.subsystem, Priority.INFO, text, fields)

    def debug(self, text: str, **fields: object) -> None:
        """For those who look for a fault."""
        _emit(self.subsystem, Priority.DEBUG, text, fields)

    def trace(self, text: str, **fields: object) -> None:
        """For those who look very closely."""
        _emit(self.subsystem, Priority.TRACE, text, fields)


def get_logger(subsystem: str) -> Logger:
    """The logger of a subsystem; may be made before logging is set up."""
    return Logger(subsystem)


assert all(hasattr(Logger, word) for word in WORDS)
