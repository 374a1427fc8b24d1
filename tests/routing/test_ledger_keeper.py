"""From connections and backends to marks, and from marks to doubt (design.md 7.3, 7.5)."""

import trio
from trio.testing import MockClock

from partitioner.membership.backend import BackendId
from partitioner.membership.health import Health
from partitioner.membership.ledger import LedgerPolicy
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import target
from tests.identities import STATE_1, STATE_2


def health(router: MemoryRouter) -> dict[str, Health]:
    return {name: member.record.health for name, member in router.roster.pool.members.items()}


def mark(router: MemoryRouter, server: BackendId, *numbers: int) -> None:
    for number in numbers:
        session = router.core.ledger_keeper.session_of(target(number))
        router.core.ledger_keeper.mark(session, server, is_stale=True)


async def test_beyond_the_bound_one_server_goes_without_its_marks(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Beyond the bound the server with the most marks is RECOVERING instead, and no other (design.md 7.3)."""
    router = MemoryRouter(nursery, 3, ledger=LedgerPolicy(keys=4))
    router.take_in()
    mark(router, STATE_1, 1, 2, 3, 4)
    mark(router, STATE_2, 4)
    within = health(router)
    mark(router, STATE_2, 5)

    assert {Health.UP} == set(within.values())
    assert {"state-1": Health.RECOVERING, "state-2": Health.UP, "state-3": Health.UP} == health(router)
    assert (0, 2) == (router.ledger.marks_of(STATE_1), router.ledger.marks_of(STATE_2))


async def test_after_the_bound_there_is_room_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that is in doubt needs no marks, so the next marks of others are remembered."""
    router = MemoryRouter(nursery, 3, ledger=LedgerPolicy(keys=4))
    router.take_in()
    mark(router, STATE_1, 1, 2, 3, 4, 5)
    mark(router, STATE_2, 1, 2, 3)

    assert Health.UP is health(router)["state-2"]
    assert 3 == router.ledger.marks_of(STATE_2)
