"""Sessions that only servers out of reach may have: when they are lost, and what follows (design.md 7.4)."""

import pytest
import trio
from trio.testing import MockClock

from partitioner.membership.backend import Intent
from partitioner.membership.losses import LossReason, LostSessions
from partitioner.protocol.messages import Operation
from tests.doubles.backends import NOT_FOUND, ok
from tests.doubles.farms import MemoryFarm
from tests.doubles.sessions import ACQUIRE, CREATE, GET, HEAD, TARGET
from tests.routing.unsettled import ANSWER, LONG, NEW, OLD, RELEASE, REMOVE, STORE_OLD, farm_with, status
from tests.tables import each_case

CLOSED = b""
LOST_AFTER = 60.0
TIMEOUT_FIELD = b"Timeout: 20"


async def farm_with_one_copy(
    nursery: trio.Nursery, lost_sessions: LostSessions = LostSessions.NEW
) -> MemoryFarm:
    """A farm whose servers keep each session alone; the old content was saved on the first."""
    farm = MemoryFarm(nursery, 4, copies=1, lost_sessions=lost_sessions, ledger=LONG)
    await farm.start()
    await farm.save(OLD)
    return farm


def losses(farm: MemoryFarm) -> list[tuple[int, LossReason]]:
    """The place of the silent server and the reason, of each loss that was declared."""
    found = []
    for fact in farm.observer.named("loss_declared"):
        _, _, silent, reason = fact
        assert isinstance(silent, tuple)
        assert isinstance(reason, LossReason)
        found.append((farm.names.index(*silent), reason))
    return found


# --- when ---


@each_case(("asked", "expected"), [(GET, 404), (ACQUIRE, 404), (CREATE, 200)])
async def test_a_loss_is_declared_to_those_who_begin_anew(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes, expected: int
) -> None:
    """A server that refuses connections has lost what it held: get, acquire and create say so at once."""
    farm = await farm_with_one_copy(nursery)
    await farm.eject(0)

    assert expected == status(await farm.ask(asked))
    assert [(0, LossReason.DIED)] == losses(farm)
    assert {0} == farm.marked


@pytest.mark.parametrize("asked", [HEAD, RELEASE])
async def test_others_declare_no_loss(nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes) -> None:
    """A reset_timeout or a release begins nothing anew, so it must not end anything either."""
    farm = await farm_with_one_copy(nursery)
    await farm.eject(0)

    assert CLOSED == await farm.ask(asked)
    assert [] == losses(farm)


@each_case("asked", [GET, ACQUIRE, CREATE])
async def test_a_server_that_times_out_is_waited_for(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """Until it has been DOWN for `lost_after` its sessions are closed, and then declared lost."""
    farm = await farm_with_one_copy(nursery)
    await farm.freeze(0)
    early = [await farm.ask(asked)]
    await trio.sleep(LOST_AFTER - 0.1)
    early.append(await farm.ask(asked))
    await trio.sleep(0.1)
    late = await farm.ask(asked)

    assert [CLOSED, CLOSED] == early
    assert CLOSED != late
    assert [(0, LossReason.TIMED_OUT)] == losses(farm)


async def test_what_comes_back_in_time_is_all_there(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Both servers of a session are behind a switch that is dead for 63 s, and come back with everything."""
    farm = MemoryFarm(nursery, 4, ledger=LONG)
    await farm.start()
    await farm.save(OLD)
    farm.servers[0].freeze()
    farm.servers[1].freeze()
    asked_at, meanwhile = trio.current_time(), []
    while trio.current_time() < asked_at + 63.0:
        meanwhile.append(await farm.ask(GET))
        await trio.sleep(1.0)
    await farm.thaw(0)
    await farm.thaw(1)

    assert {CLOSED} == set(meanwhile)
    assert ANSWER == await farm.ask(GET)
    assert [OLD, OLD, None, None] == farm.contents


async def test_a_server_that_times_out_and_then_refuses_has_died(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A refused connection is proof, whatever was seen before."""
    farm = await farm_with_one_copy(nursery)
    await farm.freeze(0)
    farm.servers[0].kill()
    await trio.sleep(farm.router.health.interval + farm.router.health.timeout)

    assert NOT_FOUND == await farm.ask(GET)
    assert [(0, LossReason.DIED)] == losses(farm)


async def test_a_server_that_comes_back_during_the_search_is_asked(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The last look at the silent servers is after the last wait: the client is closed, and asks again."""
    farm = await farm_with_one_copy(nursery)
    await farm.freeze(0)
    await trio.sleep(LOST_AFTER)
    farm.servers[3].freeze()
    answers: list[bytes] = []

    async def ask() -> None:
        answers.append(await farm.ask(GET))

    async with trio.open_nursery() as asking:
        asking.start_soon(ask)
        await trio.sleep(0.5)
        farm.servers[0].thaw()
        farm.servers[3].thaw()
        incarnation = farm.router.roster.pool.members[farm.names[0]].record.served_incarnation
        assert incarnation is not None
        for _ in range(farm.router.health.rise):
            farm.router.roster.probe_succeeded(farm.names[0], incarnation)

    assert [CLOSED] == answers
    assert ANSWER == await farm.ask(GET)


async def test_a_server_in_maintenance_is_given_up(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What only a server in MAINT has is lost by the operator's word."""
    farm = await farm_with_one_copy(nursery)
    farm.set_intent(0, Intent.MAINT)

    assert NOT_FOUND == await farm.ask(GET)
    assert [(0, LossReason.MAINTENANCE)] == losses(farm)


async def test_a_server_that_leaves_maintenance_is_probed_first(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Until the first probe nothing is known against it, so nothing of it is lost."""
    farm = await farm_with_one_copy(nursery)
    farm.set_intent(0, Intent.MAINT)
    await trio.sleep(5)
    farm.servers[0].freeze()  # its first probe has no answer before the session is asked for
    farm.set_intent(0, Intent.READY)
    at_once = await farm.ask(GET)
    farm.servers[0].thaw()
    await trio.sleep(5)

    assert CLOSED == at_once
    assert ANSWER == await farm.ask(GET)
    assert [] == losses(farm)


# --- whether ---


@each_case(("asked", "expected"), [(GET, 404), (ACQUIRE, 404), (CREATE, 200)])
async def test_what_nobody_has_stored_is_not_lost(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes, expected: int
) -> None:
    """Soon after the router's start a server is down: a visitor's new ID is no loss, and leaves no mark."""
    farm = MemoryFarm(nursery, 4, ledger=LONG)
    await farm.start()
    await farm.eject(0)
    answer = await farm.ask(asked)

    assert expected == status(answer)
    assert [] == losses(farm)
    assert set() == farm.marked - ({0} if asked is CREATE else set())


async def test_what_was_stored_before_the_start_is_not_lost_to_the_log(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It is not known of: its user is told 404, and it is there again when its server is."""
    farm = await farm_with(nursery, 3)
    await farm.freeze(3)
    early = await farm.ask(GET)
    await trio.sleep(LOST_AFTER)
    late = await farm.ask(GET)
    await farm.thaw(3)

    assert (CLOSED, NOT_FOUND) == (early, late)
    assert ([], set()) == (losses(farm), farm.marked)
    assert ANSWER == await farm.ask(GET)


@pytest.mark.parametrize("asked", [GET, CREATE])
async def test_what_nobody_knew_of_does_not_come_back_over_a_new_one(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """The next write marks every server that may hold the session and is out of reach."""
    farm = await farm_with(nursery, 3)
    await farm.freeze(3)
    await trio.sleep(LOST_AFTER)
    await farm.ask(asked)
    await farm.save(NEW)
    marked = farm.marked
    await farm.thaw(3)
    at_once = await farm.ask(GET)
    await trio.sleep(5)

    assert {3} == marked
    assert (200, True) == (status(at_once), at_once.endswith(NEW))
    assert [NEW, NEW, None, None] == farm.contents


async def test_what_the_ledger_knows_of_is_lost(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Its copy has missed a save, so the session existed, and only its dead primary had it."""
    farm = MemoryFarm(nursery, 4, ledger=LONG)
    await farm.start()
    await farm.save(OLD)
    farm.ledger.mark(farm.key, TARGET, farm.names[1], trio.current_time(), is_stale=True)
    await farm.eject(0)

    assert NOT_FOUND == await farm.ask(GET)
    assert [(0, LossReason.DIED)] == losses(farm)


# --- what is done about it ---


@pytest.mark.parametrize("asked", [GET, ACQUIRE])
async def test_what_was_declared_lost_does_not_come_back(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """The server is marked and not read for it any more; nothing is removed (P4)."""
    farm = await farm_with_one_copy(nursery)
    await farm.freeze(0)
    await trio.sleep(LOST_AFTER)
    await farm.ask(asked)
    await farm.thaw(0)
    at_once = await farm.ask(GET)
    await trio.sleep(60)

    assert NOT_FOUND == at_once
    assert NOT_FOUND == await farm.ask(GET)
    assert [OLD, None, None, None] == farm.contents
    assert 1 == len(losses(farm))


async def test_a_loss_removes_nothing_anywhere(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What a server in reach holds is not the session, and stays all the same: a loss is a suspicion."""
    farm = await farm_with_one_copy(nursery)
    farm.tell(2, STORE_OLD)
    farm.ledger.mark(farm.key, TARGET, farm.names[2], trio.current_time(), is_stale=True)
    await farm.eject(0)
    farm.forget_requests()
    await farm.ask(GET)
    await trio.sleep(60)

    assert [(0, LossReason.DIED)] == losses(farm)
    assert [None, OLD, None] == farm.contents[1:]
    assert Operation.REMOVE not in [each for place in (1, 2, 3) for each in farm.asked_of(place)]


async def test_a_loss_does_not_keep_the_pool_from_being_redundant(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """There is no session that would lack a copy, though its marks stay."""
    farm = MemoryFarm(nursery, 4, ledger=LONG)
    await farm.start()
    await farm.save(OLD)
    farm.servers[0].freeze()
    farm.servers[1].freeze()
    await trio.sleep(LOST_AFTER + 20)
    await farm.ask(GET)
    await farm.thaw(0)
    await farm.thaw(1)
    redundancy = farm.router.roster.redundancy

    assert {0, 1} == farm.marked
    assert [] == [each for each in redundancy.why_not_redundant(trio.current_time()) if "marked" in each]


async def test_what_began_anew_is_what_stays(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """After the next save the lost session is removed, as soon as its server is back."""
    farm = await farm_with_one_copy(nursery)
    await farm.freeze(0)
    await trio.sleep(LOST_AFTER)
    await farm.ask(GET)
    await farm.save(NEW)
    await farm.thaw(0)
    at_once = await farm.ask(GET)
    await trio.sleep(5)

    assert ok(NEW, TIMEOUT_FIELD) == at_once
    assert [NEW, None, None, None] == farm.contents


# --- a server that answers has it ---


async def farm_with_an_open_request(nursery: trio.Nursery) -> MemoryFarm:
    """The copy has missed a save, a request to it is still open, and then it takes the next save."""
    farm = MemoryFarm(nursery, 4, ledger=LONG)
    await farm.start()
    farm.ledger.mark(farm.key, TARGET, farm.names[1], trio.current_time(), is_stale=True)
    farm.ledger.note_unanswered(farm.key, TARGET, farm.names[1], trio.current_time())
    assert status(await farm.save(NEW)) == 200
    return farm


async def test_a_save_that_a_marked_server_took_is_not_lost(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its primary dies: closed while something may still lie in a connection, and then it is the session."""
    farm = await farm_with_an_open_request(nursery)
    await farm.eject(0)
    meanwhile = [await farm.ask(GET), await farm.ask(ACQUIRE)]
    farm.ledger.note_worked_off(farm.key, farm.names[1], trio.current_time())

    assert [CLOSED, CLOSED] == meanwhile
    assert ok(NEW, TIMEOUT_FIELD) == await farm.ask(GET)
    assert [] == losses(farm)


async def test_a_lock_does_not_hide_what_a_marked_server_took(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The open request was an acquire and took the lock late: that is released, and the content looked at."""
    farm = await farm_with_an_open_request(nursery)
    await farm.eject(0)
    farm.tell(1, ACQUIRE)
    farm.ledger.note_worked_off(farm.key, farm.names[1], trio.current_time())

    assert ok(NEW, TIMEOUT_FIELD) == await farm.ask(GET)


async def test_an_older_save_that_was_carried_out_late_is_not_the_session(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """What the open request has left behind is older than the save that the server took before (P4)."""
    farm = await farm_with_an_open_request(nursery)
    await farm.eject(0)
    farm.tell(1, STORE_OLD)
    farm.ledger.note_worked_off(farm.key, farm.names[1], trio.current_time())

    assert NOT_FOUND == await farm.ask(GET)
    assert [(0, LossReason.DIED)] == losses(farm)


async def test_a_save_that_was_carried_out_after_a_remove_is_not_the_session(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """An abandoned session does not come back from a request that was still open then (P4)."""
    farm = MemoryFarm(nursery, 4, ledger=LONG)
    await farm.start()
    await farm.save(OLD)
    farm.ledger.note_unanswered(farm.key, TARGET, farm.names[1], trio.current_time())
    await farm.ask(REMOVE)
    farm.tell(1, STORE_OLD)
    farm.ledger.note_worked_off(farm.key, farm.names[1], trio.current_time())

    assert NOT_FOUND == await farm.ask(GET)


# --- lost_sessions: close ---


async def test_with_close_it_comes_back(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """`lost_sessions: close` refuses for as long as the server is out; when it is back, so is the session."""
    farm = await farm_with_one_copy(nursery, LostSessions.CLOSE)
    await farm.freeze(0)
    await trio.sleep(2 * LOST_AFTER)
    meanwhile = await farm.ask(GET)
    await farm.thaw(0)

    assert CLOSED == meanwhile
    assert ANSWER == await farm.ask(GET)
    assert [] == losses(farm)
