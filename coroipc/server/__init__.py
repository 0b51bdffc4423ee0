"""The serving side of the IPC: listening sockets and client connections."""
