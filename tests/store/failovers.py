"""`python -m tests.store.failovers`: kill, freeze and restart engines under load, and judge what users saw.

Each row is a fault, or a rule that is switched off. Several rows run side by side, each with engines, state
servers and web servers of its own; what its web servers saw is judged by the simulation's checker.
"""

import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import click
import trio

from tests.end_to_end.engines import (
    REDIS,
    VALKEY,
    Engine,
    SentinelGroup,
    cluster,
    engine,
    sentinel_group,
    wait_until,
)
from tests.end_to_end.processes import PARTITIONER, Program, forked_from_warm_processes, maybe_warm
from tests.end_to_end.store_load import LoadPlan, StoreLoad
from tests.end_to_end.store_servers import configured_store_server
from tests.end_to_end.store_without import VARIABLE
from tests.simulation.checker import Kind, Violation

WITHOUT = "tests.end_to_end.store_without"

LONGEST_FAILOVER = 5.0
"""Seconds that an exchange may take while a primary is replaced, which is down after one second."""

LONGEST_AGREEMENT = 4.0
"""Seconds that the Sentinels take at most where nothing holds them up."""

Fault = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Store:
    """Running engines: the key `store` of a configuration, and what happens to them."""

    settings: str
    fault: Fault
    was_disturbed: Callable[[int], bool] = lambda rounds: False
    """Whether the machine was too slow for so many rounds: a primary was replaced that no fault had befallen,
    or the Sentinels took long to agree on the next one."""


@dataclass(frozen=True)
class Row:
    """A fault, and what is expected of the state servers."""

    name: str
    store: Callable[[Path], AbstractContextManager[Store]]
    servers: int = 1
    rounds: int = 2
    settings: str = ""  # more of the key `store`
    without: str = ""  # a rule that is switched off (store_without), or something in `settings` does it
    pages_may_fail: bool = False
    is_shut_out: bool = False  # clients are closed to the end: the engine has lost what was saved
    is_quick: bool = True  # it takes as long as a replaced primary does
    execution_timeout: float = 20.0  # longer than any fault holds a page up, or its lock seems to be left


@dataclass(frozen=True)
class Outcome:
    """What a row has come to."""

    row: Row
    load: StoreLoad
    was_disturbed: bool  # the machine was too slow
    log: str = field(repr=False)  # of the state servers

    @property
    def faults(self) -> list[str]:
        """What is wrong; nothing if all is as it is expected."""
        violations = [str(each) for each in self.load.violations() if not self._is_excused(each)]
        if self.row.without:
            return [] if violations else ["the judge has found nothing"]
        if not self.row.pages_may_fail and not self.was_disturbed:
            violations += [f"PAGE FAILED: {each}" for each in self.load.failed]
            if self.load.slowest > LONGEST_FAILOVER and self.row.is_quick:
                violations.append(f"SLOW: {self.load.slowest:.1f} s")
        return violations

    def _is_excused(self, violation: Violation) -> bool:
        """Whether clients are closed to the end: two failovers in a row may lose what was degraded, too."""
        return (self.was_disturbed or self.row.is_shut_out) and violation.kind is Kind.SHUT_OUT

    def __str__(self) -> str:
        kinds = Counter(each.kind.value for each in self.load.violations())
        found = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "no violations"
        exchanges = len(self.load.history.exchanges)
        return (
            f"{'BAD' if self.faults else 'ok '} {self.row.name}: {exchanges} exchanges, {found}, "
            f"{len(self.load.failed)} closed, slowest {self.load.slowest:.1f} s"
            f"{', too slow a machine' if self.was_disturbed else ''}"
        )


def run_rows(rows: Sequence[Row], directory: Path, plan: LoadPlan, parallel: int) -> Iterator[Outcome]:
    """Run so many rows at the same time, each in a thread; outcomes in the order of the rows."""
    for module in {WITHOUT if row.without else PARTITIONER for row in rows}:
        maybe_warm(module)  # before there are threads
    with ThreadPoolExecutor(parallel) as pool:
        yield from pool.map(partial(_run_row, directory=directory, plan=plan), rows)


_numbers = iter(range(1_000_000))
_numbers_lock = threading.Lock()


def _run_row(row: Row, directory: Path, plan: LoadPlan) -> Outcome:
    with _numbers_lock:
        own = directory / f"row-{next(_numbers)}"
    own.mkdir(parents=True)
    with row.store(own) as store, ExitStack() as stack:
        servers = [
            stack.enter_context(
                configured_store_server(
                    own,
                    f"store:\n{store.settings}{row.settings}",
                    f"store-{number}",
                    WITHOUT if row.without else PARTITIONER,
                    {VARIABLE: row.without} if row.without else None,
                )
            )
            for number in range(row.servers)
        ]
        plan = replace(plan, execution_timeout=row.execution_timeout)
        load = StoreLoad([each.port for each in servers], plan)
        trio.run(_work, load, store.fault, row.rounds)
        log = _log([each.program for each in servers])
        return Outcome(row, load, store.was_disturbed(row.rounds), log)


def _log(programs: Sequence[Program]) -> str:
    return "\n".join(program.output for program in programs)


async def _work(load: StoreLoad, fault: Fault, rounds: int) -> None:
    async with trio.open_nursery() as working:
        await working.start(load.run)
        for _ in range(rounds):
            await trio.sleep(load.plan.calm)
            load.history.note(trio.current_time(), "fault")
            await fault()
            load.history.note(trio.current_time(), "over")
        await trio.sleep(load.plan.calm)
        load.end()
    await load.look_at_all()
    load.close()


# --- behind Sentinels ---

GroupFault = Callable[[SentinelGroup], Awaitable[None]]


async def in_thread(work: Callable[..., object], *arguments: object) -> None:
    await trio.to_thread.run_sync(work, *arguments)


async def kill(group: SentinelGroup) -> None:
    """The primary dies, and comes back as a replica of the next one."""
    former = group.primary()
    former.kill()
    await _come_back(group, former)


async def kill_and_forget(group: SentinelGroup) -> None:
    """It comes back as what it was, and the Sentinels make it a replica."""
    former = group.primary()
    former.kill()
    await in_thread(group.wait_for_another, former)
    await in_thread(former.start)


async def terminate(group: SentinelGroup) -> None:
    """The primary is stopped in order."""
    former = group.primary()
    assert former.process is not None
    former.process.terminate()
    await in_thread(former.process.wait, 20)
    await _come_back(group, former)


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
    await _come_back(group, former)


async def promote_what_was_away(group: SentinelGroup) -> None:
    """A replica dies, work goes on, the primary dies as well, and the replica comes back as it was."""
    former = group.primary()
    other = next(each for each in group.engines if each is not former)
    await in_thread(other.ask, "SAVE")
    other.kill()
    await trio.sleep(2.0)
    former.kill()
    await in_thread(other.start)
    await _come_back(group, former)


async def _come_back(group: SentinelGroup, former: Engine) -> None:
    await in_thread(group.wait_for_another, former)
    await in_thread(former.start, "--replicaof", f"127.0.0.1 {group.primary().port}")


def behind_sentinels(
    fault: GroupFault, kind: str = VALKEY, replicas: int = 1
) -> Callable[[Path], AbstractContextManager[Store]]:
    """A primary with so many replicas, and three Sentinels."""

    @contextmanager
    def store(directory: Path) -> Iterator[Store]:
        with sentinel_group(directory, kind, replicas) as group:

            async def once() -> None:
                await fault(group)
                await in_thread(group.wait_until_whole)

            def was_disturbed(rounds: int) -> bool:
                return group.failovers() > rounds or group.longest > LONGEST_AGREEMENT

            yield Store(group.settings, once, was_disturbed)

    return store


# --- one engine ---


def one_engine(
    fault: Callable[[Engine], Awaitable[None]], *arguments: str, kind: str = VALKEY
) -> Callable[[Path], AbstractContextManager[Store]]:
    """An engine alone, started with these arguments."""

    @contextmanager
    def store(directory: Path) -> Iterator[Store]:
        with engine(directory, kind, *arguments) as running:
            yield Store(f"  primary: 127.0.0.1:{running.port}\n", lambda: fault(running))

    return store


async def kill_and_start(running: Engine) -> None:
    running.kill()
    await trio.sleep(0.5)
    await in_thread(running.start)


async def flush_scripts(running: Engine) -> None:
    for _ in range(20):
        running.ask("SCRIPT", "FLUSH")
        await trio.sleep(0.05)


async def freeze_for_long(running: Engine) -> None:
    running.freeze()
    await trio.sleep(15.0)
    running.thaw()


async def freeze_for_moments(running: Engine) -> None:
    """Each time for longer than it is waited for, and for less than a page waits.

    What it had got is little: a batch that may have no change in it.
    """
    for _ in range(8):
        running.freeze()
        await trio.sleep(1.6)
        running.thaw()
        await trio.sleep(0.7)


# --- a Cluster ---


def a_cluster(
    fault: Callable[[list[Engine]], Awaitable[None]],
) -> Callable[[Path], AbstractContextManager[Store]]:
    """Three primaries, each with a replica."""

    @contextmanager
    def store(directory: Path) -> Iterator[Store]:
        with cluster(directory) as nodes:
            addresses = ", ".join(f"'127.0.0.1:{node.port}'" for node in nodes)
            yield Store(f"  cluster: [{addresses}]\n", lambda: fault(nodes))

    return store


async def kill_in_cluster(nodes: list[Engine]) -> None:
    """A primary dies, and comes back as the replica of what was its own."""
    former = next(each for each in nodes if _is_primary(each))
    others = [each for each in nodes if each is not former]
    before = sum(map(_is_primary, others))
    former.kill()
    await in_thread(wait_until, lambda: sum(map(_is_primary, others)) > before)
    await in_thread(former.start)
    await in_thread(wait_until, lambda: not _is_primary(former))


def _is_primary(node: Engine) -> bool:
    role = node.ask("ROLE")
    assert isinstance(role, list)
    return bool(role[0] == b"master")


async def move_slots(nodes: list[Engine]) -> None:
    await in_thread(_move_slots, nodes)


def _move_slots(nodes: list[Engine]) -> None:
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


# --- all rows ---

PATIENT = "  timeouts: {answer: 10s}\n"
"""A primary that stands still is not given up before another one has taken its place."""

AOF = ("--appendonly", "yes", "--appendfsync", "everysec")

REPLACED: tuple[Row, ...] = tuple(
    Row(f"{fault.__name__}, {servers} servers", behind_sentinels(fault), servers)
    for fault in (kill, terminate, freeze_until_replaced, kill_with_lag)
    for servers in (1, 2)
)
"""A primary is replaced; it is the first of two engines."""

OTHERS: tuple[Row, ...] = (
    # It replies to what it had got; its replicas and the Sentinels show that this does not count.
    Row("unnoticed", behind_sentinels(freeze_until_replaced), 2, settings=PATIENT, pages_may_fail=True),
    # A replica that is away has clients wait or be closed.
    Row("cluster", a_cluster(kill_in_cluster), 2, pages_may_fail=True),
    Row("slots move", a_cluster(move_slots), 2, rounds=1),
    Row("append-only file", one_engine(kill_and_start, *AOF), 2, rounds=3),
    # Pages that have waited for 8 s fail, and nothing of them is carried out afterwards.
    Row("frozen for long", one_engine(freeze_for_long), 2, rounds=1, pages_may_fail=True),
    Row("frozen for moments", one_engine(freeze_for_moments), 2, rounds=1, execution_timeout=6.0),
    Row(
        "promoted after it was away",
        behind_sentinels(promote_what_was_away),
        2,
        rounds=1,
        pages_may_fail=True,
        is_shut_out=True,
    ),
    Row("scripts flushed", one_engine(flush_scripts), 2, rounds=1),
)

MORE: tuple[Row, ...] = (
    *(
        Row(f"{fault.__name__}, {kind}, {1 + replicas} engines", behind_sentinels(fault, kind, replicas), 2)
        for fault in (kill, terminate, freeze_until_replaced, kill_with_lag)
        for kind, replicas in ((VALKEY, 2), (REDIS, 1), (REDIS, 2))
    ),
    Row("kill_and_forget, 1 servers", behind_sentinels(kill_and_forget), 1),
    Row("kill_and_forget, 2 servers", behind_sentinels(kill_and_forget), 2),
)

SWITCHED_OFF: tuple[Row, ...] = (
    Row(
        "without acknowledgement",
        behind_sentinels(freeze_until_replaced),
        2,
        settings="  acknowledge: primary\n",
        without="nothing",
    ),
    Row(
        "without the word of Sentinels",
        behind_sentinels(freeze_until_replaced),
        2,
        settings=PATIENT,
        without="stays",
    ),
    Row("without ids", one_engine(freeze_for_moments), 2, rounds=1, without="ids", execution_timeout=6.0),
    Row(
        "without counting",
        behind_sentinels(promote_what_was_away),
        2,
        rounds=1,
        without="counting",
        is_shut_out=True,
    ),
    Row("without giving back", one_engine(freeze_for_long), 2, rounds=1, without="giving_back"),
)

ALL = (*REPLACED, *OTHERS, *MORE, *SWITCHED_OFF)


@click.command()
@click.option("--only", multiple=True, help="Rows with this in their names; all, without it.")
@click.option("--rounds", type=int, default=5, show_default=True, help="How often each fault happens.")
@click.option("--parallel", type=int, default=2, show_default=True, help="Rows that run at the same time.")
@click.option("--workers", type=int, default=12, show_default=True, help="Of each row: who run pages.")
@click.option("--sessions", type=int, default=40, show_default=True)
@click.option("--pause", type=float, default=0.02, show_default=True, help="Seconds between two pages.")
@click.option("--work", type=float, default=0.5, show_default=True, help="Seconds that a page takes at most.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--log", is_flag=True, help="Show what the state servers of bad rows have said.")
def main(
    only: tuple[str, ...],
    rounds: int,
    parallel: int,
    workers: int,
    sessions: int,
    pause: float,
    work: float,
    seed: int,
    log: bool,
) -> None:
    """Kill, freeze and restart engines under load, and judge what users saw."""
    rows = [
        replace(row, rounds=row.rounds if row.without else rounds)
        for row in ALL
        if not only or any(each in row.name for each in only)
    ]
    plan = LoadPlan(sessions=sessions, workers=workers, pause=pause, longest_work=work, calm=1.5, seed=seed)
    is_bad = False
    with forked_from_warm_processes(), tempfile.TemporaryDirectory() as directory:
        for outcome in run_rows(rows, Path(directory), plan, parallel):
            click.echo(str(outcome))
            is_bad = is_bad or bool(outcome.faults)
            for fault in outcome.faults[:5]:
                click.echo(f"    {fault}")
            if log and outcome.faults:
                click.echo(outcome.log)
    sys.exit(1 if is_bad else 0)


if __name__ == "__main__":
    main()
