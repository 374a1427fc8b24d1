"""A table that is written and read back: what goes on meanwhile, and what is refused."""

from collections.abc import Callable
from io import BytesIO
from math import inf, nan
from struct import pack, pack_into

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from partitioner.errors import MalformedFile
from partitioner.protocol.messages import Answer, Operation, RequestHead, Status
from partitioner.sessions.snapshot import BLOCK_BYTES, MAGIC, Restored, read_snapshot, write_snapshot
from partitioner.sessions.table import SessionTable
from tests.tables import each_case

WALL = 1_700_000_000.0
"""The time on the wall when a snapshot is written."""

NOW = 5_000.0
"""The monotonic time of the process that writes it."""

LATER = 40.0
"""The monotonic time of the process that reads it: its machine has been started anew."""


def ask(
    table: SessionTable,
    operation: Operation,
    now: float,
    key: bytes = b"/key",
    *,
    cookie: int | None = None,
    timeout: int | None = None,
    body: bytes = b"",
) -> Answer:
    head = RequestHead(b"", operation, key, len(body), timeout_minutes=timeout, lock_cookie=cookie)
    return table.apply(head, key, body, now)


def save(table: SessionTable, key: bytes = b"/key", timeout: int = 20, body: bytes = b"body") -> None:
    assert ask(table, Operation.SET, NOW, key, timeout=timeout, body=body).status is Status.OK


def written(table: SessionTable) -> bytes:
    return b"".join(write_snapshot(table, WALL, NOW))


def restore(
    snapshot: bytes, downtime: float = 0.0, max_memory: int | None = None
) -> tuple[SessionTable, Restored]:
    """The table that is there so many seconds later, and what became of the sessions."""
    table = SessionTable(max_memory)
    return table, read_snapshot(BytesIO(snapshot).read, table, WALL + downtime, LATER)


def restored(table: SessionTable, downtime: float = 0.0) -> SessionTable:
    return restore(written(table), downtime)[0]


def full_table(sessions: int = 3) -> SessionTable:
    table = SessionTable()
    for number in range(sessions):
        save(table, b"/%d" % number, body=b"body %d" % number)
    ask(table, Operation.ACQUIRE, NOW, b"/0")
    return table


# --- Whatever was, goes on ----------------------------------------------------------------------------

_requests = st.tuples(
    st.sampled_from([0.0, 0.5, 20.0, 59.5, 60.0, 60.5, 1_200.0]),  # time that passes before it
    st.sampled_from(Operation),
    st.sampled_from([b"/a", b"/b", b"/\xff c"]),
    st.none() | st.integers(0, 4) | st.just(2_147_483_645),  # cookie
    st.sampled_from([None, 0, 1, 2, 525_600]),  # time-out
    st.binary(min_size=1, max_size=8),
)


@settings(max_examples=500)
@given(
    before=st.lists(_requests, max_size=25),
    downtime=st.sampled_from([0.0, 1.5, 60.0, 60.5, 1_200.0, 1e6]),
    after=st.lists(_requests, max_size=15),
)
def test_a_restored_table_answers_as_the_one_before(
    before: list[tuple[float, Operation, bytes, int | None, int | None, bytes]],
    downtime: float,
    after: list[tuple[float, Operation, bytes, int | None, int | None, bytes]],
) -> None:
    """Whatever happened before, no client can tell from any answer that there was a restart in between."""
    table, now = SessionTable(), NOW
    for pause, operation, key, cookie, timeout, body in before:
        now += pause
        ask(table, operation, now, key, cookie=cookie, timeout=timeout, body=body)
    snapshot = b"".join(write_snapshot(table, WALL, now))
    again = SessionTable()
    read_snapshot(BytesIO(snapshot).read, again, WALL + downtime, LATER)
    now, later = now + downtime, LATER
    for pause, operation, key, cookie, timeout, body in after:
        now, later = now + pause, later + pause
        expected = ask(table, operation, now, key, cookie=cookie, timeout=timeout, body=body)

        assert expected == ask(again, operation, later, key, cookie=cookie, timeout=timeout, body=body)


@given(before=st.lists(_requests, max_size=25))
def test_memory_is_counted_as_before(
    before: list[tuple[float, Operation, bytes, int | None, int | None, bytes]],
) -> None:
    """A restored table knows how much memory it uses."""
    table = SessionTable()
    for _, operation, key, cookie, timeout, body in before:
        ask(table, operation, NOW, key, cookie=cookie, timeout=timeout, body=body)
    again = restored(table)

    assert (len(table), table.used_memory) == (len(again), again.used_memory)


def test_an_empty_table() -> None:
    """A server without sessions writes a file that says so."""
    assert (0, 0) == (len(restored(SessionTable())), restore(written(SessionTable()))[1].sessions)


def test_many_blocks() -> None:
    """However large the table is, it is written and read in parts of bounded size."""
    table = SessionTable()
    for number in range(40):
        save(table, b"/%d" % number, body=b"%d" % number * (BLOCK_BYTES // 8))
    pieces = list(write_snapshot(table, WALL, NOW))
    again = restored(table)

    assert max(map(len, pieces)) < 1.5 * BLOCK_BYTES
    assert [ask(table, Operation.GET, NOW, b"/%d" % number).body for number in range(40)] == [
        ask(again, Operation.GET, LATER, b"/%d" % number).body for number in range(40)
    ]


def test_more_than_the_memory_limit() -> None:
    """A limit that was lowered refuses new sessions, and costs none that exists."""
    again, outcome = restore(written(full_table(50)), max_memory=1_000)

    assert (50, 50) == (len(again), outcome.sessions)
    assert Status.BAD_REQUEST is ask(again, Operation.SET, LATER, b"/new", body=b"new").status


def test_what_nobody_asks_for_is_swept_after_a_restart() -> None:
    """Restored sessions are looked at when their time has come, like any others."""
    again = restored(full_table())
    again.sweep(LATER + 1_300, at_most=100)

    assert len(again) == 0


# --- Time passes meanwhile ------------------------------------------------------------------------------


@each_case(("downtime", "sessions", "expired"), [(0.0, 1, 0), (60.0, 1, 0), (60.5, 0, 1), (1e9, 0, 1)])
def test_time_outs_go_on(downtime: float, sessions: int, expired: int) -> None:
    """A session of one minute is there at its very end, and not loaded after it."""
    table = SessionTable()
    save(table, timeout=1)
    again, outcome = restore(written(table), downtime)

    assert (sessions, sessions, expired) == (len(again), outcome.sessions, outcome.expired)


def test_a_restart_does_not_slide_the_expiry() -> None:
    """The downtime counts against the time that was left."""
    table = SessionTable()
    save(table, timeout=1)
    again = restored(table, downtime=40.0)

    assert Status.NOT_FOUND is ask(again, Operation.GET, LATER + 20.5).status


@pytest.mark.parametrize(
    ("downtime", "age"),
    [(0.0, 0.0), (30.0, 30.0), (-3_600.0, 0.0)],
    ids=["none", "half a minute", "a clock that went backwards"],
)
def test_the_age_of_a_lock_goes_on(downtime: float, age: float) -> None:
    """A web server breaks a lock by its age (protocol.md 7), so the downtime counts."""
    table = SessionTable()
    save(table)
    ask(table, Operation.ACQUIRE, NOW)
    answer = ask(restored(table, downtime), Operation.GET, LATER)

    assert (Status.LOCKED, age, 2) == (answer.status, answer.lock_age, answer.lock_cookie)


def test_a_wall_clock_that_went_backwards() -> None:
    """It counts as no time: nothing expires by it, and nothing lives longer than it had left."""
    table = SessionTable()
    save(table, timeout=1)
    again, outcome = restore(written(table), downtime=-86_400.0)

    assert (1, 0.0) == (outcome.sessions, outcome.downtime)
    assert Status.NOT_FOUND is ask(again, Operation.GET, LATER + 60.5).status


def test_a_session_that_never_expires() -> None:
    """A time-out of 0 is as endless after a restart as before it (protocol.md 6, remarks)."""
    table = SessionTable()
    save(table, timeout=0)

    assert Status.OK is ask(restored(table, downtime=1e9), Operation.GET, 1e9).status


# --- What is refused --------------------------------------------------------------------------------------

SNAPSHOT = written(full_table())


def changed(change: Callable[[bytearray], None]) -> bytes:
    copy = bytearray(SNAPSHOT)
    change(copy)
    return bytes(copy)


@each_case("length", range(len(SNAPSHOT)))
def test_a_truncated_snapshot(length: int) -> None:
    """However little is missing at its end, nothing of it is taken for whole."""
    with pytest.raises(MalformedFile):
        restore(SNAPSHOT[:length])


@each_case("place", range(len(SNAPSHOT)))
@each_case("bit", [0, 7])
def test_a_flipped_bit(place: int, bit: int) -> None:
    """One bit anywhere is enough to refuse it."""

    def flip(snapshot: bytearray) -> None:
        snapshot[place] ^= 1 << bit

    with pytest.raises(MalformedFile):
        restore(changed(flip))


def test_two_blocks_that_changed_places() -> None:
    """A part is believed in its own place only."""
    table = SessionTable()
    for number in range(2):
        save(table, b"/%d" % number, body=bytes(BLOCK_BYTES))
    head, *blocks = write_snapshot(table, WALL, NOW)

    with pytest.raises(MalformedFile, match="damaged"):
        restore(b"".join([head, *blocks[3:], *blocks[:3]]))


REFUSALS = [
    ("empty", b"", "not a file of sessions"),
    ("foreign", b"\x89PNG\r\n\x1a\n" + bytes(100), "not a file of sessions"),
    ("of a later version", changed(lambda copy: pack_into("<I", copy, len(MAGIC), 2)), "format 2"),
    ("with something after it", SNAPSHOT + b"\0", "more than the 3 sessions"),
    ("short of its end", SNAPSHOT[:-1], "not whole"),
    ("short of its beginning's end", SNAPSHOT[:30], "not whole"),
]


@each_case(("case", "snapshot", "sentence"), REFUSALS, ids=[case for case, _, _ in REFUSALS])
def test_what_is_wrong_is_said(case: str, snapshot: bytes, sentence: str) -> None:
    """The operator learns whether the file is foreign, from another version, cut off, or damaged."""
    with pytest.raises(MalformedFile, match=sentence):
        restore(snapshot)


def sealed(*blocks: bytes, count: int) -> bytes:
    """A snapshot with these blocks, whose seals are right: anybody can compute them."""
    pieces = []
    head = pack(f"<{len(MAGIC)}sIdQ", MAGIC, 1, WALL, count)
    parts = [head, *(part for block in blocks for part in (pack("<I", len(block)), block))]
    for place, part in enumerate(parts):
        pieces += [part, pack("<Q", xxh3_64_intdigest(part, place))]
    return b"".join(pieces)


def entry(
    key: bytes = b"/key",
    size: int = 4,
    timeout: int = 20,
    cookie: int = 2,
    seconds_left: float = 60.0,
    lock_age: float = 0.0,
) -> bytes:
    """An entry as write_snapshot writes it, of a body of four bytes."""
    return pack("<IIiiBdd", len(key), size, timeout, cookie, 2, seconds_left, lock_age) + key + b"body"


def test_a_sealed_entry_is_read() -> None:
    """What follows is refused for what it says, and for nothing else."""
    assert 1 == restore(sealed(entry(), count=1))[1].sessions


NONSENSE = [
    ("cut off", sealed(entry()[:20], count=1)),
    ("no key", sealed(entry(b""), count=1)),
    ("longer than its block", sealed(entry(size=400), count=1)),
    ("longer than anything", sealed(entry(size=2**32 - 1), count=1)),
    ("a time-out before the beginning", sealed(entry(timeout=-1), count=1)),
    ("a cookie that no client could send", sealed(entry(cookie=-5), count=1)),
    ("a life that is no number", sealed(entry(seconds_left=nan), count=1)),
    ("a life without end", sealed(entry(seconds_left=inf), count=1)),
    ("more life than its time-out", sealed(entry(seconds_left=1202.0), count=1)),
    ("a life that ended before all time", sealed(entry(seconds_left=-inf), count=1)),
    ("a lock whose age is no number", sealed(entry(lock_age=nan), count=1)),
    ("a lock of all time", sealed(entry(lock_age=inf), count=1)),
    ("a session twice", sealed(entry() + entry(), count=2)),
    ("no block for what is announced", sealed(count=2**64 - 1)),
    ("blocks without an entry", sealed(b"", b"", count=1)),
]


@each_case(("case", "snapshot"), NONSENSE, ids=[case for case, _ in NONSENSE])
def test_sealed_nonsense_is_refused(case: str, snapshot: bytes) -> None:
    """It is set aside as damaged; the server neither fails to start nor serves what cannot be."""
    with pytest.raises(MalformedFile):
        restore(snapshot)
