"""What a router remembers of its backends when it is started again.

Locks and marks are not kept: in settled times locks live on the backends, and there are no marks. So a
backend that was not UP when the router before this one ended may have missed what nobody knows any more.
In the life in which it was known then it is in doubt; a new life is empty, and welcome.

Former maps and removed backends are kept, since sessions may still lie where those have put them. Who
served under those maps is not: a backend may have been restarted while no router was looking.

Times are those of the clock on the wall, in seconds since 1970; `offset` is what has to be added to
monotonic time to get there. A time that lies in the future, because that clock went backwards, is now.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pydantic import TypeAdapter, ValidationError
from xxhash import xxh3_64_hexdigest

from partitioner.errors import MalformedFile
from partitioner.membership.backend import Address, Backend
from partitioner.membership.health import HealthPolicy, HealthRecord, cast_doubt, newcomer
from partitioner.membership.pool import Era, Member, Pool
from partitioner.membership.redundancy import Hole
from partitioner.placement.rendezvous import Ranking

VERSION = 1
_HEADLINE = re.compile(rb"partitioner state, format ([0-9]+), checksum ([0-9a-f]{16})")

Departed = Mapping[tuple[str, str], float]
"""Backends that are forgotten, by name and address, and until when it matters that they were there."""


@dataclass(frozen=True, slots=True)
class KnownBackend:
    """A backend as it was last known."""

    backend: Backend
    was_up: bool
    life: str | None  # in which it was last UP: its canary's token, a character for each byte
    removed_at: float | None


@dataclass(frozen=True, slots=True)
class FormerMap:
    """Where sessions were put for a time."""

    weights: dict[str, float]  # by name
    places: dict[str, str]  # identities by name
    copies: int
    began_at: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class KnownHole:
    """A hole that was open."""

    event: str
    opened_at: float
    identity: str
    life: str | None


@dataclass(frozen=True, slots=True)
class DepartedBackend:
    """A backend that was forgotten, and may come back with what it had."""

    name: str
    address: str
    until: float


@dataclass(frozen=True, slots=True)
class Memory:
    """All that a router leaves to the next one."""

    longest_life: float  # T_max
    backends: tuple[KnownBackend, ...]
    maps: tuple[FormerMap, ...]
    departed: tuple[DepartedBackend, ...]
    holes: tuple[KnownHole, ...]


# --- made, and made use of ---------------------------------------------------------------------


def remember(
    pool: Pool, departed: Departed, holes: Iterable[Hole], longest_life: float, now: float, offset: float
) -> Memory:
    """What the next router should know."""
    return Memory(
        longest_life,
        tuple(_known(member, offset) for member in pool.members.values()),
        _maps(pool, now - longest_life, now, offset),
        tuple(DepartedBackend(*which, until + offset) for which, until in departed.items()),
        tuple(
            KnownHole(hole.event, hole.opened_at + offset, hole.identity, _text(hole.life))
            for hole in holes
            if hole.identity is not None  # what else there is, the next router's own start is as good as
        ),
    )


def recall(memory: Memory, pool: Pool, policy: HealthPolicy, now: float, offset: float) -> Pool:
    """The pool to start with, from the first one of those backends that are configured now."""
    recollection = _Recollection(memory, policy, now, offset)
    members: dict[str, Member] = {}
    for member in pool.members.values():
        recalled = recollection.of(member)
        members[recalled.backend.identity] = recalled
    for member in recollection.removed(members):
        members[member.backend.identity] = member
    eras = recollection.eras(pool.ranking)
    return Pool(pool.epoch, members, pool.ranking, pool.copies, pool.changed_at, eras)


def recall_holes(memory: Memory, now: float, offset: float) -> tuple[Hole, ...]:
    """The holes that were open, by the clock of now."""
    return tuple(
        Hole(hole.event, min(now, hole.opened_at - offset), hole.identity, _token(hole.life))
        for hole in memory.holes
    )


def recall_departed(memory: Memory, offset: float) -> dict[tuple[str, str], float]:
    """Who was forgotten, by the clock of now."""
    return {(each.name, each.address): each.until - offset for each in memory.departed}


def doubt_everybody(pool: Pool, until: float, now: float) -> Pool:
    """The same pool, where nothing is known of what anybody missed."""
    members = {
        identity: replace(member, record=cast_doubt(member.record, until, None, now))
        for identity, member in pool.members.items()
    }
    return Pool(pool.epoch, members, pool.ranking, pool.copies, pool.changed_at, pool.eras)


@dataclass(frozen=True, slots=True)
class _Recollection:
    """A memory, at the time of a start."""

    memory: Memory
    policy: HealthPolicy
    now: float
    offset: float

    def of(self, member: Member) -> Member:
        """A backend that is configured now, as the one that it was before, if it was."""
        backend = member.backend
        for known in self.memory.backends:
            if (known.backend.name, known.backend.address) == (backend.name, backend.address):
                recalled = replace(backend, identity=known.backend.identity)
                return replace(member, backend=recalled, record=self._record(known))
        record = member.record
        departed = recall_departed(self.memory, self.offset)
        if departed.get((backend.name, str(backend.address)), self.now) > self.now:
            record = cast_doubt(record, self._expiry, None, self.now)
        return Member(replace(backend, identity=self._new_identity(backend.name, backend.address)), record)

    def removed(self, configured: Iterable[str]) -> list[Member]:
        """The backends that are not configured any more, and may still hold sessions."""
        members = []
        for known in self.memory.backends:
            removed_at = self.now if known.removed_at is None else self._monotonic(known.removed_at)
            is_over = self.now - removed_at > self.memory.longest_life
            if known.backend.identity not in configured and not is_over:
                members.append(Member(known.backend, self._record(known), removed_at))
        return members

    def eras(self, ranking: Ranking) -> tuple[Era, ...]:
        """The former maps. Of no time before the start it is known who served all the time."""
        eras = []
        for each in self.memory.maps:
            same = ranking if each.weights == ranking.weights else Ranking(each.weights)
            began_at, ended_at = self._monotonic(each.began_at), self._monotonic(each.ended_at)
            if self.now - ended_at <= self.memory.longest_life:
                eras.append(Era(began_at, ended_at, same, each.places, frozenset(), each.copies))
        return tuple(eras)

    @property
    def _expiry(self) -> float:
        """When whatever was missed before the start has expired."""
        return self.now + self.memory.longest_life

    def _record(self, known: KnownBackend) -> HealthRecord:
        life = _token(known.life)
        record = replace(newcomer(self.policy), served_life=life)
        return record if known.was_up else cast_doubt(record, self._expiry, life, self.now)

    def _new_identity(self, name: str, address: Address) -> str:
        """The identity of a backend that was not there before: its name, unless another one has that."""
        taken = {known.backend.identity for known in self.memory.backends}
        return f"{name}@{address}" if name in taken else name

    def _monotonic(self, wall: float) -> float:
        return min(self.now, wall - self.offset)


def _known(member: Member, offset: float) -> KnownBackend:
    removed_at = None if member.removed_at is None else member.removed_at + offset
    return KnownBackend(member.backend, member.record.is_up, _text(member.record.served_life), removed_at)


def _maps(pool: Pool, since: float, now: float, offset: float) -> tuple[FormerMap, ...]:
    """Each map once, with the time from its first day to its last, but not before `since`."""
    current = Era(pool.changed_at, now, pool.ranking, pool.places, pool.eligible, pool.copies)
    found: list[FormerMap] = []
    for era in (*pool.eras, current):
        began_at, ended_at = max(since, era.began_at) + offset, max(since, era.ended_at) + offset
        former = FormerMap(dict(era.ranking.weights), era.places, era.copies, began_at, ended_at)
        for index, each in enumerate(found):
            if (each.weights, each.places, each.copies) == (former.weights, former.places, former.copies):
                found[index] = replace(each, ended_at=ended_at)
                break
        else:
            found.append(former)
    return tuple(found)


# --- as bytes --------------------------------------------------------------------------------------

_JSON = TypeAdapter(Memory)


def write_memory(memory: Memory) -> bytes:
    """Write it as a headline with a checksum, and a line of JSON."""
    line = _JSON.dump_json(memory)
    headline = f"partitioner state, format {VERSION}, checksum {xxh3_64_hexdigest(line)}\n"
    return headline.encode() + line


def read_memory(written: bytes) -> Memory:
    """Read what write_memory wrote.

    Raises MalformedFile.
    """
    headline, _, line = written.partition(b"\n")
    match = _HEADLINE.fullmatch(headline)
    if match is None:
        raise MalformedFile("does not begin with the headline of a router's state; it is foreign or damaged")
    if int(match[1]) != VERSION:
        raise MalformedFile(f"has the format {int(match[1])}; this program reads format {VERSION}")
    if match[2].decode() != xxh3_64_hexdigest(line):
        raise MalformedFile("has a wrong checksum; it is damaged")
    try:
        return _JSON.validate_json(line)
    except ValidationError as error:
        raise MalformedFile(f"does not say what a router's state says: {error}") from error


def _text(life: bytes | None) -> str | None:
    return None if life is None else life.decode("latin-1")


def _token(life: str | None) -> bytes | None:
    return None if life is None else life.encode("latin-1")
