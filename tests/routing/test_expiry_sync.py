"""Touches: a copy never expires before its primary, for one HEAD in each twentieth of the time-out (7.2)."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.membership.entry import MISSING
from partitioner.membership.wholeness import LONGEST_WINDOW, SHORTEST_WINDOW
from partitioner.placement.session_id import SessionRef
from partitioner.protocol.messages import Operation
from partitioner.routing.expiry_sync import AT_ONCE, FEW
from tests.doubles.backends import NOT_FOUND, ok
from tests.doubles.farms import T_MAX, MemoryFarm
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import ACQUIRE, CONTENT, GET, HEAD, ID, TARGET, request, target
from tests.identities import STATE_1
from tests.tables import each_case

RELEASE = request(Operation.RELEASE, cookie=2)
SET = request(Operation.SET, minutes=20)
WINDOW = 20 * 60.0 / 20
TOUCH = Operation.RESET_TIMEOUT


async def saved(nursery: trio.Nursery, servers: int = 3, copies: int = 2) -> MemoryFarm:
    """A farm with a session of 20 minutes that was saved a while ago; only touches go on."""
    farm = MemoryFarm(nursery, servers, copies)
    await farm.router.core.probing.first_look()
    nursery.start_soon(farm.router.core.expiry_sync.run)
    await farm.ask(SET)
    await trio.sleep(5 * WINDOW)
    farm.forget_requests()
    return farm


async def touches(farm: MemoryFarm, place: int = 1) -> int:
    await wait_all_tasks_blocked()
    return farm.asked_of(place).count(TOUCH)


SLIDING = {"get": GET, "acquire": ACQUIRE, "release": RELEASE, "reset_timeout": HEAD}


@each_case("asked", SLIDING.values(), ids=SLIDING)
async def test_every_answer_that_slides_the_primary_touches_the_copy(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """At once, when the last touch is older than the window."""
    farm = await saved(nursery)
    await farm.ask(asked)

    assert 1 == await touches(farm)


@pytest.mark.parametrize("asked", [GET, ACQUIRE])
async def test_a_423_slides_too(nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes) -> None:
    """A stock server renews the expiry of a session that it refuses (protocol.md 6, rows 3 and 6)."""
    farm = await saved(nursery)
    farm.tell(0, ACQUIRE)
    await farm.ask(asked)

    assert 1 == await touches(farm)


@pytest.mark.parametrize("asked", [GET, ACQUIRE])
async def test_the_routers_own_423_touches_everybody(
    nursery: trio.Nursery, autojump_clock: MockClock, asked: bytes
) -> None:
    """Where the router stands for a lock no server has renewed anything: the acting primary is touched,
    too."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.ask(SET)
    await farm.ask(ACQUIRE)
    await farm.eject(0)
    await trio.sleep(5 * WINDOW)
    farm.forget_requests()
    await farm.ask(asked)

    assert 1 == await touches(farm, 1)


async def test_answers_in_a_window_are_collected(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Once at the end of the window for all that came within it."""
    farm = await saved(nursery)
    for _ in range(10):
        await farm.ask(GET)
        await trio.sleep(1)
    within = await touches(farm)
    await trio.sleep(WINDOW - 10.1)
    just_before = await touches(farm)
    await trio.sleep(0.2)

    assert (1, 1, 2) == (within, just_before, await touches(farm))


async def test_a_quiet_window_ends_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A key that no client asks for is touched no more, and forgotten."""
    farm = await saved(nursery)
    await farm.ask(GET)
    await trio.sleep(10 * WINDOW)

    assert (1, 0) == (await touches(farm), len(farm.router.core.expiry_sync))


async def test_a_save_touches_by_itself(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A save reaches the copies anyway: the window begins with it."""
    farm = await saved(nursery)
    await farm.ask(SET)
    await farm.ask(GET)
    within = await touches(farm)
    await trio.sleep(WINDOW)

    assert (0, 1) == (within, await touches(farm))


async def test_a_save_makes_good_for_what_was_due(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What was read before a save need not be touched after it."""
    farm = await saved(nursery)
    for asked in (GET, GET, SET):
        await farm.ask(asked)
    await trio.sleep(3 * WINDOW)

    assert 1 == await touches(farm)


async def test_the_window_follows_the_time_out(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A twentieth of a session's time-out: three seconds for one that lives for a minute."""
    farm = await saved(nursery)
    await farm.ask(request(Operation.SET, minutes=1))
    await farm.ask(GET)
    await trio.sleep(SHORTEST_WINDOW - 0.1)
    before = await touches(farm)
    await trio.sleep(0.2)

    assert (0, 1) == (before, await touches(farm))


async def test_a_copy_never_expires_before_its_primary(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """However a session is read, its copy expires no earlier, and no more than 5 % later."""
    farm = await saved(nursery)
    for pause in (1.0, 59.0, 1.0, 200.0, 30.0, 30.0, 61.0, 7.0):
        await farm.ask(GET)
        await trio.sleep(pause)
    await trio.sleep(WINDOW)
    primary, copy = farm.session(0), farm.session(1)

    assert primary is not None
    assert copy is not None
    assert 0 <= copy.expires_at - primary.expires_at <= WINDOW + 1e-3


async def test_a_missing_copy_is_marked(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A touch that is answered 404 marks the copy; repair writes it, and there are k copies again."""
    farm = await saved(nursery)
    farm.tell(1, request(Operation.REMOVE))
    await farm.ask(GET)
    await wait_all_tasks_blocked()
    marked, reasons = farm.marked, farm.router.ledger.reasons()
    await farm.router.core.repairer.repair(farm.key)

    assert ({1}, [CONTENT, CONTENT, None]) == (marked, farm.contents)
    assert {farm.names[1]: {MISSING}} == reasons


async def test_k_copies_again_after_a_failure(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """After the loss of a server the next read of a session gives it its second copy again."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.ask(SET)
    await farm.eject(0)
    await farm.ask(GET)
    await trio.sleep(WINDOW + 2)

    assert [CONTENT, CONTENT] == farm.contents[1:]


async def test_a_server_in_doubt_is_not_touched(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Never a HEAD to a RECOVERING server: it would keep alive what may be stale."""
    farm = await saved(nursery)
    farm.router.roster.suspect(farm.names[1])
    farm.forget_requests()
    await farm.ask(GET)
    await trio.sleep(WINDOW)

    assert 0 == await touches(farm)


async def test_a_marked_copy_is_not_touched(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Nor one that is marked for the key: its mark ends when what it holds has expired."""
    farm = await saved(nursery)
    farm.ledger.mark(farm.key, b"target", farm.names[1], trio.current_time(), is_stale=True)
    await farm.ask(GET)
    await trio.sleep(WINDOW)

    assert 0 == await touches(farm)


async def test_with_one_copy_nothing_is_touched(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Where there are no copies there is nothing to keep alive."""
    farm = await saved(nursery, copies=1)
    await farm.settle()
    farm.forget_requests()
    await farm.ask(GET)
    await trio.sleep(WINDOW)

    assert [[Operation.GET], [], []] == [farm.asked_of(place) for place in range(3)]


async def test_a_touch_passes_the_gate(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A touch is an exchange of the key, and passes like any other."""
    farm = await saved(nursery)
    await farm.ask(GET)
    await wait_all_tasks_blocked()
    await farm.ask(GET)
    await farm.router.core.gate.enter(farm.key)
    await trio.sleep(WINDOW + 1)
    while_busy = await touches(farm)
    farm.router.core.gate.leave(farm.key)

    assert (1, 2) == (while_busy, await touches(farm))


async def test_the_client_does_not_wait_for_touches(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A copy that is slow to be touched costs the client nothing."""
    farm = await saved(nursery)
    farm.servers[1].freeze()
    began_at = trio.current_time()
    answer = await farm.ask(GET)

    assert (ok(CONTENT, b"Timeout: 20"), began_at) == (answer, trio.current_time())


async def test_many_that_are_due_at_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """However many keys are due, only a few of them have a task, and in the end all had their turn."""
    core = MemoryRouter(nursery, 2, copies=2).core
    keys = [b"/%d" % number for number in range(3 * AT_ONCE)]
    for key in keys:
        await core.gate.enter(key)
        core.expiry_sync.note_renewed(SessionRef(key, key, key), STATE_1, 20)
    nursery.start_soon(core.expiry_sync.run)
    before = trio.lowlevel.current_statistics().tasks_living
    await wait_all_tasks_blocked()

    assert AT_ONCE == trio.lowlevel.current_statistics().tasks_living - before

    for key in keys:
        core.gate.leave(key)
    await trio.sleep(200.0)

    assert 0 == len(core.expiry_sync)


async def test_a_session_that_was_removed_after_its_server_fell(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """That a server which is out now had it says nothing of the others: without it, it is only not there.

    Were they all marked for lacking it, no server could tell any more, and the key would stay closed.
    """
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.ask(SET)
    await farm.ask(GET)
    await farm.eject(0)
    await farm.ask(request(Operation.REMOVE))
    await trio.sleep(WINDOW + 1)

    assert {0} == farm.marked
    assert NOT_FOUND == await farm.ask(GET)


async def test_a_copy_that_cannot_be_touched_is_marked(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It would expire before its primary: repair writes it again, time-out and all."""
    farm = await saved(nursery)
    farm.servers[1].freeze()
    await farm.ask(GET)
    await trio.sleep(1.0)

    assert {1} == farm.marked


async def test_a_server_that_is_away_while_copies_are_lacking_is_marked(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """None has taken its place, so its copy counts again when it is back; and it has expired too early."""
    farm = MemoryFarm(nursery, servers=2)
    await farm.start()
    await farm.ask(SET)
    await farm.freeze(1)
    await farm.ask(GET)
    await trio.sleep(WINDOW + 1.0)

    assert {1} == farm.marked


async def test_the_copy_in_doubt_of_a_pool_of_two_lives_as_long_as_its_primary(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Nobody else has one, and it counts when the doubt is over: it is written again, in place of a touch."""
    farm = MemoryFarm(nursery, servers=2)
    await farm.start()
    await farm.ask(SET)
    await trio.sleep(2 * WINDOW)
    farm.router.roster.suspect(farm.names[1])
    await farm.ask(GET)
    await trio.sleep(2.0)
    primary, copy = farm.session(0), farm.session(1)

    assert primary is not None
    assert copy is not None
    assert copy.expires_at >= primary.expires_at


async def test_to_write_a_copy_in_doubt_again_keeps_nothing_alive(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Repair reads the primary for it, which is no reason for the next touch, and so for the next repair."""
    farm = MemoryFarm(nursery, servers=2)
    await farm.start()
    await farm.ask(SET)
    farm.router.roster.suspect(farm.names[1])
    await farm.ask(GET)
    await trio.sleep(2 * WINDOW)
    farm.forget_requests()
    await trio.sleep(10 * WINDOW)

    assert [] == [each for place in (0, 1) for each in farm.asked_of(place) if each is not Operation.GET]
    assert Operation.SET not in farm.asked_of(1)


async def test_a_missing_copy_is_not_forgotten_while_touches_keep_its_session_alive(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Even if no client is told of it for longer than it lives, because a lock keeps it from repair."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.ask(request(Operation.SET, minutes=1))
    farm.tell(1, request(Operation.REMOVE))
    farm.tell(0, ACQUIRE)
    farm.router.roster.unknown_locks_before = trio.current_time()  # it may be a page's of before
    for _ in range(20):
        farm.router.core.expiry_sync.note_renewed(SessionRef(farm.key, TARGET, ID), None, 1)
        await trio.sleep(T_MAX / 15)

    assert farm.session(0) is not None
    assert ({1}, 1) == (farm.marked, farm.ledger.marks_made)


# --- what is remembered, and for how long ---


async def test_a_removed_session_is_forgotten(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Whatever time-out its client has told: clients that put and remove for ever fill no memory."""
    farm = MemoryFarm(nursery, 2)
    await farm.start()
    sync = farm.router.core.expiry_sync
    client = farm.router.client()
    for number in range(500):
        await client.ask(request(Operation.SET, target(number), minutes=525_600))
        await client.ask(request(Operation.REMOVE, target(number)))

    assert (0, True) == (len(sync), len(sync._due) <= FEW + 1)


async def test_no_time_out_makes_a_window_longer(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A session that may live for a year is remembered for five minutes after its last use."""
    farm = MemoryFarm(nursery, 2)
    await farm.start()
    await farm.ask(request(Operation.SET, minutes=525_600))
    remembered = len(farm.router.core.expiry_sync)
    await trio.sleep(LONGEST_WINDOW + 1)

    assert (1, 0) == (remembered, len(farm.router.core.expiry_sync))
