"""Bursts are worked off in slices, and everybody else has a turn in between (design.md 6.6)."""

import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.errors import BackendEjected, Phase
from partitioner.membership.backend import Address
from partitioner.membership.fencing import RouterConnection
from partitioner.transport.channel import listen_tcp
from partitioner.transport.client_connection import Opening
from partitioner.transport.listener import ClientHandoff, Downstream, DownstreamPolicy
from partitioner.transport.messages import Request, Response
from partitioner.transport.observer import Observer
from partitioner.transport.slices import AT_A_TIME, in_slices
from tests.doubles.backends import Hear, greeting
from tests.doubles.sessions import GET
from tests.fastpath.router_setup import tcp_pair
from tests.transport.test_listener import CONVERSATION, EVERYBODY
from tests.transport.upstreams import Setting

MANY = 5 * AT_A_TIME


async def most_at_a_turn(done: list[int]) -> int:
    """How many of many things were done in one turn of the loop at most, until all were."""
    most = before = 0
    while len(done) < MANY:
        await trio.lowlevel.checkpoint()
        most, before = max(most, len(done) - before), len(done)
    return most


async def test_the_first_few_are_done_at_once(nursery: trio.Nursery) -> None:
    """The others follow, in their order, a few at each turn of the loop."""
    done: list[int] = []
    in_slices(done.append, range(MANY), nursery)
    at_once = list(done)
    most = await most_at_a_turn(done)

    assert (list(range(AT_A_TIME)), list(range(MANY))) == (at_once, done)
    assert most <= 2 * AT_A_TIME  # a turn is over when all tasks have had theirs, in any order


async def test_few_things_need_no_task(nursery: trio.Nursery) -> None:
    """They are all done at once."""
    done: list[int] = []
    in_slices(done.append, range(AT_A_TIME), nursery)

    assert (list(range(AT_A_TIME)), 0) == (done, len(nursery.child_tasks))


async def test_who_waits_for_an_ejected_backend(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Thousands may wait for one of its connections: they go elsewhere a few at a time."""
    setting = Setting(nursery, [*greeting(), Hear(GET)], connections=1)
    gone: list[int] = []

    async def wait(number: int) -> None:
        assert (BackendEjected, Phase.CONNECTING) == await setting.fail(GET)
        gone.append(number)

    nursery.start_soon(setting.fail, GET)
    await wait_all_tasks_blocked()
    for number in range(MANY):
        nursery.start_soon(wait, number)
    await wait_all_tasks_blocked()
    setting.upstream.cut()

    assert await most_at_a_turn(gone) <= 2 * AT_A_TIME


class FullFastPath:
    """A fast path that hands many clients over at one moment."""

    clients = exchanges_under_way = 0

    def __init__(self, pairs: list[tuple[socket.socket, socket.socket]]) -> None:
        self._pairs = pairs

    async def run(self, client_handoff: ClientHandoff) -> None:
        for _, far in self._pairs:
            client_handoff.converse(far, "127.0.0.1", Opening(trio.current_time(), GET))

    def take(self, connected: socket.socket, peer: str, router: RouterConnection | None = None) -> None:
        connected.close()

    def stop(self) -> None:
        """Nobody is served here."""

    def close_idle(self) -> None:
        """The same."""


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    pairs = [tcp_pair() for _ in range(MANY)]
    yield pairs
    for pair in pairs:
        for each in pair:
            each.close()


async def test_clients_that_are_handed_over(
    nursery: trio.Nursery, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    """A few begin at each turn of the loop, in the order in which they were handed over."""
    begun: list[int] = []

    async def respond(request: Request) -> Response:
        begun.append(len(begun))
        return await trio.sleep_forever()

    [listener] = await listen_tcp(Address("127.0.0.1", 0))
    downstream = Downstream(
        respond, DownstreamPolicy(EVERYBODY, MANY, CONVERSATION), Observer(), FullFastPath(pairs)
    )
    nursery.start_soon(downstream.serve, [listener])
    most = await most_at_a_turn(begun)
    downstream.break_off("this is the end")
    downstream.stop()

    assert most <= 2 * AT_A_TIME
