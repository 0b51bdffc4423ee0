"""Supervision for a block or a function: ``supervised`` is a context manager and a decorator.

Source: sam_overview(3).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from libsam.api import Sam
from libsam.health import HealthCheck
from libsam.states import State

P = ParamSpec("P")
R = TypeVar("R")


class supervised:  # noqa: N801  As with the standard library's context managers, a class is how it is made.
    """Supervise a block: register before it, check its health within it, and end the checks when it is left in order.

    An exception, SystemExit too, leaves the checks on: a program that it ends has failed, and one that survives it must go on
    with its heartbeats. As a decorator: the function gets the Sam as its first argument.
    """

    def __init__(
        self,
        interval_ms: int,
        policy: int,
        *,
        check: HealthCheck | None = None,
        warn_signal: int | None = None,
        instance: str | None = None,
        socket_directory: str | None = None,
    ) -> None:
        """``interval_ms`` and ``policy`` are ``Sam.initialize``'s; ``check`` is a callback that makes heartbeats needless;
        ``warn_signal`` is ``Sam.warn_signal_set``'s; ``instance`` and ``socket_directory`` name the daemon, as for ``Sam``.
        """
        self._interval_ms = interval_ms
        self._policy = policy
        self._check = check
        self._warn_signal = warn_signal
        self._instance = instance
        self._socket_directory = socket_directory
        self._sam: Sam | None = None

    def __enter__(self) -> Sam:
        """Initialise, register and start. Raises what these raise; BadHandle when entered again."""
        if self._sam is None:
            self._sam = Sam(instance=self._instance, socket_directory=self._socket_directory)
        sam = self._sam
        sam.initialize(self._interval_ms, self._policy)
        if self._warn_signal is not None:
            sam.warn_signal_set(self._warn_signal)
        sam.register()
        if self._check is not None:
            sam.hc_callback_register(self._check)
        sam.start()
        return sam

    def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None:
        """Finalise, unless an exception leaves the block or the block has done it."""
        if kind is None and self._sam is not None and self._sam.state != State.FINALIZED:
            self._sam.finalize()

    def __call__(self, function: Callable[Concatenate[Sam, P], R]) -> Callable[P, R]:
        """Decorate: each call of the function is a supervised block of its own."""

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            block = supervised(
                self._interval_ms,
                self._policy,
                check=self._check,
                warn_signal=self._warn_signal,
                instance=self._instance,
                socket_directory=self._socket_directory,
            )
            with block as sam:
                return function(sam, *args, **kwargs)

        return run
