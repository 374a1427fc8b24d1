"""Operators order drains and maintenance, and no session is lost (7.6, P6)."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from partitioner.errors import Refused
from partitioner.membership.backend import Intent
from partitioner.membership.health import Health
from partitioner.protocol.messages import Operation
from tests.doubles.backends import ok
from tests.doubles.sessions import ACQUIRE, GET, request, target
from tests.routing.changes import ANSWER, NEW, OLD, farm_of, health

# --- drain ---


async def test_a_drained_servers_session_moves_as_it_is_touched(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """DRAIN is asked for what it still holds; the session is then where it belongs without that server."""
    farm = await farm_of(nursery)
    farm.set_intent(0, Intent.DRAIN)

    assert ANSWER == await farm.ask(GET)
    await trio.sleep(70)  # the end of a touch's window, and a repair
    assert [OLD, OLD] == farm.contents[1:]


async def test_a_session_that_only_a_drained_server_has(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """With one copy it is handed over whole, and nothing is left behind."""
    farm = await farm_of(nursery, copies=1)
    farm.set_intent(0, Intent.DRAIN)

    assert ANSWER == await farm.ask(GET)
    assert [None, OLD, None] == farm.contents


async def test_a_drained_server_takes_nothing_new(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """No session is begun or saved on it, neither as primary nor as copy."""
    farm = await farm_of(nursery, servers=4)
    farm.set_intent(1, Intent.DRAIN)
    for number in range(40):
        await farm.ask(request(Operation.SET, target(number)))

    assert Operation.SET not in farm.asked_of(1)[2:]


async def test_a_save_leaves_a_drained_server(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A busy session moves with its save."""
    farm = await farm_of(nursery)
    farm.set_intent(0, Intent.DRAIN)
    await farm.save(NEW)

    assert [None, NEW, NEW] == farm.contents


async def test_a_page_on_a_drained_server_ends_there(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A lock on a server that drains is still that server's; the save at the end moves the session (P5)."""
    farm = await farm_of(nursery)
    await farm.ask(ACQUIRE)
    farm.set_intent(0, Intent.DRAIN)
    refused = await farm.ask(ACQUIRE)
    saved = await farm.save(NEW, cookie=2)

    assert (b"423", ok()) == (refused[:3], saved)
    assert [None, NEW, NEW] == farm.contents


async def test_ready_after_drain(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that is READY again has its sessions back as they are touched, none of them stale (P4)."""
    farm = await farm_of(nursery)
    farm.set_intent(0, Intent.DRAIN)
    await farm.save(NEW)
    farm.set_intent(0, Intent.READY)

    assert ok(NEW, b"Timeout: 20") == await farm.ask(GET)
    assert NEW == farm.contents[0]


async def test_the_last_server_cannot_be_drained(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server must serve: refused with the reason, and nothing has changed."""
    farm = await farm_of(nursery, servers=2)
    farm.set_intent(0, Intent.DRAIN)
    epoch = farm.router.roster.pool.epoch

    with pytest.raises(Refused, match="at least one to serve"):
        farm.set_intent(1, Intent.DRAIN)
    assert epoch == farm.router.roster.pool.epoch
    assert ANSWER == await farm.ask(GET)


# --- maintenance ---


async def test_maintenance_costs_no_session(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server in MAINT is not spoken to; its sessions are served by their copies."""
    farm = await farm_of(nursery)
    farm.set_intent(0, Intent.MAINT)
    farm.forget_requests()

    assert ANSWER == await farm.ask(GET)
    assert [] == farm.asked_of(0)


async def test_maintenance_is_reported(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """That its health has changed, once, and what is wanted of it."""
    farm = await farm_of(nursery)
    farm.set_intent(0, Intent.MAINT)
    farm.set_intent(0, Intent.DRAIN)
    member = farm.router.roster.pool.members[farm.names[0]].backend
    aside = replace(member, intent=Intent.MAINT)

    assert [("backend_put_aside", aside)] == farm.observer.named("backend_put_aside")
    assert 2 == len(farm.observer.named("intent_changed"))


async def test_a_server_in_maintenance_is_not_probed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Not even to see how it is (design.md 5)."""
    farm = await farm_of(nursery)
    farm.set_intent(0, Intent.MAINT)
    await trio.sleep(1)
    dialled = len(farm.router.network.dialled)
    await trio.sleep(10)
    address = farm.servers[0].address

    assert address not in {each for _, each in farm.router.network.dialled[dialled:]}


async def test_ready_after_maintenance(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A return: UP after its first good probe, and not read for what it missed (7.5, P4)."""
    farm = await farm_of(nursery)
    farm.set_intent(0, Intent.MAINT)
    await farm.save(NEW)
    farm.set_intent(0, Intent.READY)
    await farm.observer.wait_for("backend_came_up", times=4)

    assert Health.UP is health(farm, farm.names[0])
    assert [ok(NEW, b"Timeout: 20")] * 5 == [await farm.ask(GET) for _ in range(5)]


async def test_ready_after_maintenance_and_a_restart(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A server that was restarted meanwhile is empty, and filled on miss."""
    farm = await farm_of(nursery)
    farm.set_intent(0, Intent.MAINT)
    farm.servers[0].restart()
    farm.set_intent(0, Intent.READY)
    await farm.observer.wait_for("backend_came_up", times=4)

    assert ANSWER == await farm.ask(GET)


async def test_the_word_of_the_operator_dispels_doubt(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """READY trusts a server that is RECOVERING: it is read again."""
    farm = await farm_of(nursery)
    farm.router.roster.suspect(farm.names[0])
    farm.set_intent(0, Intent.READY)

    assert Health.UP is health(farm, farm.names[0])
