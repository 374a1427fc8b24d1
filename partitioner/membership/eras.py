"""Eras: what was in force before, for as long as a session of that time may live (design.md 7.4).

An era ends whenever the pool changes: when another map is in force, or other servers serve, or one of them in
another incarnation. A session may still lie where an older era has put it.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

from partitioner.membership.backend import BackendId
from partitioner.placement.rendezvous import Ranking

MOST_ERAS = 64
"""Eras that are remembered. Of a pool that flaps faster the maps are kept, and less is claimed."""

_NEVER_AWAY: Mapping[BackendId, float] = {}
_UNKNOWN: Mapping[BackendId, bytes | None] = {}


class UnchangedSince(NamedTuple):
    """Since when the acting set of a key has been what it is, incarnations included."""

    moment: float  # monotonic seconds; -inf: since ever, as far as it matters
    epoch: int  # the first one of that time in this router


@dataclass(frozen=True, slots=True)
class Era:
    """What was in force for a time: a map, and who served."""

    began_at: float
    ended_at: float
    ranking: Ranking
    places: dict[str, BackendId]  # identities by name; never changed in place
    eligible: frozenset[BackendId]  # empty: it is not known who served
    copies: int
    placed: frozenset[BackendId] = frozenset()  # those that served, or of which nothing was known yet
    incarnations: Mapping[BackendId, bytes | None] = field(default_factory=lambda: _UNKNOWN)
    """Of those that served or were RECOVERING."""
    epoch: int = -1  # the last one in it; -1: of a router before this one
    returned_at: Mapping[BackendId, float] = field(default_factory=lambda: _NEVER_AWAY)
    """When servers that served then have come back since, with what they held. A memory that is away does
    not age: its clock may stand still, so that its sessions do not expire (design.md 5.1)."""
    is_certain: bool = True  # it is known what its router had marked, and that no remove was cut off half-way
    recovering: frozenset[BackendId] = frozenset()  # those that were written in addition, and not read

    def acting(self, key: bytes) -> dict[BackendId, bytes | None]:
        """Who held the session of `key`, and in which incarnation."""
        servers = acting_servers(self.ranking, self.places, self.placed, self.eligible, self.copies, key)
        return {server: self.incarnations.get(server) for server in servers}

    def written(self, key: bytes) -> dict[BackendId, bytes | None]:
        """Who was given the session of `key`, with incarnations: who held it, and who was RECOVERING."""
        servers = written_servers(
            self.ranking, self.places, self.recovering, self.copies, key, self.acting(key)
        )
        return {server: self.incarnations.get(server) for server in servers}

    @property
    def served(self) -> dict[BackendId, bytes | None]:
        """The incarnations of those that served."""
        return {each: self.incarnations.get(each) for each in self.eligible}

    def ended_for(self, holders: Iterable[BackendId]) -> float:
        """From when on what these servers held, if it is still there, has grown old."""
        returned = self.returned_at
        if not returned:
            return self.ended_at
        away = [returned[each] for each in (holders if self.eligible else returned) if each in returned]
        return max([self.ended_at, *away])

    def is_over(self, moment: float) -> bool:
        """Whether everything that was stored in this era had expired T_max after this moment."""
        return self.ended_at < moment and all(each < moment for each in self.returned_at.values())


def acting_servers(
    ranking: Ranking,
    places: Mapping[str, BackendId],
    placed: Container[BackendId],
    eligible: Container[BackendId],
    copies: int,
    key: bytes,
) -> list[BackendId]:
    """Who holds the session of a key for which no server is marked, as Pool.acting_set says."""
    primary: BackendId | None = None
    others: list[BackendId] = []
    for name in ranking.preference_list(key) if places else ():
        server = places[name]
        if primary is None and server in placed:
            primary = server
        elif server in eligible:
            others.append(server)
        if primary is not None and len(others) >= copies - 1:
            break
    return [] if primary is None else [primary, *others[: copies - 1]]


def written_servers(
    ranking: Ranking,
    places: Mapping[str, BackendId],
    recovering: Container[BackendId],
    copies: int,
    key: bytes,
    acting: Iterable[BackendId],
) -> list[BackendId]:
    """Who is given the session of a key that these hold, as Pool.acting_set says."""
    servers = list(acting)
    if servers and recovering:
        first = (places[name] for name in ranking.preference_list(key)[:copies])
        servers += [each for each in first if each in recovering and each not in servers]
    return servers


def with_returned(era: Era, returned: Mapping[BackendId, bytes | None], now: float) -> Era:
    """The era, some of whose servers may have come back just now with what they held in it."""
    back = {each: now for each, token in returned.items() if era.incarnations.get(each, b"") == token}
    return replace(era, returned_at={**era.returned_at, **back}) if back else era


def bounded(eras: tuple[Era, ...], known_since: float) -> tuple[tuple[Era, ...], float]:
    """Not more eras than may be: the oldest two of one map become one, of which it is unknown who served.

    What lies where an old map has put it must be found, however often servers fall and return meanwhile.
    Returns the eras, and since when they are complete.
    """
    if len(eras) <= MOST_ERAS:
        return eras, known_since
    for index, (older, newer) in enumerate(pairwise(eras)):
        if older.ranking is newer.ranking and older.places == newer.places:
            return (*eras[:index], _of_unknown_servers(older, newer), *eras[index + 2 :]), known_since
    return eras[1:], max(known_since, eras[0].ended_at)


def _of_unknown_servers(older: Era, newer: Era) -> Era:
    returned = {each: now for era in (older, newer) for each, now in era.returned_at.items()}
    return replace(
        newer,
        began_at=older.began_at,
        eligible=frozenset(),
        placed=frozenset(),
        recovering=frozenset(),
        incarnations={**older.incarnations, **newer.incarnations},
        returned_at=returned,
        is_certain=older.is_certain and newer.is_certain,
    )
