"""The main process's decisions, without I/O: routing, the sync round, the key space, the engines' lives."""
