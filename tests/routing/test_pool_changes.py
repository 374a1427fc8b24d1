"""Operators change the pool: join, removal, weights, and no session is lost (7.6, P6)."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from partitioner.errors import BackendRefused, BackendTooSlow, Phase, Refused
from partitioner.membership.backend import Address, Backend, Intent
from partitioner.membership.health import Health
from partitioner.membership.ledger import LedgerPolicy
from partitioner.placement.rendezvous import Ranking
from partitioner.protocol.messages import Operation
from partitioner.routing.roster import DOWN_FOR_GOOD
from tests.doubles.backends import NOT_FOUND, MemoryStateServer, ok
from tests.doubles.farms import T_MAX, MemoryFarm
from tests.doubles.network import Fault
from tests.doubles.routers import backend
from tests.doubles.sessions import GET, ID, request, target
from tests.routing.changes import ANSWER, NEW, OLD, farm_of, health


def kept(farm: MemoryFarm, without: Iterable[int] = ()) -> list[Backend]:
    """The configured backends, but for those in some places."""
    gone = {farm.names[place] for place in without}
    return [each for each in farm.router.backends if each.name not in gone]


def first_of_all(farm: MemoryFarm) -> Backend:
    """One more backend, that is the first for the session from when it joins."""
    candidates = [backend(number) for number in range(len(farm.names) + 1, 100)]
    names = Ranking(dict.fromkeys([*farm.names, *(each.name for each in candidates)], 1.0))
    first = names.first_choice(ID, frozenset(each.name for each in candidates))
    [found] = [each for each in candidates if each.name == first]
    assert names.preference_list(ID, 1)[0] == first
    return found


def adopt(farm: MemoryFarm, backends: Sequence[Backend]) -> None:
    farm.router.roster.adopt(backends)


# --- join ---


async def test_a_joining_server_is_filled_as_sessions_are_touched(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Sessions that belong on it now are moved there when they are asked for (P6)."""
    farm = MemoryFarm(nursery, servers=2, copies=1)
    await farm.start()
    sessions = [target(number) for number in range(60)]
    for session in sessions:
        await farm.ask(request(Operation.SET, session, body=session))
    newcomer = backend(3)
    server = MemoryStateServer(farm.router.network, newcomer.address)
    adopt(farm, [*kept(farm), newcomer])
    await farm.observer.wait_for("backend_came_up", times=3)
    answers = [await farm.ask(request(Operation.GET, session)) for session in sessions]

    assert [ok(session, b"Timeout: 20") for session in sessions] == answers
    assert 5 < sum(server.maybe_session(session) is not None for session in sessions) < 35


async def test_a_joining_server_holds_nobody_up(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that joins and does not answer costs no session: after its verdict all is as before."""
    farm = await farm_of(nursery)
    await farm.settle()
    farm.router.network.disturb(backend(9).address, Fault.HANG)
    adopt(farm, [*kept(farm), backend(9)])
    await farm.observer.wait_for("backend_missing")

    assert ANSWER == await farm.ask(GET)


@pytest.mark.parametrize("is_up_in_time", [True, False])
async def test_a_save_under_way_while_a_server_joins(
    nursery: trio.Nursery, autojump_clock: MockClock, is_up_in_time: bool
) -> None:
    """A server that is no copy any more when the save gets there keeps nothing that could be found later.

    The save was asked in settled times, in which there are no leftovers; its copies are written in others,
    when the newcomer is a copy itself, or when it is not known yet whether it can be.
    """
    farm = await farm_of(nursery)
    await farm.settle()
    newcomer = first_of_all(farm)
    MemoryStateServer(farm.router.network, newcomer.address)
    farm.servers[0].freeze()
    nursery.start_soon(farm.save, NEW)
    await trio.sleep(0.1)
    adopt(farm, [*kept(farm), newcomer])
    if is_up_in_time:
        await farm.observer.wait_for("backend_came_up", 4)
    farm.servers[0].thaw()
    await farm.observer.wait_for("backend_came_up", 4)

    assert ok(NEW, b"Timeout: 20") == await farm.ask(GET)
    assert OLD not in farm.contents


# --- removal ---


async def test_a_removed_server_is_asked_for_what_it_holds(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A server that has left the configuration hands over what it still has."""
    farm = await farm_of(nursery, copies=1)
    adopt(farm, kept(farm, without=[0]))

    assert ANSWER == await farm.ask(GET)
    assert [None, OLD, None] == farm.contents


async def test_a_removed_server_is_told_of_saves(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Its leftover is removed with the next save, so that it does not come back with the server."""
    farm = await farm_of(nursery)
    adopt(farm, kept(farm, without=[0]))
    await farm.save(NEW)

    assert [None, NEW, NEW] == farm.contents


async def test_a_removed_server_is_forgotten_after_t_max(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Whatever it held has expired by then."""
    farm = await farm_of(nursery)
    adopt(farm, kept(farm, without=[0]))
    await trio.sleep(T_MAX - 1)
    before = farm.names[0] in farm.router.roster.pool.members
    await trio.sleep(10)

    assert (True, False) == (before, farm.names[0] in farm.router.roster.pool.members)
    assert set(farm.names[1:]) == set(farm.router.roster.upstreams)


async def test_a_removed_server_that_is_down_is_forgotten_after_a_minute(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """No client waits for a machine that was switched off (design.md 5)."""
    farm = MemoryFarm(nursery, ledger=LedgerPolicy())
    await farm.start()
    adopt(farm, kept(farm, without=[0]))
    await farm.eject(0)
    await trio.sleep(DOWN_FOR_GOOD - 1)
    before = farm.names[0] in farm.router.roster.pool.members
    await trio.sleep(7)

    assert (True, False) == (before, farm.names[0] in farm.router.roster.pool.members)


async def test_a_forgotten_server_leaves_no_marks(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that cannot be asked is never put right, so it is not remembered either."""
    farm = await farm_of(nursery)
    adopt(farm, kept(farm, without=[0]))
    farm.servers[0].freeze()
    await farm.save(NEW)
    before = farm.ledger.marks_of(farm.names[0])
    await trio.sleep(T_MAX + 10)

    assert (1, 0) == (before, farm.ledger.marks_of(farm.names[0]))


async def test_a_forgotten_server_leaves_no_connections(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Connections that went unanswered are not watched for ever when their server is not probed any more."""
    farm = await farm_of(nursery)
    await farm.ask(request(Operation.GET, target(1)))
    farm.servers[0].freeze()
    await farm.ask(request(Operation.SET, body=NEW))
    adopt(farm, kept(farm, without=[0]))
    await trio.sleep(T_MAX + 60)

    assert farm.names[0] not in farm.router.roster.pool.members
    assert all(stream.is_abandoned for stream in farm.servers[0].connections)


@pytest.mark.parametrize("kind", [BackendRefused, BackendTooSlow])
async def test_a_probe_that_outlives_its_server(
    nursery: trio.Nursery, autojump_clock: MockClock, kind: type[BackendRefused] | type[BackendTooSlow]
) -> None:
    """What a probe still says of a server that was forgotten meanwhile does not matter."""
    farm = await farm_of(nursery)
    adopt(farm, kept(farm, without=[0]))
    await trio.sleep(T_MAX + 10)
    farm.router.roster.probe_failed(kind(farm.names[0], Phase.CONNECTING, "was late"))
    farm.router.roster.probe_succeeded(farm.names[0], b"incarnation")

    assert farm.names[0] not in farm.router.roster.pool.members


async def test_a_server_that_returns_after_it_was_forgotten(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its marks are not known any more: it is RECOVERING, and not read for what it may still hold (7.5)."""
    farm = MemoryFarm(nursery, ledger=LedgerPolicy())
    await farm.start()
    await farm.save(OLD)
    everybody = kept(farm)
    adopt(farm, kept(farm, without=[0]))
    await farm.freeze(0)
    await farm.save(NEW)
    await trio.sleep(DOWN_FOR_GOOD + 10)
    farm.servers[0].thaw()
    adopt(farm, everybody)
    await farm.observer.wait_for("backend_doubted")
    answer = await farm.ask(GET)

    assert Health.RECOVERING is health(farm, farm.names[0])
    assert ok(NEW, b"Timeout: 20") == answer


async def test_the_last_server_cannot_be_removed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A pool of no client is refused."""
    farm = await farm_of(nursery)
    with pytest.raises(Refused):
        adopt(farm, [])

    assert ANSWER == await farm.ask(GET)


# --- moving house ---


async def test_a_server_that_moves_house(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A changed address is a removal and a join that share a place; what lies in the old house is found."""
    farm = await farm_of(nursery, copies=1)
    first = next(each for each in farm.router.backends if each.name == farm.names[0])
    moved = replace(first, address=Address("10.9.9.9", 42424))
    server = MemoryStateServer(farm.router.network, moved.address)
    adopt(farm, [moved if each is first else each for each in farm.router.backends])
    await farm.observer.wait_for("backend_came_up", times=4)
    answer = await farm.ask(GET)
    found = server.maybe_session(request_target())

    assert (ANSWER, None) == (answer, farm.contents[0])
    assert found is not None
    assert {farm.names[0], f"{first.name}@{moved.address}"} <= set(farm.router.roster.pool.members)


def request_target() -> bytes:
    return GET.split(b" ")[1]


# --- weights ---


async def test_a_change_of_weights_moves_sessions_as_they_are_touched(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """No session is lost when another server's share grows (P6)."""
    farm = MemoryFarm(nursery, servers=2, copies=1)
    await farm.start()
    sessions = [target(number) for number in range(40)]
    for session in sessions:
        await farm.ask(request(Operation.SET, session, body=session))
    heavy, light = farm.router.backends
    adopt(farm, [replace(heavy, weight=20.0), light])
    answers = [await farm.ask(request(Operation.GET, session)) for session in sessions]

    assert [ok(session, b"Timeout: 20") for session in sessions] == answers
    assert farm.observer.named("session_moved")


async def test_more_copies(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """With another number of copies the next save has them."""
    farm = await farm_of(nursery, copies=1)
    farm.router.roster.adopt(kept(farm), copies=2)
    await farm.save(NEW)

    assert [NEW, NEW, None] == farm.contents


async def test_what_stays_is_not_disturbed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Servers that stay keep their connections, their incarnation and their health."""
    farm = await farm_of(nursery)
    dialled = len(farm.router.network.dialled)
    adopt(farm, kept(farm, without=[2]))
    answers = [await farm.ask(GET) for _ in range(3)]

    assert [ANSWER] * 3 == answers
    assert Health.UP is health(farm, farm.names[0])
    assert dialled == len(farm.router.network.dialled)


async def test_after_everything_nothing_is_found_that_was_abandoned(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A session that ended while servers came and went does not come back with any of them (P4)."""
    farm = await farm_of(nursery)
    farm.set_intent(0, Intent.MAINT)
    await farm.ask(request(Operation.REMOVE))
    farm.set_intent(0, Intent.READY)
    await farm.observer.wait_for("backend_came_up", times=4)
    at_once = await farm.ask(GET)
    await trio.sleep(5)

    assert (NOT_FOUND, NOT_FOUND) == (at_once, await farm.ask(GET))
