"""For how long sessions were out of reach, and for how long no router looked after them."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from partitioner.protocol.messages import Operation
from tests.simulation.history import Exchange

_CLAIM = re.compile(r"^(\S+ \S+) \[info +\] this router is the active one", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outage:
    """From the beginning of what was asked in vain of a session to the end of its next answer."""

    session: int
    began_at: float
    ended_at: float

    @property
    def duration(self) -> float:
        return self.ended_at - self.began_at


def claims(log: str) -> list[float]:
    """When a router became the active one, as routers' logs say: seconds since the epoch."""
    return [datetime.fromisoformat(each).timestamp() for each in _CLAIM.findall(log)]


def outages(exchanges: Iterable[Exchange]) -> list[Outage]:
    """Every time for which a session was not answered; a long wait for one answer is such a time as well.

    Every status is an answer: who is told that a session is locked has reached it. It ends at infinity
    where no answer came any more.
    """
    return [outage for each in _by_session(exchanges).values() for outage in _outages_of_one(each)]


def longest_neglect(
    exchanges: Iterable[Exchange], settles: Callable[[Exchange], bool], fresh_starts: Sequence[float] = ()
) -> float:
    """The longest time in seconds in which nothing was done that settles, of any one session.

    From the beginning of one such exchange to the end of the next: less than that is no whole one. It
    counts anew from each fresh start.
    """
    longest = 0.0
    for each in _by_session(exchanges).values():
        times = sorted((one.began_at, one.ended_at or 0.0) for one in each if settles(one))
        for (since, _), (_, until) in pairwise(times):
            started_at = max((start for start in fresh_starts if start < until), default=since)
            longest = max(longest, until - max(since, started_at))
    return longest


def touches(exchange: Exchange) -> bool:
    """Whether the session was reached."""
    return exchange.status is not None


def puts_in_place(exchange: Exchange) -> bool:
    """Whether the session is on no other servers after it than it should be (design.md 7.4)."""
    match exchange.operation:
        case Operation.SET | Operation.REMOVE:
            return exchange.status in (200, 404)
        case Operation.GET | Operation.ACQUIRE:
            return exchange.status == 404
    return False


def _by_session(exchanges: Iterable[Exchange]) -> dict[int, list[Exchange]]:
    found: dict[int, list[Exchange]] = defaultdict(list)
    for each in exchanges:
        found[each.session].append(each)
    return found


def _outages_of_one(exchanges: list[Exchange]) -> Iterator[Outage]:
    answered_at, asked_in_vain_at = float("-inf"), float("inf")
    for each in sorted(exchanges, key=lambda one: one.ended_at or float("inf")):
        began_at = max(answered_at, min(asked_in_vain_at, each.began_at))
        if each.status is None:
            asked_in_vain_at = began_at
        else:
            assert each.ended_at is not None
            yield Outage(each.session, began_at, each.ended_at)
            answered_at, asked_in_vain_at = each.ended_at, float("inf")
    if asked_in_vain_at < float("inf"):
        yield Outage(exchanges[0].session, asked_in_vain_at, float("inf"))
