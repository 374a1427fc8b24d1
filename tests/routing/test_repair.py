"""Repair: marked servers are put right, behind the gate, soon, and never too many a second (7.3)."""

import pytest
import trio
from trio.testing import MockClock

from partitioner.protocol.messages import Operation
from partitioner.routing.ledger_keeper import FIRST_RETRY_PAUSE
from partitioner.routing.repair import RATE
from tests.doubles.backends import ok
from tests.doubles.farms import MemoryFarm
from tests.doubles.network import Fault
from tests.doubles.sessions import ACQUIRE, CONTENT, CREATE, GET, TARGET, request, target

OLD, NEW = b"old content", b"new content"
STORE_OLD, STORE_NEW = (request(Operation.SET, body=body) for body in (OLD, NEW))


async def idle_farm(nursery: trio.Nursery, servers: int = 3, copies: int = 2) -> MemoryFarm:
    """A farm whose servers are all UP, and in which nothing goes on unless the test does it."""
    farm = MemoryFarm(nursery, servers, copies)
    await farm.router.core.probing.first_look()
    return farm


def mark(farm: MemoryFarm, *places: int, is_stale: bool = True) -> None:
    for place in places:
        now = trio.current_time()
        farm.ledger.mark(farm.key, TARGET, farm.names[place], now, is_stale=is_stale)


async def repair(farm: MemoryFarm) -> bool:
    return await farm.router.core.repairer.repair(farm.key)


# --- what is written where ---


async def test_a_copy_is_written(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What the acting primary holds is written to the marked copy."""
    farm = await idle_farm(nursery)
    farm.tell(0, STORE_NEW)
    farm.tell(1, STORE_OLD)
    mark(farm, 1)

    assert await repair(farm)
    assert ([NEW, NEW, None], set()) == (farm.contents, farm.marked)


async def test_the_primary_is_written(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that is home again gets its session back from the server that acted for it."""
    farm = await idle_farm(nursery)
    farm.tell(0, STORE_OLD)
    farm.tell(1, STORE_NEW)
    mark(farm, 0)

    assert await repair(farm)
    assert ([NEW, NEW, None], set()) == (farm.contents, farm.marked)


async def test_who_stood_in_is_cleared(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Once the last mark is gone the session is removed from where it had to be till then."""
    farm = await idle_farm(nursery)
    farm.tell(2, STORE_NEW)
    mark(farm, 0, 1)

    assert await repair(farm)
    assert ([NEW, NEW, None], set()) == (farm.contents, farm.marked)


async def test_a_leftover_is_removed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What lies outside the acting set is removed, not written anew."""
    farm = await idle_farm(nursery)
    farm.tell(0, STORE_NEW)
    farm.tell(2, STORE_OLD)
    mark(farm, 2)

    assert await repair(farm)
    assert ([NEW, None], set()) == (farm.contents[::2], farm.marked)


async def test_a_session_that_is_gone_is_removed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """If the verdict is 404 the marked server has it removed: it must not come back (P4)."""
    farm = await idle_farm(nursery)
    farm.tell(1, STORE_OLD)
    mark(farm, 1)

    assert await repair(farm)
    assert ([None] * 3, set()) == (farm.contents, farm.marked)


async def test_the_acting_primary_is_filled_first(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """If the acting primary has nothing the session is looked for before anything is removed."""
    farm = await idle_farm(nursery, servers=4)
    farm.tell(1, STORE_OLD)
    farm.tell(3, STORE_NEW)
    mark(farm, 1)
    await repair(farm)
    await repair(farm)

    assert ([NEW, NEW, None, None], set()) == (farm.contents, farm.marked)


async def test_where_nobody_can_tell_the_mark_stays(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """If the verdict is "closed" nothing is removed, for it may be the session."""
    farm = await idle_farm(nursery, servers=4)
    farm.tell(1, STORE_OLD)
    mark(farm, 1)
    farm.servers[3].freeze()

    assert not await repair(farm)
    assert (OLD, {1}) == (farm.contents[1], farm.marked)


async def test_a_flag_is_copied(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A repair that reads the flag passes it on, and nothing that lay there before is left (ExtraFlags)."""
    farm = await idle_farm(nursery)
    farm.tell(0, CREATE)
    farm.tell(1, STORE_OLD)
    mark(farm, 1)
    await repair(farm)
    copy = farm.session(1)

    assert (CONTENT, True) == (farm.contents[1], copy is not None and copy.is_uninitialized)


async def test_a_flag_is_given_back(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """To read the primary for a repair consumes its flag, which no client has seen yet."""
    farm = await idle_farm(nursery)
    farm.tell(0, CREATE)
    mark(farm, 1)
    await repair(farm)

    assert ok(CONTENT, b"ActionFlags: 1", b"Timeout: 20") == await farm.ask(GET)
    assert ok(CONTENT, b"Timeout: 20") == await farm.ask(GET)


async def test_a_create_is_no_repair_where_the_remove_before_it_failed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A create is answered 200 where something is, and leaves that (protocol.md 6, row 15)."""
    farm = await idle_farm(nursery)
    farm.tell(0, CREATE)
    farm.tell(1, STORE_OLD)
    farm.tell(1, ACQUIRE)
    mark(farm, 1)
    refused = [Fault.ACCEPT_THEN_CLOSE] * 2
    farm.router.network.disturb_once(farm.servers[1].address, *refused)

    assert not await repair(farm)
    assert (OLD, {1}) == (farm.contents[1], farm.marked)


async def test_a_ghost_lock_goes_with_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A lock on the marked server that is not in the ledger is released, and the content written."""
    farm = await idle_farm(nursery)
    farm.tell(0, STORE_NEW)
    farm.tell(1, STORE_OLD)
    farm.tell(1, ACQUIRE)
    mark(farm, 1)

    assert await repair(farm)
    copy = farm.session(1)
    assert (NEW, True) == (farm.contents[1], copy is not None and copy.locked_since is None)


async def test_the_only_server_is_read(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Where there is no other server, what a request without an answer has left behind is the session."""
    farm = await idle_farm(nursery, servers=1, copies=1)
    farm.tell(0, STORE_OLD)
    farm.tell(0, ACQUIRE)
    mark(farm, 0, is_stale=False)
    await repair(farm)
    left = farm.session(0)

    assert ([OLD], set()) == (farm.contents, farm.marked)
    assert left is not None
    assert left.locked_since is None


async def test_a_repair_is_reported(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Each server that holds what it should again is reported."""
    farm = await idle_farm(nursery)
    farm.tell(0, STORE_NEW)
    mark(farm, 1)
    await repair(farm)
    server = farm.router.roster.pool.members[farm.names[1]].backend

    assert [("session_repaired", server)] == farm.observer.named("session_repaired")


# --- when it waits ---


async def test_a_locked_session_waits(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A session that is locked on its acting primary is repaired later (423)."""
    farm = await idle_farm(nursery)
    farm.tell(0, STORE_NEW)
    farm.tell(0, ACQUIRE)
    farm.tell(1, STORE_OLD)
    mark(farm, 1)

    assert not await repair(farm)
    assert (OLD, {1}) == (farm.contents[1], farm.marked)


async def test_an_open_connection_waits(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What is written before the connection has ended may be overwritten by what lies in it."""
    farm = await idle_farm(nursery)
    farm.tell(0, STORE_NEW)
    farm.ledger.note_unanswered(farm.key, TARGET, farm.names[1], trio.current_time())
    await repair(farm)

    assert ([], {1}) == (farm.asked_of(1), farm.marked)


async def test_repair_passes_the_gate(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A repair waits for the request before it, and the next request for the repair (design.md 6)."""
    farm = await idle_farm(nursery)
    farm.tell(0, STORE_NEW)
    mark(farm, 1)
    await farm.router.core.gate.enter(farm.key)
    with trio.move_on_after(5):
        await repair(farm)
    while_busy = farm.marked
    farm.router.core.gate.leave(farm.key)
    await repair(farm)

    assert ({1}, set()) == (while_busy, farm.marked)


async def test_it_is_tried_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What cannot be done now is tried after a second, then after twice as long, up to half a minute."""
    farm = await idle_farm(nursery)
    nursery.start_soon(farm.router.core.repairer.run)
    farm.tell(0, STORE_NEW)
    farm.tell(0, ACQUIRE)
    mark(farm, 1)
    farm.router.core.ledger_keeper.want_repair(farm.key)
    began_at = trio.current_time()
    counts = []
    for due in (1, 3, 7, 15, 31, 61, 91, 121):
        await trio.sleep(began_at + due - 0.1 - trio.current_time())
        before = len(farm.asked_of(0))
        await trio.sleep(0.2)
        counts.append((before, len(farm.asked_of(0))))

    assert [(tries, tries + 1) for tries in range(1, 9)] == counts


async def test_so_many_a_second(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Repair serves the next failure, and must not become it: its rate is limited."""
    farm = await idle_farm(nursery)
    nursery.start_soon(farm.router.core.repairer.run)
    count = int(RATE)
    for number in range(count):
        session = farm.router.core.ledger_keeper.session_of(target(number))
        farm.router.core.ledger_keeper.mark(session, farm.names[0], is_stale=True)
    await trio.sleep(0.5)
    halfway = farm.ledger.keys_marked
    await trio.sleep(0.6)

    assert halfway == pytest.approx(count / 2, abs=2)
    assert 0 == farm.ledger.keys_marked


async def test_a_server_that_is_back_is_repaired(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """When a server can be asked again all keys that are marked on it are wanted."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save(OLD)
    await farm.freeze(1)
    await farm.save(NEW)
    for number in range(20):
        await farm.ask(request(Operation.SET, target(number)))
    before = farm.ledger.keys_marked
    await farm.thaw(1)
    await trio.sleep(2)

    assert before > 0
    assert 0 == farm.ledger.keys_marked


async def test_a_server_that_does_not_answer_is_asked_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A repair that fails leaves the mark, and the next one succeeds."""
    farm = await idle_farm(nursery)
    nursery.start_soon(farm.router.core.repairer.run)
    farm.tell(0, STORE_NEW)
    farm.router.network.disturb_once(farm.servers[1].address, Fault.REFUSE)
    farm.router.core.ledger_keeper.mark(farm.session_ref, farm.names[1], is_stale=True)
    await farm.observer.wait_for("session_repaired")

    assert trio.current_time() == pytest.approx(FIRST_RETRY_PAUSE, abs=0.05)
    assert [NEW, NEW, None] == farm.contents
