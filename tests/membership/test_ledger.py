"""The ledger by its rules: locks, marks, what ends them, and what it forgets (design.md 7.3, 7.4)."""

from collections.abc import Iterator

import pytest

from partitioner.membership.backend import Address, Backend
from partitioner.membership.health import HealthPolicy
from partitioner.membership.ledger import SWEEP_BATCH, Ledger, LedgerPolicy, Lock
from partitioner.membership.pool import Pool, first_pool

HOUR = 3_600.0
KEY, OTHER = b"/app/one", b"/app/another"
TARGET = b"%2fapp%2fone"
NOW = 100_000.0


def ledger(keys: int = 1_000_000) -> Ledger:
    return Ledger(LedgerPolicy(session_timeout=HOUR, session_timeout_max=24 * HOUR, keys=keys))


def lock(cookie: int = 2, server: str = "a", since: float = NOW) -> Lock:
    return Lock(cookie, server, b"life", since)


def locked(since: float = NOW, minutes: int = 20) -> Ledger:
    book = ledger()
    book.note_lock(KEY, TARGET, lock(since=since), minutes)
    return book


def marked(*servers: str, is_stale: bool = False, since: float = NOW) -> Ledger:
    book = ledger()
    for server in servers:
        book.mark(KEY, TARGET, server, since, is_stale=is_stale)
    return book


def pool(changed_at: float = NOW) -> Pool:
    return first_pool([Backend("a", Address("10.0.0.1", 42424))], HealthPolicy(), 1, changed_at)


def sweep(book: Ledger, now: float) -> None:
    for _ in book.sweep(now):
        pass


# --- T_max ------------------------------------------------------------------------------------------

# Time-outs seen, in minutes, and T_max in hours: at least 1, at most 24 (design.md 5).
LONGEST_LIVES = [
    ([], 1.0),
    ([20], 1.0),
    ([60], 1.0),
    ([120], 2.0),
    ([20, 120, 60], 2.0),
    ([1440], 24.0),
    ([10_000], 24.0),
    ([0], 24.0),  # never expires, which is longer than anything
    ([525_600], 24.0),
]


@pytest.mark.parametrize(("minutes", "hours"), LONGEST_LIVES)
def test_longest_life(minutes: list[int], hours: float) -> None:
    """T_max is the longest time-out seen, within the operator's bounds (design.md 5)."""
    book = ledger()
    for each in minutes:
        book.note_timeout(KEY, each)

    assert hours * HOUR == book.longest_life


def test_time_outs_are_remembered_without_a_trace() -> None:
    """To know how long sessions live costs nothing per session."""
    book = ledger()
    book.note_timeout(KEY, 20)

    assert len(book) == 0


# --- Locks ------------------------------------------------------------------------------------------


def test_a_granted_lock_is_known() -> None:
    """A lock is made by an acquire's 200 (design.md 7.3)."""
    book = locked()

    assert (lock(), 1) == (book.maybe_lock(KEY, NOW), book.locks_held)


def test_locks_of_other_keys_are_not_known() -> None:
    """A lock is one key's."""
    assert locked().maybe_lock(OTHER, NOW) is None


def test_a_new_grant_ends_the_old_lock() -> None:
    """Whoever was granted it last holds it: the server would not have granted it otherwise."""
    book = locked()
    book.note_lock(KEY, TARGET, lock(cookie=3, server="b", since=NOW + 1), 20)

    assert (lock(3, "b", NOW + 1), 1) == (book.maybe_lock(KEY, NOW + 1), book.locks_held)


def test_an_ended_lock_leaves_nothing() -> None:
    """Between two pages of a user, in settled times, the ledger holds nothing of a session."""
    book = locked()
    book.end_lock(KEY)

    assert (None, 0, 0) == (book.maybe_lock(KEY, NOW), book.locks_held, len(book))


def test_to_end_a_lock_twice_is_to_end_it_once() -> None:
    """Several things may end a lock, and each may come last."""
    book = locked()
    book.end_lock(KEY)
    book.end_lock(KEY)
    book.end_lock(OTHER)

    assert book.locks_held == 0


@pytest.mark.parametrize(("after", "is_held"), [(0.0, True), (1_200.0, True), (1_200.1, False)])
def test_a_lock_ends_with_its_sessions_time_out(after: float, is_held: bool) -> None:
    """A session that nobody touched for its time-out is gone, and so is its lock (design.md 7.3)."""
    assert is_held is (locked(minutes=20).maybe_lock(KEY, NOW + after) is not None)


def test_a_touched_session_keeps_its_lock() -> None:
    """Each request slides the expiry, also one that is refused because of the lock."""
    book = locked(minutes=20)
    book.note_alive(KEY, NOW + 1_000)

    assert book.maybe_lock(KEY, NOW + 2_200) is not None
    assert book.maybe_lock(KEY, NOW + 2_201) is None


def test_a_lock_whose_time_is_over_is_not_revived() -> None:
    """To ask for a session that has expired does not bring back who held it."""
    book = locked(minutes=20)
    book.note_alive(KEY, NOW + 1_201)

    assert book.maybe_lock(KEY, NOW + 1_201) is None


def test_a_lock_of_a_session_of_unknown_time_out() -> None:
    """Where nobody has said how long the session lives, it may live as long as any."""
    book = ledger()
    book.note_lock(KEY, TARGET, lock(), None)

    assert book.maybe_lock(KEY, NOW + HOUR) is not None
    assert book.maybe_lock(KEY, NOW + HOUR + 1) is None


def test_a_lock_whose_time_is_over_is_not_counted() -> None:
    """Locks that have expired are forgotten when they are asked for, and swept otherwise."""
    asked_for, swept = locked(minutes=20), locked(minutes=20)
    asked_for.maybe_lock(KEY, NOW + 1_201)
    sweep(swept, NOW + 1_201)

    assert (0, 0, 0, 0) == (asked_for.locks_held, len(asked_for), swept.locks_held, len(swept))


def test_all_locks_are_listed() -> None:
    """Operators ask who holds what (design.md 9.1: locks)."""
    book = locked()
    book.mark(OTHER, TARGET, "a", NOW, is_stale=True)

    assert [(KEY, lock())] == list(book.locks())


# --- Marks ------------------------------------------------------------------------------------------


def test_a_mark_is_one_servers_and_one_keys() -> None:
    """A mark keeps one server from being read for one key."""
    book = marked("a")

    assert (["a"], []) == (list(book.marks(KEY)), list(book.marks(OTHER)))
    assert ((KEY,), ()) == (book.keys_marked_on("a"), book.keys_marked_on("b"))


def test_marks_are_counted() -> None:
    """How many keys are marked on a server is a figure for operators (design.md 9.4)."""
    book = marked("a", "b")
    book.mark(OTHER, TARGET, "b", NOW, is_stale=True)
    book.mark(OTHER, TARGET, "b", NOW, is_stale=True)

    assert (1, 2, 3, "b") == (book.marks_of("a"), book.marks_of("b"), book.keys_marked, book.most_marked)


def test_staleness_is_not_forgotten() -> None:
    """A server that an acknowledged change has passed by stays stale, whatever goes unanswered later."""
    book = marked("a", is_stale=True)
    book.mark(KEY, TARGET, "a", NOW + 1, is_stale=False)

    assert book.marks(KEY)["a"].is_stale


def test_a_change_passes_by_whom_it_did_not_reach() -> None:
    """What marked servers hold is stale once a change was acknowledged that did not reach them."""
    book = marked("a", "b")
    book.note_passed_by(KEY, {"b", "c"})

    assert [True, False] == [book.marks(KEY)[each].is_stale for each in ("a", "b")]


# When a connection ended, if any was open; when the write was sent; whether it puts the server right.
PUTTING_RIGHT = {
    "nothing was open": (None, NOW + 1, True),
    "sent in the moment of the mark": (None, NOW, True),
    "sent before the mark": (None, NOW - 1, False),
    "sent before the end": (NOW + 5, NOW + 4, False),
    "sent in the moment of the end": (NOW + 5, NOW + 5, True),
    "sent after the end": (NOW + 5, NOW + 6, True),
}


@pytest.mark.parametrize(("ended_at", "sent_at", "expected"), PUTTING_RIGHT.values(), ids=PUTTING_RIGHT)
def test_putting_right(ended_at: float | None, sent_at: float, expected: bool) -> None:
    """Only what is sent after the last connection has ended comes after all that lay in them (7.3)."""
    book = marked("a")
    if ended_at is not None:
        book.note_unanswered(KEY, TARGET, "a", NOW)
        book.note_worked_off(KEY, "a", ended_at)

    assert expected is book.note_put_right(KEY, "a", sent_at)
    assert expected is ("a" not in book.marks(KEY))


def test_nothing_is_put_right_while_a_connection_is_open() -> None:
    """What lies in it may be carried out after whatever is sent now (design.md 6)."""
    book = ledger()
    book.note_unanswered(KEY, TARGET, "a", NOW)

    assert not book.note_put_right(KEY, "a", NOW + 100)


def test_the_last_of_several_connections_counts() -> None:
    """Two unanswered requests on two connections: both must have ended."""
    book = ledger()
    book.note_unanswered(KEY, TARGET, "a", NOW)
    book.note_unanswered(KEY, TARGET, "a", NOW + 1)
    book.note_worked_off(KEY, "a", NOW + 2)
    early = book.note_put_right(KEY, "a", NOW + 3)
    book.note_worked_off(KEY, "a", NOW + 4)
    between = book.note_put_right(KEY, "a", NOW + 3)

    assert (False, False, True) == (early, between, book.note_put_right(KEY, "a", NOW + 5))


def test_an_unmarked_server_is_right() -> None:
    """To write to a server that nothing is wrong with leaves nothing wrong with it."""
    assert ledger().note_put_right(KEY, "a", NOW)


def test_an_end_without_a_mark_changes_nothing() -> None:
    """A connection may end after its server began an empty life, and nothing is marked any more."""
    book = marked("a")
    book.unmark_all("a")
    book.note_worked_off(KEY, "a", NOW + 1)

    assert not book.marks(KEY)


def test_a_server_of_an_empty_life_has_no_marks() -> None:
    """What is empty holds nothing wrong, for any key; other servers' marks stay (design.md 7.3)."""
    book = marked("a", "b")
    book.mark(OTHER, TARGET, "a", NOW, is_stale=True)
    book.unmark_all("a")

    assert (["b"], [], 0) == (list(book.marks(KEY)), list(book.marks(OTHER)), book.marks_of("a"))


def test_the_target_is_kept_as_it_was_spelt() -> None:
    """Repair asks for the session as some client has spelt it."""
    assert TARGET == marked("a").target(KEY)


# --- Marks expire -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("after", "is_marked"), [(HOUR, True), (HOUR + 1, False)])
def test_a_mark_ends_after_the_sessions_time_out(after: float, is_marked: bool) -> None:
    """Whatever wrong thing the server held has expired by then (design.md 7.3)."""
    book = marked("a")
    sweep(book, NOW + after)

    assert is_marked is ("a" in book.marks(KEY))


@pytest.mark.parametrize(("is_stale", "is_marked"), [(True, True), (False, False)])
def test_a_missing_copy_is_remembered_while_the_session_is_served(is_stale: bool, is_marked: bool) -> None:
    """What the server held has expired, but it lacks what others have; none is served where none has it."""
    book = marked("a", is_stale=is_stale)
    book.note_served(KEY, NOW + HOUR / 2)
    sweep(book, NOW + HOUR + 1)
    first = "a" in book.marks(KEY)
    sweep(book, NOW + 1.5 * HOUR + 1)

    assert (is_marked, False) == (first, "a" in book.marks(KEY))


def test_a_mark_ends_a_time_out_after_the_last_connection() -> None:
    """Until its end a late write may have come from the connection, and it lives from then on."""
    book = ledger()
    book.note_unanswered(KEY, TARGET, "a", NOW)
    book.note_worked_off(KEY, "a", NOW + 500)
    sweep(book, NOW + HOUR + 499)
    before = set(book.marks(KEY))
    sweep(book, NOW + HOUR + 501)

    assert ({"a"}, set()) == (before, set(book.marks(KEY)))


def test_a_mark_does_not_end_while_a_connection_is_open() -> None:
    """A server may be frozen for longer than any session lives, and carry a write out after that."""
    book = ledger()
    book.note_unanswered(KEY, TARGET, "a", NOW)
    sweep(book, NOW + 100 * HOUR)

    assert "a" in book.marks(KEY)


def test_a_mark_of_a_longer_session_lasts_longer() -> None:
    """Where the session's time-out is known to be longer, so is the mark."""
    book = marked("a")
    book.note_timeout(KEY, 180)
    sweep(book, NOW + 2 * HOUR)

    assert "a" in book.marks(KEY)


def test_sweeping_pauses() -> None:
    """A sweep over many keys lets others have their turn between every few of them."""
    book = ledger()
    for number in range(3 * SWEEP_BATCH):
        book.mark(b"%d" % number, TARGET, "a", NOW, is_stale=True)
    sweeping: Iterator[None] = book.sweep(NOW + HOUR + 1)
    next(sweeping)

    assert 3 * SWEEP_BATCH - (SWEEP_BATCH - 1) == book.marks_of("a")
    assert 2 == len(list(sweeping))
    assert 0 == book.marks_of("a")


def test_keys_may_go_while_a_sweep_pauses() -> None:
    """What ends between two batches is not there any more when the sweep comes to it."""
    book = ledger()
    for number in range(SWEEP_BATCH + 1):
        book.mark(b"%d" % number, TARGET, "a", NOW, is_stale=True)
    sweeping = book.sweep(NOW)
    next(sweeping)
    book.unmark_all("a")

    assert [] == list(sweeping)
    assert 0 == len(book)


# --- Settled ----------------------------------------------------------------------------------------

LATER = NOW + HOUR + 1
"""A moment at which nothing has changed for T_max."""


def test_settled_times_begin_a_t_max_after_the_last_change() -> None:
    """For T_max after any change of the pool, keys are unsettled (design.md 7.4)."""
    book = ledger()

    assert [True, True, False] == [
        book.is_unsettled_time(pool(), now) for now in (NOW, NOW + HOUR, NOW + HOUR + 1)
    ]
    assert [False, False, True] == [
        book.is_settled(KEY, pool(), now) for now in (NOW, NOW + HOUR, NOW + HOUR + 1)
    ]


def test_a_longer_time_out_makes_unsettled_times_longer() -> None:
    """T_max follows the longest session."""
    book = ledger()
    book.note_timeout(OTHER, 120)

    assert not book.is_settled(KEY, pool(), NOW + 2 * HOUR)


def test_a_write_settles_its_key() -> None:
    """A write or remove under the present epoch has put its key where it belongs, and no other."""
    book, now = ledger(), pool()
    book.note_settled(KEY, now, NOW)

    assert [True, False] == [book.is_settled(each, now, NOW) for each in (KEY, OTHER)]


def test_a_new_epoch_unsettles() -> None:
    """The next change of the pool may have the key belong elsewhere."""
    book, before = ledger(), pool()
    book.note_settled(KEY, before, NOW)
    after = before.succeeded_by(before.members, before.ranking, 1, NOW + 1)

    assert not book.is_settled(KEY, after, NOW + 1)


def test_what_was_settled_is_forgotten_with_its_epoch() -> None:
    """Nor is it settled again by the write of another key under the new epoch."""
    book, before = ledger(), pool()
    book.note_settled(KEY, before, NOW)
    after = before.succeeded_by(before.members, before.ranking, 1, NOW + 1)
    book.note_settled(OTHER, after, NOW + 1)

    assert [False, True] == [book.is_settled(each, after, NOW + 1) for each in (KEY, OTHER)]


@pytest.mark.parametrize("now", [NOW, LATER], ids=["unsettled times", "settled times"])
def test_a_mark_unsettles_its_key(now: float) -> None:
    """From its first mark on a key may lie where it does not belong (design.md 7.4)."""
    book = ledger()
    book.note_settled(KEY, pool(), now)
    book.mark(KEY, TARGET, "a", now, is_stale=True)

    assert not book.is_settled(KEY, pool(), now)


def test_a_key_is_unsettled_beyond_its_last_mark() -> None:
    """A mark that has gone by repair or time leaves open where else the session lies: a write settles it."""
    book = marked("a", since=LATER)
    book.note_put_right(KEY, "a", LATER + 1)
    before = book.is_settled(KEY, pool(), LATER + 1)
    book.note_settled(KEY, pool(), LATER + 1)

    assert (False, True) == (before, book.is_settled(KEY, pool(), LATER + 1))
    assert len(book) == 0


def test_a_write_that_leaves_a_mark_does_not_settle() -> None:
    """A degraded write leaves its key unsettled (design.md 7.4)."""
    book = marked("a", since=LATER)
    book.note_settled(KEY, pool(), LATER + 1)

    assert not book.is_settled(KEY, pool(), LATER + 1)


def test_a_whole_repair_settles() -> None:
    """Repair that leaves no mark has put the session where it belongs."""
    book = marked("a", "b", since=LATER)
    book.note_put_right(KEY, "a", LATER + 1)
    book.note_repaired(KEY)
    between = book.is_settled(KEY, pool(), LATER + 1)
    book.note_put_right(KEY, "b", LATER + 1)
    book.note_repaired(KEY)

    assert (False, True) == (between, book.is_settled(KEY, pool(), LATER + 1))


def test_a_mark_undoes_what_a_write_has_settled() -> None:
    """In unsettled times a key that was marked is asked for everywhere again, repaired or not."""
    book = ledger()
    book.note_settled(KEY, pool(), NOW)
    book.mark(KEY, TARGET, "a", NOW + 1, is_stale=True)
    book.note_put_right(KEY, "a", NOW + 2)
    book.note_repaired(KEY)

    assert not book.is_settled(KEY, pool(), NOW + 2)


def test_an_unsettled_key_is_forgotten_when_its_session_has_expired() -> None:
    """What has expired lies nowhere, and is remembered no longer."""
    book = marked("a")
    book.note_put_right(KEY, "a", NOW + 1)
    book.note_alive(KEY, NOW + 1_000)
    sweep(book, NOW + 1_000 + HOUR)
    before = len(book)
    sweep(book, NOW + 1_001 + HOUR)

    assert (1, 0) == (before, len(book))


def test_settled_keys_are_bounded() -> None:
    """In unsettled times not more keys are remembered as settled than may be; the others are asked for."""
    book, now = ledger(keys=3), pool()
    for number in range(10):
        book.note_settled(b"%d" % number, now, NOW)

    assert 3 == sum(book.is_settled(b"%d" % number, now, NOW) for number in range(10))


# --- The bound --------------------------------------------------------------------------------------


def test_the_bound() -> None:
    """The ledger knows when it remembers more keys than it may (design.md 7.3)."""
    book = ledger(keys=2)
    for number in range(2):
        book.mark(b"%d" % number, TARGET, "a", NOW, is_stale=True)
    at_the_bound = book.is_over_its_bound
    book.mark(b"2", TARGET, "a", NOW, is_stale=True)

    assert (False, True) == (at_the_bound, book.is_over_its_bound)


def test_locks_alone_are_within_the_bound() -> None:
    """A lock cannot be forgotten for want of room: no server could make good for it."""
    book = ledger(keys=1)
    for number in range(5):
        book.note_lock(b"%d" % number, TARGET, lock(), 20)

    assert not book.is_over_its_bound


def test_a_server_without_its_marks_makes_room() -> None:
    """One server goes without its marks, and then there is room again: the others keep theirs."""
    book = ledger(keys=3)
    for number in range(4):
        book.mark(b"%d" % number, TARGET, "a", NOW, is_stale=True)
    book.mark(b"0", TARGET, "b", NOW, is_stale=True)
    book.unmark_all("a")

    assert (False, 1, 1) == (book.is_over_its_bound, len(book), book.marks_of("b"))
