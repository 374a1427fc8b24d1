"""Writes with copies: who gets the bytes, who is answered when, what is noted of those that failed (7.1)."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from partitioner.membership.backend import BackendId, Intent
from partitioner.membership.entry import Lock
from partitioner.membership.ledger import LedgerPolicy
from partitioner.protocol.messages import Operation
from partitioner.routing.internal_requests import PACE
from tests.doubles.backends import READ_CANARY, Close, Hear, HearEnd, Reset, Say, Stall, Step, ok
from tests.doubles.farms import T_MAX, MemoryFarm
from tests.doubles.network import Fault
from tests.doubles.sessions import ACQUIRE, CONTENT, SET, TARGET, request
from tests.routing.copied import NEW, OLD, REMOVE, Pair, exchange
from tests.tables import each_case

LOCKED = b"423 Locked\r\nLockAge: 1\r\nLockCookie: 9\r\nContent-Length: 0\r\n\r\n"
BAD_REQUEST = b"400 Bad Request\r\nContent-Length: 0\r\n\r\n"
PATIENCE = 0.25


def about(seconds: float) -> Any:
    """So long, but for the rounding of a clock that has run for hours."""
    return pytest.approx(seconds, abs=1e-4)


# --- the same bytes, first here, then there ---


@each_case(
    "asked",
    [
        request(Operation.SET, cookie=5, body=bytes(range(256))),
        b"PUT " + TARGET + b" HTTP/1.1\r\nLockCookie: 5\r\nX-Odd:\r\nContent-Length: 2\r\n\r\nab",
        request(Operation.REMOVE, cookie=5),
    ],
    ids=["set", "odd set", "remove"],
)
async def test_the_copy_gets_the_same_bytes(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """After the primary's 200 the same bytes, LockCookie included, go to the copies."""
    pair = Pair(nursery, exchange(asked, ok()), exchange(asked, ok()))

    assert ok() == await pair.ask(asked)
    assert [READ_CANARY + asked] == pair.copy.heard


async def test_the_primary_comes_first(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The copy hears of a write only when the primary has carried it out."""
    pair = Pair(nursery, [Hear(SET), Stall(2), Say(ok())], exchange(SET, ok()))
    nursery.start_soon(pair.ask, SET)
    await trio.sleep(pair.router.ledger.longest_life + 1 + 1.9)
    before = list(pair.copy.heard)
    await trio.sleep(0.2)

    assert ([], [READ_CANARY + SET]) == (before, pair.copy.heard)


REFUSED = {
    "set, 423": (SET, LOCKED),
    "remove, 423": (REMOVE, LOCKED),
    "remove, 400": (REMOVE, BAD_REQUEST),  # to a set it says that the server is full: test_full_servers
}


@each_case(("asked", "answer"), REFUSED.values(), ids=REFUSED)
async def test_what_the_primary_refuses_is_not_copied(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes, answer: bytes
) -> None:
    """The primary's refusal is relayed, and its copies hear nothing."""
    pair = Pair(nursery, exchange(asked, answer))

    assert answer == await pair.ask(asked)
    assert [] == pair.copy.heard


async def test_the_client_is_answered_when_all_have_answered(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A save counts when its copies are written, too."""
    pair = Pair(nursery, exchange(SET, ok()), [Hear(SET), Stall(0.2), Say(ok())])
    answer = await pair.ask(SET)

    assert (ok(), []) == (answer, pair.marked)
    assert pair.took == about(0.2)


# --- copies that fail ---

FAILURES: dict[str, list[Step]] = {
    "reset": [Hear(SET), Reset()],
    "400": [Hear(SET), Say(BAD_REQUEST)],
    "503": [Hear(SET), Say(b"503 Server Too Busy\r\nContent-Length: 0\r\n\r\n")],
    "late": [Hear(SET), HearEnd()],
}


@each_case("failure", FAILURES.values(), ids=FAILURES)
async def test_a_copy_that_fails(
    nursery: trio.Nursery, autojump_clock: MockClock, failure: list[Step]
) -> None:
    """A copy that fails or is late is marked; the save is acknowledged, and counts as degraded."""
    pair = Pair(nursery, exchange(SET, ok()), failure, failure)
    answer = await pair.ask(SET)
    copy = pair.router.roster.pool.members[BackendId(pair.names[1])].backend

    assert (ok(), [pair.names[1]]) == (answer, pair.marked)
    assert [("write_degraded", (copy,), Operation.SET)] == pair.degraded


async def test_a_late_copy_costs_a_quarter_of_a_second(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A small copy has 250 ms (design.md 9.2: timeouts.copy); the client waits no longer."""
    pair = Pair(nursery, exchange(SET, ok()), FAILURES["late"])
    await pair.ask(SET)

    assert pair.took == about(PATIENCE)


async def test_a_large_copy_has_more_time(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A copy has one more second for each 16 MiB."""
    asked = request(Operation.SET, body=b"x" * (PACE // 4))
    pair = Pair(nursery, exchange(asked, ok()), [Hear(asked), HearEnd()])
    await pair.ask(asked)

    assert pair.took == about(PATIENCE + 0.25)


async def test_a_connection_found_dead_is_no_failed_copy(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A pooled connection that had died costs a second sending: no other exchange is at this key."""
    dead = [*exchange(SET, ok()), Hear(SET), Close()]
    pair = Pair(nursery, [*exchange(SET, ok()), *exchange(SET, ok())], dead, exchange(SET, ok()))
    await pair.ask(SET)

    assert ok() == await pair.router.client().ask(SET)
    assert ([], []) == (pair.marked, pair.degraded)


async def test_a_stale_lock_on_the_copy(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A copy's 423 with a cookie that the ledger does not know is a stale lock: released, and repeated."""
    freeing = request(Operation.RELEASE, cookie=9)
    steps = [*exchange(SET, LOCKED), *exchange(freeing, ok()), *exchange(SET, ok())]
    pair = Pair(nursery, exchange(SET, ok()), steps)

    assert ok() == await pair.ask(SET)
    assert ([], []) == (pair.marked, pair.degraded)


async def test_no_server_for_a_copy(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A save with no server to hold its copy is acknowledged, and counts as degraded."""
    farm = MemoryFarm(nursery, servers=2)
    await farm.start()
    await farm.eject(1)

    assert ok() == await farm.save()
    assert [("write_degraded", (), Operation.SET)] == farm.observer.named("write_degraded")


async def test_a_late_copy_is_repaired(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What a copy has missed is written to it soon after it can be asked again."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save(OLD)
    farm.servers[1].freeze()
    await farm.save(NEW)
    marked = farm.marked
    farm.servers[1].thaw()
    await farm.observer.wait_for("session_repaired")

    assert ({1}, set()) == (marked, farm.marked)
    assert [NEW, NEW, None] == farm.contents


# --- not only two ---


async def test_three_copies(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """With `copies: 3` three servers have the session, the first three of its list."""
    farm = MemoryFarm(nursery, servers=4, copies=3)
    await farm.start()
    await farm.save()

    assert [CONTENT, CONTENT, CONTENT, None] == farm.contents


async def test_one_copy(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """With `copies: 1` the primary alone has it."""
    farm = MemoryFarm(nursery, copies=1)
    await farm.start()
    await farm.save()

    assert [CONTENT, None, None] == farm.contents
    assert [] == farm.observer.named("write_degraded")


async def test_copies_are_written_at_the_same_time(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Two late copies cost as much time as one."""
    farm = MemoryFarm(nursery, servers=4, copies=3)
    await farm.start()
    await farm.save(OLD)
    farm.servers[1].freeze()
    farm.servers[2].freeze()
    began_at = trio.current_time()
    answer = await farm.save(NEW)

    assert (ok(), {1, 2}) == (answer, farm.marked)
    assert trio.current_time() - began_at == about(PATIENCE)


async def test_a_save_without_two_copies_is_degraded_once(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """What is counted is saves, however many of their copies could not be written."""
    farm = MemoryFarm(nursery, servers=4, copies=3)
    await farm.start()
    farm.servers[1].freeze()
    farm.servers[2].freeze()
    await farm.save()
    members = farm.router.roster.pool.members
    without = tuple(members[farm.names[place]].backend for place in (1, 2))

    assert [("write_degraded", without, Operation.SET)] == farm.observer.named("write_degraded")


async def test_a_copy_whose_port_is_closed_costs_no_time(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A refused connection is proof at once."""
    farm = MemoryFarm(nursery)
    await farm.start()
    farm.router.network.disturb(farm.servers[1].address, Fault.REFUSE)
    await farm.save()

    assert (0.0, {1}) == (trio.current_time(), farm.marked)


async def test_a_server_in_doubt_is_written_in_addition(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """RECOVERING servers among the first of the list are written too, and don't count (design.md 7)."""
    farm = MemoryFarm(nursery)
    await farm.start()
    farm.router.roster.suspect(farm.names[0])
    await farm.save()

    assert [CONTENT, CONTENT, CONTENT] == farm.contents
    assert [] == farm.observer.named("write_degraded")


# --- where it belongs when the marks are gone ---


async def test_a_marked_primary_is_written_too(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A write goes to those who act for the key now, and to those who will when the marks are gone."""
    farm = MemoryFarm(nursery, copies=1)
    await farm.router.core.probing.first_look()  # and nothing is repaired
    await farm.save(OLD)
    farm.ledger.mark(farm.key, TARGET, farm.names[0], trio.current_time(), is_stale=True)
    await farm.save(NEW)

    assert ([NEW, None, None], set()) == (farm.contents, farm.marked)


async def test_the_only_server_that_took_a_write_keeps_it(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The server of a lock takes its holder's save although it is being drained; if no other one does, it is
    no leftover: the session would be gone.

    With a full ledger the server that failed has no mark, and still counts as the one where it belongs.
    """
    farm = MemoryFarm(nursery, copies=1, ledger=LedgerPolicy(T_MAX, T_MAX, keys=0))
    await farm.start()
    await farm.save(OLD)
    farm.tell(0, ACQUIRE)
    first = farm.router.roster.pool.members[farm.names[0]]
    lock = Lock(2, farm.names[0], first.record.incarnation, trio.current_time())
    farm.ledger.note_lock(farm.key, TARGET, lock, 20)  # a router with a full ledger would not ask for it
    farm.set_intent(0, Intent.DRAIN)
    farm.servers[1].freeze()
    answer = await farm.save(NEW, cookie=2)

    assert ok() == answer
    assert NEW == farm.contents[0]
