"""Asks a router again and again, also while it restarts."""

import time
from collections.abc import Callable
from typing import TypeVar

from partitioner.cli.admin_client import NoRouterAnswers

GLANCE = 0.5
"""Seconds between two looks at a router."""

PATIENCE = 60.0
"""Seconds for which no router may answer while something is waited for: one that restarts is back by then."""

T = TypeVar("T")


class Patient:
    """Asks a router that has answered before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._silent_since: float | None = None

    def maybe_ask(self, ask: Callable[[], T]) -> T | None:
        """What it answers; None if nobody does just now. Raises NoRouterAnswers when that has lasted long."""
        try:
            answer = ask()
        except NoRouterAnswers:
            now = self._clock()
            if self._silent_since is None:
                self._silent_since = now
            if now - self._silent_since >= PATIENCE:
                raise
            return None
        self._silent_since = None
        return answer
