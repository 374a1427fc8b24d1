"""The load of `partitioner bench` in slices: sessions are created once, then worked on for a while at a time.

So several routers can be measured in turn, each with its sessions and connections as it left them, and
only what is done between two moments is counted.
"""

import secrets
from collections.abc import Iterator
from random import Random

import trio

from partitioner.bench.connection import Connection
from partitioner.bench.content import RUN_SIZE, Content
from partitioner.bench.counters import Counters
from partitioner.bench.findings import Finding
from partitioner.bench.targets import new_targets
from partitioner.bench.workload import Worker, Workload
from partitioner.membership.backend import Address
from partitioner.transport.channel import dial_tcp

_TIMEOUT = 10.0


class Load:
    """Web requests at one server, over connections and sessions of its own."""

    def __init__(self, port: int, connections: int, sessions: int, size: int) -> None:
        """Connect nothing yet; to be made within trio."""
        address = Address("127.0.0.1", port)
        content = Content(secrets.token_bytes(RUN_SIZE), size)
        self._workload = Workload(new_targets(sessions), content, Counters(trio.current_time()), _refuse)
        self._workers = [
            Worker(number, Connection(address, dial_tcp, _TIMEOUT), self._workload, Random(number))
            for number in range(connections)
        ]

    async def create(self) -> None:
        """Create all sessions, and look at each: the first get of a new one costs more than any other."""
        numbers = iter(range(len(self._workload.targets)))
        async with trio.open_nursery() as creating:
            for worker in self._workers:
                creating.start_soon(_create_next_ones, worker, numbers)

    async def warm_up(self) -> None:
        """Make a few web requests on each connection: those to backends have been closed in between."""
        self._workload.ending = trio.Event()
        async with trio.open_nursery() as warming:
            for worker in self._workers:
                warming.start_soon(_make_web_requests, worker, 3)

    async def work(self, duration: float, rate: float | None) -> Counters:
        """Make web requests for so long, at this rate of all together (None: as many as go)."""
        self._workload.ending = trio.Event()
        counters = self._workload.counters = Counters(trio.current_time())
        starts = _starts(trio.current_time(), rate)
        async with trio.open_nursery() as working:
            for worker in self._workers:
                working.start_soon(self._keep_working, worker, starts)
            await trio.sleep(duration)
            self._workload.ending.set()
        counters.end(trio.current_time())
        assert counters.failed == 0, f"{counters.failed} exchanges failed: {counters.failures}"
        return counters

    async def _keep_working(self, worker: Worker, starts: Iterator[float]) -> None:
        workload = self._workload
        while not workload.ending.is_set():
            await workload.pause(next(starts) - trio.current_time())
            if not workload.ending.is_set():
                await worker.make_web_request()

    def close(self) -> None:
        """Close the connections, and leave the sessions behind."""
        for worker in self._workers:
            worker.close()


async def _make_web_requests(worker: Worker, count: int) -> None:
    for _ in range(count):
        await worker.make_web_request()


async def _create_next_ones(worker: Worker, numbers: Iterator[int]) -> None:
    for number in numbers:
        assert await worker.create(number), f"session {number} could not be created"
        assert await worker.read_back(number), f"session {number} could not be read"


def _starts(began_at: float, rate: float | None) -> Iterator[float]:
    """When the next web request is to start."""
    start = began_at
    while True:
        yield start
        if rate is not None:
            start += 1 / rate


def _refuse(finding: Finding) -> None:
    raise AssertionError(f"what is not right need not be fast: {finding}")
