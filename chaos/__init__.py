"""Trials of rings of real daemons under random faults, judged by the simulator's checkers: ``make chaos``."""
