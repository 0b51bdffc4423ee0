"""Hostile input for everything that decodes what it is sent: ``make fuzz``."""
