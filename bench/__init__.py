"""Measurements: our cluster against a stock one (``make bench``), and what single parts cost."""
