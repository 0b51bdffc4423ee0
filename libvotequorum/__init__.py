"""Client library for the votequorum service."""
