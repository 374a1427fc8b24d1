"""Looks at a router again and again for a display that is live, and keeps the last that was seen.

A router that goes away does not end a display: that is when operators watch.
"""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

import click

from partitioner.cli.options import Refused
from partitioner.cli.output import age

SeenT = TypeVar("SeenT")


class Looks(Generic[SeenT]):
    """The last that was seen, and since when nothing is seen."""

    def __init__(self, look: Callable[[], SeenT], clock: Callable[[], float] = time.monotonic) -> None:
        """`look` asks the router, and may raise ClickException; `clock` tells seconds."""
        self.seen: SeenT | None = None
        self._look = look
        self._clock = clock
        self._seen_at = clock()
        self._trouble = ""

    def refresh(self) -> None:
        """Look once. Raises Refused where looking again would not help, as without the token."""
        try:
            self.seen, self._trouble = self._look(), ""
            self._seen_at = self._clock()
        except Refused:
            raise
        except click.ClickException as error:
            self._trouble = error.message

    def maybe_trouble(self) -> str | None:
        """Why nothing is seen, and for how long; None if the last look has succeeded."""
        if not self._trouble:
            return None
        return f"Nothing seen for {age(self._clock() - self._seen_at)}: {self._trouble}. Trying again."
