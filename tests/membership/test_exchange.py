"""The rules of one exchange: every cell of its tables, what is admitted, and how it ends."""

from partitioner.membership.backend import BackendId
from partitioner.membership.entry import LOCK, REMOVE, WRITE, Lock
from partitioner.membership.eras import UnchangedSince
from partitioner.membership.exchange import EFFECTS, RULES, STAND_IN, Finish, StandIn, admit, finish
from partitioner.membership.ledger import Ledger, LedgerPolicy
from partitioner.protocol.messages import Operation
from tests.identities import STATE_1, STATE_2
from tests.tables import each_case

KEY, TARGET = b"/app(abc)/s", b"/app(abc)/s"
HERE, ELSEWHERE = STATE_1, STATE_2
INCARNATION, ANOTHER = b"one", b"two"
NOW = 10_000.0
LOCKED_SINCE = NOW - 1

STATUSES = (200, 400, 404, 423)
NOTHING = ""

MEANINGS = {
    # 200, 400, 404, 423. G: grants the lock, E: ends it, T: tells the time-out, R: renews, S: spreads,
    # M: is a miss, V: the client was served, N: shows that there is no lock.
    Operation.GET: ("TRVN", "T", "EM", "TRV"),
    Operation.ACQUIRE: ("GTRVN", "T", "EM", "TRV"),
    Operation.RELEASE: ("ERV", "R", "EM", "RV"),
    Operation.SET: ("ESVN", NOTHING, NOTHING, "V"),
    Operation.CREATE_UNINITIALIZED: ("SV", NOTHING, NOTHING, "V"),
    Operation.REMOVE: ("ESVN", NOTHING, "ES", "V"),
    Operation.RESET_TIMEOUT: ("TRV", "T", "EM", "TRV"),
}
LETTERS = {
    "G": "grants_lock",
    "E": "ends_lock",
    "T": "tells_timeout",
    "R": "renews",
    "S": "spreads",
    "M": "is_miss",
    "V": "is_served",
    "N": "shows_no_lock",
}
CELLS = [
    (operation, status, letters)
    for operation, row in MEANINGS.items()
    for status, letters in zip(STATUSES, row, strict=True)
]


@each_case(("operation", "status", "letters"), CELLS)
def test_what_an_answer_means(operation: Operation, status: int, letters: str) -> None:
    """What of an answer a router remembers, for each operation and each status that is relayed."""
    effects = EFFECTS[operation, status]
    seen = "".join(letter for letter, name in LETTERS.items() if getattr(effects, name))

    assert sorted(letters) == sorted(seen)


def test_the_tables_are_complete() -> None:
    """There is a cell for each operation, and each of its answers; and none besides."""
    assert set(RULES) == set(Operation)
    assert set(EFFECTS) == {(operation, status) for operation in Operation for status in STATUSES}


TRACES = {
    Operation.GET: None,
    Operation.ACQUIRE: LOCK,
    Operation.RELEASE: LOCK,
    Operation.SET: WRITE,
    Operation.CREATE_UNINITIALIZED: WRITE,
    Operation.REMOVE: REMOVE,
    Operation.RESET_TIMEOUT: None,
}


@each_case(("operation", "reason"), TRACES.items())
def test_what_a_request_without_an_answer_leaves(operation: Operation, reason: str | None) -> None:
    """What may be wrong on a server that was sent a request and has not answered it."""
    assert reason == RULES[operation].leaves


def test_the_last_request_of_a_page() -> None:
    """A page ends with its save, its release, or the end of its session (protocol.md 4)."""
    last = {operation for operation, rules in RULES.items() if rules.ends_page}

    assert {Operation.SET, Operation.RELEASE, Operation.REMOVE} == last


LONG_AGO = UnchangedSince(float("-inf"), 0)


def ledger_with(
    lock_server: BackendId | None = None, incarnation: bytes = INCARNATION, *, marked: bool = False
) -> Ledger:
    ledger = Ledger(LedgerPolicy())
    if lock_server is not None:
        ledger.note_lock(KEY, TARGET, Lock(1, lock_server, incarnation, LOCKED_SINCE), None)
    if marked:
        ledger.mark(KEY, TARGET, ELSEWHERE, LOCKED_SINCE, is_stale=True)
    return ledger


KNOWN = [
    (ledger_with(), True),
    (ledger_with(HERE), True),
    (ledger_with(HERE, ANOTHER), False),
    (ledger_with(ELSEWHERE), False),
    (ledger_with(marked=True), False),
]


@each_case(("ledger", "expected"), KNOWN)
def test_what_is_asked_of_one_server(ledger: Ledger, expected: bool) -> None:
    """A lock on the server that is asked is fine; a mark, or a lock of another memory, is not."""
    assert expected is admit(ledger, KEY, HERE, INCARNATION, NOW)


STAND_INS = {
    Operation.GET: StandIn.LOCKED,
    Operation.ACQUIRE: StandIn.LOCKED,
    Operation.RELEASE: StandIn.LET_GO,
    Operation.SET: StandIn.LET_GO,
    Operation.CREATE_UNINITIALIZED: StandIn.TOUCHED,
    Operation.REMOVE: StandIn.LET_GO,
    Operation.RESET_TIMEOUT: StandIn.TOUCHED,
}


@each_case("operation", list(Operation))
def test_the_router_stands_for_a_lock(operation: Operation) -> None:
    """Only the last request of a page ends the lock that it holds; a page that asks for it is refused."""
    assert STAND_INS[operation] is STAND_IN[operation]
    assert RULES[operation].ends_page is (STAND_IN[operation] is StandIn.LET_GO)


ENDINGS = [
    (True, True, Finish.LEAVE_GATE),
    (True, False, Finish.GIVE_LOCK_BACK),
    (False, True, Finish.LEAVE_GATE),
    (False, False, Finish.LEAVE_GATE),
]


@each_case(("takes_lock", "was_delivered", "expected"), ENDINGS)
def test_how_it_ends(takes_lock: bool, was_delivered: bool, expected: Finish) -> None:
    """A lock that has not reached its client is released before anybody else is at the key."""
    assert expected is finish(takes_lock=takes_lock, was_delivered=was_delivered)
