"""Judges a history by what the clients saw, promise by promise (design.md 1).

Clients run side by side, and an exchange that was closed may have been carried out or not, at any time
until something later is acknowledged. So nothing is compared with *the* value; a read is held against
all that it may see:

- A change is *definite* when it was acknowledged. It supersedes what had ended before it began.
- A read may see whatever had begun by its end and is not superseded by something definite that
  had ended before it began.

"Not there" is a value like others: at the beginning, after a remove, and when the time-out has passed.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from partitioner.protocol.messages import Operation
from tests.simulation.history import Exchange, History
from tests.simulation.web import EXECUTION_TIMEOUT, LONGEST_TIMEOUT, SHORTEST_TIMEOUT

SLACK = 1.0
LONGER = 0.06 * LONGEST_TIMEOUT + 1.0
"""Seconds: a session may live 5 % longer than it should (design.md 7.7)."""

BAD_COPY = "a bad copy"
"""What a history notes when the router takes a copy for good that is not there, or has other content."""

DISTRUSTED = "an empty server is not read"
"""What a history notes when a server that has come back empty is not read after a while."""

NEVER = "never redundant again"
"""What a history notes when a world without trouble does not become redundant."""

LONGEST_LATENESS = 60.0
"""Seconds after which a server has carried out what lay in its sockets while it stood still."""

MOST_TRIES = 3
"""Releases by force that may all be closed while something has failed."""

_READS = (Operation.GET, Operation.ACQUIRE)
_NEED_IT = (Operation.RELEASE, Operation.RESET_TIMEOUT)
_TAKE_THE_FLAG = (Operation.GET, Operation.ACQUIRE, Operation.RELEASE)


class World(Protocol):
    """What can be expected of the world that a history comes from, simulated or of real processes."""

    @property
    def may_lose(self) -> bool:
        """Whether sessions may be lost without a fault of the router."""

    @property
    def may_stay_thin(self) -> bool:
        """Whether copies may be missing for ever without a fault of the router."""


class Kind(Enum):
    """What can be wrong with a history."""

    LOST = "lost"
    STALE = "stale"
    RESURRECTED = "resurrected"
    DOUBLE_HOLDER = "double holder"
    LIE = "lie"
    LOST_UPDATE = "lost update"
    WENT_BACK = "went back"  # something older than an earlier read has seen
    DENIED = "denied"  # a session that exists was not found to be released or kept alive
    FLAG = "flag"  # a new session was not called new, or twice
    STUCK_LOCK = "stuck lock"
    WRONG_SESSION = "wrong session"
    NOT_REDUNDANT = "not redundant"  # a copy is missing or bad, and the router takes it for good
    NEVER_REDUNDANT = "never redundant"  # something is not put right
    DISTRUSTED = "distrusted"  # a server is not read although there is nothing to doubt
    SHUT_OUT = "shut out"  # closed although all is well


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise."""

    kind: Kind
    exchange: Exchange
    why: str

    def __str__(self) -> str:
        return f"{self.kind.value.upper()}: {self.exchange}\n    {self.why}"


@dataclass(frozen=True, slots=True)
class Change:
    """What a session was made to be, from when to when, and whether that was acknowledged."""

    began_at: float
    ended_at: float
    version: int | None  # None: not there
    is_definite: bool
    is_creation: bool = False  # makes it exist, and leaves what is there


def judge(
    world: World, history: History, execution_timeout: float = EXECUTION_TIMEOUT
) -> tuple[Violation, ...]:
    """Everything that is wrong with a history; no page of it runs longer than its time-out, in seconds."""
    found: list[Violation] = []
    by_session: dict[int, list[Exchange]] = defaultdict(list)
    for exchange in history.exchanges:
        by_session[exchange.session].append(exchange)
    ends = [note.at for note in history.notes if note.text == "the end"]
    for exchanges in by_session.values():
        found += _wrong_sessions(exchanges)
        found += _wrong_contents(world, history, exchanges)
        found += _wrong_flags(history, exchanges)
        if (
            not world.may_stay_thin
        ):  # who is not read is not unlocked; the lock is broken when it is read again
            found += _stuck_locks(exchanges, history.crashed_pages, history.claims, execution_timeout)
            found += _unbreakable_locks(exchanges, history.claims)
        if not world.may_lose:
            found += _double_holders(exchanges, history)
        if ends:
            found += _shut_out(world, exchanges, ends[0])
    for note in history.notes:
        if note.text == NEVER and not world.may_stay_thin:
            found.append(Violation(Kind.NEVER_REDUNDANT, history.exchanges[-1], str(note)))
        if note.text.startswith(DISTRUSTED):
            found.append(Violation(Kind.DISTRUSTED, history.exchanges[-1], str(note)))
        if note.text.startswith(BAD_COPY) and not world.may_lose:
            found.append(Violation(Kind.NOT_REDUNDANT, history.exchanges[-1], str(note)))
    return tuple(found)


def _wrong_sessions(exchanges: list[Exchange]) -> Iterator[Violation]:
    for each in exchanges:
        if each.seen_session is not None and each.seen_session != each.session:
            yield Violation(Kind.WRONG_SESSION, each, f"this is content of session {each.seen_session}")


def _shut_out(world: World, exchanges: list[Exchange], end: float) -> Iterator[Violation]:
    """Find exchanges that were closed in the end. In so small a ledger there may be no room for a lock."""
    for each in exchanges:
        may_be_refused = world.may_stay_thin and each.operation is Operation.ACQUIRE
        if each.began_at >= end and each.status not in (200, 404, 423) and not may_be_refused:
            yield Violation(Kind.SHUT_OUT, each, "all servers are well, and it was not answered")


# --- content ---


def _wrong_contents(world: World, history: History, exchanges: list[Exchange]) -> Iterator[Violation]:
    changes = [Change(float("-inf"), float("-inf"), None, is_definite=True)]
    changes += [change for each in exchanges if (change := _maybe_change(each)) is not None]
    seen: list[Change] = []  # what reads have shown to be carried out
    reads = [each for each in exchanges if each.operation in _READS and each.status in (200, 404)]
    for read in sorted(reads, key=lambda each: each.ended_at or 0.0):
        versions = _visible(changes, read)
        if read.status == 404:
            may_be_absent = None in versions or _may_have_expired(exchanges, read)
            may_lose = world.may_lose or history.is_beyond(
                _held_since(changes, versions), read.ended_at or 0.0
            )
            if not may_be_absent and not (may_lose and not read.good_copies):
                yield _lost_or_lie(read, versions)
            if not _may_come_back(exchanges, read):
                changes.append(Change(read.began_at, read.ended_at or 0.0, None, is_definite=True))
        elif read.seen_version not in versions:
            yield _stale_or_resurrected(changes, read, versions)
        elif _must_have_expired(exchanges, read):
            yield Violation(Kind.RESURRECTED, read, "its time-out has passed long ago")
        elif not world.may_lose and read.session not in history.cut_off:
            began_at = _held_since(changes, {read.seen_version})
            is_excused = history.is_beyond(began_at, read.ended_at or 0.0)
            if not is_excused and read.seen_version not in _visible([*changes, *seen], read):
                yield Violation(Kind.WENT_BACK, read, "an earlier read has seen something later")
            seen.append(Change(began_at, read.ended_at or 0.0, read.seen_version, is_definite=True))
    if not world.may_lose:
        yield from _denied(history, exchanges, changes)


def _held_since(changes: list[Change], versions: set[int | None]) -> float:
    """When the oldest of these versions began to be written."""
    began = [each.began_at for each in changes if each.version in versions and each.version is not None]
    return min(began, default=float("-inf"))


def _denied(history: History, exchanges: list[Exchange], changes: list[Change]) -> Iterator[Violation]:
    """Find 404s to releases and HEADs of sessions that exist."""
    for each in exchanges:
        if each.operation not in _NEED_IT or each.status != 404 or each.ended_at is None:
            continue
        versions = _visible(changes, each)
        is_excused = history.is_beyond(_held_since(changes, versions), each.ended_at)
        if None not in versions and not is_excused and not _may_have_expired(exchanges, each):
            yield Violation(Kind.DENIED, each, f"expected one of {sorted(v for v in versions if v)}")


def _maybe_change(exchange: Exchange) -> Change | None:
    """What an exchange may have changed, if it may have."""
    began_at = exchange.began_at
    ended_at = float("inf") if exchange.ended_at is None else exchange.ended_at
    match exchange.operation:
        case Operation.SET if exchange.status in (200, None):
            return Change(began_at, ended_at, exchange.version, exchange.status == 200)
        case Operation.CREATE_UNINITIALIZED if exchange.status in (200, None):
            is_definite = exchange.status == 200
            return Change(began_at, ended_at, exchange.version, is_definite, is_creation=True)
        case Operation.REMOVE if exchange.status in (200, 404, None):
            return Change(began_at, ended_at, None, exchange.status is not None)
    return None


def _visible(changes: list[Change], read: Exchange) -> set[int | None]:
    """The versions that a read may see; None stands for "not there"."""
    assert read.ended_at is not None
    definite = [each for each in changes if each.is_definite and each.ended_at <= read.began_at]
    return {
        each.version
        for each in changes
        if each.began_at < read.ended_at and not any(_supersedes(later, each) for later in definite)
    }


def _supersedes(later: Change, earlier: Change) -> bool:
    if later.began_at < earlier.ended_at or later is earlier:
        return False
    return not later.is_creation or earlier.version is None


def _lost_or_lie(read: Exchange, versions: set[int | None]) -> Violation:
    expected = f"expected one of {sorted(v for v in versions if v is not None)}"
    if read.good_copies:
        return Violation(Kind.LIE, read, f"{', '.join(read.good_copies)} has it; {expected}")
    return Violation(Kind.LOST, read, expected)


def _stale_or_resurrected(changes: list[Change], read: Exchange, versions: set[int | None]) -> Violation:
    seen = [each for each in changes if each.version == read.seen_version]
    ended_at = seen[0].ended_at if seen else 0.0
    was_removed = any(
        each.version is None
        and each.is_definite
        and ended_at <= each.began_at
        and each.ended_at <= read.began_at
        for each in changes
    )
    kind = Kind.RESURRECTED if was_removed else Kind.STALE
    return Violation(kind, read, f"expected one of {sorted(str(each) for each in versions)}")


# --- time-outs ---


def _may_have_expired(exchanges: list[Exchange], read: Exchange) -> bool:
    """Whether the session may have been untouched for its time-out when it was read."""
    assert read.ended_at is not None
    touched = [
        each.began_at
        for each in exchanges
        if each.status in (200, 423) and (each.ended_at or 0.0) <= read.began_at
    ]
    return not touched or read.ended_at >= max(touched) + SHORTEST_TIMEOUT - SLACK


def _may_come_back(exchanges: list[Exchange], read: Exchange) -> bool:
    """Whether it expired so shortly before that a copy may still have it."""
    touched = [each.ended_at or 0.0 for each in exchanges if each.began_at < read.began_at]
    return (
        bool(touched)
        and _may_have_expired(exchanges, read)
        and read.began_at < max(touched) + LONGEST_TIMEOUT + LONGER
    )


def _must_have_expired(exchanges: list[Exchange], read: Exchange) -> bool:
    """Whether it cannot have lived on, whatever may have touched it."""
    before = [
        float("inf") if each.ended_at is None else each.ended_at
        for each in exchanges
        if each.began_at < read.began_at and each is not read
    ]
    return bool(before) and read.began_at > max(before) + 2 * LONGEST_TIMEOUT


# --- locks ---


def _stuck_locks(
    exchanges: list[Exchange], crashed: set[int], claims: list[float], execution_timeout: float
) -> Iterator[Violation]:
    """Find locks that are older than any page, and were not left by one that crashed.

    One that was granted before the router of now had claimed may be that of a page which failed meanwhile:
    nobody releases it but a web server, when it is too old (design.md 5.2.6). The same goes for one that a
    server granted later, to an acquire of a router before that had lain in its sockets (design.md 7.7).
    """
    acquires = [each for each in exchanges if each.operation is Operation.ACQUIRE]
    granted = [each for each in acquires if each.page in crashed]
    unanswered = [each for each in acquires if each.status is None]
    for each in exchanges:
        if each.status != 423 or each.lock_age is None or each.lock_age < execution_timeout:
            continue
        earliest = each.began_at - each.lock_age - SLACK - 1.0
        latest = (each.ended_at or each.began_at) - each.lock_age + SLACK
        is_left_by_a_crash = any(
            acquire.began_at <= latest and (acquire.ended_at is None or acquire.ended_at >= earliest)
            for acquire in granted
        )
        is_granted_late = any(
            acquire.began_at <= claimed <= latest <= acquire.began_at + LONGEST_LATENESS
            for acquire in unanswered
            for claimed in claims
        )
        is_older = is_granted_late or any(earliest <= claimed <= each.began_at for claimed in claims)
        if not is_left_by_a_crash and not is_older:
            yield Violation(Kind.STUCK_LOCK, each, "no page runs for so long")


def _unbreakable_locks(exchanges: list[Exchange], claims: list[float]) -> Iterator[Violation]:
    """Find locks that were released by force, and are still there, whoever has left them.

    A release that was closed may be asked once more; what is closed again and again breaks no lock. A router
    that claims may not know which releases a server has missed while it was away: it shows the lock once
    more, and only releases since its claim count.
    """
    shown: dict[int, float] = {}  # when the lock was granted that a page was shown last
    forced: list[tuple[Exchange, float]] = []
    for each in sorted(exchanges, key=lambda one: one.ended_at or float("inf")):
        if each.is_forced:
            forced.append((each, shown[each.page]))
        if each.status != 423 or each.lock_age is None:
            continue
        shown[each.page] = granted_at = each.began_at - each.lock_age
        ended_at = each.began_at if each.ended_at is None else each.ended_at
        claimed_at = max((claimed for claimed in claims if claimed <= ended_at), default=float("-inf"))
        tried = [
            release
            for release, granted in forced
            if release.cookie == each.lock_cookie and abs(granted - granted_at) < 2 * SLACK
            if claimed_at < (release.ended_at or float("inf")) < each.began_at
        ]
        if len(tried) >= MOST_TRIES or any(release.status == 200 for release in tried):
            yield Violation(Kind.STUCK_LOCK, each, f"it was released by force {len(tried)} times")


def _double_holders(exchanges: list[Exchange], history: History) -> Iterator[Violation]:
    """Find acquires that were granted while another page held the lock, and saves that it was refused."""
    events = []
    for each in exchanges:
        if each.operation is Operation.ACQUIRE and each.status in (200, 404):
            events.append((each.ended_at or 0.0, 1, each))
        elif each.operation in (Operation.SET, Operation.RELEASE, Operation.REMOVE):
            events.append((each.began_at, 0, each))
    holders: dict[int, int | None] = {}  # cookies by page
    since: dict[int, float] = {}  # when it asked for the lock
    for _, _, each in sorted(events, key=lambda event: event[:2]):
        if each.status == 404 and each.operation is Operation.ACQUIRE:
            holders.clear()  # what does not exist is not locked; whether that is true is judged elsewhere
        elif each.operation is Operation.ACQUIRE:
            others = [page for page in holders if page != each.page]
            is_over = (
                bool(others) and each.began_at >= since[others[0]] + SHORTEST_TIMEOUT
            )  # with its session
            if others and not is_over and not history.is_beyond(since[others[0]], each.ended_at or 0.0):
                yield Violation(Kind.DOUBLE_HOLDER, each, f"page {others[0]} holds it")
            holders[each.page] = each.lock_cookie
            since[each.page] = each.began_at
        elif each.is_forced:
            holders = {page: cookie for page, cookie in holders.items() if cookie != each.cookie}
        elif each.page in holders:
            held = holders.pop(each.page)
            is_excused = history.is_beyond(since[each.page], each.ended_at or each.began_at)
            if held == each.cookie and each.status in (404, 423) and not is_excused:
                yield Violation(Kind.LOST_UPDATE, each, "it held the lock")


# --- flags ---


def _wrong_flags(history: History, exchanges: list[Exchange]) -> Iterator[Violation]:
    """Find new sessions whose first reader was not told so, or some later one again.

    Judged only while exchanges of the session follow each other, each is answered, and nothing fails: a flag
    may be lost with its answer, and be repeated after a failover (design.md 7.7).
    """
    created_at: float | None = None  # while it is known what to expect
    is_due = False
    latest = float("-inf")
    for each, following in zip(exchanges, (*exchanges[1:], None), strict=True):
        is_alone = following is None or (each.ended_at is not None and each.ended_at <= following.began_at)
        follows = each.began_at >= latest and is_alone
        latest = max(latest, float("inf") if each.ended_at is None else each.ended_at)
        if each.status is None or not follows or each.operation in (Operation.REMOVE, Operation.SET):
            created_at = created_at if each.operation is Operation.SET and not is_due and follows else None
        elif each.status == 404:
            created_at = None
        elif each.operation is Operation.CREATE_UNINITIALIZED:
            created_at, is_due = each.began_at, True
        elif created_at is not None and each.operation in _TAKE_THE_FLAG:
            if each.has_flag is not is_due and not history.has_failed(created_at, latest):
                yield Violation(Kind.FLAG, each, f"the flag is {'lost' if is_due else 'repeated'}")
            is_due = False
