"""Configuration files: read, checked whole, turned into typed keys."""
