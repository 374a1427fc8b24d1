"""At the memory limit new sessions are refused with 400, never with 404 (protocol.md 10.2.9)."""

from partitioner.protocol.messages import Answer, Operation, RequestHead, Status
from partitioner.sessions.table import SESSION_OVERHEAD, SessionTable

OK = Answer(Status.OK)
BAD_REQUEST = Answer(Status.BAD_REQUEST)

KEY, OTHER = b"/one", b"/two"
CONTENT = b"x" * 100
COST = SESSION_OVERHEAD + len(KEY) + len(CONTENT)


def put(
    table: SessionTable,
    key: bytes,
    body: bytes = CONTENT,
    now: float = 0.0,
    operation: Operation = Operation.SET,
    cookie: int | None = None,
) -> Answer:
    head = RequestHead(b"", operation, key, len(body), timeout_minutes=20, lock_cookie=cookie)
    return table.apply(head, key, body, now)


def ask(table: SessionTable, key: bytes, operation: Operation = Operation.GET, now: float = 0.0) -> Answer:
    return table.apply(RequestHead(b"", operation, key), key, b"", now)


def full() -> SessionTable:
    """A table that has room for one session, and holds it."""
    table = SessionTable(max_memory=COST)
    assert put(table, KEY) == OK
    return table


def test_session_that_just_fits() -> None:
    """A session costs its key, its content and its overhead, and may use the last byte."""
    assert (full().used_memory, len(full())) == (COST, 1)


def test_session_that_does_not_fit() -> None:
    """One byte more than there is room for is refused with 400, and counted."""
    table = SessionTable(max_memory=COST - 1)

    assert (
        put(table, KEY),
        len(table),
        table.used_memory,
        table.refused_creations,
    ) == (BAD_REQUEST, 0, 0, 1)


def test_set_is_refused_when_full() -> None:
    """A full table takes no new session."""
    assert put(full(), OTHER) == BAD_REQUEST


def test_create_uninitialized_is_refused_when_full() -> None:
    """Nor one from create_uninitialized: the page fails loudly, and no user is logged out."""
    assert put(full(), OTHER, operation=Operation.CREATE_UNINITIALIZED) == BAD_REQUEST


def test_nothing_is_evicted_when_full() -> None:
    """Memory pressure never evicts: what was stored stays stored (protocol.md 6, remarks)."""
    table = full()
    put(table, OTHER)

    assert Answer(Status.OK, CONTENT, timeout_minutes=20) == ask(table, KEY)


def test_refused_session_is_not_found() -> None:
    """A refused session leaves nothing behind."""
    table = full()
    put(table, OTHER)

    assert ask(table, OTHER).status is Status.NOT_FOUND


def test_existing_session_is_replaced_when_full() -> None:
    """A session that is there can be saved, with as much content or less."""
    table = full()

    assert (put(table, KEY, b"small"), ask(table, KEY).body) == (OK, b"small")


def test_existing_session_may_grow_when_full() -> None:
    """Even with more: a save that is refused would be lost."""
    table = full()

    assert (put(table, KEY, 2 * CONTENT), ask(table, KEY).body) == (OK, 2 * CONTENT)


def test_existing_session_can_be_locked_and_saved_when_full() -> None:
    """All the life of an existing session goes on."""
    table = full()
    cookie = ask(table, KEY, Operation.ACQUIRE).lock_cookie

    assert (cookie, put(table, KEY, b"saved", cookie=cookie)) == (2, OK)


def test_create_on_an_existing_session_when_full() -> None:
    """Row 15 needs no memory."""
    assert put(full(), KEY, operation=Operation.CREATE_UNINITIALIZED) == OK


def test_removal_makes_room() -> None:
    """When a session is removed, another one can be stored."""
    table = full()
    ask(table, KEY, Operation.REMOVE)

    assert put(table, OTHER) == OK


def test_expiry_makes_room() -> None:
    """When a session has expired and was swept, another one can be stored."""
    table = full()
    table.sweep(1_300.0, at_most=10)

    assert put(table, OTHER, now=1_300.0) == OK


def test_an_expired_session_makes_room_for_itself() -> None:
    """A session that expired and comes back needs no sweep first."""
    table = full()

    assert put(table, KEY, now=1_201.0) == OK


def test_less_content_makes_room() -> None:
    """What a session gives back by a smaller save can be used by another."""
    table = SessionTable(max_memory=2 * COST)
    put(table, KEY, CONTENT + b"x")
    before = put(table, OTHER)
    put(table, KEY, CONTENT)

    assert (before, put(table, OTHER)) == (BAD_REQUEST, OK)


def test_without_a_limit_nothing_is_refused() -> None:
    """The limit is the operator's wish; without it a table takes what comes."""
    table = SessionTable()
    answers = {put(table, b"/%d" % number).status for number in range(1_000)}

    assert ({Status.OK}, 0) == (answers, table.refused_creations)


def test_time_out_above_a_year_is_not_counted_as_refused_for_memory() -> None:
    """A 400 of row 12 says nothing about memory."""
    table = full()
    head = RequestHead(b"", Operation.SET, OTHER, 1, timeout_minutes=525_601)
    table.apply(head, OTHER, b"x", 0.0)

    assert table.refused_creations == 0
