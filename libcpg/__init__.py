"""Client library for the cpg service."""
