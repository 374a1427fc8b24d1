"""Which router is the active one: claims, standbys, and being superseded (design.md 5.3)."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import pytest
import trio
from trio.testing import MockClock

from partitioner.errors import NoBackendLeft
from partitioner.membership.backend import Address, BackendId
from partitioner.membership.entry import LONGEST_PAGE
from partitioner.membership.health import Health
from partitioner.membership.items import MOST_EARLIER, Term, read_canary, read_term
from partitioner.membership.tenure import STANDS_STILL, Role
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import encode_target
from partitioner.protocol.writer import write_request
from partitioner.transport.standstill import LONGEST_PAUSE, Standstills
from tests.doubles.network import Fault
from tests.doubles.routers import MemoryRouter, backend
from tests.doubles.sessions import ACQUIRE, GET, ID
from tests.identities import STATE_1
from tests.routing.tenures import ITEMS, MemoryDisk, Site, ask, crash, save, stop, tenure_of
from tests.tables import each_case

HEALTH_CHECK = write_request(Operation.RESET_TIMEOUT, encode_target("/health"))


def acting_primary(router: MemoryRouter) -> BackendId:
    """The first server of the session of tests."""
    pool = router.roster.pool
    return pool.places[pool.ranking.preference_list(ID)[0]]


async def test_the_first_router_of_a_farm(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Where no router was before it claims when it starts, with a term on every server."""
    site = Site(nursery)
    router = await site.router()

    assert tenure_of(router).is_active
    assert [1, 1, 1] == site.terms()
    assert (await save(router)).startswith(b"200 OK")


async def test_a_second_router_stands_by(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While another one is active and used, clients of a standby are closed, and it writes nothing."""
    site = Site(nursery)
    active = await site.router()
    standby = await site.router()
    for _ in range(10):
        await save(active)
        await trio.sleep(1.0)
        assert b"" == await ask(standby, GET)

    assert (True, False) == (tenure_of(active).is_active, tenure_of(standby).is_active)
    assert [1, 1, 1] == site.terms()
    assert standby.serving == {"state-1", "state-2", "state-3"}  # it sees that they answer


async def test_an_active_router_that_nobody_uses(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A router with a client claims when the beats have said for five seconds that no client is served."""
    site = Site(nursery)
    idle = await site.router()
    await save(idle)
    used = await site.router()
    await trio.sleep(3 * STANDS_STILL)
    answer = await ask(used, GET)

    assert answer.startswith(b"200 OK")
    assert tenure_of(used).is_active
    await trio.sleep(3.0)
    assert not tenure_of(idle).is_active


async def test_a_router_that_has_died(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Its beats stand still; for five seconds clients are closed, and then served with all that was saved."""
    site = Site(nursery)
    died = await site.router()
    standby = await site.router()
    await save(died, b"saved")
    await trio.sleep(1.0)
    crash(died)
    at_once = await ask(standby, GET)
    await trio.sleep(STANDS_STILL + 2.0)

    assert b"" == at_once
    assert (await ask(standby, GET)).endswith(b"saved")


async def test_a_router_that_has_stopped_in_order(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It says so in its last beats: the next one with a client claims at once."""
    site = Site(nursery)
    stopped = await site.router()
    standby = await site.router()
    await save(stopped, b"saved")
    await stop(stopped)
    await trio.sleep(3.0)  # for the standby to look

    assert (await ask(standby, GET)).endswith(b"saved")


async def test_a_router_that_is_restarted_on_its_machine(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The record on its own disk is that of the last active router: it need not wait for anybody."""
    site, disk = Site(nursery), MemoryDisk()
    died = await site.router(disk)
    await save(died, b"saved")
    crash(died)
    again = await site.router(disk)

    assert tenure_of(again).is_active
    assert (await ask(again, GET)).endswith(b"saved")


async def test_a_health_check_makes_nobody_active(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A HEAD of what is not a session is closed by a standby, however long the active router is gone."""
    site = Site(nursery)
    died = await site.router()
    standby = await site.router()
    crash(died)
    await trio.sleep(10 * STANDS_STILL)

    assert b"" == await ask(standby, HEALTH_CHECK)
    assert Role.STANDBY is tenure_of(standby).authority.role


async def test_superseded(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A router that sees a higher term forgets what it knew, writes nothing, and closes its clients."""
    site = Site(nursery)
    former = await site.router()
    await ask(former, ACQUIRE)
    await save(former)
    later = await site.router()
    await tenure_of(later).claim("a test")
    await save(later, b"later")
    await trio.sleep(3.0)  # it finds out with its next probe, or when it opens a connection
    closed = await ask(former, GET)

    assert b"" == closed
    assert Role.STANDBY is tenure_of(former).authority.role
    assert 0 == len(former.ledger)
    assert 1 == len(former.observer.named("superseded"))
    assert (await ask(later, GET)).endswith(b"later")


async def test_a_superseded_router_forgets_its_locks(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """They are what later routers release and grant: the former one has no word in that any more."""
    site = Site(nursery)
    former = await site.router()
    await save(former)
    await ask(former, ACQUIRE)
    held = former.ledger.locks_held
    later = await site.router()
    await tenure_of(later).claim("a test")
    await trio.sleep(3.0)

    assert (1, 0) == (held, former.ledger.locks_held)


async def test_a_superseded_router_can_claim_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It needs no restart: what it knows comes from the record of the one in between."""
    site = Site(nursery)
    first, second = await site.router(), await site.router()
    await tenure_of(second).claim("a test")
    await save(second, b"in between")
    await trio.sleep(3.0)
    await tenure_of(first).claim("a test")

    assert (await ask(first, GET)).endswith(b"in between")
    assert [3, 3, 3] == site.terms()


async def test_a_lower_term_is_written_over(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that was away over a claim gets the term before anything else is sent there."""
    site = Site(nursery)
    former = await site.router()
    site.servers[2].freeze()
    later = await site.router()
    await tenure_of(later).claim("a test")
    crash(former)
    before = site.terms()
    site.servers[2].thaw()
    await trio.sleep(60.0)

    assert [2, 2, 1] == before
    assert [2, 2, 2] == site.terms()


async def test_nobody_takes_the_claim(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Without a server there is no claim; the next client makes it retry."""
    site = Site(nursery)
    for server in site.servers:
        server.kill()
    router = await site.router()
    closed = await ask(router, GET)
    for server in site.servers:
        server.start()

    assert b"" == closed
    assert (await save(router)).startswith(b"200 OK")


async def test_who_was_away_is_not_read(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The next router finds in the record that a server may lack a save, and reads its copies."""
    site = Site(nursery)
    died = await site.router()
    await save(died, b"old")
    first = acting_primary(died)
    site.servers[int(first[-1]) - 1].freeze()
    while died.roster.pool.members[first].record.health is Health.UP:
        await died.roster.wait_for_change()
    saved = await save(died, b"new")
    crash(died)
    site.servers[int(first[-1]) - 1].thaw()
    again = await site.router()
    await tenure_of(again).claim("a test")

    assert saved.startswith(b"200 OK")
    assert Health.RECOVERING is again.roster.pool.members[first].record.health
    assert (await ask(again, GET)).endswith(b"new")


async def test_marks_are_handed_over(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """After a stop in order the next router on the machine knows what a server lacks, and doubts none."""
    site, disk = Site(nursery), MemoryDisk()
    stopped = await site.router(disk)
    await save(stopped, b"old")
    first = acting_primary(stopped)
    site.servers[int(first[-1]) - 1].freeze()
    while stopped.roster.pool.members[first].record.health is Health.UP:
        await stopped.roster.wait_for_change()
    await save(stopped, b"new")
    await stop(stopped, disk)
    site.servers[int(first[-1]) - 1].thaw()
    again = await site.router(disk)

    assert Health.UP is again.roster.pool.members[first].record.health
    assert (await ask(again, GET)).endswith(b"new")
    await trio.sleep(5.0)
    assert 0 == again.ledger.keys_marked  # repaired


async def test_superseded_by_a_router_in_use(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Its next client does not make it claim back: it looks first, and sees that another one serves."""
    site = Site(nursery)
    former = await site.router()
    await save(former)
    later = await site.router()
    await tenure_of(later).claim("a test")
    answers = []
    for _ in range(40):
        await save(later)
        answers.append(await ask(former, GET))
        await trio.sleep(0.25)

    assert 1 == len(former.observer.named("superseded"))
    assert b"" == answers[-1]
    assert [2, 2, 2] == site.terms()
    assert 0 == len(later.observer.named("superseded"))


async def test_both_claim_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """One of them has it in the end, and it alone serves."""
    site = Site(nursery)
    died = await site.router()
    await save(died, b"saved")
    routers = [await site.router(), await site.router()]
    crash(died)
    await trio.sleep(2 * STANDS_STILL)
    async with trio.open_nursery() as asking:
        for router in routers:
            asking.start_soon(ask, router, GET)
    await trio.sleep(4.0)
    active = [router for router in routers if tenure_of(router).is_active]

    assert 1 == len(active)
    assert (await ask(active[0], GET)).endswith(b"saved")


class SlowDisk(MemoryDisk):
    """A state directory on a disk that is busy."""

    async def save(self, written: bytes) -> None:
        await trio.sleep(2.0)
        await super().save(written)


async def test_a_look_that_ends_during_a_claim(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What a standby saw is out of date by then: it says nothing of what servers lack."""
    site = Site(nursery)
    async with trio.open_nursery() as until_it_dies:
        await save(await site.router(runs_in=until_it_dies))
        until_it_dies.cancel_scope.cancel()
    standby = await site.router(SlowDisk())
    await trio.sleep(2 * STANDS_STILL)
    site.network.disturb_once(backend(1).address, Fault.HANG)
    await site.network.wait_for_dial()  # of the standby, which looks again
    await tenure_of(standby).claim("a test")
    await trio.sleep(5.0)

    assert site.servers_by_name == standby.serving
    assert [] == standby.observer.named("backend_ejected")


async def test_two_start_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Whichever claim meets the other one where: one router has it in the end, and reaches every server."""
    for steps_ahead in range(0, 30, 2):
        site = Site(nursery)
        routers = [site.new_router(MemoryDisk()) for _ in range(2)]

        async with trio.open_nursery() as starting:
            starting.start_soon(routers[0].start)
            for _ in range(steps_ahead):
                await trio.lowlevel.checkpoint()
            starting.start_soon(routers[1].start)
        await trio.sleep(4.0)
        active = [router for router in routers if tenure_of(router).is_active]

        assert [site.servers_by_name] == [router.serving for router in active], steps_ahead
        (standby,) = {*routers} - {*active}
        await tenure_of(standby).claim("a test")
        assert site.servers_by_name == standby.serving, steps_ahead


async def test_a_server_of_another_farm(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The record of another farm of this name, found on one server, is not taken for our own, however new."""
    other, site = Site(nursery, servers=1, first_word=100), Site(nursery)
    for _ in range(3):
        stranger = await other.router()
        await tenure_of(stranger).claim("a test")
        crash(stranger)
    ours = await site.router()
    await save(ours, b"saved")
    crash(ours)
    term = read_term(other.item(0, "term") or b"")
    for item in ("canary", "term", f"record-{term.term}"):
        site.store(0, ITEMS + item, other.item(0, item) or b"")
    again = await site.router()
    await tenure_of(again).claim("a test")

    assert {"state-2", "state-3"} == again.serving
    assert Health.RECOVERING is again.roster.pool.members[STATE_1].record.health
    assert [("other_farm_seen", again.roster.pool.members[STATE_1].backend)] == again.observer.named(
        "other_farm_seen"
    )


async def test_cut_off_from_most_servers(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """With fewer than half of the servers no client is served while another router may have the others."""
    site = Site(nursery)
    former = await site.router()
    await save(former)
    crash(former)
    later = await site.router()
    await tenure_of(later).claim("a test")
    alone = next(int(name[-1]) - 1 for name in later.roster.pool.ranking.preference_list(ID))
    for number in {0, 1, 2} - {alone}:
        site.servers[number].kill()
    await trio.sleep(5.0)
    while_it_matters = await ask(later, GET)
    await trio.sleep(3600.0)

    assert b"" == while_it_matters
    assert (await save(later)).startswith(b"200 OK")


def last_order(router: MemoryRouter) -> Term:
    """The term of a router's record."""
    assert router.core.keeper is not None
    assert router.core.keeper.record is not None
    return router.core.keeper.record.order[0]


# --- Which record can be believed -----------------------------------------------------------------------


async def claim_after(site: Site, *frozen: int, lost_after: float = 60.0) -> float:
    """How long it takes a new router to claim after a crash, if these servers do not answer it."""
    died = await site.router()
    await save(died, b"saved")
    crash(died)
    for number in frozen:
        site.servers[number].freeze()
    again = await site.router(lost_after=lost_after)
    began_at = trio.current_time()
    await tenure_of(again).claim("a test")
    return trio.current_time() - began_at


@each_case(
    ("servers", "frozen", "is_awaited"),
    [
        (3, (), False),
        (3, (0,), False),  # all but one, and two at least
        (3, (0, 1), True),
        (2, (), False),
        (2, (1,), True),
        (1, (), False),
        (4, (0,), False),
        (4, (0, 1), True),
    ],
)
async def test_a_record_is_current(
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    servers: int,
    frozen: tuple[int, ...],
    is_awaited: bool,
) -> None:
    """Where no server is left that can have a later one; else it is waited for, at most `lost_after`."""
    took = await claim_after(Site(nursery, servers), *frozen, lost_after=20.0)

    assert is_awaited is (took >= 20.0)
    assert is_awaited is (took > 5.0)


async def test_a_reload_changes_how_long_a_record_is_awaited(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """`lost_after` can be changed while the router runs."""
    site = Site(nursery, 2)
    died = await site.router()
    await save(died, b"saved")
    crash(died)
    site.servers[0].freeze()
    again = await site.router(lost_after=300.0)
    again.core.adopt(replace(again.core.policy, lost_after=20.0))
    began_at = trio.current_time()
    await tenure_of(again).claim("a test")

    assert 20.0 <= trio.current_time() - began_at < 60.0


async def test_a_server_that_was_restarted_has_no_later_record(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It has lost its record with the rest, and is not waited for."""
    site = Site(nursery, 2)
    died = await site.router()
    await save(died, b"saved")
    crash(died)
    site.servers[1].restart()
    again = await site.router()
    began_at = trio.current_time()
    await tenure_of(again).claim("a test")

    assert trio.current_time() - began_at < 5.0


async def test_who_was_waited_for_in_vain(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that comes later may hold a later record, and what it lacks is not known: it is RECOVERING."""
    site = Site(nursery, 2)
    died = await site.router()
    await save(died, b"saved")
    crash(died)
    site.servers[0].freeze()
    again = await site.router(lost_after=20.0)
    await tenure_of(again).claim("a test")
    site.servers[0].thaw()
    await trio.sleep(60.0)

    assert Health.RECOVERING is again.roster.pool.members[STATE_1].record.health


async def test_clients_that_give_up_do_not_begin_the_wait_anew(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """No client waits for as long as a record is waited for; one after the other they do."""
    site = Site(nursery, 2)
    died = await site.router()
    await save(died, b"saved")
    crash(died)
    site.servers[0].kill()
    again = await site.router(lost_after=30.0)
    await trio.sleep(2 * STANDS_STILL)
    began_at = trio.current_time()
    while not tenure_of(again).is_active and trio.current_time() < began_at + 120.0:
        await ask(again, GET)
        await trio.sleep(0.5)
    took = trio.current_time() - began_at
    await trio.sleep(LONGEST_PAGE)  # the server that is away may have granted a lock

    assert 30.0 <= took < 40.0
    assert (await ask(again, GET)).endswith(b"saved")


async def test_claims_that_came_to_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """However many there were, the record of the last router that served is still found."""
    site = Site(nursery, 2)
    died = await site.router()
    await save(died, b"saved")
    left = last_order(died)
    crash(died)
    site.servers[0].freeze()
    for _ in range(2 * MOST_EARLIER):
        again = await site.router()
        with trio.move_on_after(5.0):
            await tenure_of(again).claim("a test")
        assert not tenure_of(again).is_active
    term = site.item(1, "term")

    assert term is not None
    assert left in read_term(term).all


@each_case(("frozen", "is_awaited"), [((0, 1), True), ((), False)])
async def test_a_term_without_a_record(
    nursery: trio.Nursery, autojump_clock: MockClock, frozen: tuple[int, ...], is_awaited: bool
) -> None:
    """A router was there before: its record may lie where no server answers, and is waited for."""
    site = Site(nursery)
    died = await site.router()
    await save(died, b"saved")
    term = last_order(died)
    crash(died)
    for number in {0, 1, 2} - set(frozen):
        site.store(number, f"{ITEMS}record-{term}", b"damaged")
    for number in frozen:
        site.servers[number].freeze()
    again = await site.router(lost_after=20.0)
    began_at = trio.current_time()
    await tenure_of(again).claim("a test")

    assert is_awaited is (trio.current_time() - began_at >= 20.0)


# --- What earlier routers have left ---------------------------------------------------------------------


async def test_records_of_earlier_terms_are_removed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A router that has claimed removes them from every server, soon after its own is written."""
    site = Site(nursery)
    for _ in range(4):
        router = await site.router()
        await save(router)
        crash(router)
    last = await site.router()
    await tenure_of(last).claim("a test")
    await trio.sleep(3.0)

    assert [{str(last_order(last))}] * 3 == [site.records(number) for number in range(3)]
    assert (await ask(last, GET)).startswith(b"200 OK")


async def test_a_server_that_was_away_at_the_claim(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It is rid of older records when it has come back, and has the record that is valid."""
    site = Site(nursery)
    first = await site.router()
    await trio.sleep(15.0)
    crash(first)
    site.servers[0].freeze()
    second = await site.router()
    await tenure_of(second).claim("a test")
    await trio.sleep(15.0)
    kept = site.records(0)
    crash(second)
    last = await site.router()
    await tenure_of(last).claim("a test")
    site.servers[0].thaw()
    await trio.sleep(60.0)

    assert 1 == len(kept)
    assert [{str(last_order(last))}] * 3 == [site.records(number) for number in range(3)]


async def test_servers_that_break_off_while_records_are_removed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """That harms nothing, and it is retried."""
    site = Site(nursery)
    died = await site.router()
    await save(died)
    crash(died)
    last = await site.router()
    await tenure_of(last).claim("a test")
    site.network.disturb(backend(1).address, Fault.HANG)
    await trio.sleep(2.5)
    kept = site.records(0)
    site.network.calm(backend(1).address)
    await trio.sleep(60.0)

    assert 1 < len(kept)
    assert {str(last_order(last))} == site.records(0)


# --- Standing still in a claim --------------------------------------------------------------------------


class MachineClock:
    """A clock that only tests move, unlike trio's."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def stand_still_in_a_claim(nursery: trio.Nursery, pauses: Sequence[int]) -> tuple[Site, MemoryRouter]:
    """Have a router claim, and stand still at these of the canaries that are read from the first server."""
    site, clock = Site(nursery), MachineClock()
    died = await site.router()
    await save(died, b"saved")
    crash(died)
    standstills = Standstills(clock)
    nursery.start_soon(standstills.run)
    later = await site.router(standstills=standstills)
    reads = count(1)

    def pause(operation: Operation) -> None:
        if operation is Operation.GET and next(reads) in pauses:
            clock.now += LONGEST_PAUSE + 0.1

    site.servers[0].on_canary = pause
    await tenure_of(later).claim("a test")
    return site, later


@each_case(
    ("pauses", "term"),
    [((), 2), ((1,), 2), ((2,), 2), ((3,), 2), ((4,), 3), ((2, 5), 3), ((4, 7), 4)],
)
async def test_a_router_that_stands_still_in_a_claim(
    nursery: trio.Nursery, autojump_clock: MockClock, pauses: tuple[int, ...], term: int
) -> None:
    """It claims anew: what it has read is out of date, and another router may have claimed since."""
    site, later = await stand_still_in_a_claim(nursery, pauses)
    await trio.sleep(3.0)

    assert tenure_of(later).is_active
    assert [term] * 3 == site.terms()
    assert 1 == len(later.observer.named("claimed"))
    assert (await ask(later, GET)).endswith(b"saved")


async def test_a_router_that_stands_still_as_its_record_is_written(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """That is the last wait of a claim: the claim begins anew even so."""
    site, clock = Site(nursery), MachineClock()
    crash(await site.router())

    class SlowDisk(MemoryDisk):
        """Keeps the router from everything else for a while, once."""

        async def save(self, written: bytes) -> None:
            if self.written is None:
                clock.now += LONGEST_PAUSE + 0.1
            await super().save(written)
            await trio.lowlevel.cancel_shielded_checkpoint()  # as after work in a thread

    standstills = Standstills(clock)
    nursery.start_soon(standstills.run)
    later = await site.router(SlowDisk(), standstills=standstills)
    await tenure_of(later).claim("a test")

    assert [3] * 3 == site.terms()
    assert tenure_of(later).is_active


async def test_a_router_that_stands_still_in_every_claim(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It gives up after some tries, and is a standby."""
    with pytest.raises(NoBackendLeft, match="stood still"):
        await stand_still_in_a_claim(nursery, range(1000))


async def test_a_record_that_cannot_be_written(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A claim ends there: the router after this one would not know that anybody had claimed in between."""
    site = Site(nursery)
    crash(await site.router())
    again = await site.router()
    for server in site.servers:

        def fail(operation: Operation, address: Address = server.address) -> None:
            if operation is Operation.SET:  # a beat, which comes after the term
                site.network.disturb(address, Fault.ACCEPT_THEN_CLOSE)

        server.on_canary = fail

    with pytest.raises(NoBackendLeft):
        await tenure_of(again).claim("a test")
    assert Role.STANDBY is tenure_of(again).authority.role


async def test_the_term_is_written_before_the_record_is_read(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Else the former router could store one more record after it was read, and promise what hangs on it."""
    site = Site(nursery)
    died = await site.router()
    left = f"record-{last_order(died)}".encode()
    crash(died)
    for server in site.servers:
        server.requests.clear()
    again = await site.router()
    await tenure_of(again).claim("a test")

    for server in site.servers:
        asked = [
            (operation, target.endswith(b"term"), left in target) for operation, target in server.requests
        ]
        assert (Operation.GET, False, True) in asked[asked.index((Operation.SET, True, False)) :]


async def test_a_ledger_goes_with_the_record_that_it_names(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """What a router left here when it stopped says nothing of what another one has done since."""
    site, disk = Site(nursery), MemoryDisk()
    stopped = await site.router(disk)
    await save(stopped, b"old")
    await stop(stopped, disk)
    between = await site.router()
    await tenure_of(between).claim("a test")
    first = acting_primary(between)
    site.servers[int(first[-1]) - 1].freeze()
    while between.roster.pool.members[first].record.health is Health.UP:
        await between.roster.wait_for_change()
    await save(between, b"new")
    crash(between)
    site.servers[int(first[-1]) - 1].thaw()
    again = await site.router(disk)
    await tenure_of(again).claim("a test")

    assert Health.RECOVERING is again.roster.pool.members[first].record.health
    assert (await ask(again, GET)).endswith(b"new")


@each_case("behind", [20_000, 5_000])
async def test_a_memory_that_went_back_before_the_claim(
    nursery: trio.Nursery, autojump_clock: MockClock, behind: int
) -> None:
    """The others tell: a server that is below its last beat, or far below the newest of all, was put back."""
    site = Site(nursery)
    died = await site.router()
    await trio.sleep(20.0)
    crash(died)
    canary = site.item(0, "canary")
    assert canary is not None
    shown = read_canary(canary)
    site.store(0, f"{ITEMS}canary", replace(shown, beat=shown.beat - behind).written())
    again = await site.router()
    await tenure_of(again).claim("a test")
    record = again.roster.pool.members[STATE_1].record

    assert Health.RECOVERING is record.health
    assert shown.token != record.incarnation


async def test_a_memory_that_no_record_names(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Nothing is known of what it missed: it is not read."""
    site = Site(nursery)
    died = await site.router()
    crash(died)
    site.store(0, f"{ITEMS}canary", b"unheard-of beat=0 used=0")
    again = await site.router()
    await tenure_of(again).claim("a test")

    assert Health.RECOVERING is again.roster.pool.members[STATE_1].record.health
