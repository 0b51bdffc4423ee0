"""The simulator: the real protocol core on virtual time, under faults, watched by property checkers."""
