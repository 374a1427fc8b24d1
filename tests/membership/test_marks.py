"""Marks: who has missed a change of a session, and how long that counts (design.md 7.3)."""

from collections.abc import Iterator

import pytest
from xxhash import xxh3_64_intdigest

from partitioner.membership.entry import LOCK, MISSING, REMOVE, WRITE, Lock
from partitioner.membership.ledger import SWEEP_BATCH
from tests.identities import STATE_1, STATE_2, A, B, C, identities
from tests.membership.ledgers import EVERYBODY, HOUR, KEY, NOW, OTHER, TARGET, ledger, marked, sweep
from tests.tables import each_case

# --- Marks ------------------------------------------------------------------------------------------


def test_a_mark_is_one_servers_and_one_keys() -> None:
    """A mark keeps one server from being read for one key."""
    book = marked(A)

    assert (["a"], []) == (list(book.marks(KEY)), list(book.marks(OTHER)))
    assert ((KEY,), ()) == (book.keys_marked_on(A), book.keys_marked_on(B))


def test_marks_are_counted() -> None:
    """How many keys are marked on a server is a figure for operators (design.md 9.4)."""
    book = marked(A, B)
    book.mark(OTHER, TARGET, B, NOW, is_stale=True)
    book.mark(OTHER, TARGET, B, NOW, is_stale=True)

    assert (1, 2, 3, "b") == (book.marks_of(A), book.marks_of(B), book.keys_marked, book.most_marked)


def test_staleness_is_not_forgotten() -> None:
    """A server that an acknowledged change has passed by stays stale, whatever goes unanswered later."""
    book = marked(A, is_stale=True)
    book.mark(KEY, TARGET, A, NOW + 1, is_stale=False)

    assert book.marks(KEY)[A].is_stale


def test_a_change_passes_by_whom_it_did_not_reach() -> None:
    """What marked servers hold is stale once a change was acknowledged that did not reach them."""
    book = marked(A, B)
    book.note_saved(KEY, {B, C}, None)

    assert [True, False] == [book.marks(KEY)[each].is_stale for each in (A, B)]


# When a connection ended, if any was open; when the write was sent; whether it puts the server right.
PUTTING_RIGHT = {
    "nothing was open": (None, NOW + 1, True),
    "sent in the moment of the mark": (None, NOW, True),
    "sent before the mark": (None, NOW - 1, False),
    "sent before the end": (NOW + 5, NOW + 4, False),
    "sent in the moment of the end": (NOW + 5, NOW + 5, True),
    "sent after the end": (NOW + 5, NOW + 6, True),
}


@each_case(("ended_at", "sent_at", "expected"), PUTTING_RIGHT.values(), ids=PUTTING_RIGHT)
def test_putting_right(ended_at: float | None, sent_at: float, expected: bool) -> None:
    """Only what is sent after the last connection has ended comes after all that lay in them (7.3)."""
    book = marked(A)
    if ended_at is not None:
        book.note_unanswered(KEY, TARGET, A, NOW)
        book.note_worked_off(KEY, A, ended_at)

    assert expected is book.note_put_right(KEY, A, sent_at)
    assert expected is ("a" not in book.marks(KEY))


def test_nothing_is_put_right_while_a_connection_is_open() -> None:
    """What lies in it may be carried out after whatever is sent now (design.md 6)."""
    book = ledger()
    book.note_unanswered(KEY, TARGET, A, NOW)

    assert not book.note_put_right(KEY, A, NOW + 100)


def test_the_last_of_several_connections_counts() -> None:
    """Two unanswered requests on two connections: both must have ended."""
    book = ledger()
    book.note_unanswered(KEY, TARGET, A, NOW)
    book.note_unanswered(KEY, TARGET, A, NOW + 1)
    book.note_worked_off(KEY, A, NOW + 2)
    early = book.note_put_right(KEY, A, NOW + 3)
    book.note_worked_off(KEY, A, NOW + 4)
    between = book.note_put_right(KEY, A, NOW + 3)

    assert (False, False, True) == (early, between, book.note_put_right(KEY, A, NOW + 5))


def test_an_unmarked_server_is_right() -> None:
    """To write to a server that nothing is wrong with leaves nothing wrong with it."""
    assert ledger().note_put_right(KEY, A, NOW)


def test_an_end_without_a_mark_changes_nothing() -> None:
    """A connection may end after its server began an empty incarnation, and nothing is marked any more."""
    book = marked(A)
    book.unmark_all(A)
    book.note_worked_off(KEY, A, NOW + 1)

    assert not book.marks(KEY)


def test_a_server_of_an_empty_incarnation_has_no_marks() -> None:
    """What is empty holds nothing wrong, for any key; other servers' marks stay (design.md 7.3)."""
    book = marked(A, B)
    book.mark(OTHER, TARGET, A, NOW, is_stale=True)
    book.unmark_all(A)

    assert (["b"], [], 0) == (list(book.marks(KEY)), list(book.marks(OTHER)), book.marks_of(A))


def test_the_target_is_kept_as_it_was_spelt() -> None:
    """Repair asks for the session as some client has spelt it."""
    assert TARGET == marked(A).target(KEY)


# --- Marks expire -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("after", "is_marked"), [(HOUR, True), (HOUR + 1, False)])
def test_a_mark_ends_after_the_sessions_time_out(after: float, is_marked: bool) -> None:
    """Whatever wrong thing the server held has expired by then (design.md 7.3)."""
    book = marked(A)
    sweep(book, NOW + after)

    assert is_marked is ("a" in book.marks(KEY))


@each_case("is_stale", [True, False])
def test_a_missing_copy_is_remembered_while_the_session_is_served(is_stale: bool) -> None:
    """What the server held has expired, whatever it was, and it lacks what others have."""
    book = marked(A, is_stale=is_stale)
    book.note_served(KEY, NOW + HOUR / 2)
    sweep(book, NOW + HOUR + 1)
    first = "a" in book.marks(KEY)
    sweep(book, NOW + 1.5 * HOUR + 1)

    assert (True, False) == (first, "a" in book.marks(KEY))


def test_a_mark_ends_a_time_out_after_the_last_connection() -> None:
    """Until its end a late write may have come from the connection, and it lives from then on."""
    book = ledger()
    book.note_unanswered(KEY, TARGET, A, NOW)
    book.note_worked_off(KEY, A, NOW + 500)
    sweep(book, NOW + HOUR + 499)
    before = set(book.marks(KEY))
    sweep(book, NOW + HOUR + 501)

    assert ({"a"}, set()) == (before, set(book.marks(KEY)))


def test_a_mark_does_not_end_while_a_connection_is_open() -> None:
    """A server may be frozen for longer than any session lives, and carry a write out after that."""
    book = ledger()
    book.note_unanswered(KEY, TARGET, A, NOW)
    sweep(book, NOW + 100 * HOUR)

    assert "a" in book.marks(KEY)


def test_a_mark_of_a_longer_session_lasts_longer() -> None:
    """Where the session's time-out is known to be longer, so is the mark."""
    book = marked(A)
    book.note_timeout(KEY, 180)
    sweep(book, NOW + 2 * HOUR)

    assert "a" in book.marks(KEY)


def test_sweeping_pauses() -> None:
    """A sweep over many keys lets others have their turn between every few of them."""
    book = ledger()
    for number in range(3 * SWEEP_BATCH):
        book.mark(b"%d" % number, TARGET, A, NOW, is_stale=True)
    sweeping: Iterator[None] = book.sweep(NOW + HOUR + 1, EVERYBODY)
    next(sweeping)

    assert 3 * SWEEP_BATCH - (SWEEP_BATCH - 1) == book.marks_of(A)
    assert 2 == len(list(sweeping))
    assert 0 == book.marks_of(A)


def test_keys_may_go_while_a_sweep_pauses() -> None:
    """What ends between two batches is not there any more when the sweep comes to it."""
    book = ledger()
    for number in range(SWEEP_BATCH + 1):
        book.mark(b"%d" % number, TARGET, A, NOW, is_stale=True)
    sweeping = book.sweep(NOW, EVERYBODY)
    next(sweeping)
    book.unmark_all(A)

    assert [] == list(sweeping)
    assert 0 == len(book)


# --- saves that a marked server takes, and losses ---------------------------------------------------


def test_a_save_that_a_marked_server_took_is_not_stale() -> None:
    """It holds what was last acknowledged, or something older that was carried out after that."""
    book = marked(A, is_stale=True)
    book.note_unanswered(KEY, TARGET, A, NOW)
    book.note_saved(KEY, {A}, b"content")
    mark = book.marks(KEY)[A]

    assert not mark.is_stale
    is_it = [mark.is_what_was_taken(xxh3_64_intdigest(each)) for each in (b"content", b"older")]

    assert [True, False] == is_it


def test_a_save_of_which_the_content_is_not_known_proves_nothing() -> None:
    """A body that has streamed through cannot be compared, so a stale server stays stale."""
    book = marked(A, is_stale=True)
    book.note_saved(KEY, {A}, None)

    assert book.marks(KEY)[A].is_stale


def test_a_save_that_passes_a_server_by_makes_it_stale_again() -> None:
    """What it took before is not the last acknowledged content any more."""
    book = marked(A)
    book.note_saved(KEY, {A}, b"content")
    book.note_saved(KEY, {B}, b"newer")

    assert book.marks(KEY)[A].is_stale


def test_after_a_remove_whatever_is_there_is_stale() -> None:
    """Also on a server that took the remove: something older may be carried out there after it."""
    book = marked(A)
    book.note_removed(KEY)

    assert book.marks(KEY)[A].is_stale


def test_a_loss_lasts_until_something_is_acknowledged() -> None:
    """Until then nothing of the key is removed from anybody."""
    book = marked(A, B, is_stale=True)
    book.note_lost(KEY, [A])
    book.note_lost(KEY, [A])
    before = (book.is_lost(KEY), book.keys_lost, book.lost_on(A), book.lost_on(B))
    book.note_saved(KEY, {C}, b"content")

    assert (True, 1, 1, 0) == before
    assert (False, 0) == (book.is_lost(KEY), book.keys_lost)


def test_a_loss_ends_with_its_mark() -> None:
    """A server that begins an empty incarnation has nothing that could come back."""
    book = marked(A, is_stale=True)
    book.note_lost(KEY, [A])
    book.unmark(KEY, A)

    assert (False, 0) == (book.is_lost(KEY), book.keys_lost)


def test_a_request_without_an_answer_tells_of_no_session() -> None:
    """It may have asked for an ID that was never stored; an acknowledged change says that there was one."""
    asked, changed = marked(A), marked(A, is_stale=True)

    assert (False, True) == (asked.tells_of_a_session(KEY), changed.tells_of_a_session(KEY))
    assert not asked.tells_of_a_session(OTHER)


def test_what_a_client_was_told_of_was_a_session() -> None:
    """A client was answered 200 or 423 while something was remembered of the key."""
    book = marked(A)
    book.note_served(KEY, NOW)

    assert book.tells_of_a_session(KEY)


# --- What servers may lack -----------------------------------------------------------------------------


def test_reasons() -> None:
    """All reasons of a server since it was last without any mark."""
    book = ledger()
    book.mark(KEY, TARGET, STATE_1, NOW, is_stale=False, reason=LOCK)
    book.mark(OTHER, TARGET, STATE_1, NOW, is_stale=False, reason=REMOVE)
    book.mark(KEY, TARGET, STATE_2, NOW, is_stale=False)
    both = book.reasons()
    book.unmark(OTHER, STATE_1)
    still = book.reasons()
    book.unmark(KEY, STATE_1)

    assert {"state-1": {LOCK, REMOVE}, "state-2": {WRITE}} == both
    assert both == still
    assert {"state-2": {WRITE}} == book.reasons()


@each_case(
    ("first", "second", "expected"),
    [
        (LOCK, WRITE, WRITE),
        (LOCK, REMOVE, REMOVE),
        (WRITE, LOCK, WRITE),
        (REMOVE, LOCK, REMOVE),
        (MISSING, WRITE, WRITE),
        (REMOVE, MISSING, REMOVE),
    ],
)
def test_locks_and_copies_are_the_least_that_may_be_lacking(first: str, second: str, expected: str) -> None:
    """A mark that may lack more than a lock or a copy says so, whichever came first."""
    book = ledger()
    for reason in (first, second):
        book.mark(KEY, TARGET, STATE_1, NOW, is_stale=False, reason=reason)

    assert expected == book.marks(KEY)[STATE_1].reason


@each_case("change", ["save", "remove"])
@each_case(("had_nothing", "is_added"), [(True, False), (False, True)])
def test_a_change_that_passes_a_missing_copy_by(had_nothing: bool, is_added: bool, change: str) -> None:
    """What could not be touched is stale from then on; where there was nothing there is nothing stale."""
    book = ledger()
    book.mark(KEY, TARGET, STATE_1, NOW, is_stale=had_nothing, reason=MISSING)
    before = book.reasons()
    if change == "save":
        book.note_saved(KEY, {STATE_2}, None)
    else:
        book.note_removed(KEY)
    added = {WRITE if change == "save" else REMOVE} if is_added else set()

    assert {"state-1": {MISSING}} == before
    assert {"state-1": {MISSING} | added} == book.reasons()


# --- Servers that are away -----------------------------------------------------------------------------


def test_marks_of_a_server_that_is_away_stay() -> None:
    """What it holds may not expire meanwhile, since its clock may stand still."""
    book = marked(STATE_1, STATE_2)
    sweep(book, NOW + 10 * HOUR, answering={STATE_1})

    assert ["state-2"] == list(book.marks(KEY))


def test_a_server_that_is_back_begins_the_time_of_its_marks_anew() -> None:
    """Its sessions live for one time-out from then at most, and so do its marks."""
    book = marked(STATE_1, STATE_2)
    back = NOW + 10 * HOUR
    book.note_answers_again(STATE_1, back)
    sweep(book, back + HOUR - 1.0)
    first = list(book.marks(KEY))
    sweep(book, back + HOUR + 1.0)

    assert (["state-1"], []) == (first, list(book.marks(KEY)))


def test_a_mark_never_becomes_older() -> None:
    """A server that answers again ends no mark sooner than it would have ended."""
    book = marked(STATE_1, since=NOW + 5.0)
    book.note_answers_again(STATE_1, NOW)

    assert NOW + 5.0 == book.marks(KEY)[STATE_1].since


# --- A server that turns out to be another one ---------------------------------------------------------


ENTRY, MEMORY = identities(("entry", "memory"))


def test_marks_move_to_the_memory_that_they_are_about() -> None:
    """What an entry lacked its memory lacks, with everything that is said of it."""
    book = marked(ENTRY, is_stale=True)
    book.note_lost(KEY, [ENTRY])
    keys = book.move_marks(ENTRY, MEMORY, NOW + 1.0)

    assert (KEY,) == keys
    assert {MEMORY: True} == {server: mark.is_stale for server, mark in book.marks(KEY).items()}
    assert (True, 0, 1) == (book.is_lost(KEY), book.lost_on(ENTRY), book.lost_on(MEMORY))


def test_marks_meet_those_of_the_memory() -> None:
    """A key that was marked on both is marked once, as the worse of the two says."""
    book = marked(ENTRY, is_stale=True)
    book.mark(KEY, TARGET, MEMORY, NOW, is_stale=False, reason=LOCK)
    book.move_marks(ENTRY, MEMORY, NOW + 1.0)
    mark = book.marks(KEY)[MEMORY]

    assert (1, True, WRITE) == (book.keys_marked, mark.is_stale, mark.reason)


# --- Another router takes over -------------------------------------------------------------------------


def test_a_cleared_ledger_is_as_new() -> None:
    """No lock, no mark, no count of either is left; the longest time-out is a fact, and stays."""
    book = marked(STATE_1, is_stale=True)
    book.note_lost(KEY, [STATE_1])
    book.note_lock(OTHER, TARGET, Lock(2, STATE_1, b"incarnation", NOW), 300)
    book.note_timeout(OTHER, 300)
    book.clear()

    assert (0, 0, 0, 0) == (len(book), book.locks_held, book.keys_marked, book.keys_lost)
    assert ({}, [], None) == (book.reasons(), list(book.entries()), book.most_marked)
    assert 5 * HOUR == book.longest_life


def test_a_cleared_ledger_can_be_filled_again() -> None:
    """What is put back is counted like what has happened here."""
    book = marked(STATE_1, is_stale=True)
    book.note_lost(KEY, [STATE_1])
    book.note_lock(KEY, TARGET, Lock(2, STATE_2, b"incarnation", NOW), 20)
    entries = list(book.entries())
    book.clear()
    for key, entry in entries:
        book.put_back(key, entry)
    before = (book.locks_held, book.keys_marked, book.lost_on(STATE_1), book.reasons())
    book.unmark(KEY, STATE_1)
    book.end_lock(KEY)

    assert (1, 1, 1, {"state-1": frozenset({WRITE})}) == before
    assert (0, 0, 0, {}) == (book.locks_held, book.keys_marked, book.keys_lost, book.reasons())
