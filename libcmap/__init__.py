"""Client library for the cmap service."""
