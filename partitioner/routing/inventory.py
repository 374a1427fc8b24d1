"""What state servers of our own hold, side by side: their listings, walked at once and merged by key.

The router keeps no list of sessions. Each server lists its own in one order that follows from the keys alone
(protocol.target.listing_place), so the listings can be merged as they are read, and what a walk needs is one
page of each server however many sessions there are.

A listing is not believed blindly. It has to be that of the memory which the router speaks to under the same
name (it shows the canary of this farm), in order, and no longer than it said. A server whose listing is not
like that is not walked: of what it holds nothing is known, so nothing is concluded from it.

The listing comes from a function that is handed in, for it travels by HTTP and this floor does not.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import trio

from partitioner.errors import ListingFailed, MalformedAnswer
from partitioner.membership.backend import Address, BackendId
from partitioner.membership.items import CanaryItem, read_canary
from partitioner.membership.pool import Member, Pool
from partitioner.membership.wholeness import Holding
from partitioner.protocol.target import listing_place, target_of
from partitioner.sessions.table import Listed

MORE_THAN_TOLD = 10_000
"""Sessions that may be added while a listing is read, beyond as many again as it said at its beginning."""


@dataclass(frozen=True, slots=True)
class InventoryPage:
    """A part of a server's inventory."""

    listed: tuple[Listed, ...]
    following: bytes | None  # the key with which the next page begins
    sessions: int  # how many the server holds in all, routers' items apart
    canaries: Mapping[str, bytes]  # what the routers of each farm have planted there, by the farm's name


ListSessions = Callable[[Address, bytes], Awaitable[InventoryPage]]
"""Asks an admin port for a page that begins with this key, or the first after it. Raises ListingFailed."""


@dataclass(slots=True)
class Found:
    """A session, and who holds it."""

    key: bytes
    on: dict[BackendId, Listed] = field(default_factory=dict)  # by identity
    listed_at: dict[BackendId, float] = field(default_factory=dict)  # when each page was asked for

    @property
    def target(self) -> bytes:
        return target_of(self.key)

    def holdings(self) -> dict[BackendId, Holding]:
        """What each of them has, by identity."""
        return {each: _holding(listed, self.listed_at.get(each, 0.0)) for each, listed in self.on.items()}


def _holding(listed: Listed, listed_at: float) -> Holding:
    left = None if listed.idle is None else 60.0 * listed.timeout_minutes - listed.idle
    expires_at = None if left is None else listed_at + left
    return Holding(listed.digest, expires_at, listed_at, listed.timeout_minutes, listed.is_locked)


class Walk:
    """One walk through the inventories of all servers of a pool that can be asked."""

    def __init__(
        self, pool: Pool, farm: str, list_sessions: ListSessions | None, beats_within: float = 5.0
    ) -> None:
        """`farm` is the name under which this router keeps its items on the servers.

        A router that is active has written a beat after `beats_within` seconds.
        """
        self._beats_within = beats_within
        self.pool = pool
        self.refused: dict[BackendId, str] = {}  # why a server is not walked, by identity
        self._listings: dict[BackendId, _Listing] = {}
        for identity, member in pool.members.items():
            if not member.is_reachable:
                continue  # it is out, and serves no session
            if member.backend.admin is None or list_sessions is None:
                self.refused[identity] = "it has no admin port that lists its sessions"
            else:
                self._listings[identity] = _Listing(member, farm, list_sessions)

    @property
    def walked(self) -> frozenset[BackendId]:
        """Identities of the servers whose listings are read."""
        return frozenset(self._listings)

    @property
    def is_whole(self) -> bool:
        """Whether every server that answers is walked."""
        return not self.refused

    @property
    def told(self) -> int:
        """How many sessions the servers have said they hold, copies counted."""
        return sum(each.told for each in self._listings.values())

    @property
    def seen(self) -> int:
        """How many of these were listed so far."""
        return sum(each.seen for each in self._listings.values())

    async def begin(self) -> None:
        """Read the first page of every server; where another farm has been, see whether it still is."""
        await self._fill_all(self._listings)
        shared = [identity for identity, each in self._listings.items() if each.has_other_farms]
        if shared:
            await trio.sleep(self._beats_within)
            for identity in shared:
                self._listings[identity].start_over()
            await self._fill_all(shared)

    async def _fill_all(self, identities: Iterable[BackendId]) -> None:
        async with trio.open_nursery() as nursery:
            for identity in tuple(identities):
                nursery.start_soon(self._fill, identity)

    async def next(self) -> Found | None:
        """The next session in the order of listing_place; None behind the last one."""
        for identity in tuple(self._listings):
            if self._listings[identity].needs_page:
                await self._fill(identity)
        heads = {
            identity: head for identity, each in self._listings.items() if (head := each.head) is not None
        }
        if not heads:
            return None
        least = min(place for place, _ in heads.values())
        found = Found(least[1])
        for identity, (place, listed) in heads.items():
            if place == least:
                found.on[identity] = listed
                found.listed_at[identity] = self._listings[identity].listed_at
                self._listings[identity].position += 1
        return found

    async def _fill(self, identity: BackendId) -> None:
        try:
            await self._listings[identity].read_on()
        except ListingFailed as error:
            self.refused[identity] = str(error)
            del self._listings[identity]


async def sessions_told(member: Member, farm: str, list_sessions: ListSessions) -> int:
    """How many sessions a server holds, as it says itself, routers' items apart.

    Raises ListingFailed if it cannot be asked, or its admin port is another server's.
    """
    if member.backend.admin is None:
        raise ListingFailed("it has no admin port that lists its sessions")
    listing = _Listing(member, farm, list_sessions)
    await listing.read_on()
    return listing.told


class _Listing:
    """The listing of one server, read page by page and checked."""

    def __init__(self, member: Member, farm: str, list_sessions: ListSessions) -> None:
        admin = member.backend.admin
        assert admin is not None
        self._admin = admin
        self._incarnation = member.record.incarnation
        self._farm = farm
        self._list_sessions = list_sessions
        self._entries: Sequence[tuple[tuple[int, bytes], Listed]] = ()
        self._next: bytes | None = b""
        self._beats: dict[str, bytes] = {}  # the canaries of other farms' routers as they were seen first
        self.position = 0
        self.listed_at = 0.0  # when the page of now was asked for
        self.told = 0
        self.seen = 0

    @property
    def needs_page(self) -> bool:
        return self.position >= len(self._entries) and self._next is not None

    @property
    def head(self) -> tuple[tuple[int, bytes], Listed] | None:
        return self._entries[self.position] if self.position < len(self._entries) else None

    async def read_on(self) -> None:
        """Read pages until there is a session, or none is left. Raises ListingFailed."""
        while self.needs_page:
            assert self._next is not None
            self.listed_at = trio.current_time()
            page = await self._list_sessions(self._admin, self._next)
            self._check_owner(page)
            self._take(page)

    def _take(self, page: InventoryPage) -> None:
        assert self._next is not None
        entries = [(listing_place(listed.key), listed) for listed in page.listed]
        last, is_first = listing_place(self._next), True
        for place, _ in entries:
            if place < last or (place == last and not is_first):
                raise ListingFailed(f"the listing of {self._admin} is out of order")
            last, is_first = place, False
        if page.following is not None and listing_place(page.following) <= last:
            raise ListingFailed(f"the listing of {self._admin} does not go on")
        self._entries, self.position = entries, 0
        if self._next == b"":
            self.told = page.sessions
        self.seen += len(entries)
        if self.seen > 2 * self.told + MORE_THAN_TOLD:
            raise ListingFailed(f"the listing of {self._admin} has more sessions than it told of")
        self._next = page.following

    def _check_owner(self, page: InventoryPage) -> None:
        """See that this is the memory that the router knows, and that no other farm's router writes there."""
        own = page.canaries.get(self._farm)
        canary = None if own is None else _maybe_canary(own)
        if canary is None or canary.token != self._incarnation:
            raise ListingFailed(
                f"the admin port {self._admin} shows another canary than the server itself: it belongs to "
                "another server, or this one was restarted"
            )
        for farm, content in page.canaries.items():
            if farm != self._farm and self._beats.setdefault(farm, content) != content:
                raise ListingFailed(f"it is shared with farm {farm}, whose sessions it lists as well")

    @property
    def has_other_farms(self) -> bool:
        """Whether routers of other farms have planted canaries there, in use or not."""
        return bool(self._beats)

    def start_over(self) -> None:
        """Read it from its beginning."""
        self._entries, self._next, self.position, self.seen = (), b"", 0, 0


def _maybe_canary(content: bytes) -> CanaryItem | None:
    try:
        return read_canary(content)
    except MalformedAnswer:
        return None
