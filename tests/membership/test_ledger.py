"""The ledger by its rules: how long a session may live, locks, and what it forgets (design.md 7.3, 7.4)."""

from partitioner.membership.backend import BackendId
from partitioner.membership.entry import LONGEST_PAGE, Lock
from partitioner.membership.ledger import Ledger
from tests.identities import A, B
from tests.membership.ledgers import HOUR, KEY, NOW, OTHER, TARGET, ledger, sweep
from tests.tables import each_case


def lock(cookie: int = 2, server: BackendId = A, since: float = NOW) -> Lock:
    return Lock(cookie, server, b"incarnation", since)


def locked(since: float = NOW, minutes: int = 20) -> Ledger:
    book = ledger()
    book.note_lock(KEY, TARGET, lock(since=since), minutes)
    return book


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


@each_case(("minutes", "hours"), LONGEST_LIVES)
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
    """The page that was granted it last holds it: the server would not have granted it otherwise."""
    book = locked()
    book.note_lock(KEY, TARGET, lock(cookie=3, server=B, since=NOW + 1), 20)

    assert (lock(3, B, NOW + 1), 1) == (book.maybe_lock(KEY, NOW + 1), book.locks_held)


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


@each_case(("after", "is_held"), [(0.0, True), (1_200.0, True), (1_200.1, False)])
def test_a_lock_ends_with_its_sessions_time_out(after: float, is_held: bool) -> None:
    """A session that was not touched for its time-out is gone, and so is its lock (design.md 7.3)."""
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
    """Where it was not said how long the session lives, it may live as long as any."""
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
    book.mark(OTHER, TARGET, A, NOW, is_stale=True)

    assert [(KEY, lock())] == list(book.locks())


# --- The bound --------------------------------------------------------------------------------------


def test_the_bound() -> None:
    """The ledger knows when it remembers more keys than it may (design.md 7.3)."""
    book = ledger(keys=2)
    for number in range(2):
        book.mark(b"%d" % number, TARGET, A, NOW, is_stale=True)
    at_the_bound = book.is_over_its_bound
    book.mark(b"2", TARGET, A, NOW, is_stale=True)

    assert (False, True) == (at_the_bound, book.is_over_its_bound)


def test_no_server_goes_without_its_marks_for_locks() -> None:
    """Keys with locks are counted apart."""
    book = ledger(keys=2)
    for number in range(5):
        book.note_lock(b"%d" % number, TARGET, lock(), 20)
    book.mark(b"5", TARGET, A, NOW, is_stale=True)

    assert not book.is_over_its_bound


def test_the_bound_of_locks() -> None:
    """The oldest lock makes room when web servers would break it; until then there is none."""
    book = ledger(keys=2)
    for number in range(2):
        book.note_lock(b"%d" % number, TARGET, lock(since=NOW + number), 20)
    had_room = [book.make_room_for_lock(b"new", NOW + age) for age in (0, LONGEST_PAGE - 1)]
    has_own = book.make_room_for_lock(b"0", NOW)
    has_room = book.make_room_for_lock(b"new", NOW + LONGEST_PAGE)

    assert ([False, False], True, True) == (had_room, has_own, has_room)
    assert [b"1"] == [key for key, _ in book.locks()]


def test_beyond_the_bound_nothing_is_ordinary() -> None:
    """A key of which nothing is remembered is served by the slow path then, which knows about the bound."""
    book = ledger(keys=1)
    before = book.note_alive_at(OTHER, A, b"x", NOW)
    book.note_lock(KEY, TARGET, lock(), 20)

    assert (True, False) == (before, book.note_alive_at(OTHER, A, b"x", NOW))


def test_a_server_without_its_marks_makes_room() -> None:
    """One server goes without its marks, and then there is room again: the others keep theirs."""
    book = ledger(keys=3)
    for number in range(4):
        book.mark(b"%d" % number, TARGET, A, NOW, is_stale=True)
    book.mark(b"0", TARGET, B, NOW, is_stale=True)
    book.unmark_all(A)

    assert (False, 1, 1) == (book.is_over_its_bound, len(book), book.marks_of(B))
