"""Unsettled times: a session that is missed is looked for before anybody says it does not exist (7.4)."""

import pytest
import trio
from trio.testing import MockClock

from partitioner.membership.backend import Intent
from partitioner.membership.ledger import LedgerPolicy
from partitioner.membership.losses import LostSessions
from partitioner.protocol.messages import Operation
from tests.doubles.backends import NOT_FOUND, ok
from tests.doubles.farms import MemoryFarm
from tests.doubles.sessions import ACQUIRE, CONTENT, CREATE, GET, HEAD, SET, TARGET, request

OLD, NEW = b"old content", b"new content"
STORE_OLD = request(Operation.SET, body=OLD)
RELEASE, REMOVE = request(Operation.RELEASE), request(Operation.REMOVE)
ANSWER = ok(OLD, b"Timeout: 20")
LONG = LedgerPolicy()  # an hour: times stay unsettled for as long as a test may take


def status(answer: bytes) -> int:
    """The status of an answer; 0 where the client was hung up on."""
    return int(answer[:3] or b"0")


async def farm_with(
    nursery: trio.Nursery,
    *stored_on: int,
    servers: int = 4,
    copies: int = 2,
    lost_sessions: LostSessions = LostSessions.NEW,
) -> MemoryFarm:
    """A farm soon after the router's start, with the old content on these servers."""
    farm = MemoryFarm(nursery, servers, copies, lost_sessions=lost_sessions, ledger=LONG)
    await farm.start()
    for place in stored_on:
        farm.tell(place, STORE_OLD)
    return farm


# --- everybody can be asked ---


@pytest.mark.parametrize("asked", [GET, ACQUIRE, HEAD, RELEASE, REMOVE])
async def test_what_nobody_has_does_not_exist(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """Where everybody was asked and nobody has it, 404 is the truth."""
    farm = await farm_with(nursery)

    assert NOT_FOUND == await farm.ask(asked)
    assert [] == farm.observer.named("loss_declared")


@pytest.mark.parametrize("asked", [GET, RELEASE])
async def test_everybody_is_asked_by_head(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """The search takes no lock and consumes no flag."""
    farm = await farm_with(nursery)
    await farm.ask(asked)

    assert [[Operation.RESET_TIMEOUT]] * 3 == [farm.asked_of(place) for place in (1, 2, 3)]


async def test_a_settled_key_is_not_looked_for(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A write under the present epoch has put its key where it belongs: its 404 is the truth at once."""
    farm = await farm_with(nursery)
    await farm.ask(SET)
    await farm.ask(REMOVE)
    farm.forget_requests()
    await farm.ask(GET)

    assert [[Operation.GET], [], [], []] == [farm.asked_of(place) for place in range(4)]


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


@pytest.mark.parametrize("place", [1, 2, 3])
async def test_a_session_is_moved_to_where_it_belongs(
    nursery: trio.Nursery, autojump_clock: MockClock, place: int
) -> None:
    """Whoever has it unmarked has the session: it is moved home, copied, and removed elsewhere."""
    farm = await farm_with(nursery, place)

    assert ANSWER == await farm.ask(GET)
    assert [OLD, OLD, None, None] == farm.contents


@pytest.mark.parametrize("asked", [ACQUIRE, HEAD, RELEASE], ids=["acquire", "head", "release"])
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


@pytest.mark.parametrize(("asked", "expected"), LOCKED_ELSEWHERE.values(), ids=LOCKED_ELSEWHERE)
async def test_a_session_that_is_locked_is_not_moved(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes, expected: int
) -> None:
    """Somebody else's lock on the owner is relayed, and the session stays where it is."""
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


# --- somebody is silent ---


@pytest.mark.parametrize("asked", [GET, ACQUIRE, CREATE, HEAD, RELEASE])
async def test_a_server_that_is_not_down_yet_may_have_it(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """While a silent server may still be well nobody is told that the session does not exist (P2)."""
    farm = await farm_with(nursery, 3)
    farm.servers[3].freeze()

    assert 0 == status(await farm.ask(asked))
    assert [] == farm.observer.named("loss_declared")


@pytest.mark.parametrize(("asked", "expected"), [(GET, 404), (ACQUIRE, 404), (CREATE, 200)])
async def test_a_loss_is_declared_to_those_who_begin_anew(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes, expected: int
) -> None:
    """When a silent server is DOWN, get, acquire and create declare what only it has lost."""
    farm = await farm_with(nursery, 3)
    await farm.freeze(3)
    answer = await farm.ask(asked)
    losses = farm.observer.named("loss_declared")

    assert (expected, 1, (farm.names[3],)) == (status(answer), len(losses), losses[0][2])
    assert {3} == farm.marked


@pytest.mark.parametrize("asked", [HEAD, RELEASE])
async def test_others_declare_no_loss(nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes) -> None:
    """A reset_timeout or a release begins nothing anew, so it must not end anything either."""
    farm = await farm_with(nursery, 3)
    await farm.freeze(3)

    assert 0 == status(await farm.ask(asked))
    assert [] == farm.observer.named("loss_declared")


@pytest.mark.parametrize("asked", [GET, ACQUIRE, CREATE])
async def test_with_lost_sessions_close_no_loss_is_declared(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """`lost_sessions: close` refuses instead, for as long as the server is out."""
    farm = await farm_with(nursery, 3, lost_sessions=LostSessions.CLOSE)
    await farm.freeze(3)

    assert 0 == status(await farm.ask(asked))
    assert [] == farm.observer.named("loss_declared")


async def test_with_lost_sessions_close_it_comes_back(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """And when the server is back, so is the session."""
    farm = await farm_with(nursery, 3, lost_sessions=LostSessions.CLOSE)
    await farm.freeze(3)
    await farm.ask(GET)
    await farm.thaw(3)

    assert ANSWER == await farm.ask(GET)


@pytest.mark.parametrize("asked", [GET, ACQUIRE])
async def test_what_was_declared_lost_does_not_come_back(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """The server is marked, and has the session removed as soon as it is back (P4)."""
    farm = await farm_with(nursery, 3)
    await farm.freeze(3)
    await farm.ask(asked)
    await farm.thaw(3)
    at_once = await farm.ask(GET)
    await trio.sleep(5)

    assert NOT_FOUND == at_once
    assert [None] * 4 == farm.contents


async def test_what_was_declared_lost_is_removed_wherever_it_can_be(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Before the 404 is said the key is removed from everybody within reach, old content too."""
    farm = await farm_with(nursery, 2)
    farm.ledger.mark(farm.key, b"target", farm.names[2], trio.current_time(), is_stale=True)
    await farm.freeze(3)
    await farm.ask(GET)

    assert ([None] * 4, {3}) == (farm.contents, farm.marked)


async def test_what_began_anew_is_not_overwritten(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The session that a client began after the loss is what it reads from then on."""
    farm = await farm_with(nursery, 3)
    await farm.freeze(3)
    await farm.ask(GET)
    await farm.save(NEW)
    await farm.thaw(3)
    await trio.sleep(5)

    assert [NEW, NEW, None, None] == farm.contents
    assert ok(NEW, b"Timeout: 20") == await farm.ask(GET)


async def test_a_witness_answers_for_the_silent(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Who has been in the acting set, in one life and unmarked, for all of the last T_max, says the truth."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.settle()
    await farm.eject(2)

    assert NOT_FOUND == await farm.ask(GET)
    assert [] == farm.observer.named("loss_declared")


async def test_a_copy_is_a_witness_too(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """After a long good time the primary dies: what its copy does not have does not exist."""
    farm = MemoryFarm(nursery, lost_sessions=LostSessions.CLOSE)
    await farm.start()
    await farm.settle()
    await farm.eject(0)

    assert NOT_FOUND == await farm.ask(GET)


async def test_a_server_in_maintenance_is_silent_and_given_up(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """What only a server in MAINT has is lost by the operator's word."""
    farm = await farm_with(nursery, 3)
    farm.set_intent(3, Intent.MAINT)

    assert NOT_FOUND == await farm.ask(GET)
    assert [(farm.names[3],)] == [fact[2] for fact in farm.observer.named("loss_declared")]


async def test_a_server_in_doubt_is_not_asked(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """RECOVERING is read for nothing: not even to see whether it has a session that is missed (7.5)."""
    farm = await farm_with(nursery, 3)
    farm.router.roster.cast_doubt(farm.names[3])
    farm.forget_requests()

    assert NOT_FOUND == await farm.ask(GET)
    assert not {Operation.GET, Operation.RESET_TIMEOUT} & set(farm.asked_of(3))


# --- marks ---


async def test_what_is_stale_is_not_the_session(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that an acknowledged change has passed by is not asked, and its silence means nothing."""
    farm = await farm_with(nursery, 3)
    farm.ledger.mark(farm.key, b"target", farm.names[3], trio.current_time(), is_stale=True)

    assert NOT_FOUND == await farm.ask(GET)
    assert [] == farm.observer.named("loss_declared")


async def test_what_went_unanswered_may_be_the_session(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """For want of anybody else what a request without an answer has left behind is the session."""
    farm = await farm_with(nursery, 3)
    farm.ledger.mark(farm.key, b"target", farm.names[3], trio.current_time(), is_stale=False)

    assert ANSWER == await farm.ask(GET)
    assert [OLD, OLD, None, None] == farm.contents


async def test_what_is_still_open_is_waited_for(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Until the connection of a request without an answer has ended nobody can tell: closed, not 404."""
    farm = await farm_with(nursery, 3)
    farm.ledger.note_unanswered(farm.key, b"target", farm.names[3], trio.current_time())
    answer = await farm.ask(GET)

    assert b"" == answer
    assert [] == farm.observer.named("loss_declared")


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
    """When nothing can lie anywhere else nobody else is bothered."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.settle()
    farm.forget_requests()
    await farm.save(NEW)

    assert [[Operation.SET], [Operation.SET], []] == [farm.asked_of(place) for place in range(3)]


# --- at the start ---


async def test_a_server_that_is_not_known_yet_may_have_it(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """At the router's start nobody is declared lost of whom nothing is known (design.md 5)."""
    farm = MemoryFarm(nursery, 4, ledger=LONG)
    farm.tell(3, STORE_OLD)
    farm.servers[3].freeze()
    await farm.start()

    assert b"" == await farm.ask(GET)
    assert [] == farm.observer.named("loss_declared")


async def test_all_that_serve_are_marked_and_one_that_does_not_has_it(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A drained server that is the only good one is asked, and puts the others right (7.6)."""
    farm = await farm_with(nursery, 0, servers=2)
    bookkeeper = farm.router.lane.bookkeeper
    farm.router.roster.set_intent(farm.names[0], Intent.DRAIN)
    bookkeeper.mark(farm.key, TARGET, farm.names[1], is_stale=True)

    assert await farm.ask(GET) == ANSWER
    assert 0 == farm.ledger.keys_marked


async def test_repair_reads_a_server_that_does_not_serve(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The same without a client: a marked server is put right by whoever has the session (7.3)."""
    farm = await farm_with(nursery, 0, servers=2)
    farm.router.roster.set_intent(farm.names[0], Intent.DRAIN)
    farm.router.lane.bookkeeper.mark(farm.key, TARGET, farm.names[1], is_stale=True)
    await trio.sleep(1.0)

    assert 0 == farm.ledger.keys_marked
