"""Client library for the cfg service."""
