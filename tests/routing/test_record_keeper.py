"""The record is written before anything is answered that hangs on it (design.md 5.2)."""

import pytest
import trio
from trio.testing import MockClock

from partitioner.errors import NoBackendLeft
from partitioner.membership.backend import BackendId
from partitioner.membership.entry import REMOVE, WRITE
from partitioner.membership.health import Health
from partitioner.membership.record import Record
from partitioner.membership.record_format import read_record
from partitioner.protocol.messages import Operation
from partitioner.protocol.writer import write_request
from partitioner.routing.record_keeper import TAKEN_BACK_EVERY
from tests.doubles.backends import CANARY_TARGET, ROUTER_NAME
from tests.doubles.network import Fault
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import CONTENT, GET, ID, TARGET, request
from tests.identities import STATE_1, STATE_2, STATE_3, identities
from tests.routing.tenures import ITEMS, MemoryDisk, Site, ask, crash, save, tenure_of
from tests.tables import each_case


def holders(router: MemoryRouter) -> list[BackendId]:
    """The servers of the session of tests, best first."""
    return identities(router.roster.pool.ranking.preference_list(ID))


def dirty(router: MemoryRouter) -> dict[BackendId, frozenset[str]]:
    return dict(router.roster.pool.dirty or {})


async def test_a_degraded_save_is_written_down_first(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """By the time its client is answered two servers know that the third may lack it."""
    site = Site(nursery)
    router = await site.router()
    await save(router)
    primary, copy, other = (site.servers[int(name[-1]) - 1] for name in holders(router))
    copy.freeze()
    for server in (primary, other):
        server.requests.clear()
    answer = await save(router, b"degraded")
    stored = [
        any(operation is Operation.SET and b"record" in target for operation, target in server.requests)
        for server in (primary, other)
    ]

    assert answer.startswith(b"200 OK")
    assert [True, True] == stored
    assert {"write"} == dirty(router)[holders(router)[1]]


async def test_without_a_record_nothing_is_acknowledged(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A save whose copy failed is closed where no server can be told of it."""
    site = Site(nursery)
    router = await site.router()
    await save(router)
    assert router.core.keeper is not None
    router.core.keeper.record = None  # as in the moment of being superseded
    site.servers[int(holders(router)[1][-1]) - 1].freeze()

    assert b"" == await save(router, b"degraded")


async def test_who_is_down_is_written_down(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Also where no client has written yet: others are served in its place."""
    site = Site(nursery)
    router = await site.router()
    name = holders(router)[0]
    site.servers[int(name[-1]) - 1].kill()
    while router.roster.pool.members[name].record.health is Health.UP:
        await router.roster.wait_for_change()
    await trio.sleep(0.1)

    assert {name: frozenset({"write"})} == dirty(router)
    assert frozenset() == router.roster.pool.unrecorded


async def test_a_bit_is_taken_back(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """When its server is back and has been put right, at most ten seconds later."""
    site = Site(nursery)
    router = await site.router()
    await save(router)
    server = site.servers[int(holders(router)[1][-1]) - 1]
    server.freeze()
    await save(router, b"degraded")
    server.thaw()
    await router.observer.wait_for("session_repaired")
    before = dirty(router)
    await trio.sleep(2 * TAKEN_BACK_EVERY)

    assert ([holders(router)[1]], {}) == (list(before), dirty(router))


async def test_a_remove_is_written_down_before_it_is_sent(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Cut off half-way, it may have reached some servers and not one that is away (design.md 5.5.4)."""
    site = Site(nursery)
    router = await site.router()
    await save(router)
    name = holders(router)[1]
    site.servers[int(name[-1]) - 1].freeze()
    await save(router, b"degraded")
    await ask(router, request(Operation.REMOVE))

    assert {"write", "remove"} == dirty(router)[name]


async def test_what_is_needed_is_written_whatever_is_taken_back(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Bits are looked through every two seconds, also while a request waits for a bit to be written."""
    site = Site(nursery, servers=4)
    router = await site.router()
    keeper = router.core.keeper
    assert keeper is not None

    async def ensure() -> None:
        await keeper.ensure({STATE_2: frozenset({"remove"})})
        assert {"remove"} <= dirty(router).get(STATE_2, set())

    for _ in range(12):
        site.servers[0].freeze()  # so that a record takes as long as a probe may
        async with trio.open_nursery() as writing:
            writing.start_soon(keeper.write)
            await trio.sleep(0.5)
            writing.start_soon(ensure)
            await trio.sleep(0.4)
            site.servers[0].thaw()
        await trio.sleep(10.3)


async def test_a_damaged_record(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It is set aside with one line, and those of the other servers are used."""
    site = Site(nursery)
    died = await site.router()
    await save(died, b"saved")
    tenure = tenure_of(died).authority.term
    assert tenure is not None
    record = f"{ITEMS}record-{tenure.term}"
    site.store(0, record, b"damaged")
    crash(died)
    again = await site.router()
    await tenure_of(again).claim("a test")

    assert 1 <= len(again.observer.named("record_set_aside"))
    assert again.serving == {"state-1", "state-2", "state-3"}
    assert (await ask(again, GET)).endswith(b"saved")


@each_case(("third", "is_acknowledged"), [("silent", False), ("full", True)])
async def test_the_disk_counts_where_servers_refuse_the_record(
    nursery: trio.Nursery, autojump_clock: MockClock, third: str, is_acknowledged: bool
) -> None:
    """The next router may run elsewhere, and find none but a server that has missed the last record."""
    site = Site(nursery)
    router = await site.router(MemoryDisk())
    await save(router)
    _, copy, other = (site.servers[int(name[-1]) - 1] for name in holders(router))
    copy.freeze()
    if third == "silent":
        other.freeze()
    else:
        other.fill_up()

    assert is_acknowledged is (await save(router, b"degraded")).startswith(b"200 OK")


async def test_the_disk_has_it_too(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Whatever is written to the servers stands in the state directory as well."""
    site, disk = Site(nursery), MemoryDisk()
    router = await site.router(disk)
    first = disk.written
    site.servers[0].kill()
    while len(router.serving) == 3:
        await router.roster.wait_for_change()
    await trio.sleep(0.1)

    assert first is not None
    assert disk.written is not None
    assert disk.written != first


async def test_a_memory_that_went_back(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that shows a lower beat than it has taken holds something old, and is not read.

    It has a token of its own from then on, locks that were granted there are the router's, and what it shows
    may have been removed.
    """
    site = Site(nursery)
    router = await site.router()
    await trio.sleep(10.0)
    canary = site.item(0, "canary")
    assert canary is not None
    token, _, _ = canary.partition(b" ")
    site.store(0, f"{ITEMS}canary", token + b" beat=5 used=0")
    await trio.sleep(5.0)
    anew = site.item(0, "canary")
    record = router.roster.pool.members[STATE_1].record

    assert Health.RECOVERING is record.health
    assert anew is not None
    assert token != anew.partition(b" ")[0] == record.incarnation
    assert frozenset({WRITE, REMOVE}) == dirty(router)[STATE_1]


def record_on(site: Site, router: MemoryRouter, number: int) -> Record | None:
    """The router's record as a server holds it."""
    term = tenure_of(router).authority.term
    assert term is not None
    written = site.item(number, f"record-{term.term}")
    return None if written is None else read_record(written, ROUTER_NAME, 2_000_000_000_000)


def last_record(router: MemoryRouter) -> Record:
    assert router.core.keeper is not None
    assert router.core.keeper.record is not None
    return router.core.keeper.record


async def test_every_server_has_the_record(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The same one, whichever the next router reaches."""
    site = Site(nursery)
    router = await site.router()

    assert [last_record(router)] * 3 == [record_on(site, router, number) for number in range(3)]


async def test_a_server_that_was_away_gets_the_record_with_its_first_probe(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """What it holds is older meanwhile, and the next router may find no server but that one."""
    site = Site(nursery)
    router = await site.router()
    site.servers[0].freeze()
    while len(router.serving) == 3:
        await router.roster.wait_for_change()
    await trio.sleep(1.0)
    before = record_on(site, router, 0)
    site.servers[0].thaw()
    await trio.sleep(30.0)

    assert before is not None
    assert before.serial < last_record(router).serial
    assert last_record(router) == record_on(site, router, 0)


async def test_a_server_that_is_full(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It refuses the record, and the others have it; it serves what it holds as before."""
    site = Site(nursery)
    router = await site.router()
    site.servers[0].fill_up()
    assert router.core.keeper is not None
    is_safe = await router.core.keeper.write()
    await trio.sleep(60.0)

    assert is_safe
    assert [last_record(router)] * 2 == [record_on(site, router, number) for number in (1, 2)]
    assert router.serving == {"state-1", "state-2", "state-3"}


async def test_a_server_that_keeps_no_canary(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A web server that was entered by mistake stores nothing; its tokens do not fill the record."""
    site = Site(nursery)
    strange = site.servers[0]
    removing = write_request(Operation.REMOVE, CANARY_TARGET, host="partitioner", lock_cookie=0)

    def forget(operation: Operation) -> None:
        if operation is Operation.GET:
            strange.tell(removing)

    strange.on_canary = forget
    router = await site.router()
    await trio.sleep(600.0)

    assert router.serving == {"state-2", "state-3"}
    assert 1 >= len(last_record(router).empty)


async def test_the_longest_timeout_is_in_the_record(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The next router has to know for how long sessions may live, however quiet the farm is."""
    site = Site(nursery)
    router = await site.router()
    long_lived = write_request(
        Operation.SET, TARGET, host="web", timeout_minutes=600, lock_cookie=0, body=CONTENT
    )
    await ask(router, long_lived)
    await trio.sleep(TAKEN_BACK_EVERY + 1.0)

    assert 36_000.0 == last_record(router).longest_life


async def test_beats_that_went_unanswered(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that stood still carries them out late, one after the other: that is no old memory."""
    site = Site(nursery)
    router = await site.router()
    await trio.sleep(5.0)
    for _ in range(4):
        site.servers[0].freeze()
        await trio.sleep(3.0)
        site.servers[0].thaw()
        await trio.sleep(30.0)
        assert Health.UP is router.roster.pool.members[STATE_1].record.health

    assert {} == router.roster.memories.departed


async def test_a_superseded_router_stores_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It reads canaries and terms, and acknowledges nothing any more."""
    site = Site(nursery)
    router = await site.router()
    await save(router)
    crash(router)
    asked: list[Operation] = []
    for server in site.servers:
        server.requests.clear()
        server.on_canary = asked.append
    late = await save(router, b"late")
    await trio.sleep(60.0)
    asked += [operation for server in site.servers for operation, _ in server.requests]

    assert b"" == late
    assert {Operation.GET} == set(asked)
    assert router.core.keeper is not None
    assert not await router.core.keeper.write()


async def test_two_servers_are_enough(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A save whose copy fails is acknowledged when two servers have the record, though others are silent."""
    site = Site(nursery, servers=4)
    router = await site.router()
    await save(router)
    _, copy, third, fourth = (site.servers[int(name[-1]) - 1] for name in holders(router))
    copy.freeze()
    third.freeze()
    answer = await save(router, b"degraded")
    numbers = [site.servers.index(each) for each in (copy, third)]
    have_it = [number for number in range(4) if last_record(router) == record_on(site, router, number)]

    assert answer.startswith(b"200 OK")
    assert 2 == len(have_it)
    assert not set(numbers) & set(have_it)
    assert site.servers.index(fourth) in have_it


async def test_what_is_served_in_the_place_of_a_server_is_written_down_first(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Also where no client has written: without a record the copy's answer is not relayed."""
    site = Site(nursery)
    router = await site.router()
    await save(router)
    assert router.core.keeper is not None
    router.core.keeper.record = None  # as in the moment of being superseded
    name = holders(router)[0]
    site.servers[int(name[-1]) - 1].kill()
    while router.roster.pool.members[name].record.health is Health.UP:
        await router.roster.wait_for_change()

    assert b"" == await ask(router, GET)


@each_case(
    ("silent", "is_safe"),
    [((), True), ((0,), True), ((0, 1), False), ((0, 1, 2), False)],
)
async def test_what_a_record_needs(
    nursery: trio.Nursery, autojump_clock: MockClock, silent: tuple[int, ...], is_safe: bool
) -> None:
    """Two servers must have it, whatever else fails."""
    site = Site(nursery)
    router = await site.router()
    for number in silent:
        site.network.disturb(site.servers[number].address, Fault.ACCEPT_THEN_CLOSE)
    assert router.core.keeper is not None

    assert is_safe is await router.core.keeper.write()


@each_case(("silent", "is_safe"), [((0,), True), ((0, 1), False), ((0, 1, 2), False)])
async def test_what_a_record_needs_beside_a_disk(
    nursery: trio.Nursery, autojump_clock: MockClock, silent: tuple[int, ...], is_safe: bool
) -> None:
    """A disk stands for no server that is silent: the next router may run on another machine."""
    site = Site(nursery)
    router = await site.router(MemoryDisk())
    for number in silent:
        site.network.disturb(site.servers[number].address, Fault.ACCEPT_THEN_CLOSE)
    assert router.core.keeper is not None

    assert is_safe is await router.core.keeper.write()


async def test_a_server_is_no_witness_of_what_it_lacks(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It may be the next one that is away, and its record with it."""
    site = Site(nursery)
    router = await site.router()
    site.network.disturb(site.servers[0].address, Fault.ACCEPT_THEN_CLOSE)
    assert router.core.keeper is not None

    with pytest.raises(NoBackendLeft):
        await router.core.keeper.ensure({STATE_3: frozenset({WRITE})})


async def test_one_failure_is_no_reason_to_close(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that breaks off once is asked again before what hangs on the record is closed."""
    site = Site(nursery)
    router = await site.router()
    site.network.disturb_once(site.servers[0].address, Fault.ACCEPT_THEN_CLOSE)
    assert router.core.keeper is not None
    await router.core.keeper.ensure({STATE_3: frozenset({WRITE})})

    assert {WRITE} <= dirty(router)[STATE_3]


async def test_a_claim_between_a_save_and_its_record(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The term is read after the record was stored: what a later router may not have read is not promised."""
    site = Site(nursery)
    former = await site.router()
    later = await site.router()
    await tenure_of(later).claim("a test")
    was_active = tenure_of(former).is_active
    assert former.core.keeper is not None

    assert was_active
    with pytest.raises(NoBackendLeft):
        await former.core.keeper.ensure({STATE_3: frozenset({WRITE})})


async def test_a_token_is_written_down_before_it_is_planted(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Else the next router would find a memory that no record names, and doubt one that was empty."""
    site = Site(nursery)
    router = await site.router()
    restarted = site.servers[0]
    named: list[bool] = []

    def look(operation: Operation) -> None:
        if operation is Operation.CREATE_UNINITIALIZED:
            record = record_on(site, router, 1)
            named.append(record is not None and bool(record.empty))

    restarted.on_canary = look
    restarted.restart()
    while not named:
        await router.roster.wait_for_change()
        await trio.sleep(1.0)

    assert [True] == named
