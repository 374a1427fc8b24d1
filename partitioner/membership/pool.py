"""The pool: an immutable snapshot of who is there, how they fare, and how that came about.

A request takes one pool at its start and keeps it; a second try takes a fresh one. Every change makes
a new pool with the next epoch, so nothing is ever seen half changed.

Sessions outlive changes. For as long as any of them may live (T_max), the pool remembers its *eras*,
the maps and the eligible servers that were in force, because a session may still lie where an older
era has put it.
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from partitioner.errors import EmptyPool
from partitioner.membership.backend import Backend, Intent
from partitioner.membership.health import (
    AMBIGUOUS,
    Health,
    HealthPolicy,
    HealthRecord,
    Symptom,
    looks_cut_off,
    newcomer,
)
from partitioner.placement.rendezvous import Ranking

ASK_EVERYBODY = 16
"""Up to so many servers are all asked for a session that is missed (design.md 7.4)."""

ASKED_OF_A_MAP = 8
"""In larger pools: so many of the preference list under each map."""

MOST_ERAS = 64
"""Eras that are remembered. Of a pool that flaps faster the maps are kept, and less is claimed."""


@dataclass(frozen=True, slots=True)
class Member:
    """A backend of a pool, with what is observed of it."""

    backend: Backend
    record: HealthRecord
    removed_at: float | None = None  # when it left the configuration; it is still asked for what it holds

    @property
    def is_eligible(self) -> bool:
        """Whether it serves: sessions are placed on it, and read from it."""
        return self._is_placed_on and self.record.is_up

    @property
    def holds_its_place(self) -> bool:
        """Whether its sessions are its own: it serves, or it is not known yet that it does not."""
        return self._is_placed_on and (self.record.is_up or self.record.health is Health.UNKNOWN)

    @property
    def is_recovering(self) -> bool:
        """Whether it is written to like one that serves, and not read."""
        return self._is_placed_on and self.record.health is Health.RECOVERING

    @property
    def is_reachable(self) -> bool:
        """Whether it can be written to."""
        return self.backend.intent is not Intent.MAINT and self.record.answers

    @property
    def is_readable(self) -> bool:
        """Whether it can be asked what it holds."""
        return self.backend.intent is not Intent.MAINT and self.record.is_up

    @property
    def incarnation(self) -> bytes | None:
        """The memory that it has, or had when it was last UP; None where that was never seen."""
        return self.record.incarnation or self.record.served_incarnation

    @property
    def is_unidentified(self) -> bool:
        """Whether it is unknown which memory answers at its address, and it may turn out to be any."""
        is_asked = self.removed_at is None and self.backend.intent is not Intent.MAINT
        return is_asked and self.record.health is Health.UNKNOWN and self.record.incarnation is None

    @property
    def _is_placed_on(self) -> bool:
        return self.backend.intent is Intent.READY and self.removed_at is None


@dataclass(frozen=True, slots=True)
class ActingSet:
    """Who holds a key just now, by identity: whom to read, and whom to write."""

    primary: str
    copies: tuple[str, ...]
    recovering: tuple[str, ...] = ()  # written in addition; these don't count

    @property
    def written(self) -> tuple[str, ...]:
        return (self.primary, *self.copies, *self.recovering)


@dataclass(frozen=True, slots=True)
class Era:
    """What was in force for a time: a map, and who served."""

    began_at: float
    ended_at: float
    ranking: Ranking
    places: dict[str, str]  # identities by name; never changed in place
    eligible: frozenset[str]
    copies: int


@dataclass(frozen=True, slots=True)
class Pool:
    """Every backend by identity, in the order of the configuration, and the ranking that places sessions."""

    epoch: int
    members: dict[str, Member]  # never changed in place
    ranking: Ranking  # by name
    copies: int = 1  # how many servers shall hold a session
    changed_at: float = float("-inf")
    eras: tuple[Era, ...] = ()  # former ones, the oldest first
    dirty: Mapping[str, frozenset[str]] | None = (
        None  # as it is written down, by identity; None: no record is kept
    )
    places: dict[str, str] = field(init=False)  # identities by name, of those in the configuration
    ready: frozenset[str] = field(init=False)  # by intent
    eligible: frozenset[str] = field(init=False)  # by intent and health: these serve
    placed: frozenset[str] = field(init=False)  # by intent and health: these hold their places
    unrecorded: frozenset[str] = field(init=False)  # that are out, which is not written down yet

    def __post_init__(self) -> None:
        places, ready, eligible, placed = {}, [], [], []
        for identity, member in self.members.items():
            if member.removed_at is not None:
                continue
            places[member.backend.name] = identity
            if member.backend.intent is Intent.READY:
                ready.append(identity)
            if member.is_eligible:
                eligible.append(identity)
            if member.holds_its_place:
                placed.append(identity)
        object.__setattr__(self, "places", places)
        object.__setattr__(self, "ready", frozenset(ready))
        object.__setattr__(self, "eligible", frozenset(eligible))
        object.__setattr__(self, "placed", frozenset(placed))
        object.__setattr__(self, "unrecorded", frozenset(self._unrecorded()))

    def _unrecorded(self) -> Iterator[str]:
        """Those in whose place others serve, before the next router would know (design.md 5.2)."""
        if self.dirty is None:
            return
        for identity, member in self.members.items():
            is_out = member.incarnation is not None and not member.is_reachable
            if is_out and not self.dirty.get(identity):
                yield identity

    # --- where a key belongs ---

    def acting_set(
        self, key: bytes, marked: Container[str] = (), *, is_agreed: bool = False
    ) -> ActingSet | None:
        """Who holds the session of `key` (what placement_key returns); None if no server can.

        The primary is the first of the preference list that serves and is not `marked`, or one of which
        nothing is known yet; copies are the first others that serve, marked or not. Where no server serves,
        and all servers have agreed about the session, those that are RECOVERING do (design.md 5.5.5). Source:
        design.md 7.
        """
        names = self.ranking.preference_list(key) if self.places else ()
        primary: str | None = None
        others: list[str] = []
        for name in names:
            identity = self.places[name]
            if primary is None and identity in self.placed and identity not in marked:
                primary = identity
            elif identity in self.eligible:
                others.append(identity)
            if primary is not None and len(others) >= self.copies - 1:
                break
        if primary is None:
            return self._agreed_set(names, marked) if is_agreed and not self.placed else None
        first = (self.places[name] for name in names[: self.copies])
        recovering = tuple(each for each in first if self.members[each].is_recovering)
        return ActingSet(primary, tuple(others[: self.copies - 1]), recovering)

    def _agreed_set(self, names: tuple[str, ...], marked: Container[str]) -> ActingSet | None:
        recovering = [each for name in names if self.members[each := self.places[name]].is_recovering]
        good = [each for each in recovering if each not in marked]
        if not good:
            return None
        others = [each for each in recovering if each != good[0]]
        return ActingSet(good[0], tuple(others[: self.copies - 1]))

    def first_choice(self, key: bytes) -> Backend:
        """The first READY backend of the preference list, in whatever health.

        Raises EmptyPool if there is none.
        """
        ready = {self.members[identity].backend.name for identity in self.ready}
        name = self.ranking.first_choice(key, ready)
        if name is None:
            raise EmptyPool("no backend of the pool is ready")
        return self.members[self.places[name]].backend

    def possible_holders(self, key: bytes) -> tuple[str, ...]:
        """All that can have held the session of `key` in the last T_max, whoever can be asked now."""
        if len(self.members) <= ASK_EVERYBODY:
            return tuple(self.members)
        found: dict[str, None] = {}
        lists: dict[int, tuple[str, ...]] = {}  # most eras share one ranking
        maps = [(era.ranking, era.places) for era in self.eras]
        for ranking, places in (*maps, (self.ranking, self.places)):
            if id(ranking) not in lists:
                lists[id(ranking)] = ranking.preference_list(key, ASKED_OF_A_MAP)
            for name in lists[id(ranking)]:
                if places.get(name) in self.members:
                    found[places[name]] = None
        return tuple(found)

    def has_always_held(self, identity: str, key: bytes, since: float) -> bool:
        """Whether this server was in the acting set of `key` all the time since then, in one incarnation.

        What it does not have then does not exist: its word is good for those that cannot be asked.
        """
        if (self.eras[0].began_at if self.eras else self.changed_at) > since:
            return False  # so far back nothing is remembered
        eras = [era for era in self.eras if era.ended_at >= since]
        if not all(_held(era, identity, key) for era in eras):
            return False
        acting = self.acting_set(key)
        return acting is not None and identity in (acting.primary, *acting.copies)

    # --- which memory is whose ---

    def maybe_holder_of(self, incarnation: bytes, besides: str) -> str | None:
        """The other member whose memory has this canary token, if there is one."""
        for identity, member in self.members.items():
            if identity != besides and member.incarnation == incarnation:
                return identity
        return None

    def may_remove_from(self, server: str, acting: Iterable[str]) -> bool:
        """Whether a remove that is sent to this server cannot hit one of the acting set by another address.

        Each of them must have shown its canary, and a member of which nothing is known yet may be any server.
        Source: design.md 5.1.
        """
        if any(member.is_unidentified for member in self.members.values()):
            return False
        incarnation = self.members[server].record.incarnation if server in self.members else None
        theirs = [self.members[each].record.incarnation for each in acting if each in self.members]
        return incarnation is not None and None not in theirs and incarnation not in theirs

    # --- how the pool changes ---

    def with_record(self, identity: str, record: HealthRecord, now: float) -> "Pool":
        """The snapshot in which one backend has another record; the next epoch if health or incarnation
        differ."""
        before = self.members[identity].record
        members = self.members | {identity: replace(self.members[identity], record=record)}
        if (before.health, before.incarnation) == (record.health, record.incarnation):
            return replace(self, members=members)
        return self.succeeded_by(members, self.ranking, self.copies, now)

    def succeeded_by(self, members: dict[str, Member], ranking: Ranking, copies: int, now: float) -> "Pool":
        """The snapshot of the next epoch, which remembers this one as an era."""
        began_at = self.changed_at
        era = Era(began_at, now, self.ranking, self.places, self.eligible, self.copies)
        return Pool(self.epoch + 1, members, ranking, copies, now, _bounded((*self.eras, era)), self.dirty)

    def without_eras_before(self, moment: float) -> "Pool":
        """The same snapshot, without the eras that had ended by then."""
        eras = tuple(era for era in self.eras if era.ended_at >= moment)
        return replace_eras(self, eras) if len(eras) < len(self.eras) else self

    def may_fall(self, identity: str, symptom: Symptom, policy: HealthPolicy) -> bool:
        """Whether this backend may be ejected for this symptom.

        When more than `max_down_share` of the READY servers cannot be reached, likelier it is the router's
        own network, and ejecting them all would help no client. A refused connection is always proof.
        Source: design.md 5.
        """
        if symptom not in AMBIGUOUS:
            return True
        cut_off = sum(
            each == identity or looks_cut_off(self.members[each].record, policy) for each in self.ready
        )
        return cut_off <= policy.max_down_share * len(self.ready)


def first_pool(
    backends: Iterable[Backend], policy: HealthPolicy, copies: int = 1, now: float = float("-inf")
) -> Pool:
    """The snapshot at the start: nothing is known of anybody yet."""
    members = {backend.identity: Member(backend, newcomer(policy)) for backend in backends}
    return Pool(0, members, ranking_of(members.values()), copies, now)


def ranking_of(members: Iterable[Member]) -> Ranking:
    """The map of those members that are in the configuration."""
    kept = [member.backend for member in members if member.removed_at is None]
    return Ranking({backend.name: backend.weight for backend in kept})


def replace_eras(pool: Pool, eras: tuple[Era, ...]) -> Pool:
    return replace(pool, eras=eras)


def _bounded(eras: tuple[Era, ...]) -> tuple[Era, ...]:
    """Not more eras than may be: the oldest two of one map become one, of which it is unknown who served.

    What lies where an old map has put it must be found, however often servers fall and return meanwhile.
    """
    if len(eras) <= MOST_ERAS:
        return eras
    for index, (older, newer) in enumerate(pairwise(eras)):
        if older.ranking is newer.ranking and older.places == newer.places:
            both = replace(older, ended_at=newer.ended_at, eligible=frozenset())
            return (*eras[:index], both, *eras[index + 2 :])
    return eras[1:]


def _held(era: Era, identity: str, key: bytes) -> bool:
    serving = [
        era.places[name] for name in era.ranking.preference_list(key) if era.places[name] in era.eligible
    ]
    return identity in serving[: era.copies]
