"""Finds out what takes the memory of state servers of our own: which sessions, applications and items.

The largest sessions come from the inventories, walked side by side as healing does (routing.inventory). What
items there are each server adds up for itself, a page at a time, because bodies stay where they are. Names of
items may be made up by the thousand (`cart_4711`), so of those that are kept apart there is a bound.
"""

import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import trio

from partitioner.errors import ListingFailed, Refused
from partitioner.membership.backend import Address, BackendId
from partitioner.routing.core import RouterCore
from partitioner.routing.inspection import check_owner
from partitioner.routing.inventory import Found
from partitioner.routing.item_weights import ApplicationNames, Kind, WeighedPage, Weight, bounded

LONGEST_SURVEY = 300.0
"""Seconds; what has been seen by then is told."""

AT_A_TIME = 50
"""Sessions that are looked at in one go, about half a millisecond."""

MOST_KINDS = 10_000
"""Of items that are kept apart, in some 3 MB."""


@dataclass(frozen=True, slots=True)
class LargeSession:
    """One of the largest sessions."""

    key: bytes
    application: str
    size: int  # bytes, of the largest copy
    servers: tuple[BackendId, ...]
    idle: float | None  # seconds
    is_locked: bool


@dataclass(slots=True)
class Largest:
    """What a walk through all sessions has found."""

    sessions: Weight = field(default_factory=Weight)  # their number without copies; their size with them
    applications: dict[str, Weight] = field(default_factory=dict)  # the same of each
    largest: list[LargeSession] = field(default_factory=list)
    refused: dict[BackendId, str] = field(default_factory=dict)  # servers that were not walked, and why
    is_complete: bool = False


@dataclass(slots=True)
class ByKind:
    """What items there are, and what they take."""

    kinds: dict[Kind, Weight] = field(default_factory=dict)
    sessions: Weight = field(default_factory=Weight)  # copies counted
    unread: int = 0  # sessions that could not be read to their end
    refused: dict[BackendId, str] = field(default_factory=dict)
    is_complete: bool = False

    def add(self, page: WeighedPage) -> None:
        self.sessions.add(page.sessions, page.size)
        self.unread += page.unread
        for each in page.kinds:
            kind = bounded(each.kind, self.kinds, MOST_KINDS)
            self.kinds.setdefault(kind, Weight()).add(each.count, each.size)


class WeightSource(Protocol):
    """Asks admin ports of our own state servers what items they hold."""

    async def weigh(self, admin: Address, first: str) -> WeighedPage:
        """A part of what it holds, from the session with this target on. Raises ListingFailed."""


class MemorySurvey:
    """Surveys the servers of one router, one survey at a time."""

    def __init__(self, core: RouterCore, farm: str, source: WeightSource) -> None:
        self._core = core
        self._farm = farm
        self._source = source
        self._is_busy = False

    async def largest(self, at_most: int) -> Largest:
        """Walk through all sessions, and find the largest. Raises Refused while another survey goes on."""
        found = Largest()
        with self._alone(), trio.move_on_after(LONGEST_SURVEY):
            await self._walk(found, at_most)
        return found

    async def _walk(self, found: Largest, at_most: int) -> None:
        walk, names = self._core.healing.new_walk(), ApplicationNames()
        heap: list[tuple[int, int, LargeSession]] = []
        looked_at = 0
        try:
            await walk.begin()
            while (session := await walk.next()) is not None:
                looked_at += 1
                application = names.of(session.key)
                size = sum(listed.size for listed in session.on.values())
                found.sessions.add(1, size)
                found.applications.setdefault(application, Weight()).add(1, size)
                entry = (max(each.size for each in session.on.values()), looked_at)
                if len(heap) < at_most:
                    heapq.heappush(heap, (*entry, _large(session, application)))
                elif entry[0] > heap[0][0]:
                    heapq.heapreplace(heap, (*entry, _large(session, application)))
                if looked_at % AT_A_TIME == 0:
                    await trio.lowlevel.checkpoint()
            found.is_complete = True
        finally:
            found.refused = dict(walk.refused)
            found.largest = [session for _, _, session in sorted(heap, reverse=True)]

    async def by_kind(self) -> ByKind:
        """Have all servers add up their items. Raises Refused while another survey goes on."""
        found = ByKind()
        with self._alone(), trio.move_on_after(LONGEST_SURVEY):
            async with trio.open_nursery() as asking:
                for identity, admin in self._asked(found.refused):
                    asking.start_soon(self._weigh, identity, admin, found)
            found.is_complete = True
        return found

    def _asked(self, refused: dict[BackendId, str]) -> Iterator[tuple[BackendId, Address]]:
        for identity, member in self._core.roster.pool.members.items():
            if not member.is_reachable:
                continue  # it is out, and serves no session
            if member.backend.admin is None:
                refused[identity] = "it has no admin port that lists its sessions"
            else:
                yield identity, member.backend.admin

    async def _weigh(self, identity: BackendId, admin: Address, found: ByKind) -> None:
        """Ask one server, a part after the other."""
        following: str | None = ""
        try:
            while following is not None:
                page = await self._source.weigh(admin, following)
                member = self._core.roster.pool.members.get(identity)
                if member is None:
                    raise ListingFailed("it has left the pool meanwhile")
                check_owner(page.canaries, self._farm, member)
                if page.following == following:
                    raise ListingFailed("its listing does not go on")
                found.add(page)
                following = page.following
        except ListingFailed as error:
            found.refused[identity] = str(error)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other surveys out. Raises Refused where another one goes on."""
        if self._is_busy:
            raise Refused("another survey of all sessions goes on; ask again when it has ended")
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False


def _large(session: Found, application: str) -> LargeSession:
    largest = max(session.on.values(), key=lambda each: each.size)
    return LargeSession(
        session.key, application, largest.size, tuple(session.on), largest.idle, largest.is_locked
    )
