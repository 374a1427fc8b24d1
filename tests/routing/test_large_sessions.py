"""Sessions larger than all the memory for bodies are carried between servers in pieces (design.md 6)."""

import pytest
import trio
from trio.testing import MockClock

from partitioner.protocol.messages import Operation
from tests.doubles.backends import MemoryStateServer, ok
from tests.doubles.farms import MemoryFarm
from tests.doubles.routers import backend
from tests.doubles.sessions import GET, TARGET, request, target
from tests.routing.test_pool_changes import adopt, kept

MEMORY = 1024 * 1024
LARGE = bytes(range(256)) * (3 * MEMORY // 256)
LARGER_STILL = LARGE[:-1] + b"."


async def farm_of(nursery: trio.Nursery, servers: int = 2, copies: int = 2) -> MemoryFarm:
    farm = MemoryFarm(nursery, servers, copies, body_memory=MEMORY)
    await farm.start()
    await farm.settle()
    return farm


async def test_a_save_reaches_its_copies(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The copy is read back from the primary while the client waits: the save is not degraded (7.1)."""
    farm = await farm_of(nursery)

    assert ok() == await farm.save(LARGE)
    assert [LARGE, LARGE] == farm.contents
    assert (set(), []) == (farm.marked, farm.observer.named("write_degraded"))
    assert 0 == farm.router.memory.used


async def test_a_save_waits_for_no_memory(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While others hold all the memory there is, it is as fast as ever."""
    farm = await farm_of(nursery)
    await farm.router.memory.hold(MEMORY).grow(MEMORY)
    began_at = trio.current_time()

    assert ok() == await farm.save(LARGE)
    assert (began_at, [LARGE, LARGE]) == (trio.current_time(), farm.contents)


async def test_a_save_whose_copy_cannot_be_written_is_degraded(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It is repaired when the server of its copy is back."""
    farm = await farm_of(nursery)
    await farm.freeze(1)
    answer = await farm.save(LARGE)
    during = farm.contents[0]
    await farm.thaw(1)
    await farm.observer.wait_for("session_repaired")

    assert (ok(), LARGE) == (answer, during)
    assert [LARGE, LARGE] == farm.contents


async def test_sessions_move_to_a_joining_server(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """All sessions stay readable when a pool of one grows to two, and none waits for memory (7.4)."""
    farm = await farm_of(nursery, servers=1, copies=1)
    sessions = [target(number) for number in range(12)]
    for session in sessions:
        farm.tell(0, request(Operation.SET, session, body=LARGE))
    newcomer = backend(2)
    server = MemoryStateServer(farm.router.network, newcomer.address)
    adopt(farm, [*kept(farm), newcomer])
    await farm.observer.wait_for("backend_came_up", times=2)
    began_at = trio.current_time()
    answers = [await farm.ask(request(Operation.GET, each)) for each in sessions]
    moved = [each for each in sessions if server.holds(each)]

    assert [LARGE] * 12 == [answer[-len(LARGE) :] for answer in answers]
    assert 0 < len(moved) < 12
    assert not any(farm.servers[0].holds(each) for each in moved)
    assert began_at == trio.current_time()


async def test_what_was_taken_while_marked_is_known_by_its_fingerprint(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A server in doubt is read to its end and believed, though its content is never here whole."""
    farm = await farm_of(nursery, servers=1, copies=1)
    farm.tell(0, request(Operation.SET, body=LARGE))
    name = farm.names[0]
    farm.ledger.mark(farm.key, TARGET, name, trio.current_time(), is_stale=False)
    farm.ledger.note_saved(farm.key, {name}, LARGE)
    farm.tell(0, request(Operation.SET, body=LARGER_STILL))
    refused = await farm.ask(GET)
    farm.ledger.unmark(farm.key, name)
    farm.ledger.mark(farm.key, TARGET, name, trio.current_time(), is_stale=False)
    farm.ledger.note_saved(farm.key, {name}, LARGER_STILL)
    answer = await farm.ask(GET)

    assert (b"", True) == (refused, answer.endswith(LARGER_STILL))


async def test_a_new_session_loses_its_flag_and_nothing_else(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """To read it for its copy consumes its flag. No new session is that large."""
    farm = await farm_of(nursery)
    answer = await farm.ask(request(Operation.CREATE_UNINITIALIZED, body=LARGE))
    await farm.observer.wait_for("session_repaired")

    assert (ok(), [LARGE, LARGE], set()) == (answer, farm.contents, farm.marked)
    assert b"ActionFlags" not in await farm.ask(GET)


@pytest.mark.parametrize("place", [0, 1])
async def test_a_server_that_dies_while_it_is_copied(
    nursery: trio.Nursery, autojump_clock: MockClock, place: int
) -> None:
    """Whichever of the two dies, no half of a session is stored anywhere."""
    farm = await farm_of(nursery)
    await farm.save(LARGE)
    farm.nursery.start_soon(farm.save, LARGER_STILL)
    copying = farm.servers[1]
    before = len(copying.requests)
    while len(copying.requests) == before:
        await trio.lowlevel.checkpoint()
    farm.servers[place].kill()
    await trio.sleep(1)

    assert farm.session(1 - place) is not None
    assert farm.contents[1 - place] in (LARGE, LARGER_STILL)
