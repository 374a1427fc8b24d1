"""What the scripts do beyond the rows of protocol.md 6: repetition, deadlines, locks, foreign items."""

import time

import hiredis
import pytest

from partitioner.protocol.messages import Operation, RequestHead, Status
from partitioner.store.records import read_header
from partitioner.store.scripts import (
    ABSENT,
    ACQUIRE,
    CREATE,
    FOREIGN,
    FREE,
    GET,
    INSERT,
    LATE,
    PRESENT,
    RELEASE,
    REMOVE,
    RESET,
    SCRIPTS,
    SET,
    UNCLEAR,
    UNLOCK,
    Script,
)
from tests.store.talk import HOUR, NAME, Talk
from tests.tables import each_case

MINUTES = b"20"

ARGUMENTS: dict[Script, tuple[bytes, ...]] = {
    GET: (b"any id..",),
    ACQUIRE: (b"any id..",),
    RELEASE: (b"2", b"any id.."),
    SET: (b"any id..", MINUTES, b"2", b"body"),
    CREATE: (b"",),
    INSERT: (b"any id..", MINUTES, b"0", b"body", b"0"),
    REMOVE: (b"2",),
    RESET: (b"",),
    UNLOCK: (b"any id..",),
    FREE: (b"2",),
}


def save_new(talk: Talk, body: bytes = b"first", flags: bytes = b"0") -> bytes:
    """Add a session; the id of the request."""
    request_id = talk.new_id()
    assert talk.run(INSERT, request_id, MINUTES, b"0", body, flags) == 200
    return request_id


def acquire(talk: Talk) -> tuple[bytes, bytes]:
    """Take the lock: the id of the request, and the cookie."""
    request_id = talk.new_id()
    reply = talk.run(ACQUIRE, request_id)
    assert isinstance(reply, list)
    assert reply[0] == 200
    return request_id, b"%d" % reply[2]


def is_locked(talk: Talk) -> bool:
    record = talk.ask(b"GET", NAME)
    assert isinstance(record, bytes)
    header = read_header(record)
    assert header is not None
    return header.is_locked


# --- a request that is sent again ---


def test_an_acquire_that_is_sent_again_finds_its_own_lock(talk: Talk) -> None:
    """It gets the same answer, and no second cookie."""
    save_new(talk)
    request_id = talk.new_id()
    first = talk.run(ACQUIRE, request_id)

    assert talk.run(ACQUIRE, request_id, is_again=True) == first


def test_an_acquire_that_is_sent_again_still_calls_a_new_session_new(talk: Talk) -> None:
    """The flag that the first one has consumed is in the answer to the second one, too."""
    save_new(talk, flags=b"1")
    request_id = talk.new_id()
    first = talk.run(ACQUIRE, request_id)

    assert isinstance(first, list)
    assert first[1] == 1
    assert talk.run(ACQUIRE, request_id, is_again=True) == first


@pytest.mark.parametrize(("script", "before"), [(GET, ()), (RELEASE, (b"2",))])
def test_a_read_that_is_sent_again_still_calls_a_new_session_new(
    talk: Talk, script: Script, before: tuple[bytes, ...]
) -> None:
    """It has consumed the flag the first time, and its reply was lost; nobody else was told of it."""
    save_new(talk, flags=b"1")
    request_id = talk.new_id()
    first = talk.run(script, *before, request_id)
    _, cookie = acquire(talk)
    talk.run(SET, talk.new_id(), MINUTES, cookie, b"by another one")
    again = talk.run(script, *before, request_id, is_again=True)
    other = talk.run(script, *before, talk.new_id())

    assert isinstance(first, list)
    assert isinstance(again, list)
    assert isinstance(other, list)
    assert [1, 1, 0] == [first[1], again[1], other[1]]


def test_another_acquire_is_refused(talk: Talk) -> None:
    save_new(talk)
    acquire(talk)
    reply = talk.run(ACQUIRE, talk.new_id(), is_again=True)

    assert isinstance(reply, list)
    assert reply[0] == 423


def test_a_save_that_is_sent_again_is_carried_out_once(talk: Talk) -> None:
    """What a later page has saved is not overwritten by it."""
    save_new(talk)
    _, cookie = acquire(talk)
    request_id = talk.new_id()
    save = (SET, request_id, MINUTES, cookie, b"second")

    assert [talk.run(*save), talk.run(*save, is_again=True)] == [200, 200]


def test_a_save_that_is_sent_again_to_an_unlocked_session_is_unclear(talk: Talk) -> None:
    """It may have been carried out, and others may have saved since."""
    save_new(talk)
    _, cookie = acquire(talk)
    talk.run(SET, talk.new_id(), MINUTES, cookie, b"by another one")

    assert talk.run(SET, talk.new_id(), MINUTES, cookie, b"late", is_again=True) == UNCLEAR


def test_a_save_that_is_sent_again_after_a_remove_is_unclear(talk: Talk) -> None:
    """What was removed must not come back."""
    save = (talk.new_id(), MINUTES, b"2", b"body")

    assert talk.run(SET, *save, is_again=True) == UNCLEAR
    assert talk.run(INSERT, *save, b"0", is_again=True) == UNCLEAR


def test_a_new_session_that_is_saved_again_is_there_once(talk: Talk) -> None:
    request_id = save_new(talk)

    assert talk.run(INSERT, request_id, MINUTES, b"0", b"first", b"0", is_again=True) == 200
    assert talk.run(SET, request_id, MINUTES, b"0", b"first", is_again=True) == 200


def test_a_new_session_that_another_one_has_made_meanwhile_is_not_overwritten(talk: Talk) -> None:
    save_new(talk)

    assert talk.run(INSERT, talk.new_id(), MINUTES, b"0", b"other", b"0") == PRESENT


def test_a_remove_that_is_sent_again_has_removed(talk: Talk) -> None:
    save_new(talk)
    _, cookie = acquire(talk)

    assert [talk.run(REMOVE, cookie), talk.run(REMOVE, cookie, is_again=True)] == [200, 200]


@pytest.mark.parametrize(
    ("script", "arguments", "expected"),
    [
        (SET, (b"any id..", MINUTES, b"2", b"late"), UNCLEAR),
        (REMOVE, (b"2",), 200),
        (RELEASE, (b"2", b"any id.."), [200, 0]),
    ],
)
def test_a_repetition_leaves_the_lock_of_a_later_session_alone(
    talk: Talk, script: Script, arguments: tuple[bytes, ...], expected: object
) -> None:
    """A session that was removed and created anew has the same first cookie again, and a younger lock."""
    save_new(talk)
    _, cookie = acquire(talk)

    assert cookie == b"2"
    assert talk.run(script, *arguments, is_again=True, began=time.time() - 1.0) == expected
    assert is_locked(talk)


@pytest.mark.parametrize(
    ("script", "arguments", "expected"),
    [
        (SET, (b"any id..", MINUTES, b"7", b"late"), UNCLEAR),
        (REMOVE, (b"7",), 200),
        (RELEASE, (b"7", b"any id.."), [200, 0]),
    ],
)
def test_a_repetition_is_not_told_of_a_lock_that_came_after_it(
    talk: Talk, script: Script, arguments: tuple[bytes, ...], expected: object
) -> None:
    """It was carried out the first time, and the next page has the lock already."""
    save_new(talk)
    acquire(talk)

    assert talk.run(script, *arguments, is_again=True, began=time.time() - 1.0) == expected
    assert is_locked(talk)


@pytest.mark.parametrize(
    ("script", "arguments"),
    [(SET, (b"any id..", MINUTES, b"7", b"late")), (REMOVE, (b"7",)), (RELEASE, (b"7", b"any id.."))],
)
def test_a_repetition_is_told_of_a_lock_that_was_there_before_it(
    talk: Talk, script: Script, arguments: tuple[bytes, ...]
) -> None:
    """The lock of its page was broken before it came."""
    save_new(talk)
    acquire(talk)
    reply = talk.run(script, *arguments, is_again=True, began=time.time() + 1.0)

    assert isinstance(reply, list)
    assert reply[0] == 423


# --- deadlines ---


@each_case("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_that_starts_late_does_nothing(talk: Talk, script: Script) -> None:
    """Its page has failed by then."""
    talk.ask(b"DEL", NAME)
    save_new(talk)
    acquire(talk)
    before = talk.ask(b"GET", NAME)

    assert talk.run(script, *ARGUMENTS[script], until=time.time() - 0.1) == LATE
    assert talk.ask(b"GET", NAME) == before


# --- locks that are given back ---


def test_a_lock_is_given_back_to_whom_it_was_not_delivered(talk: Talk) -> None:
    """All is as it was before: unlocked, and a new session is still new."""
    save_new(talk, flags=b"1")
    request_id, _ = acquire(talk)
    talk.run(UNLOCK, request_id)
    reply = talk.run(ACQUIRE, talk.new_id())

    assert isinstance(reply, list)
    assert reply[:2] == [200, 1]


def test_the_lock_of_another_request_is_kept(talk: Talk) -> None:
    save_new(talk)
    acquire(talk)
    talk.run(UNLOCK, talk.new_id())

    assert is_locked(talk)


def test_the_lock_of_a_failed_page_is_freed(talk: Talk) -> None:
    save_new(talk)
    _, cookie = acquire(talk)
    talk.run(FREE, cookie, began=time.time() + 0.05)

    assert not is_locked(talk)


def test_a_lock_that_was_taken_after_the_failed_request_is_kept(talk: Talk) -> None:
    """Its cookie may be the same: that of a session which was removed and created anew."""
    save_new(talk)
    _, cookie = acquire(talk)
    talk.run(FREE, cookie, began=time.time() - 1.0)

    assert is_locked(talk)


# --- what else may lie there ---


@each_case("item", [b"short", b"x" * 48, b"\x00" + b"\xff" * 47])
@each_case("script", SCRIPTS, ids=lambda script: script.name)
def test_a_foreign_item_is_left_alone(talk: Talk, script: Script, item: bytes) -> None:
    """What something else has written is neither read, nor overwritten, nor removed."""
    talk.ask(b"SET", NAME, item)

    assert talk.run(script, *ARGUMENTS[script]) == FOREIGN
    assert talk.ask(b"GET", NAME) == item


@each_case("script", SCRIPTS, ids=lambda script: script.name)
def test_an_item_of_another_type_is_left_alone(talk: Talk, script: Script) -> None:
    talk.ask(b"HSET", NAME, b"field", b"value")
    reply = talk.run(script, *ARGUMENTS[script])

    assert isinstance(reply, hiredis.ReplyError)
    assert str(reply).startswith("WRONGTYPE")
    assert talk.ask(b"HGET", NAME, b"field") == b"value"


# --- a full engine ---


def test_a_full_engine_goes_on_with_the_sessions_that_it_has(talk: Talk) -> None:
    """Acquire, save and release go on; new sessions are refused."""
    save_new(talk)
    talk.ask(b"CONFIG", b"SET", b"maxmemory", b"1")
    _, cookie = acquire(talk)

    assert talk.run(SET, talk.new_id(), MINUTES, cookie, b"a longer body" * 100) == 200
    assert talk.run(CREATE, b"") == 200
    assert talk.run(SET, talk.new_id(), MINUTES, b"0", b"new", name=b"aspnet:new") == ABSENT
    refusal = talk.run(INSERT, talk.new_id(), MINUTES, b"0", b"new", b"0", name=b"aspnet:new")
    assert str(refusal).startswith("OOM")


# --- time ---


def test_a_session_expires_and_slides(talk: Talk) -> None:
    """The expiry is that of the key, and each operation that finds it starts it anew."""
    save_new(talk)
    talk.ask(b"PEXPIRE", NAME, b"1000")
    talk.run(RESET, b"")
    left = talk.ask(b"PTTL", NAME)

    assert isinstance(left, int)
    assert left > 19 * 60_000


def test_a_time_out_of_nothing_never_passes(talk: Talk) -> None:
    head = RequestHead(b"", Operation.SET, b"key", 4, 0, 0)

    assert talk.answer(head, b"body").status is Status.OK
    assert talk.ask(b"PTTL", NAME) == -1


def test_all_who_ask_about_a_lock_are_told_the_same_moment(talk: Talk) -> None:
    """The age grows; when the lock was taken does not change."""
    save_new(talk)
    acquire(talk)
    first, second = (talk.run(GET, talk.new_id()), talk.run(ACQUIRE, talk.new_id()))

    assert isinstance(first, list)
    assert isinstance(second, list)
    assert first[4] == second[4]
    assert abs(first[4] / 1000 - time.time()) < HOUR
