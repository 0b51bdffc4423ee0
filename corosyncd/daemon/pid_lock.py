"""One daemon at a time: a pid file under an fcntl lock, as stock keeps it (reference config section 19.4)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

EXIT_NO_LOCK = 17
EXIT_RUNNING = 18


class LockError(Exception):
    """The lock cannot be had; ``status`` is the daemon's exit status."""

    def __init__(self, message: str, status: int) -> None:
        """``message`` is one line for the operator."""
        super().__init__(message)
        self.status = status


class PidLock:
    """Holds the lock while this process lives."""

    def __init__(self, file: Path) -> None:
        """Take the lock and write this process's pid. Raises LockError."""
        self._file = file
        try:
            self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise LockError(f"cannot create the pid file {file}: {error.strerror}", EXIT_NO_LOCK) from error
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise LockError(f"Another Corosync instance is already running (it holds {file}).", EXIT_RUNNING) from error
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Remove the file and let the lock go."""
        self._file.unlink(missing_ok=True)
        os.close(self._descriptor)
