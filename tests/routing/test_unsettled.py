"""Unsettled times: a session that is missed is looked for before anybody says it does not exist (7.4)."""

import pytest
import trio
from trio.testing import MockClock

from partitioner.membership.backend import Intent
from partitioner.protocol.messages import Operation
from tests.doubles.backends import NOT_FOUND, ok
from tests.doubles.farms import MemoryFarm
from tests.doubles.sessions import ACQUIRE, CONTENT, CREATE, GET, HEAD, SET, request
from tests.routing.unsettled import ANSWER, NEW, OLD, RELEASE, REMOVE, farm_with, status
from tests.tables import each_case

# --- everybody can be asked ---


@each_case("asked", [GET, ACQUIRE, HEAD, RELEASE, REMOVE])
async def test_what_nobody_has_does_not_exist(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """Where all servers were asked and none has it, 404 is the truth."""
    farm = await farm_with(nursery)

    assert NOT_FOUND == await farm.ask(asked)
    assert [] == farm.observer.named("loss_declared")


@each_case("asked", [(GET, Operation.GET), (RELEASE, Operation.RELEASE)], ids=["get", "release"])
async def test_everybody_else_is_asked_by_head(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: tuple[bytes, Operation]
) -> None:
    """The search takes no lock and consumes no flag; what the primary has said needs no second question."""
    farm = await farm_with(nursery)
    await farm.ask(asked[0])

    assert [asked[1]] == farm.asked_of(0)
    assert [[Operation.RESET_TIMEOUT]] * 3 == [farm.asked_of(place) for place in (1, 2, 3)]


async def test_what_is_nowhere_is_settled(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """All servers have said that they lack it: its first save leaves nothing to remove, nor does a 404."""
    farm = await farm_with(nursery)
    await farm.ask(ACQUIRE)
    farm.forget_requests()
    await farm.ask(GET)
    await farm.ask(SET)

    assert [[Operation.GET, Operation.SET], [Operation.SET], [], []] == [
        farm.asked_of(place) for place in range(4)
    ]


async def test_what_may_be_on_a_silent_server_is_not_settled(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A server that is away may hold something of the key, even where another one's 404 is the truth."""
    farm = await farm_with(nursery)
    farm.router.roster.set_intent(farm.names[3], Intent.MAINT)
    await farm.ask(GET)
    farm.forget_requests()
    await farm.ask(SET)

    assert [Operation.REMOVE] == farm.asked_of(2)


async def test_a_settled_key_is_not_looked_for(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A write under the present epoch has put its key where it belongs: its 404 is the truth at once."""
    farm = await farm_with(nursery)
    await farm.ask(SET)
    await farm.ask(REMOVE)
    farm.forget_requests()
    await farm.ask(GET)

    assert [[Operation.GET], [], [], []] == [farm.asked_of(place) for place in range(4)]


async def test_who_was_away_for_longer_than_any_session_lives(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """All keys are settled without it, so what it missed is not marked; its clock may have stood still."""
    farm = MemoryFarm(nursery, copies=1)
    await farm.start()
    await farm.ask(request(Operation.SET, body=OLD))
    await farm.freeze(0)
    await farm.settle()
    await farm.ask(request(Operation.SET, body=NEW))
    await farm.thaw(0)

    assert ok(NEW, b"Timeout: 20") == await farm.ask(GET)


async def test_in_settled_times_nothing_is_looked_for(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """When nothing has changed for T_max every session lies where it belongs."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.settle()
    farm.forget_requests()
    await farm.ask(GET)

    assert [[Operation.GET], [], []] == [farm.asked_of(place) for place in range(3)]


@each_case("place", [1, 2, 3])
async def test_a_session_is_moved_to_where_it_belongs(
    nursery: trio.Nursery, autojump_clock: MockClock, place: int
) -> None:
    """A server that has it unmarked has the session: it is moved home, copied, and removed elsewhere."""
    farm = await farm_with(nursery, place)

    assert ANSWER == await farm.ask(GET)
    assert [OLD, OLD, None, None] == farm.contents


@each_case("asked", [ACQUIRE, HEAD, RELEASE], ids=["acquire", "head", "release"])
async def test_whoever_asks_the_session_is_moved(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """Any request that would have been answered 404 is answered by the session that was found."""
    farm = await farm_with(nursery, 3)

    assert 200 == status(await farm.ask(asked))
    assert [OLD, OLD, None, None] == farm.contents


async def test_an_uninitialized_session_is_moved_with_its_flag(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The move must not consume what the client is to be told once (ExtraFlags as its ActionFlags said)."""
    farm = await farm_with(nursery)
    farm.tell(3, CREATE)

    assert ok(CONTENT, b"ActionFlags: 1", b"Timeout: 20") == await farm.ask(GET)
    assert ok(CONTENT, b"Timeout: 20") == await farm.ask(GET)


async def test_a_session_is_moved_with_its_time_out(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A session that lives for three minutes does so after its move."""
    farm = await farm_with(nursery)
    farm.tell(2, request(Operation.SET, body=OLD, minutes=3))

    assert ok(OLD, b"Timeout: 3") == await farm.ask(GET)


async def test_a_create_finds_the_session(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A create is let through only where nothing is: what is elsewhere is kept (row 15)."""
    farm = await farm_with(nursery, 3)

    assert ok() == await farm.ask(CREATE)
    assert [OLD, OLD, None, None] == farm.contents


async def test_a_move_is_reported(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Moves are counted by their reason (design.md 9.4)."""
    farm = await farm_with(nursery, 3)
    await farm.ask(GET)
    source = farm.router.roster.pool.members[farm.names[3]].backend

    assert [("session_moved", source, "missed")] == farm.observer.named("session_moved")


# --- locked where it does not belong ---

LOCKED_ELSEWHERE = {
    "get": (GET, 423),
    "acquire": (ACQUIRE, 423),
    "reset_timeout": (HEAD, 200),
    "create": (CREATE, 200),
    "release with its cookie": (request(Operation.RELEASE, cookie=2), 200),
    "release with another cookie": (request(Operation.RELEASE, cookie=7), 423),
}


@each_case(("asked", "expected"), LOCKED_ELSEWHERE.values(), ids=LOCKED_ELSEWHERE)
async def test_a_session_that_is_locked_is_not_moved(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes, expected: int
) -> None:
    """Another page's lock on the owner is relayed, and the session stays where it is."""
    farm = await farm_with(nursery, 3)
    farm.tell(3, ACQUIRE)

    assert expected == status(await farm.ask(asked))
    assert [None, None, None, OLD] == farm.contents


async def test_it_is_moved_when_its_lock_is_released(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The next request after that finds it free."""
    farm = await farm_with(nursery, 3)
    farm.tell(3, ACQUIRE)
    await farm.ask(request(Operation.RELEASE, cookie=2))

    assert ANSWER == await farm.ask(GET)
    assert [OLD, OLD, None, None] == farm.contents


# --- sets and removes ---


async def test_a_set_leaves_nothing_over(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The whole acting set, then a remove to every other server that can have held the key."""
    farm = await farm_with(nursery, 2, 3)
    await farm.save(NEW)

    assert [NEW, NEW, None, None] == farm.contents


async def test_a_remove_leaves_nothing_over(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A remove goes the same way; what it found anywhere makes it a 200."""
    farm = await farm_with(nursery, 3)

    assert ok() == await farm.ask(REMOVE)
    assert [None] * 4 == farm.contents


@pytest.mark.parametrize("asked", [request(Operation.SET, body=NEW), REMOVE], ids=["set", "remove"])
async def test_who_is_out_of_reach_is_marked(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """What lies on a server that cannot be told is remembered, and removed when it is back (P4)."""
    farm = await farm_with(nursery, 3)
    await farm.freeze(3)
    await farm.ask(asked)
    marked = farm.marked
    await farm.thaw(3)
    await trio.sleep(5)

    assert ({3}, set()) == (marked, farm.marked)
    assert farm.contents[2:] == [None, None]


async def test_leftovers_with_a_stale_lock(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A lock that the ledger does not know keeps no leftover alive."""
    farm = await farm_with(nursery, 3)
    farm.tell(3, ACQUIRE)
    await farm.save(NEW)

    assert [NEW, NEW, None, None] == farm.contents


async def test_in_settled_times_a_set_goes_to_the_acting_set_alone(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """When nothing can lie anywhere else no other server is asked."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.settle()
    farm.forget_requests()
    await farm.save(NEW)

    assert [[Operation.SET], [Operation.SET], []] == [farm.asked_of(place) for place in range(3)]
