"""How a daemon is, in a line: what `systemctl status` shows.

    2 of 3 serve, redundant for 12 min, 340 requests/s
    standby, 3 of 3 answer: another router is active and used
    12345 sessions, 1.2GiB, 340 requests/s

Numbers are coarse, so that the line changes when something has changed.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from partitioner.ops.standing import why_standby
from partitioner.sessions.table import SessionTable
from partitioner.units import format_size

if TYPE_CHECKING:  # a state server starts without all that a router is made of
    from partitioner.net.lane import Lane

_UNITS = ((86400.0, "days"), (3600.0, "h"), (60.0, "min"))


class Rate:
    """How many a second, since the last time that this was asked."""

    def __init__(self, count: Callable[[], int], clock: Callable[[], float]) -> None:
        self._count = count
        self._clock = clock
        self._last = count(), clock()

    def per_second(self) -> float:
        count, now = self._count(), self._clock()
        before, then = self._last
        self._last = count, now
        return (count - before) / (now - then) if now > then else 0.0


def router_status(lane: "Lane", requests: Rate, now: float) -> str:
    """How a router is."""
    pool, since = lane.roster.pool, lane.roster.redundancy.redundant_since(now)
    if (standby := why_standby(lane)) is not None:
        return f"standby, {len(pool.eligible)} of {len(pool.ready)} answer: {standby}"
    redundant = "not redundant" if since is None else f"redundant for {coarse_duration(now - since)}"
    who = f"{len(pool.eligible)} of {len(pool.ready)} serve"
    return f"{who}, {redundant}, {coarse_number(requests.per_second())} requests/s"


def state_server_status(table: SessionTable, requests: Rate) -> str:
    """How a state server is."""
    used = format_size(round_size(table.used_memory))
    return f"{len(table)} sessions, {used}, {coarse_number(requests.per_second())} requests/s"


def coarse_duration(seconds: float) -> str:
    """A length of time in its largest unit of which there are two: `12 min`, `36 h`."""
    for length, unit in _UNITS:
        if seconds >= (2 * length if length > 60.0 else length):
            return f"{int(seconds // length)} {unit}"
    return "less than a minute"


def coarse_number(number: float) -> str:
    """A number to two digits: `340`, `0.5`."""
    return f"{float(f'{number:.2g}'):.6g}"


def round_size(size: int) -> int:
    """A size of which a change of less than a MiB is no news."""
    mebibyte = 1024 * 1024
    return size if size < mebibyte else size // mebibyte * mebibyte
