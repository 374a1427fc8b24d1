"""What the router keeps in memory for each session, in settled times and in others.

    python -m tests.benchmarks.router_memory [--sessions 100000]

The whole slow path in this process, with copies 2 over three state servers which say yes to everything
and remember nothing; so whatever grows with the number of sessions is the router's. Time is virtual. The
figures are tracemalloc's: bytes that Python's objects ask for, by the file that asked. Resident memory,
which also holds what the allocator keeps in reserve for the next burst, was tried and not chosen: it
tells more about the burst that made the sessions than about the sessions.

The stages:

    unsettled           the router has just started; each session is saved
    unsettled, idle     the same, after the touch window of a twentieth of the time-out
    settled             the longest life has passed; each session is saved, acquired and released
    settled, idle       the same, after two touch windows: nobody has anything to remember
    locked, idle        each session is acquired, and held for longer than that
    marked              one server has missed the last save of each
"""

import gc
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import click
import trio
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from trio.testing import MockClock

import partitioner
from partitioner.membership.backend import Address, Backend
from partitioner.membership.health import HealthPolicy
from partitioner.membership.ledger import LedgerPolicy
from partitioner.membership.pool import first_pool
from partitioner.ops.log import Log
from partitioner.ops.router_log import RouterLog
from partitioner.protocol.grammar import Dialect, parse_request_head
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import encode_target, server_key
from partitioner.protocol.writer import write_request
from partitioner.routing.core import RouterCore, RouterPolicy
from partitioner.transport.backend_connections import UpstreamPolicy
from partitioner.transport.canary import Canary
from partitioner.transport.channel import Channel
from partitioner.transport.connector import Connector
from partitioner.transport.messages import Request
from tests.doubles.backends import INCARNATION, ROUTER_NAME, ok
from tests.end_to_end.web_server import APPLICATION
from tests.identities import STATE_3

TIMEOUT_MINUTES = 20
WINDOW = TIMEOUT_MINUTES * 60 / 20
LONGEST_LIFE = TIMEOUT_MINUTES * 60.0
COOKIE = 7
BODY = b"." * 1024
UNHURRIED = 1e6
"""Seconds that an exchange may take: here none takes any."""


class YesStream(trio.abc.HalfCloseableStream):
    """A connection to a state server that has every session, locks it for anybody, and remembers nothing."""

    def __init__(self) -> None:
        self._answer = b""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        head = bytes(data[: bytes(data).index(b"\r\n\r\n") + 4])
        if b"canary" in head:
            self._answer = ok(INCARNATION, b"Timeout: 525600")
        elif b"acquire" in head:
            self._answer = ok(BODY, b"LockCookie: %d" % COOKIE, b"Timeout: %d" % TIMEOUT_MINUTES)
        else:
            self._answer = ok()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        answer, self._answer = self._answer, b""
        return answer

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def dial(address: Address) -> Channel:
    await trio.lowlevel.checkpoint()
    return Channel(YesStream(), str(address), lambda: False, lambda: None)


@dataclass(frozen=True)
class Stage:
    """What was in memory at the end of a stage."""

    name: str
    traced: int
    by_file: dict[str, int]
    remembered: str

    def row(self, empty: "Stage", sessions: int) -> list[str]:
        growth = {file: (size - empty.by_file.get(file, 0)) / sessions for file, size in self.by_file.items()}
        most = sorted(growth.items(), key=lambda pair: pair[1], reverse=True)[:4]
        held = ", ".join(f"{file} {size:.0f}" for file, size in most if size >= 1)
        return [self.name, f"{(self.traced - empty.traced) / sessions:.0f}", held, self.remembered]


@click.command()
@click.option("--sessions", default=100_000, show_default=True)
def main(sessions: int) -> None:
    """Measure the memory of a router by what it has to remember."""
    console = Console(width=140)
    tracemalloc.start()
    with Progress(console=Console(stderr=True)) as progress:
        empty, *stages = trio.run(measure, sessions, progress, clock=MockClock(autojump_threshold=0))
    table = Table("stage", "bytes/session", "of these, by who asked for them", "entries")
    for stage in stages:
        table.add_row(*stage.row(empty, sessions))
    console.print(f"{sessions} sessions under keys of {len(server_key(target(0)))} bytes")
    console.print(table)


async def measure(sessions: int, progress: Progress) -> list[Stage]:
    """Take a router through all stages; the first of them is the empty router."""
    async with trio.open_nursery() as background:
        core = new_core(background)
        await core.probing.first_look()
        background.start_soon(core.run)
        run = Run(core, sessions, progress)
        await run.all()
        background.cancel_scope.cancel()
    return run.stages


def new_core(background: trio.Nursery) -> RouterCore:
    backends = [Backend(f"state-{number}", Address(f"10.0.0.{number}", 42424)) for number in (1, 2, 3)]
    health = HealthPolicy(interval=60.0)  # hours pass, and nobody falls
    policy = RouterPolicy(health, UpstreamPolicy(1.0, 1e9, 256), LedgerPolicy(LONGEST_LIFE, LONGEST_LIFE))
    pool = first_pool(backends, health, copies=2, now=trio.current_time())
    return RouterCore(
        pool, policy, Connector(dial, Canary(ROUTER_NAME)), RouterLog(Log()), background, Random(1).uniform
    )


@dataclass
class Run:
    """The stages of one router."""

    core: RouterCore
    sessions: int
    progress: Progress

    def __post_init__(self) -> None:
        self.stages: list[Stage] = []

    async def all(self) -> None:
        await self.exchange(Operation.RESET_TIMEOUT, -1)  # so that there is a connection to everybody
        self.note("empty")
        await self.of_each("saving", Operation.SET)
        self.note("unsettled")
        await trio.sleep(2 * WINDOW)
        self.note("unsettled, idle")
        await trio.sleep(LONGEST_LIFE)
        await self.of_each("saving, settled", Operation.SET, Operation.ACQUIRE, Operation.RELEASE)
        self.note("settled")
        await trio.sleep(3 * WINDOW)
        self.note("settled, idle")
        await self.of_each("acquiring", Operation.ACQUIRE)
        await trio.sleep(3 * WINDOW)
        self.note("locked, idle")
        await self.of_each("releasing", Operation.RELEASE)
        await trio.sleep(3 * WINDOW)
        self.mark_all()
        self.note("marked")

    async def of_each(self, what: str, *operations: Operation) -> None:
        for number in self.progress.track(range(self.sessions), description=what):
            for operation in operations:
                await self.exchange(operation, number)

    async def exchange(self, operation: Operation, number: int) -> None:
        is_set = operation is Operation.SET
        body = BODY if is_set else b""
        raw = write_request(
            operation,
            target(number),
            timeout_minutes=TIMEOUT_MINUTES if is_set else None,
            lock_cookie=COOKIE if is_set or operation is Operation.RELEASE else None,
            body=body,
        )
        head = parse_request_head(raw[: len(raw) - len(body)], Dialect.GUARDED)
        request = Request(head, body, None, trio.current_time() + UNHURRIED)
        response = await self.core.router.respond(request)
        assert response.head.status == 200
        response.finish(True)

    def mark_all(self) -> None:
        """Mark one server for each session, as a save does that it has missed."""
        for number in range(self.sessions):
            session = self.core.ledger_keeper.session_of(target(number))
            self.core.ledger_keeper.mark(session, STATE_3, is_stale=True)

    def note(self, name: str) -> None:
        gc.collect()
        by_file: dict[str, int] = {}
        package = str(Path(partitioner.__file__).parent)
        for statistic in tracemalloc.take_snapshot().statistics("filename"):
            file = statistic.traceback[0].filename
            short = file.removeprefix(package + "/") if file.startswith(package) else Path(file).name
            by_file[short] = by_file.get(short, 0) + statistic.size
        core = self.core
        counts: dict[str, Callable[[], int]] = {
            "ledger": lambda: len(core.ledger),
            "expiry_sync": lambda: len(core.expiry_sync),
            "gate": lambda: len(core.gate),
            "repairs": lambda: len(core.repairer),
        }
        entries = ", ".join(f"{each} {count()}" for each, count in counts.items() if count())
        self.stages.append(Stage(name, sum(by_file.values()), by_file, entries))


def target(number: int) -> bytes:
    """As the real client would spell it: with an ID of the real length."""
    return encode_target(f"{APPLICATION}{number:x}".ljust(len(APPLICATION) + 24, "z"))


if __name__ == "__main__":
    main()
