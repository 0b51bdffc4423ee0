"""The vote on stopping this node: the programs that track shutdown are asked, and may refuse.

Source: corosync_cfg_try_shutdown(3), reference client-api section 6 (shutdown handshake). Unlike the stock daemon, an answer of a
program that was not asked does not count, nor does a second one.
"""

from __future__ import annotations

from libcfg.messages import ShutdownFlag

DEFAULT_TIMEOUT_MS = 5000


class Vote:
    """One shutdown request under way."""

    def __init__(self, requester: int, flags: int) -> None:
        """``requester`` and voters are client identifiers."""
        self.requester = requester
        self.flags = flags
        self._answers: dict[int, bool | None] = {}

    def ask(self, voter: int) -> None:
        """This program's answer is expected."""
        self._answers.setdefault(voter, None)

    def answer(self, voter: int, agrees: bool) -> bool:
        """Note an answer; False where this program was not asked."""
        if voter not in self._answers:
            return False
        if self._answers[voter] is None:
            self._answers[voter] = agrees
        return True

    def withdraw(self, voter: int) -> None:
        """Who stops tracking, or goes, does not object."""
        self.answer(voter, True)

    def expire(self) -> None:
        """No answer in time is a refusal."""
        self._answers = {voter: bool(agrees) for voter, agrees in self._answers.items()}

    def outcome(self) -> bool | None:
        """Whether the node stops; None while answers are missing."""
        if None in self._answers.values():
            return None
        return self.flags == ShutdownFlag.REGARDLESS or all(self._answers.values())
