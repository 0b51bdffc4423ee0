"""Processes, sockets, signals and timers around the core."""
