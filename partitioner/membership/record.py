"""The record: what the next router must know (design.md 5.2).

What a router knows of sessions would die with it: which servers lack a change, which memories are out, under
which maps sessions were placed. So the active router keeps a record of that on every state server that it
reaches and, where there is one, in its state directory. Knowledge about sessions lies where sessions lie.

*Dirty* is a word to the next router: this memory may lack a change. The bit has its reasons: a lock, a write,
a remove that may be missing there. The living router reads by its marks; the next one, which does not have
them, is RECOVERING towards whatever is dirty.

Times are milliseconds by the farm's clock, that of the beats. A router that reads a record takes the newest
beat that is found anywhere for the moment of its own start; two machines' clocks are never compared.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from partitioner.membership.backend import Backend, BackendId
from partitioner.membership.entry import WRITE
from partitioner.membership.eras import Era
from partitioner.membership.farm_clock import FarmClock
from partitioner.membership.items import Term
from partitioner.membership.pool import Pool
from partitioner.membership.redundancy import RedundancyGap


@dataclass(frozen=True, slots=True)
class MemberEntry:
    """A backend as it was last known."""

    backend: Backend
    token: str | None  # of the memory that it has, or had when it was last UP
    health: str
    beat: int = 0  # the last one that it answered when this entry last changed
    dirty: frozenset[str] = frozenset()  # reasons
    wavered_at: int | None = None  # when it was last dirty, out, new, or changed by an operator
    out_since: int | None = None  # since when it is not READY and UP; None: it is
    removed_at: int | None = None
    is_doubted: bool = False  # what it missed was not known even to the router that wrote this
    dirty_at: int | None = None  # when it was last dirty: keys may have been read elsewhere then

    @property
    def was_up(self) -> bool:
        return self.health == "up"


@dataclass(frozen=True, slots=True)
class FormerMap:
    """Where sessions were put for a time: an era."""

    weights: dict[str, float]  # by name
    places: dict[str, BackendId]  # identities by name
    copies: int
    began_at: int
    ended_at: int
    served: dict[BackendId, str | None] = field(default_factory=dict)
    """Tokens of the memories that were read and written, by identity. Empty: it is not known who was."""
    is_certain: bool = True
    """The router of that time has left its marks, or did so to the one that wrote this."""
    recovering: dict[BackendId, str | None] = field(default_factory=dict)
    """Tokens of the memories that were written in addition, and not read, by identity."""

    def is_like(self, other: "FormerMap") -> bool:
        """Whether it is the same era, but for its time."""
        return replace(self, began_at=other.began_at, ended_at=other.ended_at) == other


@dataclass(frozen=True, slots=True)
class FormerGap:
    """Why sessions may have too few copies."""

    event: str
    opened_at: int
    identity: BackendId | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class FormerMemory:
    """What a server held that was forgotten, or was emptied; it may come back."""

    token: str
    until: int
    dirty: frozenset[str] = frozenset({WRITE})


@dataclass(frozen=True, slots=True)
class Record:
    """All that a router leaves to the next one."""

    farm: str
    lineage: str  # a word drawn at the farm's first start
    term: int
    word: str
    serial: int
    written_at: int
    longest_life: float  # T_max in seconds
    members: tuple[MemberEntry, ...]
    maps: tuple[FormerMap, ...] = ()
    former: tuple[FormerMemory, ...] = ()
    empty: tuple[str, ...] = ()  # tokens that were planted on empty memories
    has_stopped: bool = False  # in order; marks and locks lie in the state directory
    known_since: int = 0  # of what was before this nothing is known
    gaps: tuple[FormerGap, ...] = ()

    @property
    def order(self) -> tuple[Term, int]:
        """Of two records, the higher one is the later one."""
        return Term(self.term, self.word), self.serial

    @property
    def dirty(self) -> dict[BackendId, frozenset[str]]:
        """Reasons by identity, of those that are dirty."""
        return {each.backend.identity: each.dirty for each in self.members if each.dirty}

    def maps_until(self, now: int) -> tuple[FormerMap, ...]:
        """The maps; the one in force when this was written stayed so, to the end of its router: until `now`.

        A record is written when something changes, which may have been long ago.
        """
        return tuple(
            replace(each, ended_at=max(each.ended_at, now)) if each.ended_at >= self.written_at else each
            for each in self.maps
        )

    def entry(self, identity: BackendId) -> MemberEntry | None:
        return next((each for each in self.members if each.backend.identity == identity), None)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a router knows when it writes a record, beside its pool."""

    longest_life: float
    departed: Mapping[bytes, float]  # tokens of memories that are out, and until when that matters
    empty: frozenset[bytes]  # tokens that were planted on empty memories
    dirty: Mapping[BackendId, frozenset[str]]  # by identity
    beats: Mapping[BackendId, int]  # the last one that each server answered
    gaps: Iterable[RedundancyGap] = ()


def record_of(former: Record, pool: Pool, known: Knowledge, now: float, clock: FarmClock) -> Record:
    """The record that follows upon another one of the same router."""
    at = clock.at(now)
    members = tuple(_entry(former, pool, identity, known, at, clock) for identity in pool.members)
    shown = {member.incarnation for member in pool.members.values()}
    return replace(
        former,
        serial=former.serial + 1,
        written_at=at,
        longest_life=known.longest_life,
        members=members,
        maps=_maps(pool, now - known.longest_life, now, clock),
        former=tuple(
            FormerMemory(text_of(token), clock.at(until)) for token, until in known.departed.items()
        ),
        # Once a memory has been seen it is a member's, or one that is out: not an empty one any more.
        empty=tuple(sorted(text_of(token) for token in known.empty - shown - known.departed.keys())),
        known_since=clock.at(max(pool.known_since, now - known.longest_life - 1.0)),  # more than T_max
        gaps=tuple(_gap(each, clock) for each in known.gaps),
    )


def _gap(gap: RedundancyGap, clock: FarmClock) -> FormerGap:
    token = None if gap.incarnation is None else text_of(gap.incarnation)
    return FormerGap(gap.event, clock.at(gap.opened_at), gap.identity, token)


def _entry(
    former: Record, pool: Pool, identity: BackendId, known: Knowledge, at: int, clock: FarmClock
) -> MemberEntry:
    member = pool.members[identity]
    token = member.incarnation
    entry = MemberEntry(
        member.backend,
        None if token is None else text_of(token),
        member.record.health.value,
        dirty=known.dirty.get(identity, frozenset()),
        removed_at=None if member.removed_at is None else clock.at(member.removed_at),
        is_doubted=member.record.is_doubted(clock.moment_of(at)),
    )
    before = former.entry(identity)
    has_changed = before is None or _without_times(before) != entry
    beat = known.beats.get(identity, 0) if has_changed or before is None else before.beat
    is_wavering = has_changed or bool(entry.dirty) or not entry.was_up
    wavered_at = at if is_wavering or before is None else before.wavered_at
    dirty_at = at if entry.dirty else None if before is None else before.dirty_at
    out_since = None
    if not member.is_eligible:
        out_since = at if before is None or before.out_since is None else before.out_since
    return replace(entry, beat=beat, wavered_at=wavered_at, out_since=out_since, dirty_at=dirty_at)


def _without_times(entry: MemberEntry) -> MemberEntry:
    return replace(entry, beat=0, wavered_at=None, out_since=None, dirty_at=None)


def _maps(pool: Pool, since: float, now: float, clock: FarmClock) -> tuple[FormerMap, ...]:
    """Each era once, with the time from its first day to its last, but not before `since`."""
    found: list[FormerMap] = []
    for era in (*pool.eras, pool.era_until(now)):
        former = _former(era, max(since, era.began_at), max(since, era.ended_at), clock)
        for index, each in enumerate(found):
            if each.is_like(former):
                found[index] = replace(each, ended_at=max(each.ended_at, former.ended_at))
                break
        else:
            found.append(former)
    return tuple(found)


def _former(era: Era, began_at: float, ended_at: float, clock: FarmClock) -> FormerMap:
    served = {server: maybe_text_of(token) for server, token in sorted(era.served.items())}
    return FormerMap(
        dict(era.ranking.weights),
        era.places,
        era.copies,
        clock.at(began_at),
        clock.at(ended_at),
        served,
        era.is_certain,
        {server: maybe_text_of(era.incarnations.get(server)) for server in sorted(era.recovering)},
    )


def text_of(token: bytes) -> str:
    """A token as JSON can hold it."""
    return token.decode("latin-1")


def maybe_text_of(token: bytes | None) -> str | None:
    return None if token is None else text_of(token)


def maybe_token_of(text: str | None) -> bytes | None:
    return None if text is None else token_of(text)


def token_of(text: str) -> bytes:
    return text.encode("latin-1")
