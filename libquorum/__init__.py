"""Client library for the quorum service."""
