"""What is lacking is restored without anybody using it, and "redundant" is seen."""

import trio
from trio.testing import MockClock

from tests.routing.healed_pools import SESSIONS, HealedPool

NUMBERS = range(SESSIONS)


async def test_a_server_that_returns_empty_gets_its_copies_back(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Nobody uses the sessions; the next server may be killed soon after, and nothing is lost."""
    pool = HealedPool(nursery)
    await pool.fill()
    held = pool.on("state-1")
    await pool.begin_anew("state-1")
    assert [] == pool.on("state-1")
    await pool.until_healed()

    assert held == pool.on("state-1")
    assert {2} == {pool.copies_of(number) for number in NUMBERS}
    pool.servers["state-2"].kill()
    await pool.router.observer.wait_for("backend_ejected")
    assert [] == await pool.lost()


async def test_redundant_is_a_fact_once_a_walk_has_counted(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Within a minute of a start or a restart, where a clock alone would say T_max."""
    pool = HealedPool(nursery)
    redundancy = pool.router.roster.redundancy
    await pool.router.probe_on()
    assert redundancy.redundant_since(trio.current_time()) is None
    await pool.until_healed()
    assert redundancy.redundant_since(trio.current_time()) is not None
    await pool.begin_anew("state-1")
    assert redundancy.redundant_since(trio.current_time()) is None
    await pool.until_healed()

    assert redundancy.redundant_since(trio.current_time()) is not None
    assert trio.current_time() < 60
