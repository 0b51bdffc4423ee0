"""Service engines: plain objects without I/O, one child process each."""
