"""When sessions are forgotten, and what it costs to look (protocol.md 6, remarks)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioner.protocol.messages import Operation, RequestHead, Status
from partitioner.sessions.table import SessionTable
from tests.tables import each_case

MINUTE = 60.0
SWEEP_LAG = 20.0
"""A stock server sweeps every 20 s: no later than that after its expiry a session's memory is free."""


def store(table: SessionTable, key: bytes, now: float, timeout: int, body: bytes = b"body") -> None:
    head = RequestHead(b"", Operation.SET, key, len(body), timeout_minutes=timeout)
    assert table.apply(head, key, body, now).status is Status.OK


def status(table: SessionTable, key: bytes, now: float, operation: Operation = Operation.GET) -> Status:
    return table.apply(RequestHead(b"", operation, key), key, b"", now).status


def sweep_up(table: SessionTable, now: float, at_most: int = 1_000_000) -> int:
    """Sweep until there is nothing more to look at; how many were looked at in all."""
    seen = 0
    while looked_at := table.sweep(now, at_most):
        seen += looked_at
    return seen


@pytest.mark.parametrize(("after", "expected"), [(60.0, Status.OK), (60.001, Status.NOT_FOUND)])
def test_expiry_is_exact_on_access(after: float, expected: Status) -> None:
    """A session is there at the very end of its time-out, and gone after it, sweep or no sweep."""
    table = SessionTable()
    store(table, b"/key", 0.0, timeout=1)

    assert expected is status(table, b"/key", after)


def test_access_slides_the_expiry() -> None:
    """Each access starts the time-out anew (protocol.md 1, fact 9)."""
    table = SessionTable()
    store(table, b"/key", 0.0, timeout=1)

    assert [status(table, b"/key", 50.0 * number) for number in range(1, 11)] == [Status.OK] * 10


def test_an_expired_session_is_forgotten_on_access() -> None:
    """A client that asks for an expired session frees its memory, too."""
    table = SessionTable()
    store(table, b"/key", 0.0, timeout=1)
    status(table, b"/key", 61.0)

    assert (len(table), table.used_memory, table.body_bytes, table.expired) == (0, 0, 0, 1)


def test_sweep_forgets_what_has_expired() -> None:
    """Sessions that no client asks for any more go, too, soon after their time."""
    table = SessionTable()
    for number in range(100):
        store(table, b"/%d" % number, 0.0, timeout=1)
    sweep_up(table, 60.0 + SWEEP_LAG)

    assert (len(table), table.used_memory, table.body_bytes, table.expired) == (0, 0, 0, 100)


@each_case("slid_at", [number / 2 for number in range(1, 120)])
def test_sweep_leaves_what_expires_at_this_very_moment(slid_at: float) -> None:
    """At the very end of its time-out a session is there still, though the sweep looks at it then."""
    table = SessionTable()
    store(table, b"/key", 0.0, timeout=1)
    status(table, b"/key", slid_at)
    sweep_up(table, slid_at + MINUTE)

    assert Status.OK is status(table, b"/key", slid_at + MINUTE)


def test_sweep_leaves_what_has_not_expired() -> None:
    """A session that has slid is looked at, and stays."""
    table = SessionTable()
    store(table, b"/gone", 0.0, timeout=1)
    store(table, b"/slid", 0.0, timeout=1)
    status(table, b"/slid", 50.0)
    sweep_up(table, 60.0 + SWEEP_LAG)

    assert (len(table), status(table, b"/slid", 110.0)) == (1, Status.OK)


def test_sweep_comes_back_to_what_has_slid() -> None:
    """A session that was looked at and stayed is looked at again when its new time has come."""
    table = SessionTable()
    store(table, b"/slid", 0.0, timeout=1)
    status(table, b"/slid", 50.0)
    sweep_up(table, 60.0 + SWEEP_LAG)
    sweep_up(table, 110.0 + SWEEP_LAG)

    assert len(table) == 0


def test_a_shortened_time_out_is_swept_in_time() -> None:
    """A session that was given a shorter time-out does not wait for its old one (protocol.md 6, row 18)."""
    table = SessionTable()
    store(table, b"/key", 0.0, timeout=525_600)
    store(table, b"/key", 0.0, timeout=1)
    sweep_up(table, 60.0 + SWEEP_LAG)

    assert len(table) == 0


def test_a_session_that_no_longer_expires_is_left_by_the_sweep() -> None:
    """A time-out of 20 minutes that becomes 0 never passes (protocol.md 6, row 18 and remarks)."""
    table = SessionTable()
    store(table, b"/key", 0.0, timeout=20)
    store(table, b"/key", 0.0, timeout=0)
    sweep_up(table, 20 * MINUTE + SWEEP_LAG)

    assert Status.OK is status(table, b"/key", 1e9)


def test_a_session_that_expires_again_is_swept() -> None:
    """A time-out of 0 that becomes one minute passes like any other (protocol.md 6, row 18)."""
    table = SessionTable()
    store(table, b"/key", 0.0, timeout=0)
    store(table, b"/key", 0.0, timeout=1)
    sweep_up(table, 60.0 + SWEEP_LAG)

    assert len(table) == 0


def test_a_session_that_never_expires_is_never_looked_at() -> None:
    """A time-out of 0 costs the sweep nothing (protocol.md 6, remarks)."""
    table = SessionTable()
    store(table, b"/key", 0.0, timeout=0)

    assert sweep_up(table, 1e9) == 0


def test_sweep_stops_at_its_budget() -> None:
    """A sweep looks at no more than it was told to, so that it never holds anybody up."""
    table = SessionTable()
    for number in range(100):
        store(table, b"/%d" % number, 0.0, timeout=1)
    left = [(table.sweep(1_000.0, at_most=30), len(table)) for _ in range(5)]

    assert left == [(30, 70), (30, 40), (30, 10), (10, 0), (0, 0)]


def test_sessions_can_be_used_between_two_parts_of_a_sweep() -> None:
    """What happens between two parts of a sweep does not confuse the next one."""
    table = SessionTable()
    for number in range(10):
        store(table, b"/%d" % number, 0.0, timeout=1)
    for number in range(10):
        table.sweep(1_000.0, at_most=1)
        store(table, b"/%d" % number, 1_000.0, timeout=1)
        status(table, b"/%d" % (9 - number), 1_000.0, Operation.REMOVE)
    sweep_up(table, 10_000.0)

    assert (len(table), table.used_memory) == (0, 0)


def test_a_busy_session_is_looked_at_once_in_its_time_out() -> None:
    """However often it is read, a session is looked at about once in its time-out."""
    table = SessionTable()
    store(table, b"/key", 0.0, timeout=20)
    seen = 0
    for second in range(1, 10 * 1_200 + 1):
        if second % 5 == 0:
            status(table, b"/key", float(second))
        seen += table.sweep(float(second), at_most=100)

    assert 9 <= seen <= 11


def test_many_busy_sessions_are_looked_at_once_in_their_time_out() -> None:
    """So it is with each of many, read at different times."""
    table = SessionTable()
    for number in range(200):
        store(table, b"/%d" % number, number / 10, timeout=1)
    seen = 0
    for second in range(20, 20 + 600):
        for number in range(second % 10, 200, 10):
            status(table, b"/%d" % number, float(second))
        seen += table.sweep(float(second), at_most=1_000)

    assert len(table) == 200
    assert 200 * 6 <= seen <= 200 * 12


_changes = st.lists(
    st.tuples(
        st.sampled_from(Operation),
        st.integers(0, 4),  # key
        st.sampled_from([0, 1, 2, 20]),  # time-out
        st.sampled_from([None, 1, 2]),  # cookie
        st.binary(min_size=1, max_size=20),
        st.sampled_from([0.0, 1.0, 61.0]),  # time until the next one
        st.integers(0, 3),  # sessions swept before it
    ),
    max_size=40,
)


@given(history=_changes)
def test_memory_is_zero_when_everything_is_gone(
    history: list[tuple[Operation, int, int, int | None, bytes, float, int]],
) -> None:
    """Whatever was stored, replaced, removed and expired: an empty table uses no memory."""
    table = SessionTable()
    now = 0.0
    for operation, number, timeout, cookie, body, pause, swept in history:
        now += pause
        if swept:
            table.sweep(now, swept)
        key = b"/%d" % number
        head = RequestHead(b"", operation, key, len(body), timeout_minutes=timeout, lock_cookie=cookie)
        table.apply(head, key, body, now)
    for number in range(5):
        key = b"/%d" % number
        age = table.apply(RequestHead(b"", Operation.ACQUIRE, key), key, b"", now)
        head = RequestHead(b"", Operation.REMOVE, key, lock_cookie=age.lock_cookie)
        table.apply(head, key, b"", now)

    assert (len(table), table.used_memory, table.body_bytes) == (0, 0, 0)


@given(history=_changes)
def test_memory_is_what_is_held(
    history: list[tuple[Operation, int, int, int | None, bytes, float, int]],
) -> None:
    """At any time the content counted is the content held, and each session costs as much as any other."""
    table = SessionTable()
    now = 0.0
    for operation, number, timeout, cookie, body, pause, _ in history:
        now += pause
        key = b"/%d" % number
        head = RequestHead(b"", operation, key, len(body), timeout_minutes=timeout, lock_cookie=cookie)
        table.apply(head, key, body, now)
    one = SessionTable()
    store(one, b"/0", 0.0, timeout=1)
    cost_beside_content = one.used_memory - one.body_bytes

    assert table.body_bytes + len(table) * cost_beside_content == table.used_memory
