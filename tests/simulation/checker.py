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

NEVER = "never redundant again"
"""What a history notes when a world without trouble does not become redundant."""

_READS = (Operation.GET, Operation.ACQUIRE)


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
    STUCK_LOCK = "stuck lock"
    WRONG_SESSION = "wrong session"
    NOT_REDUNDANT = "not redundant"  # a copy is missing or bad, and the router takes it for good
    NEVER_REDUNDANT = "never redundant"  # something is not put right
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
        found += _wrong_contents(world, exchanges)
        if (
            not world.may_stay_thin
        ):  # who is not read is not unlocked; the lock is broken when it is read again
            found += _stuck_locks(exchanges, history.crashed_pages, execution_timeout)
        if not world.may_lose:
            found += _double_holders(exchanges, history.crashed_pages)
        if ends:
            found += _shut_out(exchanges, ends[0])
    for note in history.notes:
        if note.text == NEVER and not world.may_stay_thin:
            found.append(Violation(Kind.NEVER_REDUNDANT, history.exchanges[-1], str(note)))
        if note.text.startswith(BAD_COPY) and not world.may_lose:
            found.append(Violation(Kind.NOT_REDUNDANT, history.exchanges[-1], str(note)))
    return tuple(found)


def _wrong_sessions(exchanges: list[Exchange]) -> Iterator[Violation]:
    for each in exchanges:
        if each.seen_session is not None and each.seen_session != each.session:
            yield Violation(Kind.WRONG_SESSION, each, f"this is content of session {each.seen_session}")


def _shut_out(exchanges: list[Exchange], end: float) -> Iterator[Violation]:
    for each in exchanges:
        if each.began_at >= end and each.status not in (200, 404, 423):
            yield Violation(Kind.SHUT_OUT, each, "all servers are well, and it was not answered")


# --- content ---


def _wrong_contents(world: World, exchanges: list[Exchange]) -> Iterator[Violation]:
    changes = [Change(float("-inf"), float("-inf"), None, is_definite=True)]
    changes += [change for each in exchanges if (change := _maybe_change(each)) is not None]
    reads = [each for each in exchanges if each.operation in _READS and each.status in (200, 404)]
    for read in sorted(reads, key=lambda each: each.ended_at or 0.0):
        versions = _visible(changes, read)
        if read.status == 404:
            may_be_absent = None in versions or _may_have_expired(exchanges, read)
            if not may_be_absent and not (world.may_lose and not read.good_copies):
                yield _lost_or_lie(read, versions)
            if not _may_come_back(exchanges, read):
                changes.append(Change(read.began_at, read.ended_at or 0.0, None, is_definite=True))
        elif read.seen_version not in versions:
            yield _stale_or_resurrected(changes, read, versions)
        elif _must_have_expired(exchanges, read):
            yield Violation(Kind.RESURRECTED, read, "its time-out has passed long ago")


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
    exchanges: list[Exchange], crashed: set[int], execution_timeout: float
) -> Iterator[Violation]:
    if any(each.page in crashed for each in exchanges):
        return  # what a dead web server has locked stays locked, until its lock is too old
    for each in exchanges:
        if each.status == 423 and each.lock_age is not None and each.lock_age >= execution_timeout:
            yield Violation(Kind.STUCK_LOCK, each, "no page runs for so long")


def _double_holders(exchanges: list[Exchange], crashed: set[int]) -> Iterator[Violation]:
    """Find acquires that were granted while another page held the lock, and saves that it was refused."""
    events = []
    for each in exchanges:
        if each.operation is Operation.ACQUIRE and each.status in (200, 404):
            events.append((each.ended_at or 0.0, 1, each))
        elif each.operation in (Operation.SET, Operation.RELEASE, Operation.REMOVE):
            events.append((each.began_at, 0, each))
    holders: dict[int, int | None] = {}  # cookies by page
    for _, _, each in sorted(events, key=lambda event: event[:2]):
        if each.status == 404 and each.operation is Operation.ACQUIRE:
            holders.clear()  # what does not exist is not locked; whether that is true is judged elsewhere
        elif each.operation is Operation.ACQUIRE:
            others = [page for page in holders if page != each.page]
            if others:
                yield Violation(Kind.DOUBLE_HOLDER, each, f"page {others[0]} holds it")
            holders[each.page] = each.lock_cookie
        elif each.is_forced:
            holders = {page: cookie for page, cookie in holders.items() if cookie != each.cookie}
        elif each.page in holders:
            held = holders.pop(each.page)
            if held == each.cookie and each.status in (404, 423):
                yield Violation(Kind.LOST_UPDATE, each, "it held the lock")
