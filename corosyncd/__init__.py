"""The cluster engine: a daemon whose parts are processes, and whose protocol core has no I/O in it."""
