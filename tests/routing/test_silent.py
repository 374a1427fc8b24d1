"""Unsettled times in which a server that may have the session cannot be asked, or not be believed (7.4)."""

import pytest
import trio
from trio.testing import MockClock

from partitioner.membership.backend import Intent
from partitioner.membership.losses import LostSessions
from partitioner.protocol.messages import Operation
from tests.doubles.backends import NOT_FOUND
from tests.doubles.farms import MemoryFarm
from tests.doubles.sessions import ACQUIRE, CREATE, GET, HEAD
from tests.routing.unsettled import ANSWER, LONG, OLD, RELEASE, STORE_OLD, farm_with, status
from tests.tables import each_case

# --- a server is silent ---


@each_case("asked", [GET, ACQUIRE, CREATE, HEAD, RELEASE])
async def test_a_server_that_is_not_down_yet_may_have_it(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """While a silent server may still be well no client is told that the session does not exist (P2)."""
    farm = await farm_with(nursery, 3)
    farm.servers[3].freeze()

    assert 0 == status(await farm.ask(asked))
    assert [] == farm.observer.named("loss_declared")


@pytest.mark.parametrize("asked", [HEAD, RELEASE])
async def test_others_declare_no_loss(nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes) -> None:
    """A reset_timeout or a release begins nothing anew, so it must not end anything either."""
    farm = await farm_with(nursery, 3)
    await farm.freeze(3)

    assert 0 == status(await farm.ask(asked))
    assert [] == farm.observer.named("loss_declared")


@each_case("asked", [GET, ACQUIRE, CREATE])
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


async def test_a_witness_answers_for_the_silent(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Who has been in the acting set, in one incarnation and unmarked, for all of the last T_max, says the
    truth."""
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


async def test_a_server_in_doubt_is_not_asked(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """RECOVERING is read for nothing: not even to see whether it has a session that is missed (7.5)."""
    farm = await farm_with(nursery, 3)
    farm.router.roster.suspect(farm.names[3])
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
    """Until the connection of a request without an answer has ended no server can tell: closed, not 404."""
    farm = await farm_with(nursery, 3)
    farm.ledger.note_unanswered(farm.key, b"target", farm.names[3], trio.current_time())
    answer = await farm.ask(GET)

    assert b"" == answer
    assert [] == farm.observer.named("loss_declared")


# --- at the start ---


async def test_a_server_that_is_not_known_yet_may_have_it(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """At the router's start no server of which nothing is known is declared lost (design.md 5)."""
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
    ledger_keeper = farm.router.core.ledger_keeper
    farm.router.roster.set_intent(farm.names[0], Intent.DRAIN)
    ledger_keeper.mark(farm.session_ref, farm.names[1], is_stale=True)

    assert await farm.ask(GET) == ANSWER
    assert 0 == farm.ledger.keys_marked


async def test_repair_reads_a_server_that_does_not_serve(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The same without a client: a marked server is put right by the server that has the session (7.3)."""
    farm = await farm_with(nursery, 0, servers=2)
    farm.router.roster.set_intent(farm.names[0], Intent.DRAIN)
    farm.router.core.ledger_keeper.mark(farm.session_ref, farm.names[1], is_stale=True)
    await trio.sleep(1.0)

    assert 0 == farm.ledger.keys_marked
