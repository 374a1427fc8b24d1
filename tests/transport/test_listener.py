"""Accepting web servers, on real loopback sockets: who may connect, how many, and how they are sent home."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import ip_network

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from partitioner.membership.backend import Address, Network
from partitioner.protocol.grammar import Dialect, parse_answer_head
from partitioner.protocol.messages import Operation
from partitioner.transport.channel import listen_tcp
from partitioner.transport.client_connection import ConversationPolicy
from partitioner.transport.listener import Downstream, DownstreamPolicy
from partitioner.transport.messages import Request, Response
from tests.doubles.backends import ok
from tests.doubles.observers import RecordingObserver
from tests.doubles.sessions import GET, request, target

EVERYBODY: tuple[Network, ...] = (ip_network("127.0.0.0/8"),)
NOT_ALLOWED = "its address is not in allow_clients"
CONVERSATION = ConversationPolicy(Dialect.GUARDED, 8.0, 60.0, 1000, 1000)


@pytest.fixture
async def open_things() -> AsyncIterator[AsyncExitStack]:
    """What is closed after the test: sockets that are left to the collector are an error here."""
    async with AsyncExitStack() as stack:
        yield stack


class Setting:
    """A downstream that listens, with a responder that answers when it is let."""

    def __init__(
        self,
        open_things: AsyncExitStack,
        allow: tuple[Network, ...] = EVERYBODY,
        connections: int = 10,
        per_client: int | None = None,
    ) -> None:
        self._open_things = open_things
        self.observer = RecordingObserver()
        self.asked = trio.Event()
        self.may_answer = trio.Event()
        self.may_answer.set()
        policy = DownstreamPolicy(allow, connections, replace(CONVERSATION), per_client)
        self.downstream = Downstream(self._respond, policy, self.observer)
        self.listeners: list[trio.SocketListener] = []
        self.has_ended = trio.Event()

    async def start(self, nursery: trio.Nursery) -> None:
        if not self.listeners:
            self.listeners = await listen_tcp(Address("127.0.0.1", 0))
        for listener in self.listeners:
            self._open_things.push_async_callback(listener.aclose)
        nursery.start_soon(self._serve)

    async def connect(self) -> trio.SocketStream:
        port = self.listeners[0].socket.getsockname()[1]
        return await self._open_things.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))

    async def drain_amid_an_exchange(self, nursery: trio.Nursery) -> trio.SocketStream:
        """Have it begin to drain while this one client waits for its answer."""
        self.may_answer = trio.Event()
        await self.start(nursery)
        client = await self.connect()
        await client.send_all(GET)
        await self.asked.wait()
        self.downstream.stop()
        await wait_all_tasks_blocked()
        return client

    async def _serve(self) -> None:
        await self.downstream.serve(self.listeners)
        self.has_ended.set()

    async def _respond(self, request: Request) -> Response:
        self.asked.set()
        await self.may_answer.wait()
        return Response(parse_answer_head(ok()), b"")


async def test_served(nursery: trio.Nursery, open_things: AsyncExitStack) -> None:
    """A client of an allowed network is served."""
    setting = Setting(open_things)
    await setting.start(nursery)
    client = await setting.connect()
    await client.send_all(GET)

    assert await client.receive_some() == ok()


@pytest.mark.parametrize(
    "allow", [(), (ip_network("10.0.0.0/8"), ip_network("::1/128"))], ids=["nobody", "others"]
)
async def test_turned_away(
    nursery: trio.Nursery, open_things: AsyncExitStack, allow: tuple[Network, ...]
) -> None:
    """A client from elsewhere is closed at once, without a byte, and reported with its address."""
    setting = Setting(open_things, allow)
    await setting.start(nursery)
    client = await setting.connect()

    assert await client.receive_some() == b""
    assert setting.observer.facts == [("client_turned_away", "127.0.0.1", NOT_ALLOWED)]


async def test_allowed_through_ipv6(nursery: trio.Nursery, open_things: AsyncExitStack) -> None:
    """An IPv4 client that comes in through an IPv6 socket is known by its IPv4 address."""
    setting = Setting(open_things)
    both = trio.socket.socket(trio.socket.AF_INET6)
    both.setsockopt(trio.socket.IPPROTO_IPV6, trio.socket.IPV6_V6ONLY, 0)
    await both.bind(("::", 0))
    both.listen()
    setting.listeners = [trio.SocketListener(both)]
    await setting.start(nursery)
    client = await setting.connect()
    await client.send_all(GET)

    assert await client.receive_some() == ok()


async def test_limit(nursery: trio.Nursery, open_things: AsyncExitStack) -> None:
    """At the limit of connections a further client waits, not closed, until another has left."""
    setting = Setting(open_things, connections=1)
    await setting.start(nursery)
    first = await setting.connect()
    await first.send_all(GET)
    await first.receive_some()
    second = await setting.connect()
    await second.send_all(GET)
    await setting.observer.wait_for("clients_filled_up")
    answered_before = len(setting.observer.named("exchange_finished"))
    await first.aclose()

    assert answered_before == 1
    assert await second.receive_some() == ok()
    assert setting.observer.named("clients_filled_up")[0] == ("clients_filled_up", 1)


async def test_other_limits(nursery: trio.Nursery, open_things: AsyncExitStack) -> None:
    """Clients that wait come in when there may be more; with fewer, as many have to leave first."""
    setting = Setting(open_things, connections=1)
    await setting.start(nursery)
    clients = [await setting.connect() for _ in range(3)]
    answers = []
    for client, connections in zip(clients, (1, 3, 3), strict=True):
        setting.downstream.adopt(DownstreamPolicy(EVERYBODY, connections, replace(CONVERSATION, max_body=7)))
        await client.send_all(GET)
        answers.append(await client.receive_some())
    setting.downstream.adopt(DownstreamPolicy(EVERYBODY, 1, replace(CONVERSATION, max_body=7)))
    late = await setting.connect()
    await late.send_all(GET)
    await clients[0].aclose()
    await clients[1].aclose()
    await setting.observer.wait_for("clients_filled_up")
    answered_before = len(setting.observer.named("exchange_finished"))
    await clients[2].send_all(request(Operation.SET, target(1), body=b"x" * 8))
    refused = await clients[2].receive_some()
    await clients[2].aclose()

    assert ([ok()] * 3, 3) == (answers, answered_before)
    assert refused.startswith(b"400 ")
    assert ok() == await late.receive_some()


async def test_no_client_takes_all_connections(nursery: trio.Nursery, open_things: AsyncExitStack) -> None:
    """One more than limits.per_client is closed at once; when one has left, another may come."""
    setting = Setting(open_things, per_client=2)
    await setting.start(nursery)
    first, second = await setting.connect(), await setting.connect()
    for each in (first, second):
        await each.send_all(GET)
        await each.receive_some()
    third = await setting.connect()
    end = await third.receive_some()
    await first.aclose()
    await wait_all_tasks_blocked()
    fourth = await setting.connect()
    await fourth.send_all(GET)
    answer = await fourth.receive_some()
    reason = "it has 2 connections already, which is limits.per_client"

    assert (b"", ok()) == (end, bytes(answer))
    assert setting.observer.named("client_turned_away") == [("client_turned_away", "127.0.0.1", reason)]


async def test_turned_away_does_not_count(nursery: trio.Nursery, open_things: AsyncExitStack) -> None:
    """Clients that were turned away leave their places to others."""
    setting = Setting(open_things, allow=(), connections=1)
    await setting.start(nursery)
    for _ in range(3):
        client = await setting.connect()
        assert await client.receive_some() == b""

    assert (
        setting.observer.named("client_turned_away") == [("client_turned_away", "127.0.0.1", NOT_ALLOWED)] * 3
    )


async def test_drain_closes_idle_connections(nursery: trio.Nursery, open_things: AsyncExitStack) -> None:
    """Draining closes idle connections at once, and serving ends."""
    setting = Setting(open_things)
    await setting.start(nursery)
    client = await setting.connect()
    await client.send_all(GET)
    await client.receive_some()
    setting.downstream.stop()

    assert await client.receive_some() == b""
    await setting.has_ended.wait()


async def test_idle_connections_are_closed(nursery: trio.Nursery, open_things: AsyncExitStack) -> None:
    """A router that is superseded closes its clients, and goes on serving those who come."""
    setting = Setting(open_things)
    await setting.start(nursery)
    client = await setting.connect()
    await client.send_all(GET)
    await client.receive_some()
    setting.downstream.close_idle()
    another = await setting.connect()
    await another.send_all(GET)

    assert await client.receive_some() == b""
    assert await another.receive_some() == ok()


async def test_drain_lets_exchanges_finish(nursery: trio.Nursery, open_things: AsyncExitStack) -> None:
    """Draining waits for exchanges under way, and closes their connections after the answer."""
    setting = Setting(open_things)
    client = await setting.drain_amid_an_exchange(nursery)
    had_ended = setting.has_ended.is_set()
    setting.may_answer.set()

    assert await client.receive_some() == ok()
    assert await client.receive_some() == b""
    await setting.has_ended.wait()
    assert not had_ended


async def test_drain_accepts_nobody(nursery: trio.Nursery, open_things: AsyncExitStack) -> None:
    """While exchanges finish, no client is accepted any more."""
    setting = Setting(open_things)
    await setting.drain_amid_an_exchange(nursery)

    assert setting.listeners[0].socket.fileno() == -1  # it is closed


class DrainingListener(trio.abc.Listener[trio.SocketStream]):
    """Has the downstream stopped in the moment in which it accepts a client."""

    def __init__(self, listener: trio.SocketListener, drain: Callable[[], None]) -> None:
        self._listener = listener
        self._drain = drain
        self.socket = listener.socket

    async def accept(self) -> trio.SocketStream:
        stream = await self._listener.accept()
        self._drain()
        return stream

    async def aclose(self) -> None:
        await self._listener.aclose()


async def test_drain_reaches_who_was_just_accepted(
    nursery: trio.Nursery, open_things: AsyncExitStack
) -> None:
    """A client that is accepted in the very moment of draining is not left idling until its time is over."""
    setting = Setting(open_things)
    [listener] = await listen_tcp(Address("127.0.0.1", 0))
    setting.listeners = [DrainingListener(listener, setting.downstream.stop)]  # type: ignore[list-item]
    await setting.start(nursery)
    client = await setting.connect()
    with trio.move_on_after(5):
        await client.receive_some()
        await setting.has_ended.wait()

    assert setting.has_ended.is_set()
