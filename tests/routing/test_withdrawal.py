"""What would take the last good copy of sessions away is refused, with their number (design.md 7.6)."""

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from partitioner.errors import ListingFailed, WouldLose
from partitioner.membership.backend import Address, Intent
from partitioner.routing.inventory import InventoryPage
from partitioner.routing.withdrawal import Withdrawal, withdrawal_of
from tests.identities import STATE_1, STATE_2, identities
from tests.routing.healed_pools import SESSIONS, HealedPool

REMEDY = "force it"


def taking(stopped: Sequence[str], drained: Sequence[str]) -> Withdrawal:
    return Withdrawal(tuple(identities(stopped)), tuple(identities(drained)))


async def refusal(pool: HealedPool, *stopped: str, drained: Sequence[str] = ()) -> WouldLose:
    """Why these servers may not be taken away."""
    with pytest.raises(WouldLose) as refused:
        await pool.router.core.withdrawal_guard.check(taking(stopped, drained), REMEDY)
    return refused.value


async def allowed(pool: HealedPool, *stopped: str, drained: Sequence[str] = ()) -> None:
    await pool.router.core.withdrawal_guard.check(taking(stopped, drained), REMEDY)


async def test_single_copies(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Whatever is on the server is nowhere else: one sentence with their number, and how to do it all the
    same."""
    pool = HealedPool(nursery, copies=1)
    await pool.fill()
    held = len(pool.on("state-1"))
    refused = await refusal(pool, "state-1")

    assert held == refused.sessions
    assert str(refused) == (
        f"state-1 holds up to {held} sessions that may have no good copy elsewhere: the sessions on state-1 "
        "have no copies: copies is 1; drain it first; force it"
    )


async def test_what_has_copies_elsewhere(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """One server of a redundant pool may go, two at once hold both copies of some sessions."""
    pool = HealedPool(nursery)
    await pool.fill()
    await allowed(pool, "state-1")
    await allowed(pool, drained=["state-1"])
    both = await refusal(pool, "state-1", "state-2")

    assert len(pool.on("state-1")) + len(pool.on("state-2")) == both.sessions
    assert "stop them one after the other" in str(both)


async def test_while_copies_are_lacking(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server came back empty, and another one shall go before healing has been through."""
    pool = HealedPool(nursery)
    await pool.fill()
    await pool.begin_anew("state-2")
    refused = await refusal(pool, "state-1")
    await allowed(pool, "state-2")
    await pool.until_healed()
    await allowed(pool, "state-1")

    assert len(pool.on("state-1")) == refused.sessions
    assert "state-2 was restarted" in str(refused)


async def test_a_drain_to_fewer_servers_than_copies(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What is handed off would be kept once only."""
    pool = HealedPool(nursery, servers=2)
    await pool.fill()
    refused = await refusal(pool, drained=["state-2"])
    await allowed(pool, "state-2")

    assert SESSIONS == refused.sessions
    assert str(refused) == (
        f"state-2 holds up to {SESSIONS} sessions that would be kept on too few servers: 1 server would be "
        "left to take sessions, and copies is 2; force it"
    )


async def test_a_server_that_holds_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Nothing is at stake, whatever the copies."""
    pool = HealedPool(nursery, copies=1)
    await pool.fill(0)

    await allowed(pool, "state-1")


async def no_listing(admin: Address, first: bytes) -> InventoryPage:
    raise ListingFailed("it is out of order")


async def test_a_server_that_cannot_be_asked(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The number is unknown; the order is refused all the same."""
    pool = HealedPool(nursery, copies=1)
    await pool.fill(0)
    pool.router.inventories[pool.router.backends[0].address] = no_listing
    refused = await refusal(pool, "state-1")

    assert refused.sessions is None
    assert str(refused).startswith("state-1 holds an unknown number of sessions that ")


async def test_what_an_order_takes_away(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Who is put aside or leaves; who drains; and not who was taken away before."""
    pool = HealedPool(nursery, servers=4)
    await pool.fill(0)
    roster = pool.router.roster

    def taken(name: str, intent: Intent) -> Withdrawal:
        return withdrawal_of(roster.pool, roster.members_for(roster.with_intent(name, intent)))

    assert Withdrawal(stopped=(STATE_1,)) == taken("state-1", Intent.MAINT)
    assert Withdrawal(drained=(STATE_1,)) == taken("state-1", Intent.DRAIN)
    assert not taken("state-1", Intent.READY)
    roster.set_intent("state-1", Intent.MAINT)
    assert not taken("state-1", Intent.DRAIN)
    without = roster.members_for([each for each in pool.router.backends if each.name != "state-2"])
    assert Withdrawal(stopped=(STATE_2,)) == withdrawal_of(roster.pool, without)
