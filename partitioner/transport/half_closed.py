"""The watch that is kept over connections whose requests went unanswered.

Such a request may still lie in the connection and be carried out later, by a server that was frozen,
say. So the connection is half-closed: we have finished, and when the server closes its end as well,
what lay in it has been worked off. A late answer is read for the lock that it may grant. One that is not
waited for any more is reset, so that what still lies in our kernel is not carried out after that.
"""

from collections.abc import Callable

import trio

from partitioner.errors import ConnectionBroken
from partitioner.transport.backend_exchange import Lease

PATIENCE = 30.0
"""Seconds for which the end is waited for once the backend answers probes (design.md 6)."""

GLANCE = 1.0
"""Seconds between two looks at whether it does."""


class HalfClosedWatch:
    """Watches the unanswered connections to one backend, in the background."""

    def __init__(self, background: trio.Nursery, on_patience_over: Callable[[], None]) -> None:
        """`on_patience_over` is told where the backend, which answers probes, did not close its end."""
        self._background = background
        self._on_patience_over = on_patience_over
        self._watched: dict[Lease, None] = {}
        self._answering_since: float | None = None  # None while probes fail

    def note_answering(self, is_answering: bool) -> None:
        """Take note whether the backend answers probes."""
        if not is_answering:
            self._answering_since = None
        elif self._answering_since is None:
            self._answering_since = trio.current_time()

    @property
    def unanswered(self) -> int:
        """How many connections are watched."""
        return len(self._watched)

    def break_off(self) -> None:
        """Close all connections now. Their backend gets its whole patience from here on."""
        if self._answering_since is not None:
            self._answering_since = trio.current_time()
        for lease in self._watched:
            lease.break_off()

    def keep(self, lease: Lease, on_end: Callable[[Lease], None]) -> None:
        """Watch a lease's connection until its end, close it, and tell.

        One that was broken off has no end that could be seen; it is told of when the patience is over.
        """
        self._watched[lease] = None
        self._background.start_soon(self._keep, lease, on_end)

    async def _keep(self, lease: Lease, on_end: Callable[[Lease], None]) -> None:
        began_at = trio.current_time()
        try:
            while (patience := self._patience_left(began_at)) > 0:
                with trio.move_on_after(min(GLANCE, patience)) as glance:
                    await _wait_for_end(lease)
                if not glance.cancelled_caught:
                    break
            else:
                if not lease.was_broken_off:
                    self._on_patience_over()
        finally:
            lease.channel.close()
            del self._watched[lease]
        on_end(lease)

    def _patience_left(self, began_at: float) -> float:
        """Seconds for which a connection is watched on; without end while probes fail."""
        if self._answering_since is None:
            return float("inf")
        return max(began_at, self._answering_since) + PATIENCE - trio.current_time()


async def _wait_for_end(lease: Lease) -> None:
    """Wait for the end of file, and close in order; or until the backend breaks the connection."""
    try:
        if not lease.was_broken_off:
            await lease.read_to_end()
            lease.channel.close_in_order()
            return
    except ConnectionBroken:
        if not lease.was_broken_off:
            return
    await trio.sleep_forever()
