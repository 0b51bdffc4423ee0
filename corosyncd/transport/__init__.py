"""Sockets that carry ring frames."""
