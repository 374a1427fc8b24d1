"""What metrics cost: an exchange while it is counted, and everybody else while they are scraped.

    python -m tests.benchmarks.metrics [--backends 50] [--exchanges 1000000] [--keys 100000] [--scrapes 20]

The first table is of the request path: what is counted for an exchange of a client that causes one with
a backend, in a tight loop, beside what a whole exchange through the router costs in this process.

The second one is of a scrape over HTTP: the steps of all tasks between two checkpoints, of which the
longest one is how long a scrape keeps everybody else waiting.
"""

import gc
import time
from collections.abc import Callable
from ipaddress import ip_network

import click
import trio
from rich.console import Console
from rich.table import Table

from partitioner.config.settings import LOOPBACK
from partitioner.membership.backend import Address
from partitioner.membership.entry import Lock
from partitioner.ops.admin.guard import AccessPolicy
from partitioner.ops.admin.metrics_route import metrics_route
from partitioner.ops.admin.router_app import router_app
from partitioner.ops.admin.serving import AdminServer
from partitioner.ops.client_log import ClientLog
from partitioner.ops.fanout import Fanout
from partitioner.ops.log import Log
from partitioner.ops.metrics.catalog import ROUTER
from partitioner.ops.metrics.collector import TableCollector
from partitioner.ops.metrics.counters import Counters
from partitioner.ops.metrics.router_readings import RouterReading
from partitioner.protocol.messages import Operation
from partitioner.transport.channel import listen_tcp, listening_address
from partitioner.transport.listener import Downstream, DownstreamPolicy
from partitioner.transport.observer import Observer
from partitioner.transport.traffic import Traffic
from tests.doubles.backends import MemoryStateServer
from tests.doubles.routers import CONVERSATION, MemoryRouter
from tests.doubles.sessions import GET, SET
from tests.ops.admin.apis import admin_api_of

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
WHOLE_EXCHANGES = 2000


@click.command()
@click.option("--backends", default=50, show_default=True)
@click.option("--exchanges", default=1_000_000, show_default=True)
@click.option("--keys", default=100_000, show_default=True, help="Locks and marks in the ledger.")
@click.option("--scrapes", default=20, show_default=True)
def main(backends: int, exchanges: int, keys: int, scrapes: int) -> None:
    """Measure what metrics cost."""
    console = Console()
    console.print(request_path(exchanges))
    console.print(trio.run(scraping, backends, exchanges, keys, scrapes))


# --- the request path ---


def request_path(exchanges: int) -> Table:
    table = Table("on the path of an exchange", "ns")
    log, counters = ClientLog(Log()), Counters()
    both, traffic = Fanout(log, counters), Traffic()
    idle = per_call(exchanges, lambda: None)
    costs = {
        "an observer that does nothing": per_call(
            exchanges, lambda: Observer().exchange_finished(Operation.GET, 200, 0.0003, 0)
        ),
        "the client's answer, counted by the counters": per_call(
            exchanges, lambda: counters.exchange_finished(Operation.GET, 200, 0.0003, 0)
        ),
        "the same through the fan-out, with the log": per_call(
            exchanges, lambda: both.exchange_finished(Operation.GET, 200, 0.0003, 0)
        ),
        "the backend's answer": per_call(exchanges, lambda: traffic.answered(200, 0.0002)),
    }
    for name, cost in costs.items():
        table.add_row(name, f"{cost - idle:.0f}")
    table.add_row("a whole exchange, in memory, for comparison", f"{trio.run(whole_exchange):.0f}")
    return table


def per_call(times: int, call: Callable[[], object]) -> float:
    """Nanoseconds of this process's time."""
    began_at = time.process_time_ns()
    for _ in range(times):
        call()
    return (time.process_time_ns() - began_at) / times


async def whole_exchange() -> float:
    """Nanoseconds for a get of a client, with router, state server and client in this process."""
    async with trio.open_nursery() as nursery:
        router = MemoryRouter(nursery, watcher=Counters())
        MemoryStateServer(router.network, router.backends[0].address)
        await router.probe_on()
        client = router.client()
        await client.ask(SET)
        began_at = time.process_time_ns()
        for _ in range(WHOLE_EXCHANGES):
            await client.ask(GET)
        took = (time.process_time_ns() - began_at) / WHOLE_EXCHANGES
        nursery.cancel_scope.cancel()
    return took


# --- scraping ---


class Steps(trio.abc.Instrument):
    """Measures how long each task holds the event loop."""

    def __init__(self) -> None:
        self.durations: list[float] = []
        self.worked: list[float] = []  # of them the time of a processor: others use this machine, too
        self._began_at: tuple[float, float] | None = None  # of a step that is measured from its beginning

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began_at = time.perf_counter(), time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._began_at is not None:
            self.durations.append(time.perf_counter() - self._began_at[0])
            self.worked.append(time.thread_time() - self._began_at[1])


async def scraping(backends: int, exchanges: int, keys: int, scrapes: int) -> Table:
    """Scrape a router that has seen much, and knows many keys."""
    counters = Counters()
    async with trio.open_nursery() as nursery:
        router = MemoryRouter(nursery, backends, copies=2, watcher=counters)
        router.take_in()
        see_much(router, counters, exchanges)
        know_many(router, keys)
        collector = collector_of(router, counters)
        listeners = await listen_tcp(Address("127.0.0.1", 0))
        port = listening_address(listeners[0]).port
        admin_api = admin_api_of(router.core, counters=counters)
        policy = AccessPolicy(is_loopback=True)
        await nursery.start(
            AdminServer(router_app(admin_api, policy, metrics_route(collector)), listeners, LOOPBACK).run
        )
        await scrape(port)  # whatever is done once only is done
        rounds, size = [], 0
        for _ in range(scrapes):
            steps = Steps()
            trio.lowlevel.add_instrument(steps)
            size = await scrape(port)
            trio.lowlevel.remove_instrument(steps)
            rounds.append(steps)
        nursery.cancel_scope.cancel()
    return scraping_table(rounds, size, backends, keys)


def see_much(router: MemoryRouter, counters: Counters, exchanges: int) -> None:
    upstreams = list(router.roster.upstreams.values())
    for number in range(exchanges):
        counters.exchange_finished(Operation.GET, 200, number % 1000 * 1e-5, 0)
        upstreams[number % len(upstreams)].traffic.answered(200, number % 1000 * 1e-5)


def know_many(router: MemoryRouter, keys: int) -> None:
    """Half of the keys are locked, all of them are marked."""
    now = trio.current_time()
    names = list(router.roster.upstreams)
    for number in range(keys):
        key, server = b"key%d" % number, names[number % len(names)]
        router.ledger.mark(key, key, server, now, is_stale=True)
        if number % 2:
            router.ledger.note_lock(key, key, Lock(number, server, None, now), 20)


def collector_of(router: MemoryRouter, counters: Counters) -> TableCollector:
    policy = DownstreamPolicy((ip_network("127.0.0.0/8"),), 500, CONVERSATION)
    downstream = Downstream(router.router.respond, policy, counters)
    return TableCollector(ROUTER, RouterReading(router.core, downstream, counters, tuple))


async def scrape(port: int) -> int:
    """Scrape over a new connection; return how long the page is."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(REQUEST)
        received = b""
        while b"\r\n\r\n" not in received:
            received += await stream.receive_some(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length: ")[2].split()[0])
        got = len(body)
        while got < size:
            got += len(await stream.receive_some(65536))
    return size


def scraping_table(rounds: list[Steps], size: int, backends: int, keys: int) -> Table:
    table = Table(f"a scrape, {backends} backends, {keys} keys", "")
    table.add_row("page, KB", f"{size / 1000:.0f}")
    table.add_row("steps", f"{sum(len(each.durations) for each in rounds) / len(rounds):.0f}")
    for what, lists in (
        ("on the clock", [each.durations for each in rounds]),
        ("of a processor", [each.worked for each in rounds]),
    ):
        longest = sorted(max(each) * 1000 for each in lists)
        table.add_row(f"all steps, ms {what}", f"{sum(map(sum, lists)) / len(lists) * 1000:.1f}")
        table.add_row(f"longest step, ms {what}: median of scrapes", f"{longest[len(longest) // 2]:.2f}")
        table.add_row(f"longest step, ms {what}: worst of scrapes", f"{longest[-1]:.2f}")
    table.add_row("objects that the collector of garbage tracks", f"{len(gc.get_objects())}")
    return table


if __name__ == "__main__":
    main()
