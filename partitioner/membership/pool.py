"""The pool: an immutable snapshot of who is there, how they fare, and how that came about.

A request takes one pool at its start and keeps it; a retry takes a fresh one. Every change makes
a new pool with the next epoch, so nothing is ever seen half changed.

Sessions outlive changes. For as long as any of them may live (T_max), the pool remembers its *eras*:
which map was in force, who served, and in which incarnation. A session may still lie where an older era
has put it. A key whose acting set was the same in all of them lies where it belongs (design.md 7.4).
"""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from partitioner.errors import EmptyPool
from partitioner.membership.backend import Backend, BackendId, Intent
from partitioner.membership.eras import (
    Era,
    UnchangedSince,
    acting_servers,
    bounded,
    with_returned,
    written_servers,
)
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

ASK_ALL = 16
"""Up to so many servers are all asked for a session that is missed (design.md 7.4)."""

ASKED_OF_A_MAP = 8
"""In larger pools: so many of the preference list under each map."""


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

    def may_return(self, moment: float) -> bool:
        """Whether it is away, and not for so long that it is in doubt when it returns: before this moment."""
        is_away = not self.record.answers and self.incarnation is not None
        return is_away and (self.record.health is Health.UNKNOWN or self.record.since >= moment)

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

    primary: BackendId
    copies: tuple[BackendId, ...]
    recovering: tuple[BackendId, ...] = ()  # written in addition; these don't count

    @property
    def written(self) -> tuple[BackendId, ...]:
        return (self.primary, *self.copies, *self.recovering)


@dataclass(frozen=True, slots=True)
class Pool:
    """Every backend by identity, in the order of the configuration, and the ranking that places sessions."""

    epoch: int
    members: dict[BackendId, Member]  # never changed in place
    ranking: Ranking  # by name
    copies: int = 1  # how many servers shall hold a session
    changed_at: float = float("-inf")
    eras: tuple[Era, ...] = ()  # former ones, the oldest first
    known_since: float = float("-inf")  # of what was before nothing is known
    is_served: bool = True  # False while its router finds out who is there: no session hangs on that time
    dirty: Mapping[BackendId, frozenset[str]] | None = (
        None  # as it is written down, by identity; None: no record is kept
    )
    places: dict[str, BackendId] = field(init=False)  # identities by name, of those in the configuration
    ready: frozenset[BackendId] = field(init=False)  # by intent
    eligible: frozenset[BackendId] = field(init=False)  # by intent and health: these serve
    placed: frozenset[BackendId] = field(init=False)  # by intent and health: these hold their places
    recovering: frozenset[BackendId] = field(
        init=False
    )  # by intent and health: these are written, and not read
    incarnations: dict[BackendId, bytes | None] = field(init=False)  # of all these
    other_eras: tuple[Era, ...] = field(init=False)  # those in which something was not as it is now
    away: frozenset[BackendId] = field(
        init=False
    )  # that cannot be asked, and hold no place: nobody looks for them
    unrecorded: frozenset[BackendId] = field(init=False)  # that are out, which is not written down yet

    def __post_init__(self) -> None:
        places, ready, eligible, placed = {}, [], [], []
        incarnations: dict[BackendId, bytes | None] = {}
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
                incarnations[identity] = member.incarnation
        object.__setattr__(self, "places", places)
        object.__setattr__(self, "ready", frozenset(ready))
        object.__setattr__(self, "eligible", frozenset(eligible))
        object.__setattr__(self, "placed", frozenset(placed))
        recovering = {
            each: self.members[each] for each in places.values() if self.members[each].is_recovering
        }
        incarnations |= {each: member.incarnation for each, member in recovering.items()}
        object.__setattr__(self, "recovering", frozenset(recovering))
        object.__setattr__(self, "incarnations", incarnations)
        away = (each for each, member in self.members.items() if not member.is_reachable)
        object.__setattr__(self, "away", frozenset(away) - self.placed)
        object.__setattr__(self, "other_eras", tuple(era for era in self.eras if not self._is_like(era)))
        object.__setattr__(self, "unrecorded", frozenset(self._unrecorded()))

    def _is_like(self, era: Era) -> bool:
        """Whether each key had the acting set that it has now."""
        return (
            bool(self.eligible)
            and (era.eligible, era.placed, era.copies) == (self.eligible, self.placed, self.copies)
            and (era.places, era.incarnations) == (self.places, self.incarnations)
            and era.recovering == self.recovering
            and (era.ranking is self.ranking or era.ranking.weights == self.ranking.weights)
        )

    def _unrecorded(self) -> Iterator[BackendId]:
        """Those in whose place others serve, before the next router would know (design.md 5.2)."""
        if self.dirty is None:
            return
        for identity, member in self.members.items():
            is_out = member.incarnation is not None and not member.is_reachable
            if is_out and not self.dirty.get(identity):
                yield identity

    # --- where a key belongs ---

    def acting_set(
        self, key: bytes, marked: Container[BackendId] = (), *, is_agreed: bool = False
    ) -> ActingSet | None:
        """Who holds the session of `key` (what placement_key returns); None if no server can.

        The primary is the first of the preference list that serves and is not `marked`, or one of which
        nothing is known yet; copies are the first others that serve, marked or not. Where no server serves,
        and all servers have agreed about the session, those that are RECOVERING do (design.md 5.5.5). Source:
        design.md 7.
        """
        names = self.ranking.preference_list(key) if self.places else ()
        primary: BackendId | None = None
        others: list[BackendId] = []
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

    def _agreed_set(self, names: tuple[str, ...], marked: Container[BackendId]) -> ActingSet | None:
        recovering = [each for name in names if self.members[each := self.places[name]].is_recovering]
        good = [each for each in recovering if each not in marked]
        if not good:
            return None
        others = [each for each in recovering if each != good[0]]
        return ActingSet(good[0], tuple(others[: self.copies - 1]))

    def name_of(self, identity: BackendId) -> str:
        """How the configuration calls this server; its identity once nothing is known of it any more."""
        member = self.members.get(identity)
        return identity if member is None else member.backend.name

    def homes(self, key: bytes) -> tuple[BackendId, ...]:
        """The servers that hold the session of `key` when all are well: the first READY ones, best first."""
        names = self.ranking.preference_list(key) if self.places else ()
        ready = [self.places[name] for name in names if self.places[name] in self.ready]
        return tuple(ready[: self.copies])

    def first_choice(self, key: bytes) -> Backend:
        """The first READY backend of the preference list, in whatever health.

        Raises EmptyPool if there is none.
        """
        ready = {self.members[identity].backend.name for identity in self.ready}
        name = self.ranking.first_choice(key, ready)
        if name is None:
            raise EmptyPool("no backend of the pool is ready")
        return self.members[self.places[name]].backend

    def possible_holders(self, key: bytes) -> tuple[BackendId, ...]:
        """All servers that can have held the session of `key` in the last T_max, reachable or not."""
        if len(self.members) <= ASK_ALL:
            return tuple(self.members)
        found: dict[BackendId, None] = {}
        lists: dict[int, tuple[str, ...]] = {}  # most eras share one ranking
        maps = [(era.ranking, era.places) for era in self.eras]
        for ranking, places in (*maps, (self.ranking, self.places)):
            if id(ranking) not in lists:
                lists[id(ranking)] = ranking.preference_list(key, ASKED_OF_A_MAP)
            for name in lists[id(ranking)]:
                if places.get(name) in self.members:
                    found[places[name]] = None
        return tuple(found)

    def has_always_held(self, identity: BackendId, key: bytes, since: float) -> bool:
        """Whether this server was in the acting set of `key` all the time since then, in one incarnation.

        What it does not have then does not exist: its word is good for those that cannot be asked. Not so
        where a router has ended without leaving word: a remove may have reached this server, and no other.
        """
        if self.known_since > since or self.may_lack_removes(since):
            return False
        now = self._acting(key)
        if identity not in now:
            return False
        held = now[identity]
        return all(era.acting(key).get(identity) == held for era in self.other_eras if not era.is_over(since))

    def may_lack_removes(self, since: float) -> bool:
        """Whether a remove of the time since then may have been cut off half-way, with its router.

        A server that says 404 is no witness for its copies then (design.md 5.2.5).
        """
        return any(not era.is_certain and era.ended_at >= since for era in self.eras)

    # --- settled or not ---

    def unchanged_since(self, key: bytes) -> UnchangedSince:
        """Since when the acting set of `key` (what placement_key returns) has been what it is.

        A session that was stored before then may lie elsewhere. Where no server serves the key: never. Those
        that are RECOVERING count, because what they were given is read when they are trusted.
        Source: design.md 7.4.
        """
        if not self.other_eras and self.eligible:
            return UnchangedSince(self.known_since, 0)
        acting = self._written(key)
        if not acting:
            return UnchangedSince(float("inf"), self.epoch + 1)
        moment, epoch = self.known_since, 0
        for era in self.other_eras:
            was = era.written(key)
            if was != acting or not era.eligible:
                moment = max(moment, era.ended_for(was.keys() - acting.keys()))
                epoch = max(epoch, era.epoch + 1)
        return UnchangedSince(moment, epoch)

    @property
    def unsettled_since(self) -> float:
        """The last moment at which the acting set of any key may have been another one than now."""
        return max([self.known_since, *(era.ended_for(era.eligible) for era in self.other_eras)])

    @property
    def serving_since(self) -> float:
        """Since when the same servers have served, in the same incarnations; not before anything is known."""
        served = {each: self.incarnations[each] for each in self.eligible}
        others = [era.ended_at for era in self.other_eras if era.served != served]
        return max([self.known_since, *others])

    def _acting(self, key: bytes) -> dict[BackendId, bytes | None]:
        servers = acting_servers(self.ranking, self.places, self.placed, self.eligible, self.copies, key)
        return {server: self.incarnations[server] for server in servers}

    def _written(self, key: bytes) -> dict[BackendId, bytes | None]:
        servers = written_servers(
            self.ranking, self.places, self.recovering, self.copies, key, self._acting(key)
        )
        return {server: self.incarnations[server] for server in servers}

    # --- which memory is whose ---

    def maybe_holder_of(self, incarnation: bytes, besides: BackendId | None) -> BackendId | None:
        """The other member whose memory has this canary token, if there is one."""
        for identity, member in self.members.items():
            if identity != besides and member.incarnation == incarnation:
                return identity
        return None

    def may_remove_from(self, server: BackendId, acting: Iterable[BackendId]) -> bool:
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

    def with_record(self, identity: BackendId, record: HealthRecord, now: float) -> "Pool":
        """The snapshot in which one backend has another record; the next epoch if health or incarnation
        differ."""
        before = self.members[identity].record
        members = self.members | {identity: replace(self.members[identity], record=record)}
        if (before.health, before.incarnation) == (record.health, record.incarnation):
            return replace(self, members=members)
        return self.succeeded_by(members, self.ranking, self.copies, now)

    def succeeded_by(
        self, members: dict[BackendId, Member], ranking: Ranking, copies: int, now: float
    ) -> "Pool":
        """The snapshot of the next epoch, which remembers this one as an era."""
        returned = dict(self._returned(members))
        eras = tuple(with_returned(each, returned, now) for each in self.eras) if returned else self.eras
        known_since, changed_at = self.known_since, self.changed_at
        if self.is_served:
            eras, known_since = bounded((*eras, self.era_until(now)), known_since)
            changed_at = now
        return replace(
            self,
            epoch=self.epoch + 1,
            members=members,
            ranking=ranking,
            copies=copies,
            changed_at=changed_at,
            eras=eras,
            known_since=known_since,
        )

    def era_until(self, now: float) -> Era:
        """What is in force now, as an era that ends."""
        return Era(
            self.changed_at,
            now,
            self.ranking,
            self.places,
            self.eligible,
            self.copies,
            self.placed,
            self.incarnations,
            self.epoch,
            recovering=self.recovering,
        )

    def _returned(self, members: Mapping[BackendId, Member]) -> Iterator[tuple[BackendId, bytes | None]]:
        """Those that were away until now, with their memories; not those that are seen at the start."""
        for identity, member in members.items():
            before = self.members.get(identity)
            if before is None or before.record.answers or not member.record.answers:
                continue
            if self.is_served or before.record.health is Health.DOWN:
                yield identity, member.incarnation

    def without_eras_before(self, moment: float) -> "Pool":
        """The same snapshot, without the eras of which everything that was stored in them has expired.

        What lies on a server that is away does not expire meanwhile. One that is away for longer than since
        `moment` is in doubt when it returns.
        """
        away = [each for each, member in self.members.items() if member.may_return(moment)]
        eras, known_since = [], self.known_since
        for era in self.eras:
            may_return = any(
                each in era.incarnations and era.incarnations[each] == self.members[each].incarnation
                for each in away
            )
            if may_return or not era.is_over(moment):
                eras.append(era)
            else:
                known_since = max(known_since, era.ended_at)
        if len(eras) == len(self.eras):
            return self
        return replace(self, eras=tuple(eras), known_since=known_since)

    def may_fall(self, identity: BackendId, symptom: Symptom, policy: HealthPolicy) -> bool:
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
    return Pool(0, members, ranking_of(members.values()), copies, now, known_since=now)


def ranking_of(members: Iterable[Member]) -> Ranking:
    """The map of those members that are in the configuration."""
    kept = [member.backend for member in members if member.removed_at is None]
    return Ranking({backend.name: backend.weight for backend in kept})
