"""The counters of the ring, named as the keys ``stats.srp.*`` (reference totem.md §7), and what was dropped, by reason."""

from __future__ import annotations

from typing import Final

from corosyncd.totem.wire import Reason

COUNTERS: Final = (
    "orf_token_tx",
    "orf_token_rx",
    "memb_merge_detect_tx",
    "memb_merge_detect_rx",
    "memb_join_tx",
    "memb_join_rx",
    "mcast_tx",
    "mcast_retx",
    "mcast_rx",
    "memb_commit_token_tx",
    "memb_commit_token_rx",
    "token_hold_cancel_tx",
    "token_hold_cancel_rx",
    "operational_entered",
    "operational_token_lost",
    "gather_entered",
    "gather_token_lost",
    "commit_entered",
    "commit_token_lost",
    "recovery_entered",
    "recovery_token_lost",
    "consensus_timeouts",
    "rx_msg_dropped",
)
"""The u64 counters of stock that ``clear`` resets."""
OWN_COUNTERS: Final = ("probe_tx", "port_refused", "early_accusations", "pauses")
"""u64 counters that stock does not have, ``stats.totem.*``; ``clear`` resets them too."""
TOKENS_A_MEAN: Final = 100
"""The means over tokens cover this many (``mtt_rx_token``, ``avg_backlog_calc``)."""


class Statistics:
    """Counters since the start, or since ``clear``. Times are milliseconds, as their keys promise."""

    __slots__ = (
        *COUNTERS,
        *OWN_COUNTERS,
        "avg_backlog_calc",
        "avg_token_workload",
        "continuous_gather",
        "continuous_sendmsg_failures",
        "dropped",
        "firewall_enabled_or_nic_failure",
        "mtt_rx_token",
        "time_since_token_last_received",
        "_backlog_sum",
        "_mean_started_at",
        "_mean_tokens",
        "_token_received_at",
        "_work_sum",
    )

    def __init__(self) -> None:
        self.clear()
        self.continuous_gather = 0
        self.continuous_sendmsg_failures = 0
        """Set by the driver: the core does not see the outcome of a send."""
        self.firewall_enabled_or_nic_failure = 0
        self._token_received_at = -1.0

    def clear(self) -> None:
        """Reset what ``stats.clear.totem`` resets."""
        self.orf_token_tx = self.orf_token_rx = 0
        self.memb_merge_detect_tx = self.memb_merge_detect_rx = 0
        self.memb_join_tx = self.memb_join_rx = 0
        self.mcast_tx = self.mcast_retx = self.mcast_rx = 0
        self.memb_commit_token_tx = self.memb_commit_token_rx = 0
        self.token_hold_cancel_tx = self.token_hold_cancel_rx = 0
        self.operational_entered = self.operational_token_lost = 0
        self.gather_entered = self.gather_token_lost = 0
        self.commit_entered = self.commit_token_lost = 0
        self.recovery_entered = self.recovery_token_lost = 0
        self.consensus_timeouts = 0
        self.rx_msg_dropped = 0
        self.probe_tx = 0
        """Merge-detects sent to show life (see ``failover``); ``memb_merge_detect_tx`` counts those of the representative."""
        self.port_refused = 0
        """Sends that a host answered with "port unreachable"."""
        self.early_accusations = 0
        """Members declared gone because their ports were closed."""
        self.pauses = 0
        """Times when this node was not scheduled for long."""
        self.time_since_token_last_received = 0
        self.mtt_rx_token = 0
        self.avg_token_workload = 0
        self.avg_backlog_calc = 0
        self.dropped: dict[Reason, int] = {}
        self._mean_started_at = -1.0
        self._mean_tokens = 0
        self._backlog_sum = 0
        self._work_sum = 0.0

    def drop(self, reason: Reason) -> None:
        """Count one dropped frame or message."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def token_received(self, backlog: int, now: float) -> None:
        """Account an accepted token; the means move once in ``TOKENS_A_MEAN`` tokens."""
        self._token_received_at = now
        self._backlog_sum += backlog
        self._mean_tokens += 1
        if self._mean_tokens < TOKENS_A_MEAN and self._mean_started_at >= 0:
            return
        if self._mean_started_at >= 0:
            self.mtt_rx_token = int((now - self._mean_started_at) * 1000 / self._mean_tokens)
            self.avg_backlog_calc = self._backlog_sum // self._mean_tokens
            self.avg_token_workload = int(self._work_sum * 1000 / self._mean_tokens)
        self._mean_started_at = now
        self._mean_tokens = 0
        self._backlog_sum = 0
        self._work_sum = 0.0

    def token_worked(self, seconds: float) -> None:
        """What a token's visit took of the driver's time: within one step of the core no time passes."""
        self._work_sum += seconds

    def refresh(self, now: float) -> None:
        """Bring ``time_since_token_last_received`` up to date; call before reading."""
        if self._token_received_at >= 0:
            self.time_since_token_last_received = int((now - self._token_received_at) * 1000)
