"""The machine's readings, and a watchdog device, for which a FIFO stands in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corosyncd.daemon.machine import LocalMachine, WatchdogDevice


def test_the_readings_are_within_their_ranges() -> None:
    machine = LocalMachine()
    assert 0 < machine.memory_used() <= 100
    assert machine.load_15min() >= 0


def test_a_device_is_written_to_as_the_kernel_s_watchdog_interface_says(tmp_path: Path) -> None:
    fifo = tmp_path / "watchdog"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        device = WatchdogDevice(str(fifo))
        device.keep_alive()
        assert os.read(reader, 10) == b"\0", "anything but the magic character keeps the dog quiet"
        assert device.set_timeout(10) is None, "this one does not answer"
        device.disarm()
        assert os.read(reader, 10) == b"V"
        assert os.read(reader, 10) == b"", "closed"
    finally:
        os.close(reader)


def test_a_device_that_nobody_serves_is_refused_without_blocking(tmp_path: Path) -> None:
    fifo = tmp_path / "watchdog"
    os.mkfifo(fifo)
    with pytest.raises(OSError):
        WatchdogDevice(str(fifo))
