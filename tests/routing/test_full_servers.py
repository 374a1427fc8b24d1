"""A server that is full turns no user away while another one has room (design.md 7.1, protocol.md 6)."""

import pytest
import trio
from trio.testing import MockClock

from partitioner.membership.backend import Backend
from partitioner.protocol.messages import Operation
from tests.doubles.backends import ok
from tests.doubles.farms import MemoryFarm
from tests.doubles.sessions import ACQUIRE, CREATE, GET, TARGET, request

NEW, NEWER = b"new content", b"newer content"
TIMEOUT_FIELD = b"Timeout: 20"
UNTIL_REPAIRED = 60.0
"""Seconds; repair comes back to it at intervals that grow."""

TOO_LONG = request(Operation.SET, body=NEW, minutes=525_601)


async def farm_of(
    nursery: trio.Nursery, full: tuple[int, ...], servers: int = 3, copies: int = 2
) -> MemoryFarm:
    farm = MemoryFarm(nursery, servers, copies)
    await farm.start()
    for place in full:
        farm.servers[place].fill()
    return farm


def said_to_be_full(farm: MemoryFarm) -> set[int]:
    said = [fact[1] for fact in farm.observer.named("backend_full")]
    return {farm.names.index(backend.identity) for backend in said if isinstance(backend, Backend)}


@pytest.mark.parametrize("asked", [request(Operation.SET, body=NEW), CREATE])
async def test_the_next_of_the_list_takes_it(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """A new session; it has a copy too few until the first one has room, and that is told."""
    farm = await farm_of(nursery, (0,))
    answer = await farm.ask(asked)

    assert b"200" == answer[:3]
    assert [False, True, False] == [each is not None for each in farm.contents]
    assert ({0}, {0}, 1) == (farm.marked, said_to_be_full(farm), len(farm.observer.named("write_degraded")))


async def test_it_is_read_where_it_is(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Also by the page that locks it, and saved there."""
    farm = await farm_of(nursery, (0,))
    await farm.save(NEW)

    assert ok(NEW, TIMEOUT_FIELD) == await farm.ask(GET)
    assert ok(NEW, b"LockCookie: 2", TIMEOUT_FIELD) == await farm.ask(ACQUIRE)
    assert b"200" == (await farm.save(NEWER, cookie=2))[:3]
    assert [None, NEWER, None] == farm.contents


async def test_the_first_server_gets_it_back(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """By repair, when there is room; then all is as if it had never been full."""
    farm = await farm_of(nursery, (0,))
    await farm.save(NEW)
    farm.servers[0].fill(is_full=False)
    await trio.sleep(UNTIL_REPAIRED)

    assert ([NEW, NEW, None], set()) == (farm.contents, farm.marked)
    assert ok(NEW, TIMEOUT_FIELD) == await farm.ask(GET)


async def test_what_no_server_takes_is_refused(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """As the first one did; nothing is marked for what is not there."""
    farm = await farm_of(nursery, (0, 1, 2))
    answer = await farm.save(NEW)

    assert b"400" == answer[:3]
    assert ([None, None, None], set(), {0, 1, 2}) == (farm.contents, farm.marked, said_to_be_full(farm))


async def test_a_full_copy(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The save has a copy too few, which is told; the server gets it when it has room."""
    farm = await farm_of(nursery, (1,))
    answer = await farm.save(NEW)
    degraded, at_first = len(farm.observer.named("write_degraded")), farm.contents
    farm.servers[1].fill(is_full=False)
    await trio.sleep(UNTIL_REPAIRED)

    assert (b"200", 1, {1}) == (answer[:3], degraded, said_to_be_full(farm))
    assert ([NEW, None, None], [NEW, NEW, None]) == (at_first, farm.contents)


async def test_a_session_that_is_there_is_saved_there(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A full server goes on with what it has."""
    farm = await farm_of(nursery, ())
    await farm.save(NEW)
    for server in farm.servers:
        server.fill()

    assert b"200" == (await farm.save(NEWER))[:3]
    assert ([NEWER, NEWER, None], set()) == (farm.contents, said_to_be_full(farm))


async def test_a_refusal_that_concerns_the_request(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A time-out of more than a year is refused by any server (row 12): no other one is asked."""
    farm = await farm_of(nursery, ())
    farm.forget_requests()
    answer = await farm.ask(TOO_LONG)

    assert b"400" == answer[:3]
    assert ([Operation.SET], []) == (farm.asked_of(0), farm.asked_of(1))
    assert set() == said_to_be_full(farm)
    assert TARGET in TOO_LONG
