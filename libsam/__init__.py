"""The simple availability manager: a process that supervises the program, ends it when it hangs, and starts it again.

with supervised(1000, Policy.RESTART) as sam:   # The supervisor stays in this line; each instance of the program leaves it.
    while work():
        sam.hc_send()

@supervised(1000, Policy.QUORUM_RESTART | Policy.CMAP)
def main(sam: Sam) -> None: ...
"""

from libsam.api import Sam
from libsam.health import HealthCheck
from libsam.policy import DATA_LIMIT, INTERVAL_LIMIT_MS, Policy
from libsam.scope import supervised
from libsam.states import State

__all__ = [
    "DATA_LIMIT",
    "INTERVAL_LIMIT_MS",
    "HealthCheck",
    "Policy",
    "Sam",
    "State",
    "supervised",
]
