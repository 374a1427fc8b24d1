"""The decision table of protocol.md 6, row by row; the remarks below it are in a module of their own.

Every test puts one session into the state of its row, carries out one operation, and looks at all the
columns: status and fields in the answer; bytes, lock, cookie, flag and expiry in what is left behind.
"""

from dataclasses import replace

from partitioner.protocol.messages import Answer, Operation, Status
from partitioner.sessions.table import SessionTable
from tests.sessions.states import (
    ABSENT,
    ACQUIRE,
    BAD_REQUEST,
    CREATE,
    EXPIRED,
    FLAGGED,
    GET,
    HEAD,
    IS_FLAGGED,
    IS_LOCKED,
    IS_UNLOCKED,
    LOCKED,
    MINUTE,
    NEW,
    NOT_FOUND,
    OK,
    OLD,
    RELEASE,
    REMOVE,
    SAYS_LOCKED,
    SET,
    UNLOCKED,
    Maker,
    State,
    ask,
    carry_out,
    look,
    slid,
)
from tests.tables import each_case

PRESENT = {
    "unlocked": (UNLOCKED, IS_UNLOCKED),
    "flagged": (FLAGGED, IS_FLAGGED),
    "locked": (LOCKED, IS_LOCKED),
}
"""How a session gets into each state that it can be in, and that state."""

each_present = each_case(("made", "state"), PRESENT.values(), ids=PRESENT)
each_absent = each_case("absent", [ABSENT, EXPIRED], ids=["never made", "expired"])


@each_present
def test_the_states_to_begin_with(made: Maker, state: State) -> None:
    """The recipes make the states that the rows begin with."""
    assert replace(state, expires_at=20 * MINUTE) == look(made, 0.0)


# --- GET --------------------------------------------------------------------------------------------


@each_absent
def test_row_1_get_absent(absent: Maker) -> None:
    """404, and nothing else; an expired session is an absent one."""
    assert carry_out(absent, GET) == (NOT_FOUND, None)


def test_row_2_get_unlocked() -> None:
    """200 with the content and Timeout; the expiry slides."""
    answer = Answer(Status.OK, OLD, timeout_minutes=20)

    assert (answer, slid(IS_UNLOCKED)) == carry_out(UNLOCKED, GET)


def test_row_2_get_flagged() -> None:
    """The first get is told of the flag, and clears it."""
    answer = Answer(Status.OK, OLD, action_flags=True, timeout_minutes=20)

    assert (answer, slid(IS_UNLOCKED)) == carry_out(FLAGGED, GET)


def test_row_3_get_locked() -> None:
    """423 with the lock's age and cookie and no content; only the expiry slides."""
    assert (SAYS_LOCKED, slid(IS_LOCKED)) == carry_out(LOCKED, GET)


# --- acquire ----------------------------------------------------------------------------------------


@each_absent
def test_row_4_acquire_absent(absent: Maker) -> None:
    """404; no lock is left behind."""
    assert carry_out(absent, ACQUIRE) == (NOT_FOUND, None)


def test_row_5_acquire_unlocked() -> None:
    """200 with content, the next cookie and Timeout; locked from now on."""
    answer = Answer(Status.OK, OLD, lock_cookie=2, timeout_minutes=20)

    assert (answer, slid(IS_LOCKED)) == carry_out(UNLOCKED, ACQUIRE)


def test_row_5_acquire_flagged() -> None:
    """Flag and cookie come together, and the flag is cleared."""
    answer = Answer(Status.OK, OLD, action_flags=True, lock_cookie=2, timeout_minutes=20)

    assert (answer, slid(IS_LOCKED)) == carry_out(FLAGGED, ACQUIRE)


def test_row_5_lock_date_is_now() -> None:
    """The lock's age counts from the acquire, not from the session's beginning."""
    table = UNLOCKED()
    ask(table, 30.0, ACQUIRE)

    assert ask(table, 37.5, GET).lock_age == 7.5


def test_row_6_acquire_locked() -> None:
    """423 to everybody, its owner included, because the request carries no cookie."""
    assert (SAYS_LOCKED, slid(IS_LOCKED)) == carry_out(LOCKED, ACQUIRE)


def test_row_6_lock_date_stays() -> None:
    """Being asked for does not make a lock younger."""
    table = LOCKED()
    ask(table, 5.0, ACQUIRE)

    assert ask(table, 9.0, ACQUIRE).lock_age == 9.0


# --- release ----------------------------------------------------------------------------------------


@each_absent
@each_case("cookie", [None, 2])
def test_row_7_release_absent(absent: Maker, cookie: int | None) -> None:
    """404, with a cookie and without."""
    assert carry_out(absent, RELEASE, cookie=cookie) == (NOT_FOUND, None)


@each_case(("made", "state"), [(UNLOCKED, IS_UNLOCKED), (LOCKED, IS_LOCKED)], ids=["unlocked", "locked"])
def test_row_8_release_without_cookie(made: Maker, state: State) -> None:
    """400, and the lock stays; the expiry slides nevertheless."""
    assert (BAD_REQUEST, slid(state)) == carry_out(made, RELEASE)


def test_row_8_release_without_cookie_flagged() -> None:
    """The flag has been consumed before the request is found to be bad."""
    answer = Answer(Status.BAD_REQUEST, action_flags=True)

    assert (answer, slid(IS_UNLOCKED)) == carry_out(FLAGGED, RELEASE)


@each_case("cookie", [0, 1, 2, 999])
def test_row_9_release_unlocked(cookie: int) -> None:
    """200 whatever the cookie: it is not compared."""
    assert (OK, slid(IS_UNLOCKED)) == carry_out(UNLOCKED, RELEASE, cookie=cookie)


def test_row_9_release_flagged() -> None:
    """The one-shot signal is lost on a release."""
    answer = Answer(Status.OK, action_flags=True)

    assert (answer, slid(IS_UNLOCKED)) == carry_out(FLAGGED, RELEASE, cookie=1)


def test_row_10_release_with_the_locks_cookie() -> None:
    """200, unlocked, and the counter stays where it is."""
    assert (OK, slid(replace(IS_LOCKED, is_locked=False))) == carry_out(LOCKED, RELEASE, cookie=2)


@each_case("cookie", [0, 1, 3])
def test_row_11_release_with_another_cookie(cookie: int) -> None:
    """423 with the lock's age and cookie; the lock stays."""
    assert (SAYS_LOCKED, slid(IS_LOCKED)) == carry_out(LOCKED, RELEASE, cookie=cookie)


# --- PUT --------------------------------------------------------------------------------------------


@each_case("operation", [SET, CREATE])
@each_case("cookie", [None, 2])
@each_case(("made", "state"), [(ABSENT, None), *PRESENT.values()], ids=["absent", *PRESENT])
def test_row_12_put_above_a_year(
    made: Maker, state: State | None, cookie: int | None, operation: Operation
) -> None:
    """400 before the lookup: nothing is stored, nothing changes, and the expiry does not slide."""
    assert (BAD_REQUEST, state) == carry_out(made, operation, cookie=cookie, body=NEW, timeout=525_601)


def test_row_12_a_year_is_not_above_a_year() -> None:
    """525600 minutes are the longest time-out (protocol.md 7)."""
    table = SessionTable()

    assert (
        ask(table, 0.0, SET, body=NEW, timeout=525_600),
        ask(table, 0.0, GET).timeout_minutes,
    ) == (OK, 525_600)


@each_absent
@each_case("cookie", [None, 0, 12345])
def test_row_13_set_absent(absent: Maker, cookie: int | None) -> None:
    """200, stored and unlocked with the cookie 1, whatever the request's cookie."""
    made = slid(State(NEW, 30, is_locked=False, lock_cookie=1, is_flagged=False, expires_at=0.0), 30)

    assert (OK, made) == carry_out(absent, SET, cookie=cookie, body=NEW, timeout=30)


@each_absent
@each_case("cookie", [None, 0, 12345])
def test_row_14_create_absent(absent: Maker, cookie: int | None) -> None:
    """The same with the flag set, to be told of once."""
    made = slid(State(NEW, 30, is_locked=False, lock_cookie=1, is_flagged=True, expires_at=0.0), 30)

    assert (OK, made) == carry_out(absent, CREATE, cookie=cookie, body=NEW, timeout=30)


@each_case("timeout", [None, 20, 30])
@each_case("cookie", [None, 0, 2])
@each_present
def test_row_15_create_present(made: Maker, state: State, cookie: int | None, timeout: int | None) -> None:
    """200 and a no-op in any lock state, with any cookie; the expiry slides by the session's time-out."""
    assert (OK, slid(state)) == carry_out(made, CREATE, cookie=cookie, body=NEW, timeout=timeout)


@each_case("timeout", [None, 20])
@each_case("cookie", [None, 0, 1, 12345])
@each_case(("made", "state"), [(UNLOCKED, IS_UNLOCKED), (FLAGGED, IS_FLAGGED)], ids=["unlocked", "flagged"])
def test_row_16_set_unlocked(made: Maker, state: State, cookie: int | None, timeout: int | None) -> None:
    """200 and replaced, with any cookie or none; counter and flag stay. No Timeout means 20 minutes."""
    after = slid(replace(state, body=NEW))

    assert (OK, after) == carry_out(made, SET, cookie=cookie, body=NEW, timeout=timeout)


def test_row_17_set_with_the_locks_cookie() -> None:
    """200, replaced and unlocked; the counter stays."""
    after = slid(replace(IS_LOCKED, body=NEW, is_locked=False))

    assert (OK, after) == carry_out(LOCKED, SET, cookie=2, body=NEW, timeout=20)


@each_case(
    ("made", "cookie"),
    [(UNLOCKED, 0), (UNLOCKED, 7), (FLAGGED, 7), (LOCKED, 2)],
    ids=["unlocked, cookie=0", "unlocked, cookie=7", "flagged, cookie=7", "locked, cookie=2"],
)
def test_row_18_set_with_another_timeout(made: Maker, cookie: int) -> None:
    """200 and created anew: the counter becomes the request's cookie, the flag the request's flag."""
    after = slid(State(NEW, 30, is_locked=False, lock_cookie=cookie, is_flagged=False, expires_at=0.0), 30)

    assert (OK, after) == carry_out(made, SET, cookie=cookie, body=NEW, timeout=30)


@each_case("made", [UNLOCKED, FLAGGED], ids=["unlocked", "flagged"])
def test_row_18_set_with_another_timeout_and_no_cookie(made: Maker) -> None:
    """Without a cookie the counter becomes -1, so that the next lock has 0 (protocol.md 14, A20)."""
    after = slid(State(NEW, 30, is_locked=False, lock_cookie=-1, is_flagged=False, expires_at=0.0), 30)

    assert (OK, after) == carry_out(made, SET, body=NEW, timeout=30)


def test_row_18_set_without_timeout_on_a_longer_session() -> None:
    """No Timeout means 20 minutes, and that is another one than 30 (protocol.md 7)."""
    thirty = Maker().then(0.0, SET, body=OLD, timeout=30)
    after = slid(State(NEW, 20, is_locked=False, lock_cookie=5, is_flagged=False, expires_at=0.0))

    assert (OK, after) == carry_out(thirty, SET, cookie=5, body=NEW)


@each_case("timeout", [None, 20, 30])
@each_case("cookie", [None, 0, 1, 3])
def test_row_19_set_with_another_cookie(cookie: int | None, timeout: int | None) -> None:
    """423, and everything stays but the expiry, which slides by its own time-out."""
    assert (SAYS_LOCKED, slid(IS_LOCKED)) == carry_out(LOCKED, SET, cookie=cookie, body=NEW, timeout=timeout)


# --- DELETE -----------------------------------------------------------------------------------------


@each_absent
@each_case("cookie", [None, 2])
def test_row_20_delete_absent(absent: Maker, cookie: int | None) -> None:
    """404, with a cookie and without."""
    assert carry_out(absent, REMOVE, cookie=cookie) == (NOT_FOUND, None)


@each_case("cookie", [None, 0, 1, 999])
@each_case("made", [UNLOCKED, FLAGGED], ids=["unlocked", "flagged"])
def test_row_21_delete_unlocked(made: Maker, cookie: int | None) -> None:
    """200 and gone, with any cookie or none; ActionFlags is for gets."""
    assert carry_out(made, REMOVE, cookie=cookie) == (OK, None)


def test_row_22_delete_with_the_locks_cookie() -> None:
    """200 and gone."""
    assert carry_out(LOCKED, REMOVE, cookie=2) == (OK, None)


@each_case("cookie", [None, 0, 1, 3])
def test_row_23_delete_with_another_cookie(cookie: int | None) -> None:
    """423, and everything stays but the expiry."""
    assert (SAYS_LOCKED, slid(IS_LOCKED)) == carry_out(LOCKED, REMOVE, cookie=cookie)


# --- HEAD -------------------------------------------------------------------------------------------


@each_absent
def test_row_24_head_absent(absent: Maker) -> None:
    """404."""
    assert carry_out(absent, HEAD) == (NOT_FOUND, None)


@each_present
def test_row_25_head_present(made: Maker, state: State) -> None:
    """200 in any lock state, without content and without touching the flag; the expiry slides."""
    assert (OK, slid(state)) == carry_out(made, HEAD)
