"""Removes and creates with copies: what one server has and the other has not (7.1)."""

from collections.abc import Awaitable, Callable

import trio
from trio.testing import MockClock

from partitioner.protocol.messages import Operation
from tests.doubles.backends import NOT_FOUND, Hear, Reset, ok
from tests.doubles.farms import MemoryFarm
from tests.doubles.sessions import ACQUIRE, CONTENT, CREATE, GET, HEAD, request
from tests.routing.copied import NEW, OLD, REMOVE, Pair, exchange
from tests.tables import each_case

# --- remove ---


async def test_a_remove_goes_everywhere(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An abandoned session is gone from its copies too (P4)."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save()

    assert ok() == await farm.ask(REMOVE)
    assert [None, None, None] == farm.contents


async def test_a_remove_of_what_only_the_copy_has(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A remove that finds nothing on the primary and something on a copy has removed the session: 200."""
    pair = Pair(nursery, exchange(REMOVE, NOT_FOUND), exchange(REMOVE, ok()))

    assert ok() == await pair.ask(REMOVE)


async def test_a_remove_of_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """No server has it: the primary's 404 is relayed."""
    pair = Pair(nursery, exchange(REMOVE, NOT_FOUND), exchange(REMOVE, NOT_FOUND))

    assert NOT_FOUND == await pair.ask(REMOVE)
    assert [] == pair.marked


async def test_a_failed_remove_marks(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A copy that did not hear of a remove is marked: it must not come back. No save is degraded."""
    pair = Pair(nursery, exchange(REMOVE, ok()), [Hear(REMOVE), Reset()], [Hear(REMOVE), Reset()])
    await pair.ask(REMOVE)

    assert ([pair.names[1]], []) == (pair.marked, pair.degraded)


async def test_a_remove_that_a_frozen_copy_missed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The copy has the session removed by repair when it is back, and never serves it."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save()
    await farm.freeze(1)
    await farm.ask(REMOVE)
    await farm.thaw(1)
    await trio.sleep(5)

    assert [None, None, None] == farm.contents
    assert set() == farm.marked


# --- create ---


async def test_a_new_session_is_copied_with_its_flag(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A create of a session that does not exist is copied like a set, with its flag."""
    farm = MemoryFarm(nursery)
    await farm.start()
    answer = await farm.ask(CREATE)
    sessions = [farm.session(place) for place in (0, 1)]

    assert (ok(), [CONTENT, CONTENT, None]) == (answer, farm.contents)
    assert [True, True] == [each is not None and each.is_uninitialized for each in sessions]


async def test_an_existing_session_is_not_copied(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Where the session exists, its server answers and nothing is copied (protocol.md 6, row 15)."""
    pair = Pair(nursery, [*exchange(HEAD, ok()), *exchange(CREATE, ok())])

    assert ok() == await pair.ask(CREATE)
    assert [] == pair.copy.heard


async def test_a_create_on_a_locked_session(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A create changes nothing of a session that a page holds (protocol.md 6, row 15)."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save(OLD)
    await farm.ask(ACQUIRE)

    assert ok() == await farm.ask(CREATE)
    assert [OLD, OLD, None] == farm.contents


async def test_what_a_copy_should_not_have_is_removed_before_a_create(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Insert-only would leave a former session of this key on the copy, to come back with a failover (P4)."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.settle()
    farm.tell(1, request(Operation.SET, body=OLD))
    await farm.ask(CREATE)

    assert [CONTENT, CONTENT, None] == farm.contents


async def test_the_first_get_consumes_the_flag_of_the_copy(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """An answer with ActionFlags is followed by a release on the copy, which consumes its flag (7.2)."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.ask(CREATE)
    farm.forget_requests()
    answer = await farm.ask(GET)
    sessions = [farm.session(place) for place in (0, 1)]

    assert ok(CONTENT, b"ActionFlags: 1", b"Timeout: 20") == answer
    assert [False, False] == [each is None or each.is_uninitialized for each in sessions]
    assert Operation.RELEASE in farm.asked_of(1)


async def is_read_while_one_is_in_doubt(farm: MemoryFarm) -> None:
    farm.router.roster.suspect(farm.names[0])
    await farm.ask(CREATE)
    await farm.ask(GET)


async def is_saved_while_one_is_in_doubt(farm: MemoryFarm) -> None:
    farm.router.roster.suspect(farm.names[0])
    await farm.ask(CREATE)
    await farm.ask(ACQUIRE)
    await farm.save(NEW, cookie=2)


async def is_read_while_one_is_away(farm: MemoryFarm) -> None:
    await farm.ask(CREATE)
    await farm.freeze(0)
    await farm.ask(GET)
    await farm.thaw(0)


async def is_read_while_one_stands_still(farm: MemoryFarm) -> None:
    await farm.ask(CREATE)
    farm.servers[1].freeze()
    await farm.ask(GET)
    farm.servers[1].thaw()


CANNOT_BE_TOLD = (
    is_read_while_one_is_in_doubt,
    is_saved_while_one_is_in_doubt,
    is_read_while_one_is_away,
    is_read_while_one_stands_still,
)


@each_case("is_read", CANNOT_BE_TOLD, ids=lambda each: each.__name__)
async def test_a_server_that_cannot_be_told_of_a_flag(
    is_read: Callable[[MemoryFarm], Awaitable[None]], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Whoever writes the session there next consumes it: nothing is new when that server is read again."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await is_read(farm)
    await trio.sleep(5)
    sessions = [farm.session(place) for place in range(3)]

    assert [] == [each for each in sessions if each is not None and each.is_uninitialized]
    assert set() == farm.marked


async def test_the_flag_is_told_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """After a failover the copy does not tell it again (protocol.md 5.1)."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.ask(CREATE)
    await farm.ask(ACQUIRE)
    await farm.save(NEW, cookie=2)
    await farm.eject(0)

    assert ok(NEW, b"Timeout: 20") == await farm.ask(GET)
