"""Locks: while their server can be reached it decides, and when it cannot the router stands for it (7.3)."""

import re

import pytest
import trio
from trio.testing import MockClock

from partitioner.membership.entry import Lock
from partitioner.protocol.messages import Operation
from tests.doubles.backends import NOT_FOUND, ok
from tests.doubles.farms import MemoryFarm
from tests.doubles.sessions import ACQUIRE, CREATE, GET, HEAD, TARGET, request
from tests.tables import each_case

OLD, NEW = b"old content", b"new content"
GRANTED = 2  # the first cookie of a new session (protocol.md 1, fact 7)
FOREIGN = 7
TIMEOUT_FIELD = b"Timeout: 20"


async def held(nursery: trio.Nursery, servers: int = 3, copies: int = 2) -> MemoryFarm:
    """A farm in which a page holds the session, with the cookie GRANTED."""
    farm = MemoryFarm(nursery, servers, copies)
    await farm.start()
    await farm.save(OLD)
    assert ok(OLD, b"LockCookie: 2", TIMEOUT_FIELD) == await farm.ask(ACQUIRE)
    return farm


def status(answer: bytes) -> int:
    """The status of an answer; 0 where the client was hung up on."""
    return int(answer[:3] or b"0")


def field(answer: bytes, name: bytes) -> int:
    match = re.search(rb"\r\n" + name + rb": ([0-9]+)\r\n", answer)
    assert match is not None, f"no {name!r} in {answer!r}"
    return int(match[1])


# --- the server of the lock cannot be reached ---

# What is asked, with which cookie; what is answered; whether the lock is still held after that.
STANDING_IN = {
    "get": (GET, 423, True),
    "acquire": (ACQUIRE, 423, True),
    "reset_timeout": (HEAD, 200, True),
    "create": (CREATE, 200, True),  # row 15
    "release by its holder": (request(Operation.RELEASE, cookie=GRANTED), 200, False),
    "set by its holder": (request(Operation.SET, cookie=GRANTED, body=NEW), 200, False),
    "remove by its holder": (request(Operation.REMOVE, cookie=GRANTED), 200, False),
    "release by another": (request(Operation.RELEASE, cookie=FOREIGN), 423, True),
    "set by another": (request(Operation.SET, cookie=FOREIGN, body=NEW), 423, True),
    "remove by another": (request(Operation.REMOVE, cookie=FOREIGN), 423, True),
}


@each_case(("asked", "expected", "is_held"), STANDING_IN.values(), ids=STANDING_IN)
async def test_the_router_stands_for_the_lock(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes, expected: int, is_held: bool
) -> None:
    """When the lock's server cannot be reached the router itself is the lock (design.md 7.3)."""
    farm = await held(nursery)
    await farm.eject(0)
    answer = await farm.ask(asked)

    assert expected == status(answer)
    assert is_held is (farm.ledger.locks_held == 1)


@pytest.mark.parametrize("asked", [GET, ACQUIRE], ids=["get", "acquire"])
async def test_the_routers_423(nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes) -> None:
    """It has the granted cookie, the age of the lock, and a date in local time (protocol.md 5.1)."""
    farm = await held(nursery)
    granted_at = trio.current_time()
    await farm.eject(0)
    await trio.sleep(granted_at + 60.5 - trio.current_time())
    answer = await farm.ask(asked)

    assert (GRANTED, 60) == (field(answer, b"LockCookie"), field(answer, b"LockAge"))
    assert field(answer, b"LockDate") > 600_000_000_000_000_000
    assert answer.startswith(b"423 Locked\r\nX-AspNet-Version: 4.0.30319\r\n")


@each_case("asked", [each[0] for each in STANDING_IN.values()], ids=STANDING_IN)
async def test_without_any_server_the_router_stands_for_no_lock(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """With no server that serves every request is closed; polling a 423 helps no user.(design.md 7)."""
    farm = await held(nursery, servers=2)
    await farm.eject(0)
    await farm.eject(1)

    assert 0 == status(await farm.ask(asked))


async def test_a_lock_waits_for_the_first_server_that_is_known(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """At the router's start its predecessor's lock is not stood for while nothing is known of any server."""
    farm = MemoryFarm(nursery, 2)
    lock = Lock(GRANTED, farm.names[0], b"a former incarnation", trio.current_time())
    farm.ledger.note_lock(farm.key, TARGET, lock, 20)
    answers: list[bytes] = []

    async def ask() -> None:
        answers.append(await farm.ask(ACQUIRE))

    async with trio.open_nursery() as asking:
        asking.start_soon(ask)
        await trio.sleep(3)
        early = list(answers)
        await farm.start()

    assert [] == early
    assert [423] == [status(each) for each in answers]


async def test_nobody_else_gets_the_session(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While a page holds a session no other acquires it, through failover too (P5): its copy is not asked."""
    farm = await held(nursery)
    await farm.eject(0)
    farm.forget_requests()
    await farm.ask(ACQUIRE)

    assert Operation.ACQUIRE not in farm.asked_of(1)


async def test_the_holders_save_counts(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The holder's save goes to the acting set; the lock's server is marked, for what it holds is old."""
    farm = await held(nursery)
    await farm.freeze(0)
    await farm.save(NEW, cookie=GRANTED)

    assert ({0}, [NEW, NEW]) == (farm.marked, farm.contents[1:])
    assert ok(NEW, TIMEOUT_FIELD) == await farm.ask(GET)


@pytest.mark.parametrize("operation", [Operation.SET, Operation.RELEASE], ids=["set", "release"])
async def test_the_lock_is_gone_on_its_server_too(
    nursery: trio.Nursery, autojump_clock: MockClock, operation: Operation
) -> None:
    """When the lock's server is back it is put right before it is asked: no page finds the old lock."""
    farm = await held(nursery)
    await farm.freeze(0)
    await farm.ask(request(operation, cookie=GRANTED, body=OLD))
    await farm.thaw(0)
    await trio.sleep(5)
    answer = await farm.ask(ACQUIRE)

    assert (200, set()) == (status(answer), farm.marked)


async def test_an_abandoned_session_is_gone_on_its_server_too(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A session that its holder removed while its server was out never comes back (P4)."""
    farm = await held(nursery)
    await farm.freeze(0)
    await farm.ask(request(Operation.REMOVE, cookie=GRANTED))
    await farm.thaw(0)
    await trio.sleep(5)

    assert NOT_FOUND == await farm.ask(GET)
    assert [None, None, None] == farm.contents


async def test_a_lock_that_was_taken_over_is_reported(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It is said once, with the server whose lock it was (P8)."""
    farm = await held(nursery)
    await farm.eject(0)
    await farm.save(NEW, cookie=GRANTED)
    server = farm.router.roster.pool.members[farm.names[0]].backend

    assert [("lock_taken_over", server)] == farm.observer.named("lock_taken_over")


async def test_a_lock_outlives_the_incarnation_of_its_server(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A server that was restarted has forgotten its locks; the router has not (P5)."""
    farm = await held(nursery)
    await farm.eject(0)
    await farm.restart(0)

    assert 423 == status(await farm.ask(ACQUIRE))
    assert 200 == status(await farm.save(NEW, cookie=GRANTED))
    assert ok(NEW, TIMEOUT_FIELD) == await farm.ask(GET)


async def test_a_lock_of_the_only_server(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """With one copy, too, what the holder saves after the loss of its server is the session."""
    farm = await held(nursery, servers=2, copies=1)
    await farm.eject(0)
    refused = await farm.ask(ACQUIRE)
    saved = await farm.save(NEW, cookie=GRANTED)

    assert (423, 200) == (status(refused), status(saved))
    assert ok(NEW, TIMEOUT_FIELD) == await farm.ask(GET)


@pytest.mark.parametrize("copies", [1, 2])
async def test_a_release_costs_no_session(
    nursery: trio.Nursery, autojump_clock: MockClock, copies: int
) -> None:
    """It changes no content: the session of a server that is waited for is still there when that is back."""
    farm = await held(nursery, servers=2, copies=copies)
    await farm.freeze(0)
    released = await farm.ask(request(Operation.RELEASE, cookie=GRANTED))
    locks, meanwhile = farm.ledger.locks_held, await farm.ask(GET)
    await farm.thaw(0)
    await trio.sleep(5)
    granted = await farm.ask(ACQUIRE)

    assert (200, 0) == (status(released), locks)
    assert {1: 0, 2: 200}[copies] == status(meanwhile)
    assert (200, OLD) == (status(granted), granted[-len(OLD) :])
    assert set() == farm.marked


async def test_a_remove_of_what_is_out_of_reach(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Its holder is told that the session is removed, though no server in reach has it; and it is."""
    farm = await held(nursery, servers=2, copies=1)
    await farm.freeze(0)
    removed = await farm.ask(request(Operation.REMOVE, cookie=GRANTED))
    await farm.thaw(0)
    await trio.sleep(5)

    assert (200, NOT_FOUND) == (status(removed), await farm.ask(GET))


async def test_a_client_may_break_the_lock(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """With the cookie of the router's 423 a client that has waited for 110 s breaks the lock (8.1)."""
    farm = await held(nursery)
    await farm.eject(0)
    cookie = field(await farm.ask(ACQUIRE), b"LockCookie")
    await farm.ask(request(Operation.RELEASE, cookie=cookie))
    answer = await farm.ask(ACQUIRE)

    assert answer.startswith(b"200 OK")
    assert answer.endswith(OLD)


async def test_the_lock_ends_with_the_session(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A lock that no client asks for during its session's time-out is forgotten."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.ask(request(Operation.SET, body=OLD, minutes=1))
    await farm.ask(ACQUIRE)
    await farm.eject(0)
    await trio.sleep(70)

    assert 0 == farm.ledger.locks_held


# --- the server of the lock can be reached ---


async def test_every_request_goes_to_the_lock(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While a session is locked its lock's server answers, though another server is its primary now."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save(OLD)
    await farm.freeze(0)
    await farm.ask(ACQUIRE)  # granted by the copy
    await farm.thaw(0)
    farm.forget_requests()
    answers = [await farm.ask(each) for each in (GET, ACQUIRE, HEAD)]

    assert [423, 423, 200] == [status(each) for each in answers]
    assert [Operation.GET, Operation.ACQUIRE, Operation.RESET_TIMEOUT] == farm.asked_of(1)[:3]
    assert not {Operation.GET, Operation.ACQUIRE} & set(farm.asked_of(0))


async def test_a_save_moves_the_session_home(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A save goes to the lock's server first, then to the whole acting set, and leaves nothing over (7.4)."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save(OLD)
    await farm.eject(0)
    await farm.eject(1)
    await farm.save(OLD)
    await farm.ask(ACQUIRE)  # granted by the third
    await farm.restart(0)
    await farm.restart(1)
    answer = await farm.save(NEW, cookie=GRANTED)

    assert (ok(), [NEW, NEW, None]) == (answer, farm.contents)


async def test_no_repair_while_a_lock_is_held(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While an entry exists nothing of its key is moved or repaired (design.md 7.3)."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save(OLD)
    await farm.freeze(1)
    await farm.save(NEW)
    await farm.ask(ACQUIRE)
    await farm.thaw(1)
    await trio.sleep(20)
    while_locked = farm.contents
    await farm.ask(request(Operation.RELEASE, cookie=GRANTED))
    await trio.sleep(5)

    assert [NEW, OLD] == while_locked[:2]
    assert [NEW, NEW] == farm.contents[:2]


# --- how it ends ---

ENDS = {
    "set": request(Operation.SET, cookie=GRANTED, body=NEW),
    "release": request(Operation.RELEASE, cookie=GRANTED),
    "remove": request(Operation.REMOVE, cookie=GRANTED),
}


@each_case("asked", ENDS.values(), ids=ENDS)
async def test_the_end_of_a_page_ends_its_lock(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """A save, a release or a remove of the holder: nothing is remembered of the key in settled times."""
    farm = await held(nursery)
    await farm.settle()
    answer = await farm.ask(asked)

    assert (200, 0, 0) == (status(answer), farm.ledger.locks_held, len(farm.ledger))


@each_case("operation", [Operation.SET, Operation.RELEASE, Operation.REMOVE])
async def test_who_does_not_hold_the_lock_does_not_end_it(
    nursery: trio.Nursery, autojump_clock: MockClock, operation: Operation
) -> None:
    """With another cookie the server says 423, and the ledger believes it."""
    farm = await held(nursery)
    answer = await farm.ask(request(operation, cookie=FOREIGN))

    assert (423, 1) == (status(answer), farm.ledger.locks_held)


async def test_a_404_of_the_locks_server_ends_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Where the session is gone in the same incarnation, so is its lock."""
    farm = await held(nursery)
    for place in (0, 1):
        farm.tell(place, request(Operation.REMOVE, cookie=GRANTED))
    answer = await farm.ask(GET)

    assert (404, 0) == (status(answer), farm.ledger.locks_held)


async def test_a_page_that_was_hung_up_on_holds_nothing_any_more(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """When the router closes on a set with the lock's cookie that page has failed and does not come back.

    The lock ends, and its server is marked (design.md 7.3).
    """
    farm = await held(nursery)
    farm.servers[0].freeze()
    answer = await farm.save(NEW, cookie=GRANTED)

    assert (b"", 0) == (answer, farm.ledger.locks_held)
    assert 0 in farm.marked


@pytest.mark.parametrize("operation", [Operation.RELEASE, Operation.REMOVE])
async def test_what_may_run_twice_is_done_at_the_ejection(
    nursery: trio.Nursery, autojump_clock: MockClock, operation: Operation
) -> None:
    """A release or remove that waits for a frozen server is carried out on the others when it is ejected."""
    farm = await held(nursery)
    farm.servers[0].freeze()
    answer = await farm.ask(request(operation, cookie=GRANTED))

    assert (200, 0) == (status(answer), farm.ledger.locks_held)
    assert 0 in farm.marked


@each_case("operation", [Operation.SET, Operation.RELEASE, Operation.REMOVE])
async def test_a_page_that_waits_for_the_gate_in_vain_has_failed_too(
    nursery: trio.Nursery, autojump_clock: MockClock, operation: Operation
) -> None:
    """Whatever keeps the holder's last request from being answered, its lock does not outlive it."""
    farm = await held(nursery)
    await farm.router.core.gate.enter(farm.key)
    answer = await farm.ask(request(operation, cookie=GRANTED))

    assert (b"", 0, {0}) == (answer, farm.ledger.locks_held, farm.marked)


async def test_a_session_whose_save_was_hung_up_on_is_served_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its copy has what was last acknowledged, and no client waits for the page that has failed (P3, P5)."""
    farm = await held(nursery)
    farm.servers[0].freeze()
    await farm.save(NEW, cookie=GRANTED)
    answer = await farm.ask(ACQUIRE)

    assert (200, OLD) == (status(answer), answer[-len(OLD) :])


async def test_a_waiting_request_that_is_hung_up_on_ends_no_lock(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """An acquire that was never granted says nothing of the page that holds the session."""
    farm = await held(nursery)
    farm.servers[0].freeze()
    await farm.ask(request(Operation.SET, cookie=FOREIGN))

    assert 1 == farm.ledger.locks_held


async def test_a_lock_taken_at_the_server_directly_is_relayed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A 423 of a lock that the ledger does not know is the server's word, and never adopted (design.md 6)."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save(OLD)
    farm.tell(0, ACQUIRE)
    answer = await farm.ask(GET)

    assert (423, 0) == (status(answer), farm.ledger.locks_held)
