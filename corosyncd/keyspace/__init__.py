"""The map of typed keys (icmap): values, read-only rules, tracking order."""
