"""Three daemons and three programs on this machine show what the cluster engine promises, and check it: ``python -m demo``.

``program`` is what a user of the cluster would write; the rest starts daemons, watches them, and judges.
"""
