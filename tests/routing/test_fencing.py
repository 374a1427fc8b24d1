"""A state server closes the connections of a superseded router, over loopback (design.md 5.3)."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from partitioner.daemon.state_server import StateServerOptions, build_state_server
from partitioner.membership.backend import Address
from partitioner.membership.items import ITEMS, Term, TermItem
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import encode_target
from partitioner.transport.backend_connections import HELD_BODY
from partitioner.transport.channel import listen_tcp, listening_address
from tests.doubles.backends import NOT_FOUND, ok
from tests.doubles.clients import Client
from tests.doubles.observers import RecordingObserver
from tests.doubles.sessions import CREATE, GET, TARGET, request
from tests.fastpath.server_run import Loopback

PATIENCE = 60.0
A_MOMENT = 0.001
FARM = "farm"
ONE, TWO = Term(1, "a"), Term(2, "a")
SAVED, LATE = b"saved", b"late" * 100


def item(name: str, farm: str = FARM) -> bytes:
    return encode_target(f"{ITEMS}{farm}/{name}")


def save(body: bytes) -> bytes:
    return request(Operation.SET, TARGET, body=body)


def storing(content: bytes, farm: str = FARM) -> bytes:
    return request(Operation.SET, item("term", farm), body=content)


async def read(client: Client, name: str, farm: str = FARM) -> bytes:
    """The content of an item; nothing where there is none."""
    answer = await client.ask(request(Operation.GET, item(name, farm)))
    return b"" if answer == NOT_FOUND else answer.partition(b"\r\n\r\n")[2]


async def is_cut(client: Client) -> bool:
    """Whether the server closes this connection. It is asked for nothing more."""
    try:
        return await client.receive_rest() == b""
    except trio.BrokenResourceError:
        return True


async def say_in_vain(client: Client, data: bytes) -> None:
    """Send what a router sends that does not know yet that it was superseded."""
    with suppress(trio.BrokenResourceError):  # the reset may be there first
        await client.send(data)


class Server:
    """A state server, the connections that tests open to it, and what it reports."""

    def __init__(self, *, is_fast: bool) -> None:
        self.observer = RecordingObserver()
        options = StateServerOptions(is_fast=is_fast)
        self.server, self.downstream = build_state_server(options, self.observer)
        self._clients: list[Client] = []

    async def start(self, nursery: trio.Nursery) -> None:
        listeners = await listen_tcp(Address("127.0.0.1", 0))
        self._port = listening_address(listeners[0]).port
        nursery.start_soon(self.downstream.serve, listeners)

    async def connect(self) -> Client:
        connected = await trio.open_tcp_stream("127.0.0.1", self._port)
        client = Client(Loopback(connected.socket))
        self._clients.append(client)
        return client

    async def router(self, term: Term | None = None, farm: str = FARM) -> Client:
        """A new connection of a router, which has read canary and term, and claims by this term if any."""
        client = await self.connect()
        await read(client, "canary", farm)
        await read(client, "term", farm)
        if term is not None:
            await client.ask(storing(TermItem(term).written(), farm))
        return client

    async def content(self) -> bytes:
        """The session as it is stored."""
        client = await self.connect()
        answer = await client.ask(GET)
        return b"" if answer == NOT_FOUND else answer.partition(b"\r\n\r\n")[2]

    async def wait_for_exchange(self) -> None:
        """Wait until a request has begun to come in."""
        while not self.downstream.exchanges_under_way:
            await wait_all_tasks_blocked(A_MOMENT)

    async def wait_for_the_last_to_leave(self) -> None:
        """Wait until the server knows of no connection any more."""
        while self.downstream.connections:
            await wait_all_tasks_blocked(A_MOMENT)

    def close(self) -> None:
        for client in self._clients:
            client.leave()


@pytest.fixture(params=[True, False], ids=["both paths", "slow path"])
async def server(request: pytest.FixtureRequest, nursery: trio.Nursery) -> AsyncIterator[Server]:
    server = Server(is_fast=request.param)
    await server.start(nursery)
    with trio.fail_after(PATIENCE):
        yield server
    server.close()


async def test_a_late_save(server: Server) -> None:
    """A save of which half was sent before another router claimed is not carried out."""
    former = await server.router(ONE)
    await former.ask(save(SAVED))
    half = len(save(LATE)) // 2
    await former.send(save(LATE)[:half])
    await server.wait_for_exchange()
    await server.router(TWO)
    await say_in_vain(former, save(LATE)[half:])

    assert await is_cut(former)
    assert SAVED == await server.content()
    (closed,) = server.observer.named("exchange_closed")
    assert "another router has claimed: term 2-a" == closed[-1]


async def test_a_large_late_save(server: Server) -> None:
    """The same where the save is so large that both paths have it served by the slow path."""
    former = await server.router(ONE)
    await former.ask(save(SAVED))
    large = save(b"x" * 2 * HELD_BODY)
    await former.send(large[:-1])
    await server.wait_for_exchange()
    await server.router(TWO)
    await say_in_vain(former, large[-1:])

    assert await is_cut(former)
    assert SAVED == await server.content()


async def test_a_connection_that_has_been_served_by_both_paths(server: Server) -> None:
    """A state server does not forget whose connection it is when an exchange is out of the ordinary."""
    former = await server.router(ONE)
    await former.ask(CREATE)
    await former.ask(save(SAVED))
    await server.router(TWO)
    await say_in_vain(former, save(LATE))

    assert await is_cut(former)
    assert SAVED == await server.content()


@pytest.mark.parametrize("term", [TWO, Term(1, "b")])
async def test_an_idle_connection(server: Server, term: Term) -> None:
    """It is closed as well, by a greater number and by a greater word of the same number."""
    former = await server.router(ONE)
    await former.ask(GET)
    claiming = await server.router(term)

    assert await is_cut(former)
    assert await claiming.ask(GET) == NOT_FOUND


async def test_a_router_of_a_version_without_terms(server: Server) -> None:
    """A connection on which the canary was read before there was a term is closed at the first claim."""
    former = await server.connect()
    await read(former, "canary")
    await former.ask(GET)
    await server.router(ONE)

    assert await is_cut(former)


async def test_a_claim_between_two_steps_of_another(server: Server) -> None:
    """Who has read an old term is closed when it goes on by it, and nothing of that is carried out."""
    former = await server.router()
    await server.router(ONE)
    await say_in_vain(former, save(LATE))

    assert await is_cut(former)
    assert b"" == await server.content()


async def test_connections_of_one_router(server: Server) -> None:
    """A router that opens several connections to a server without a term is not closed by its own term."""
    first, second, third = [await server.router() for _ in range(3)]
    await first.ask(storing(b"1 a"))
    await second.ask(storing(b"1 a"))
    await read(third, "term")

    assert [NOT_FOUND] * 3 == [await each.ask(GET) for each in (first, second, third)]


@pytest.mark.parametrize("lower", [b"1 a", b"2 a", b"2 b"])
async def test_a_lower_term(server: Server, lower: bytes) -> None:
    """It is acknowledged and not stored, and its router may not write: it reads the term again."""
    later = await server.router(Term(2, "c"))
    await later.ask(GET)
    crossing = await server.router()
    answer = await crossing.ask(storing(lower))

    assert ok() == answer
    assert b"2 c" == await read(crossing, "term")
    assert await later.ask(GET) == NOT_FOUND


async def test_a_lower_term_by_which_its_router_goes_on(server: Server) -> None:
    """Who does not read the term again after its lower one was acknowledged is closed."""
    await server.router(TWO)
    crossing = await server.router(ONE)
    await say_in_vain(crossing, save(LATE))

    assert await is_cut(crossing)
    assert b"" == await server.content()


@pytest.mark.parametrize("content", [b"nonsense", b"1", b"\xff" * 300, b"0 A"])
async def test_what_is_no_term(server: Server, content: bytes) -> None:
    """It is stored as it stands, no connection is closed for it, and the next term is stored over it."""
    former = await server.router(ONE)
    await former.ask(GET)
    stray = await server.connect()
    await stray.ask(storing(content))
    stored = await read(stray, "term")
    survived = await former.ask(GET)
    await server.router(ONE)

    assert (content, NOT_FOUND) == (stored, survived)
    assert b"1 a" == await read(stray, "term")


async def test_whom_a_term_does_not_concern(server: Server) -> None:
    """Routers of other farms, and clients that have read no canary, are served as before."""
    other, client = await server.router(ONE, "other"), await server.connect()
    await other.ask(GET)
    await client.ask(GET)
    await server.router(TWO)

    assert [NOT_FOUND] * 2 == [await each.ask(GET) for each in (other, client)]


async def test_connections_are_forgotten(server: Server) -> None:
    """What is remembered of a connection ends with it."""
    for finishes in (True, False):
        former = await server.router(ONE)
        await former.ask(GET)
        if finishes:
            await former.finish()
            await is_cut(former)
        else:
            former.reset()
    await server.wait_for_the_last_to_leave()

    assert 0 == server.server.fenced_connections
