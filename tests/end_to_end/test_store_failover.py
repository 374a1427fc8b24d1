"""Engines are killed, frozen and restarted under load: what was saved is read back, and no page fails."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trio

from tests.end_to_end.engines import VALKEY, Engine, SentinelGroup, cluster, engine, sentinel_group
from tests.end_to_end.processes import PARTITIONER
from tests.end_to_end.store_load import EXECUTION_TIMEOUT, StoreLoad
from tests.end_to_end.store_servers import configured_store_server
from tests.end_to_end.store_without import VARIABLE

CALM = 1.5
"""Seconds of work before and after each fault."""

LONGEST_FAILOVER = 5.0
"""Seconds that an exchange may take while a primary is replaced, which is down after one second."""

Fault = Callable[[SentinelGroup], Awaitable[None]]


async def in_thread(work: Callable[..., object], *arguments: object) -> None:
    await trio.to_thread.run_sync(work, *arguments)


async def kill(group: SentinelGroup) -> None:
    """The primary dies, and comes back as a replica of another one."""
    former = group.primary()
    former.kill()
    await in_thread(group.wait_for_another, former)
    await in_thread(former.start)


async def stop(group: SentinelGroup) -> None:
    """The same, in order."""
    former = group.primary()
    assert former.process is not None
    former.process.terminate()
    await in_thread(former.process.wait, 20)
    await in_thread(group.wait_for_another, former)
    await in_thread(former.start)


async def freeze_until_replaced(group: SentinelGroup) -> None:
    """The primary stands still, and goes on in the moment when another one has taken its place."""
    former = group.primary()
    former.freeze()
    try:
        await in_thread(group.wait_for_another, former)
    finally:
        former.thaw()


async def kill_with_lag(group: SentinelGroup) -> None:
    """Replication is behind when the primary dies."""
    former = group.primary()
    replicas = [each for each in group.engines if each is not former]
    for _ in range(10):
        for each in replicas:
            each.freeze()
        await trio.sleep(0.15)
        if _ == 9:
            former.kill()
        for each in replicas:
            each.thaw()
        await trio.sleep(0.05)
    await in_thread(group.wait_for_another, former)
    await in_thread(former.start)


async def kill_in_cluster(nodes: list[Engine]) -> None:
    """A primary of a Cluster dies, and comes back as the replica of what was its own."""
    former = next(each for each in nodes if _is_primary(each))
    others = [each for each in nodes if each is not former]
    before = sum(map(_is_primary, others))
    former.kill()
    with trio.fail_after(60.0):
        while sum(map(_is_primary, others)) == before:
            await trio.sleep(0.05)
        await in_thread(former.start)
        while _is_primary(former):
            await trio.sleep(0.05)


def _is_primary(node: Engine) -> bool:
    role = node.ask("ROLE")
    assert isinstance(role, list)
    return bool(role[0] == b"master")


@contextmanager
def state_servers_of(
    directory: Path, store: str, count: int, module: str = PARTITIONER
) -> Iterator[list[int]]:
    """So many equal state servers with this store; their ports."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                configured_store_server(directory, f"store:\n{store}", f"store-{number}", module)
            ).port
            for number in range(count)
        ]


async def work_through(
    directory: Path,
    group: SentinelGroup,
    fault: Fault,
    servers: int,
    rounds: int,
    settings: str = "",
    module: str = PARTITIONER,
) -> StoreLoad:
    """Have a fault happen so often under load."""

    async def once() -> None:
        await fault(group)
        await in_thread(group.wait_until_whole)

    return await work_under(directory, group.settings + settings, once, servers, rounds, module=module)


async def work_under(
    directory: Path,
    store: str,
    fault: Callable[[], Awaitable[None]],
    servers: int,
    rounds: int,
    execution_timeout: float = EXECUTION_TIMEOUT,
    module: str = PARTITIONER,
) -> StoreLoad:
    """The same for any kind of store."""
    with state_servers_of(directory, store, servers, module) as ports:
        load = StoreLoad(ports, execution_timeout=execution_timeout)
        async with trio.open_nursery() as working:
            await working.start(load.run)
            for _ in range(rounds):
                await trio.sleep(CALM)
                load.history.note(trio.current_time(), "fault")
                await fault()
                load.history.note(trio.current_time(), "over")
            await trio.sleep(CALM)
            load.end()
        await load.look_at_all()
        load.close()
    return load


@pytest.mark.slow
@pytest.mark.parametrize("fault", [kill, stop, freeze_until_replaced, kill_with_lag])
@pytest.mark.parametrize("servers", [1, 2])
async def test_a_primary_is_replaced(fault: Fault, servers: int, tmp_path: Path) -> None:
    """No session is lost or stale, no lock is given twice or left behind, and no page fails."""
    with sentinel_group(tmp_path) as group:
        load = await work_through(tmp_path, group, fault, servers, rounds=2)

    assert [] == [str(each) for each in load.violations()]
    assert [] == [str(each) for each in load.failed]
    assert load.slowest < LONGEST_FAILOVER


@pytest.mark.slow
async def test_a_primary_of_a_cluster_is_replaced(tmp_path: Path) -> None:
    """The same in a Cluster, where a replica that is away has clients wait or be closed."""
    with cluster(tmp_path) as nodes:
        addresses = ", ".join(f"'127.0.0.1:{node.port}'" for node in nodes)
        store = f"  cluster: [{addresses}]\n"
        # A page may wait for its save until its replica is there again.
        load = await work_under(
            tmp_path, store, lambda: kill_in_cluster(nodes), 2, rounds=2, execution_timeout=20.0
        )

    assert [] == [str(each) for each in load.violations()]


@pytest.mark.slow
async def test_slots_move_from_one_primary_to_another(tmp_path: Path) -> None:
    """Requests follow them, also while a slot is under way."""
    with cluster(tmp_path) as nodes:
        addresses = ", ".join(f"'127.0.0.1:{node.port}'" for node in nodes)
        store = f"  cluster: [{addresses}]\n"
        load = await work_under(tmp_path, store, lambda: in_thread(move_slots, nodes), 2, rounds=1)

    assert [] == [str(each) for each in load.violations()]
    assert [] == [str(each) for each in load.failed]


def move_slots(nodes: list[Engine]) -> None:
    """Move all that the last primary holds to the first one, slot by slot, as resharding does."""
    source, target = nodes[2], nodes[0]
    source_id, target_id = (_id(node) for node in (source, target))
    held = source.ask("KEYS", "*")
    assert isinstance(held, list)
    for slot in {str(source.ask("CLUSTER", "KEYSLOT", name)) for name in held}:
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        while names := source.ask("CLUSTER", "GETKEYSINSLOT", slot, "100"):
            assert isinstance(names, list)
            for name in names:
                source.ask("MIGRATE", "127.0.0.1", str(target.port), name, "0", "5000")
        for node in (target, source):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)


def _id(node: Engine) -> bytes:
    found = node.ask("CLUSTER", "MYID")
    assert isinstance(found, bytes)
    return found


@pytest.mark.slow
async def test_an_engine_with_an_append_only_file_is_killed(tmp_path: Path) -> None:
    """It is started again at once, and nobody notices but by waiting."""
    keeping = ("--appendonly", "yes", "--appendfsync", "everysec")
    with engine(tmp_path, VALKEY, *keeping) as running:

        async def kill_and_start() -> None:
            running.kill()
            await trio.sleep(0.5)
            await in_thread(running.start)

        store = f"  primary: 127.0.0.1:{running.port}\n"
        load = await work_under(tmp_path, store, kill_and_start, servers=2, rounds=3)

    assert [] == [str(each) for each in load.violations()]
    assert [] == [str(each) for each in load.failed]


@pytest.mark.slow
async def test_an_engine_stands_still_for_long(tmp_path: Path) -> None:
    """Pages that have waited for 8 s fail, and nothing of them is carried out afterwards."""
    with engine(tmp_path) as running:

        async def freeze_for_long() -> None:
            running.freeze()
            await trio.sleep(15.0)
            running.thaw()

        store = f"  primary: 127.0.0.1:{running.port}\n"
        # No lock can be given back before the engine goes on: pages may run for longer than that.
        load = await work_under(tmp_path, store, freeze_for_long, 2, rounds=1, execution_timeout=20.0)

    assert [] == [str(each) for each in load.violations()]
    assert load.failed


@pytest.mark.slow
async def test_scripts_are_flushed_under_load(tmp_path: Path) -> None:
    with engine(tmp_path) as running:

        async def flush() -> None:
            for _ in range(20):
                running.ask("SCRIPT", "FLUSH")
                await trio.sleep(0.05)

        store = f"  primary: 127.0.0.1:{running.port}\n"
        load = await work_under(tmp_path, store, flush, servers=2, rounds=1)

    assert [] == [str(each) for each in load.violations()]
    assert [] == [str(each) for each in load.failed]


PATIENT = "  timeouts: {answer: 10s}\n"
"""A primary that stands still is not given up before another one has taken its place."""


@pytest.mark.slow
async def test_a_primary_goes_on_that_was_replaced_unnoticed(tmp_path: Path) -> None:
    """It replies to what it had got; its replicas and the Sentinels show that this does not count."""
    with sentinel_group(tmp_path) as group:
        load = await work_through(tmp_path, group, freeze_until_replaced, 2, rounds=2, settings=PATIENT)

    assert [] == [str(each) for each in load.violations()]


# --- each rule, switched off ---

WITHOUT = "tests.end_to_end.store_without"


@pytest.mark.slow
async def test_without_acknowledgement_the_judge_finds_something(tmp_path: Path) -> None:
    """A replaced primary that goes on answers from what it had."""
    with sentinel_group(tmp_path) as group:
        settings = "  acknowledge: primary\n"
        load = await work_through(tmp_path, group, freeze_until_replaced, 2, rounds=2, settings=settings)

    assert load.violations()


@pytest.mark.slow
async def test_without_the_word_of_sentinels_the_judge_finds_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same: that its replicas have left it is not enough to disbelieve it."""
    monkeypatch.setenv(VARIABLE, "stays")
    with sentinel_group(tmp_path) as group:
        load = await work_through(
            tmp_path, group, freeze_until_replaced, 2, rounds=2, settings=PATIENT, module=WITHOUT
        )

    assert load.violations()


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["ids", "giving_back"])
async def test_without_a_rule_the_judge_finds_something(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine stands still, for less than a page waits and for more, and goes on with what it had got."""
    monkeypatch.setenv(VARIABLE, rule)
    with engine(tmp_path) as running:

        async def freeze_twice() -> None:
            for seconds in (2.5, 12.0):
                running.freeze()
                await trio.sleep(seconds)
                running.thaw()
                await trio.sleep(2 * CALM)

        store = f"  primary: 127.0.0.1:{running.port}\n"
        load = await work_under(
            tmp_path, store, freeze_twice, 2, rounds=1, execution_timeout=20.0, module=WITHOUT
        )

    assert load.violations()
