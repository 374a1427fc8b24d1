"""A server is its memory: what is known of it goes with its canary's token (design.md 5.1)."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import pytest
import trio
from trio.testing import MockClock

from partitioner.errors import Refused
from partitioner.membership.backend import NO_IDENTITY, Address, Backend, BackendId, Intent
from partitioner.membership.health import Health, HealthRecord, Symptom
from partitioner.protocol.messages import Operation
from partitioner.routing.probes import Prober
from partitioner.routing.roster import DOWN_FOR_GOOD
from tests.doubles.backends import CANARY_TARGET, INCARNATION, MemoryStateServer, incarnation_of, ok
from tests.doubles.farms import MemoryFarm
from tests.doubles.network import Fault
from tests.doubles.routers import MemoryRouter, backend
from tests.doubles.sessions import ACQUIRE, GET, request
from tests.identities import STATE_1, STATE_2
from tests.routing.changes import ANSWER, NEW, OLD, farm_of, health
from tests.tables import each_case

GRANTED = 2  # the first cookie of a new session (protocol.md 1, fact 7)
A_WHILE = 20.0
"""Seconds in which servers come up, and whatever is repaired or handed over has been."""

Change = Callable[[MemoryFarm], list[Backend]]


# --- the file says something else of the same servers ---


def renamed(farm: MemoryFarm) -> list[Backend]:
    """All servers get new names."""
    return [Backend(f"new-{each.name}", each.address) for each in farm.router.backends]


def respelt(farm: MemoryFarm) -> list[Backend]:
    """All addresses are spelt in another way."""
    entries = []
    for each in farm.router.backends:
        spelt = Address(f"{each.name}.example", each.address.port)
        farm.router.network.alias(spelt, each.address)
        entries.append(Backend(each.name, spelt))
    return entries


def swapped(farm: MemoryFarm) -> list[Backend]:
    """The servers get each other's names."""
    before = farm.router.backends
    return [
        Backend(each.name, other.address) for each, other in zip(before, before[1:] + before[:1], strict=True)
    ]


CHANGES = each_case("change", [renamed, respelt, swapped], ids=lambda each: each.__name__)
IS_SEEN = each_case("is_seen", [True, False])


async def change_to(farm: MemoryFarm, backends: list[Backend], *, is_seen: bool) -> None:
    """Have the pool consist of these; `is_seen`: their canaries are read first, as a reload does."""
    seen = await farm.router.core.identify(backends) if is_seen else {}
    farm.router.roster.adopt(backends, seen=seen)


def record_of(router: MemoryRouter, name: str) -> HealthRecord:
    """What is known of the server that has this name now."""
    pool = router.roster.pool
    return pool.members[pool.places[name]].record


def has_canary(server: MemoryStateServer, token: bytes) -> None:
    """Have a server show this canary."""
    server.tell(request(Operation.SET, CANARY_TARGET, body=token))


async def test_servers_are_told_of_by_their_names(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What they were called before they were renamed does not show in what operators read."""
    farm = MemoryFarm(nursery)
    await farm.start()
    await farm.save()
    await change_to(farm, renamed(farm), is_seen=True)
    for place in (0, 1):
        farm.servers[place].kill()
    await farm.ask(GET)
    await farm.eject(0)
    await farm.eject(1)
    await farm.ask(GET)
    told = [
        str(fact[-1])
        for name in ("backend_troubled", "exchange_closed")
        for fact in farm.observer.named(name)
    ]
    ((_, _, lost, _),) = farm.observer.named("loss_declared")

    assert [] == [each for each in told if not each.startswith("new-")]
    assert told
    assert lost in list(permutations(f"new-{each}" for each in farm.names[:2]))


@CHANGES
@IS_SEEN
async def test_a_session_survives(
    nursery: trio.Nursery, autojump_clock: MockClock, change: Change, is_seen: bool
) -> None:
    """All the time it is on as many servers as it should be, and in the end it is read."""
    farm = await farm_of(nursery)
    await change_to(farm, change(farm), is_seen=is_seen)
    fewest = len(farm.servers)
    for _ in range(200):
        await trio.sleep(A_WHILE / 200)
        fewest = min(fewest, farm.contents.count(OLD))

    assert fewest >= 2
    assert ANSWER == await farm.ask(GET)


@CHANGES
async def test_a_server_that_is_seen_is_up_all_the_time(
    nursery: trio.Nursery, autojump_clock: MockClock, change: Change
) -> None:
    """Whose canary was read before the change serves on, in its memory's identity."""
    farm = await farm_of(nursery)
    incarnations = {
        each.record.incarnation: identity for identity, each in farm.router.roster.pool.members.items()
    }
    entries = change(farm)
    await change_to(farm, entries, is_seen=True)
    pool = farm.router.roster.pool

    assert {each.name for each in entries} == set(pool.places)
    assert pool.eligible == set(pool.places.values())
    assert incarnations == {each.record.incarnation: identity for identity, each in pool.members.items()}


@CHANGES
async def test_a_server_that_was_not_seen(
    nursery: trio.Nursery, autojump_clock: MockClock, change: Change
) -> None:
    """Its first probe finds out who it is, which is told once for each; none is left over."""
    farm = await farm_of(nursery)
    incarnations = {
        each.record.incarnation: identity for identity, each in farm.router.roster.pool.members.items()
    }
    await change_to(farm, change(farm), is_seen=False)
    await trio.sleep(A_WHILE)
    members = farm.router.roster.pool.members

    assert incarnations == {each.record.incarnation: identity for identity, each in members.items()}
    assert {Health.UP} == {each.record.health for each in members.values()}
    assert len(farm.servers) == len(farm.observer.named("backend_moved"))


@CHANGES
@IS_SEEN
async def test_a_lock_survives(
    nursery: trio.Nursery, autojump_clock: MockClock, change: Change, is_seen: bool
) -> None:
    """It is held all the time, and the page that holds it saves what it has."""
    farm = await farm_of(nursery)
    await farm.ask(ACQUIRE)
    await change_to(farm, change(farm), is_seen=is_seen)
    await trio.sleep(A_WHILE)
    by_another = await farm.ask(ACQUIRE)
    saved = await farm.save(NEW, GRANTED)

    assert by_another.startswith(b"423 ")
    assert saved.startswith(b"200 ")
    assert ok(NEW, b"Timeout: 20") == await farm.ask(GET)


@CHANGES
@IS_SEEN
async def test_marks_survive(
    nursery: trio.Nursery, autojump_clock: MockClock, change: Change, is_seen: bool
) -> None:
    """A copy that missed a save while its server was away is never read, and is put right."""
    farm = await farm_of(nursery, servers=2)
    await farm.freeze(1)
    await farm.save(NEW)
    await change_to(farm, change(farm), is_seen=is_seen)
    farm.servers[1].thaw()
    await trio.sleep(A_WHILE)

    assert [NEW, NEW] == farm.contents


async def test_a_swap_of_two_that_are_not_seen_reads_no_marked_copy(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Also when the stale copy is the first one to come back, under the name of the other."""
    farm = await farm_of(nursery, servers=2)
    await farm.freeze(1)
    await farm.save(NEW)
    farm.servers[0].freeze()
    await change_to(farm, swapped(farm), is_seen=False)
    farm.servers[1].thaw()
    answers = []
    for _ in range(10):
        await trio.sleep(1.0)
        answers.append(await farm.ask(GET))

    assert {b""} == set(answers)


# --- the servers move, and the file says nothing of it ---


async def test_a_server_moves_while_its_former_entry_is_still_there(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Its memory is known where it is now; at its former place another server is expected."""
    farm = await farm_of(nursery, copies=1)
    spare = backend(9)
    farm.router.roster.adopt([*farm.router.backends, spare])
    [name] = [each for each, found in zip(farm.names, farm.contents, strict=True) if found]
    server = farm.servers[farm.names.index(name)]
    await trio.sleep(A_WHILE)
    server.go_on_at(spare.address)
    await trio.sleep(A_WHILE)
    pool = farm.router.roster.pool

    assert name == pool.places["state-9"]
    assert (Health.UP, Health.DOWN) == (
        record_of(farm.router, "state-9").health,
        record_of(farm.router, name).health,
    )
    assert len(farm.observer.named("backend_moved")) == 1
    assert ANSWER == await farm.ask(GET)


async def test_a_server_at_the_former_place_of_another_one(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """What comes up there is another memory, which serves, and has nothing to do with what was there."""
    farm = await farm_of(nursery)
    spare = backend(9)
    farm.router.roster.adopt([*farm.router.backends, spare])
    await trio.sleep(A_WHILE)
    former = farm.servers[0].address
    farm.servers[0].go_on_at(spare.address)
    await trio.sleep(A_WHILE)
    MemoryStateServer(farm.router.network, former)
    await trio.sleep(A_WHILE)
    incarnations = [record_of(farm.router, each).incarnation for each in (farm.names[0], "state-9")]

    assert Health.UP is record_of(farm.router, farm.names[0]).health
    assert len(set(incarnations)) == 2
    assert ANSWER == await farm.ask(GET)


async def test_the_former_entry_of_a_removed_server_ends(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A removed server that turns up at a new entry is not drained, and nothing is removed from it."""
    farm = await farm_of(nursery, servers=2, copies=1)
    place = farm.contents.index(OLD)
    name, server = farm.names[place], farm.servers[place]
    [other] = [each for each in farm.router.backends if each.name != name]
    server.kill()
    farm.router.roster.adopt([other])
    server.go_on_at(backend(9).address)
    farm.router.roster.adopt([other, backend(9)])
    await trio.sleep(A_WHILE)
    members = farm.router.roster.pool.members

    assert [] == [identity for identity, each in members.items() if each.removed_at is not None]
    assert name == farm.router.roster.pool.places["state-9"]
    assert ANSWER == await farm.ask(GET)


@each_case("is_answered", [True, False])
async def test_a_probe_under_way_while_its_server_moves(
    nursery: trio.Nursery, autojump_clock: MockClock, is_answered: bool
) -> None:
    """What it finds at the former address, another memory or none, is not held against the server."""
    router = MemoryRouter(nursery, 1)
    router.take_in()
    another = MemoryStateServer(router.network, router.backends[0].address)
    another.freeze()
    moved = Backend("state-1", Address("10.0.0.9", 42424))
    async with trio.open_nursery() as probing:
        probing.start_soon(Prober(STATE_1, router.connector, router.roster).probe)
        await trio.sleep(0.5)
        router.roster.adopt([moved], seen={moved.address: INCARNATION})
        if is_answered:
            has_canary(another, b"another")
            another.thaw()
    record = record_of(router, "state-1")

    assert (Health.UP, INCARNATION, 0) == (record.health, record.incarnation, record.failures)


@each_case("is_answered", [True, False])
async def test_an_exchange_under_way_while_its_server_moves(
    nursery: trio.Nursery, autojump_clock: MockClock, is_answered: bool
) -> None:
    """A connection that was being opened to the former address says nothing against the server."""
    router = MemoryRouter(nursery, 1)
    router.take_in()
    another = MemoryStateServer(router.network, router.backends[0].address)
    another.freeze()
    moved = Backend("state-1", Address("10.0.0.9", 42424))
    has_canary(MemoryStateServer(router.network, moved.address), INCARNATION)
    async with trio.open_nursery() as asking:
        asking.start_soon(router.client().ask, GET)
        await trio.sleep(0.5)
        router.roster.adopt([moved], seen={moved.address: INCARNATION})
        if is_answered:
            has_canary(another, b"another")
            another.thaw()
    record = record_of(router, "state-1")

    assert (Health.UP, INCARNATION, 0) == (record.health, record.incarnation, record.failures)


# --- one server, entered twice; one memory, copied ---


async def test_a_server_that_is_entered_twice(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """One of the entries serves, and the other one says why it does not."""
    router = MemoryRouter(nursery, 2, copies=2)
    first, second = router.backends
    MemoryStateServer(router.network, first.address)
    router.network.alias(second.address, first.address)
    await router.probe_on()
    await trio.sleep(A_WHILE)
    [serving] = router.serving
    [alias] = {STATE_1, STATE_2} - {serving}
    named = {each.name: each for each in router.backends}
    record = router.roster.pool.members[alias].record

    assert (Health.DOWN, Symptom.ALIAS) == (record.health, record.symptom)
    assert [
        (
            "backend_entered_twice",
            named[alias],
            f"is the same server as {serving} ({named[serving].address})",
            1,
        )
    ] == router.observer.named("backend_entered_twice")


@each_case("serving", [1, 2])
async def test_an_alias_that_becomes_a_server_of_its_own(
    nursery: trio.Nursery, autojump_clock: MockClock, serving: int
) -> None:
    """As soon as its address leads elsewhere both serve, whichever of the entries has served until then."""
    router = MemoryRouter(nursery, 2, copies=2)
    first, second = router.backends
    MemoryStateServer(router.network, first.address)
    router.network.alias(second.address, first.address)
    incarnation = (await router.connector.connect_planting(first, 1.0))[1].token
    router.roster.probe_succeeded(BackendId(f"state-{serving}"), incarnation)
    await router.probe_on()
    await trio.sleep(A_WHILE)
    before = {router.roster.pool.places[f"state-{each}"] for each in (1, 2)} & router.serving
    MemoryStateServer(router.network, second.address)
    router.network.alias(second.address, second.address)
    await trio.sleep(A_WHILE)

    assert {f"state-{serving}"} == before
    assert {Health.UP} == {each.record.health for each in router.roster.pool.members.values()}
    assert incarnation == record_of(router, "state-1").incarnation


async def test_a_copied_memory(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The clone of a machine gets a token of its own, and is written to, and not read."""
    farm = await farm_of(nursery)
    clone = MemoryStateServer(farm.router.network, backend(9).address)
    clone.begin_as_copy_of(farm.servers[0])
    await farm.save(NEW)
    farm.router.roster.adopt([*farm.router.backends, backend(9)])
    await trio.sleep(A_WHILE)
    record, original = record_of(farm.router, "state-9"), record_of(farm.router, farm.names[0])

    assert (Health.RECOVERING, Health.UP) == (record.health, original.health)
    assert record.incarnation != original.incarnation
    assert len(farm.observer.named("memory_was_copied")) == 1
    assert len(farm.router.roster.memories.copied) == 1
    assert ok(NEW, b"Timeout: 20") == await farm.ask(GET)


# --- who is trusted ---


async def forgotten(farm: MemoryFarm, place: int) -> None:
    """Have a server that is away removed from the configuration, and forgotten."""
    name = farm.names[place]
    farm.router.roster.adopt([each for each in farm.router.backends if each.name != name])
    await trio.sleep(DOWN_FOR_GOOD + A_WHILE)
    assert name not in farm.router.roster.pool.members


async def test_an_empty_server_that_is_put_back(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It has missed nothing: it is read at once, though its former memory was forgotten."""
    farm = await farm_of(nursery)
    farm.servers[0].kill()
    await forgotten(farm, 0)
    farm.servers[0].start()
    farm.router.roster.adopt(farm.router.backends)
    await farm.observer.wait_for("backend_came_up", 4)

    assert Health.UP is health(farm, farm.names[0])
    assert [] == farm.observer.named("backend_doubted")


async def test_a_memory_that_was_forgotten_comes_back(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It is not known what it missed: it is written to, and not read."""
    farm = await farm_of(nursery)
    farm.servers[0].kill()
    await forgotten(farm, 0)
    await farm.save(NEW)
    farm.servers[0].go_on_at(farm.servers[0].address)
    farm.router.roster.adopt(farm.router.backends)
    await farm.observer.wait_for("backend_doubted")

    assert Health.RECOVERING is health(farm, farm.names[0])
    assert ok(NEW, b"Timeout: 20") == await farm.ask(GET)


async def test_a_memory_that_comes_back_after_another_one(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """An empty server has stood in its place, and the marks of what it missed ended with that one's
    incarnation."""
    farm = await farm_of(nursery)
    name, address = farm.names[0], farm.servers[0].address
    await farm.eject(0)
    replacement = MemoryStateServer(farm.router.network, address)
    await trio.sleep(A_WHILE)
    while_empty = record_of(farm.router, name).health
    await farm.save(NEW)
    replacement.kill()
    farm.servers[0].go_on_at(address)
    await trio.sleep(A_WHILE)

    assert (Health.UP, Health.RECOVERING) == (while_empty, record_of(farm.router, name).health)
    assert ok(NEW, b"Timeout: 20") == await farm.ask(GET)


# --- what is not removed ---


async def test_nothing_is_removed_while_somebody_may_be_anybody(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A newcomer that has not answered yet may be one of the servers that hold the session."""
    farm = await farm_of(nursery)
    newcomer = backend(9)
    farm.router.network.disturb(newcomer.address, Fault.HANG)
    farm.forget_requests()
    drained = [
        replace(each, intent=Intent.DRAIN) if each.name == farm.names[1] else each
        for each in farm.router.backends
    ]
    farm.router.roster.adopt([*drained, newcomer])
    await farm.save(NEW)
    while_unknown = Operation.REMOVE in farm.asked_of(1)
    await farm.observer.wait_for("backend_missing")
    await farm.save(NEW)

    assert (False, True) == (while_unknown, Operation.REMOVE in farm.asked_of(1))


# --- what adopting makes of tokens that were seen ---


def adopted(
    router: MemoryRouter, backends: list[Backend], incarnations: dict[int, bytes]
) -> dict[str, BackendId]:
    """Adopt these, having seen these tokens; the identities by name."""
    router.roster.adopt(
        backends, seen={backends[each].address: incarnation for each, incarnation in incarnations.items()}
    )
    return router.roster.pool.places


async def test_identities_go_by_tokens(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """By the token first, then by name and address together; who has neither is new."""
    router = MemoryRouter(nursery, 3)
    router.take_in()
    one, two, three = router.backends
    moved = Backend("moved", Address("10.0.0.9", 42424))
    at_anothers = replace(three, address=one.address, identity=NO_IDENTITY)

    assert {"moved": "state-1", "state-2": "state-2", "state-3": "state-3"} == adopted(
        router, [moved, two, at_anothers], {0: incarnation_of(1), 2: incarnation_of(3)}
    )


async def test_an_unknown_token_is_a_new_member(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It does not get the identity of the server that had its name before."""
    router = MemoryRouter(nursery, 2)
    router.take_in()
    other = Backend("state-2", Address("10.0.0.9", 42424))
    places = adopted(router, [router.backends[0], other], {1: b"another"})

    assert "state-2" != places["state-2"]
    assert router.roster.pool.members[STATE_2].removed_at is not None


async def test_two_entries_with_one_token_are_refused(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The sentence names both, and nothing has changed."""
    router = MemoryRouter(nursery, 2)
    router.take_in()
    pool = router.roster.pool
    alias = Backend("twin", Address("10.0.0.9", 42424))

    with pytest.raises(Refused) as refused:
        adopted(router, [*router.backends, alias], {2: INCARNATION})
    assert str(refused.value) == (
        "twin (10.0.0.9:42424) is the same server as state-1 (10.0.0.1:42424); expected each server once"
    )
    assert router.roster.pool is pool


async def test_reading_canaries_for_a_reload(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Nothing is planted, and only those are asked that are not known by name and address."""
    farm = MemoryFarm(nursery, 2)
    await farm.start()
    empty = MemoryStateServer(farm.router.network, backend(9).address)
    dialled = len(farm.router.network.dialled)
    seen = await farm.router.core.identify([*farm.router.backends, backend(9), backend(8)])

    assert {} == seen
    assert {backend(9).address, backend(8).address} == {
        address for _, address in farm.router.network.dialled[dialled:]
    }
    assert [] == empty.requests
