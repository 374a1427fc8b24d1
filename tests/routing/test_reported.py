"""What exchanges report to the counters: sizes, copies, and who answered in whose place."""

import trio
from trio.testing import MockClock

from partitioner.membership.backend import Intent
from partitioner.protocol.messages import Operation
from tests.doubles.farms import MemoryFarm
from tests.doubles.observers import Fact
from tests.doubles.sessions import ACQUIRE, CREATE, GET, HEAD, SET, request
from tests.tables import each_case

GRANTED = 2  # the first cookie of a new session (protocol.md 1, fact 7)
SAVE = request(Operation.SET, cookie=GRANTED)
REMOVE = request(Operation.REMOVE)
FREE = request(Operation.RELEASE)


def passed_over(farm: MemoryFarm) -> list[int]:
    """The places of those in whose place another server has answered."""
    facts = farm.observer.named("failed_over")
    return [farm.names.index(fact[1].name) for fact in facts]  # type: ignore[attr-defined]


def copies(farm: MemoryFarm) -> list[Fact]:
    """Whose copies were written, and whose were not."""
    facts = farm.observer.named("copy_written")
    return [(farm.names.index(fact[1].name), fact[2]) for fact in facts]  # type: ignore[attr-defined]


@each_case(("asked", "size"), [(SET, 7), (CREATE, 7), (GET, 0), (ACQUIRE, 0), (HEAD, 0)])
async def test_the_size_of_what_was_sent(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes, size: int
) -> None:
    """An answered exchange is reported with the size of the session that the client has sent."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.ask(asked)

    assert [size] == [fact[4] for fact in farm.observer.named("exchange_finished")]


@each_case("asked", [GET, ACQUIRE, HEAD, FREE, SET, CREATE, REMOVE])
async def test_failed_over(nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes) -> None:
    """What another server answers because the first choice is down is reported once."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save()
    before = passed_over(farm)
    await farm.eject(0)
    await farm.ask(asked)

    assert ([], [0]) == (before, passed_over(farm))


async def test_failed_over_from_one_that_is_marked(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A first choice that serves, and may not be read for this session, is passed over, too."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save()
    farm.ledger.mark(farm.key, b"", farm.names[0], trio.current_time(), is_stale=True)
    await farm.ask(GET)

    assert [0] == passed_over(farm)


async def test_all_is_well(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The first choice answers; that another server is down does not matter."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.eject(2)
    for asked in (CREATE, ACQUIRE, SAVE, GET, REMOVE):
        await farm.ask(asked)

    assert [] == passed_over(farm)


async def test_a_lock_stays_where_it_was_granted(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The first choice is back and well, but a page's lock is elsewhere: no server was passed over."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save()
    await farm.eject(0)
    await farm.ask(ACQUIRE)
    await farm.restart(0)
    await farm.eject(2)
    await farm.ask(GET)

    assert [0] == passed_over(farm)


async def test_a_holder_speaks_to_a_marked_server(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The first choice answers because it granted the lock, though it is not read otherwise."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save()
    await farm.ask(ACQUIRE)
    farm.ledger.mark(farm.key, b"", farm.names[0], trio.current_time(), is_stale=False)
    await farm.ask(GET)

    assert [] == passed_over(farm)


async def test_a_drained_server_is_no_first_choice(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What operators want is not a failure."""
    farm = MemoryFarm(nursery)
    await farm.start()
    farm.set_intent(0, Intent.DRAIN)
    await farm.ask(SET)
    await farm.ask(GET)

    assert [] == passed_over(farm)


async def test_a_copy_is_written(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Once for each save and each copy; a removal writes none."""
    farm = MemoryFarm(nursery, 3, copies=3)
    await farm.start()
    await farm.save()
    await farm.ask(REMOVE)

    assert [(1, True), (2, True)] == copies(farm)


async def test_a_copy_is_not_written(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that does not answer in time has no copy."""
    farm = MemoryFarm(nursery)
    await farm.start()
    farm.servers[1].freeze()
    await farm.save()

    assert [(1, False)] == copies(farm)


async def test_a_copys_stale_lock_is_a_ghost(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A lock that no page holds, found on a copy and released, is reported as any other."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save()
    farm.tell(1, ACQUIRE)
    await farm.save(b"new")

    assert [("ghost_lock_released", farm.router.roster.pool.members[farm.names[1]].backend)] == (
        farm.observer.named("ghost_lock_released")
    )
    assert [b"new", b"new", None] == farm.contents
