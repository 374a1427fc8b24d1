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

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite

from pydantic import TypeAdapter, ValidationError
from xxhash import xxh3_64_hexdigest

from partitioner.errors import MalformedFile
from partitioner.membership.backend import Backend, Intent, free_identity
from partitioner.membership.farm_clock import FarmClock
from partitioner.membership.health import Health, HealthPolicy, HealthRecord, newcomer, suspect
from partitioner.membership.inheritance import Inheritance
from partitioner.membership.items import MOST_RECORD_BYTES, Term
from partitioner.membership.ledger import LOCK, WRITE
from partitioner.membership.numbers import check_numbers
from partitioner.membership.pool import Era, Member, Pool
from partitioner.membership.redundancy import RedundancyGap
from partitioner.placement.rendezvous import Ranking

VERSION = 2
"""1 did not say who served under a map, nor which sessions may lack copies. A record of another format is set
aside, as one that is damaged."""
_HEADLINE = re.compile(rb"partitioner record, format ([0-9]{1,9}), checksum ([0-9a-f]{16})")
MOST_PLAIN_BYTES = 4 * 1024 * 1024
"""Of a record that is unpacked: a damaged or hostile one must not fill our memory."""

FAR_AHEAD = 366 * 86_400_000
"""Milliseconds by which a record may be ahead of our own clock; one that is more is set aside."""


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
    places: dict[str, str]  # identities by name
    copies: int
    began_at: int
    ended_at: int
    served: dict[str, str | None] = field(default_factory=dict)
    """Tokens of the memories that were read and written, by identity. Empty: it is not known who was."""
    is_certain: bool = (
        True  # the router of that time has left its marks, or did so to the one that wrote this
    )

    def is_like(self, other: "FormerMap") -> bool:
        """Whether it is the same era, but for its time."""
        return replace(self, began_at=other.began_at, ended_at=other.ended_at) == other


@dataclass(frozen=True, slots=True)
class FormerGap:
    """Why sessions may have too few copies."""

    event: str
    opened_at: int
    identity: str | None = None
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
    def dirty(self) -> dict[str, frozenset[str]]:
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

    def entry(self, identity: str) -> MemberEntry | None:
        return next((each for each in self.members if each.backend.identity == identity), None)


# --- written ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a router knows when it writes a record, beside its pool."""

    longest_life: float
    departed: Mapping[bytes, float]  # tokens of memories that are out, and until when that matters
    empty: frozenset[bytes]  # tokens that were planted on empty memories
    dirty: Mapping[str, frozenset[str]]  # by identity
    beats: Mapping[str, int]  # the last one that each server answered
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
        former=tuple(FormerMemory(_text(token), clock.at(until)) for token, until in known.departed.items()),
        # Once a memory has been seen it is a member's, or one that is out: not an empty one any more.
        empty=tuple(sorted(_text(token) for token in known.empty - shown - known.departed.keys())),
        known_since=clock.at(max(pool.known_since, now - known.longest_life - 1.0)),  # more than T_max
        gaps=tuple(_gap(each, clock) for each in known.gaps),
    )


def _gap(gap: RedundancyGap, clock: FarmClock) -> FormerGap:
    token = None if gap.incarnation is None else _text(gap.incarnation)
    return FormerGap(gap.event, clock.at(gap.opened_at), gap.identity, token)


def _entry(
    former: Record, pool: Pool, identity: str, known: Knowledge, at: int, clock: FarmClock
) -> MemberEntry:
    member = pool.members[identity]
    token = member.incarnation
    entry = MemberEntry(
        member.backend,
        None if token is None else _text(token),
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
    served = {server: _maybe_text(token) for server, token in sorted(era.served.items())}
    return FormerMap(
        dict(era.ranking.weights),
        era.places,
        era.copies,
        clock.at(began_at),
        clock.at(ended_at),
        served,
        era.is_certain,
    )


# --- made use of ------------------------------------------------------------------------------------


def inherit(
    record: Record, pool: Pool, policy: HealthPolicy, now: float, clock: FarmClock, *, is_clean: bool
) -> Inheritance:
    """What to begin with, from the pool of those that are configured now, about which nothing is known.

    `is_clean` says that the router before this one has left its marks and locks, too: then nobody is in
    doubt. Else whatever was dirty, or was not UP, may lack what no router remembers.
    """
    heir = _Heir(record, policy, now, clock, is_clean)
    members: dict[str, Member] = {}
    for member in pool.members.values():
        known = heir.member_of(member)
        members[known.backend.identity] = known
    for member in heir.removed(members):
        members[member.backend.identity] = member
    begun = replace(
        pool,
        members=members,
        eras=heir.eras(pool.ranking),
        known_since=clock.moment_of(record.known_since),
    )
    former = {_token(each.token): heir.until(each) for each in record.former}
    dirty = {identity: why for identity, why in record.dirty.items() if identity in members}
    empty = frozenset(map(_token, record.empty)) - former.keys()
    gaps = tuple(heir.gaps())
    return Inheritance(begun, former, dirty, empty, False, record.longest_life, gaps)


@dataclass(frozen=True, slots=True)
class _Heir:
    record: Record
    policy: HealthPolicy
    now: float
    clock: FarmClock
    is_clean: bool

    def member_of(self, member: Member) -> Member:
        """A backend that is configured now, as the one that it was before, if it was.

        A server that was renamed or has moved shows who it is with its first probe.
        """
        backend = member.backend
        for entry in sorted(self.record.members, key=lambda each: each.removed_at is not None):
            if (entry.backend.name, entry.backend.address) == (backend.name, backend.address):
                known = replace(backend, identity=entry.backend.identity)
                return Member(known, self._health(entry))
        taken = {entry.backend.identity for entry in self.record.members}
        return Member(replace(backend, identity=free_identity(backend, taken)), member.record)

    def removed(self, configured: Iterable[str]) -> list[Member]:
        """The backends that are not configured any more, and may still hold sessions."""
        members = []
        for entry in self.record.members:
            removed_at = self.now if entry.removed_at is None else self.clock.moment_of(entry.removed_at)
            is_over = self.now - removed_at > self.record.longest_life
            if entry.backend.identity not in configured and not is_over:
                members.append(Member(entry.backend, self._health(entry), removed_at))
        return members

    def until(self, former: FormerMemory) -> float:
        """Until when it matters that this memory is out: no longer than T_max from now."""
        left = (former.until - self.clock.milliseconds) / 1000
        return min(self.clock.moment + left, self.now + self.record.longest_life)

    def gaps(self) -> Iterator[RedundancyGap]:
        """Why sessions may lack copies; each server that was read is expected to be found as it was."""
        for gap in self.record.gaps:
            opened_at = self.clock.moment_of(gap.opened_at)
            yield RedundancyGap(gap.event, opened_at, gap.identity, _maybe_token(gap.token))
        for entry in self.record.members:
            if entry.was_up and entry.token is not None and entry.backend.intent is not Intent.MAINT:
                event = f"{entry.backend.name} was missing, empty or in doubt at the router's start"
                yield RedundancyGap(event, self.now, entry.backend.identity, _token(entry.token))
        last = max(self.record.maps, key=lambda each: each.ended_at, default=None)
        if last is not None and len(last.served) < last.copies:
            yield RedundancyGap("there were too few servers for all copies until", self.now)

    def eras(self, ranking: Ranking) -> tuple[Era, ...]:
        """The eras of the record, as far as they matter.

        Without the marks of the router before this one they count as ended now, and none of its servers is a
        witness (design.md 5.2.5).
        """
        eras = [self._era(each, ranking) for each in self._recorded(self.clock.milliseconds)]
        return tuple(era for era in eras if not era.is_over(self.now - self.record.longest_life))

    def _era(self, former: FormerMap, ranking: Ranking) -> Era:
        served = {server: _maybe_token(token) for server, token in former.served.items()}
        servers = frozenset(served)
        ended_at = self.clock.moment_of(former.ended_at)
        is_over = self.now - ended_at > self.record.longest_life
        return Era(
            self.clock.moment_of(former.began_at),
            ended_at if self.is_clean or is_over else self.now,
            ranking if former.weights == ranking.weights else Ranking(former.weights),
            former.places,
            servers,
            former.copies,
            servers,
            served,
            returned_at=dict.fromkeys(self._away(former), self.now),
            is_certain=self.is_clean and former.is_certain,
        )

    def _away(self, former: FormerMap) -> Iterator[str]:
        """The servers of an era that were away in the end: what they held has not grown old since."""
        for entry in self.record.members:
            identity = entry.backend.identity
            is_theirs = identity in former.served and former.served[identity] == entry.token
            if is_theirs and not entry.was_up and not self._was_long_away(entry):
                yield identity

    def _recorded(self, milliseconds: int) -> Iterator[FormerMap]:
        """The eras of the record, and what else may have been where its router did not stop in order.

        It may not have written down its last change of health: that a server was back. And where a server
        had marks, though these were gone in the end, the next one may have served its keys meanwhile.
        """
        maps = self.record.maps_until(milliseconds)
        yield from maps
        if self.is_clean or not maps:
            return
        last = max(maps, key=lambda each: each.ended_at)
        since = milliseconds - round(self.record.longest_life * 1000)
        ready = [
            each
            for each in self.record.members
            if each.removed_at is None and each.backend.intent is Intent.READY and each.token is not None
        ]
        steady = [each for each in ready if each.was_up and (each.dirty_at or 0) < since]
        for servers in (ready, steady):
            yield replace(last, served={each.backend.identity: each.token for each in servers})

    def _health(self, entry: MemberEntry) -> HealthRecord:
        token = None if entry.token is None else _token(entry.token)
        record = replace(newcomer(self.policy), served_incarnation=token)
        lacks_marks = not self.is_clean and (bool(entry.dirty - {LOCK}) or not entry.was_up)
        if token is None or not (lacks_marks or self._was_long_away(entry) or entry.is_doubted):
            return record
        return suspect(record, self.now + self.record.longest_life, token, self.now)

    def _was_long_away(self, entry: MemberEntry) -> bool:
        """Whether it was away for longer than marks are kept; its clock may have stood still meanwhile."""
        since = self.clock.milliseconds - round(self.record.longest_life * 1000)
        return not entry.was_up and entry.out_since is not None and entry.out_since < since


# --- as bytes ---------------------------------------------------------------------------------------

_JSON = TypeAdapter(Record)


def write_record(record: Record) -> bytes:
    """Write it as a headline with a checksum, and packed JSON, in at most MOST_RECORD_BYTES.

    What would make it larger is left out. A memory that is not named in it is in doubt when it is found, so
    tokens go first, and then the maps that ended first: a record that is too large could not be read at all.
    """
    while True:
        plain = _JSON.dump_json(record)
        packed = zlib.compress(plain)
        checksum = xxh3_64_hexdigest(packed).encode()
        written = b"partitioner record, format %d, checksum %b\n" % (VERSION, checksum) + packed
        fits = len(written) <= MOST_RECORD_BYTES and len(plain) <= MOST_PLAIN_BYTES
        if fits or not (record.empty or record.former or record.maps):
            return written
        record = _shortened(record)


def _shortened(record: Record) -> Record:
    """The same record without a part of what may be left out."""
    if record.empty or record.former:
        return replace(record, empty=(), former=())
    by_age = sorted(record.maps, key=lambda each: each.ended_at)
    left_out = len(record.maps) // 8 + 1
    known_since = max(record.known_since, by_age[left_out - 1].ended_at)
    return replace(record, maps=tuple(by_age[left_out:]), known_since=known_since)


def read_record(written: bytes, farm: str, now: int) -> Record:
    """Read what write_record wrote; `now` is milliseconds by this machine's clock.

    Raises MalformedFile where it is damaged, of another format, of another farm, or of the far future.
    """
    headline, _, packed = written.partition(b"\n")
    match = _HEADLINE.fullmatch(headline)
    if match is None:
        raise MalformedFile("does not begin with the headline of a record; it is foreign or damaged")
    if int(match[1]) != VERSION:
        raise MalformedFile(f"has the format {int(match[1])}; this program reads format {VERSION}")
    if match[2].decode() != xxh3_64_hexdigest(packed):
        raise MalformedFile("has a wrong checksum; it is damaged")
    try:
        unpacking = zlib.decompressobj()
        plain = unpacking.decompress(packed, MOST_PLAIN_BYTES)
        if not unpacking.eof:
            raise MalformedFile(f"has more than {MOST_PLAIN_BYTES} bytes, or is cut off")
        record = _JSON.validate_json(plain)
        _check(record)
    except ValidationError as error:
        (first, *_) = error.errors(include_input=False, include_url=False)
        place = ".".join(map(str, first["loc"]))
        raise MalformedFile(f"does not say what a record says: {place}: {first['msg']}") from error
    except (zlib.error, ValueError) as error:
        raise MalformedFile(f"does not say what a record says: {error}") from error
    if record.farm != farm:
        raise MalformedFile(f"belongs to the farm {record.farm!r}; expected {farm!r}")
    if record.written_at > now + FAR_AHEAD:
        raise MalformedFile("was written by a clock that is more than a year ahead")
    return record


def _check(record: Record) -> None:
    """Raises ValueError where the parts of a record do not go together; its types are right."""
    shown = [entry.token for entry in record.members]
    served = [token for each in record.maps for token in each.served.values()]
    lacking = [each.token for each in record.gaps]
    for token in (*shown, *served, *lacking, *(each.token for each in record.former), *record.empty):
        _maybe_token(token)
    for entry in record.members:
        Health(entry.health)
        _check_weight(entry.backend.weight)
    for each in record.maps:
        if each.weights.keys() != each.places.keys():
            raise ValueError("a map has other names in its weights than in its places")
        for weight in each.weights.values():
            _check_weight(weight)
    if not isfinite(record.longest_life):
        raise ValueError("the longest timeout of a session is not a number of seconds")
    check_numbers(record)


def _check_weight(weight: float) -> None:
    if not (isfinite(weight) and weight > 0):
        raise ValueError(f"{weight} is not a weight; expected a number above 0")


def _text(token: bytes) -> str:
    return token.decode("latin-1")


def _maybe_text(token: bytes | None) -> str | None:
    return None if token is None else _text(token)


def _maybe_token(text: str | None) -> bytes | None:
    return None if text is None else _token(text)


def _token(text: str) -> bytes:
    return text.encode("latin-1")
