"""From connections and backends to marks, and from marks to doubt (design.md 7.3, 7.5)."""

import trio
from trio.testing import MockClock

from partitioner.membership.backend import BackendId
from partitioner.membership.entry import LONGEST_PAGE
from partitioner.membership.health import Health
from partitioner.membership.ledger import LedgerPolicy
from partitioner.protocol.messages import Operation
from tests.doubles.farms import T_MAX, MemoryFarm
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import request, target
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


async def test_as_many_sessions_are_locked_as_may_be(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A lock that could not be remembered is not asked for; all else is served, and room comes with time."""
    farm = MemoryFarm(nursery, ledger=LedgerPolicy(T_MAX, T_MAX, keys=3))
    await farm.start()
    for number in range(5):
        await farm.ask(request(Operation.SET, target(number)))
    acquired = [await farm.ask(request(Operation.ACQUIRE, target(number))) for number in range(5)]
    read = await farm.ask(request(Operation.GET, target(4)))
    await trio.sleep(LONGEST_PAGE)
    later = await farm.ask(request(Operation.ACQUIRE, target(4)))

    assert [b"200", b"200", b"200", b"", b""] == [answer[:3] for answer in acquired]
    assert [b"200", b"200", 3] == [read[:3], later[:3], farm.ledger.locks_held]


async def test_what_is_asked_lives_on_after_the_doubt(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Lock quarantine may go on asking a server that is in doubt no more: its mark lives as long as that."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.ask(request(Operation.SET, target(1)))
    keeper, roster = farm.router.core.ledger_keeper, farm.router.roster
    session, server = keeper.session_of(target(1)), farm.names[0]
    keeper.ledger.note_read_in_doubt(session.key, session.target, server, trio.current_time())
    await trio.sleep(30)
    async with farm.router.core.internal_requests.fetched(server, session.target) as reply:
        keeper.note_read_in_doubt(session, server, reply)

    assert roster.pool.members[server].is_readable
    assert trio.current_time() == keeper.ledger.marks(session.key)[server].since
