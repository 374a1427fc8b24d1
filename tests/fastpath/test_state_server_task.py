"""A state server whose clients are served by both paths, on loopback: who comes, and who is sent home."""

from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest
import trio

from partitioner.daemon.state_server import StateServerOptions, build_state_server
from partitioner.membership.backend import Address
from partitioner.protocol.writer import REFUSAL
from partitioner.transport.channel import listen_tcp, listening_address
from tests.doubles.backends import NOT_FOUND, ok
from tests.doubles.clients import Client
from tests.doubles.observers import RecordingObserver
from tests.doubles.sessions import CONTENT, CREATE, GET, SET
from tests.fastpath.server_run import Loopback

OPTIONS = StateServerOptions(connections=2)
NOBODY = StateServerOptions(allow=(ip_network("10.0.0.0/8"),))


NOT_ALLOWED = "its address is not in allow_clients"


class Setting:
    """A state server that listens."""

    def __init__(self, options: StateServerOptions) -> None:
        self.observer = RecordingObserver()
        _, self.downstream = build_state_server(options, self.observer)
        self.has_ended = trio.Event()
        self._clients: list[Client] = []

    async def start(self, nursery: trio.Nursery) -> None:
        listeners = await listen_tcp(Address("127.0.0.1", 0))
        self._port = listening_address(listeners[0]).port
        nursery.start_soon(self._serve, listeners)

    async def _serve(self, listeners: list[trio.SocketListener]) -> None:
        await self.downstream.serve(listeners)
        self.has_ended.set()

    async def connect(self) -> Client:
        connected = await trio.open_tcp_stream("127.0.0.1", self._port)
        client = Client(Loopback(connected.socket))
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.leave()


@pytest.fixture
async def setting(nursery: trio.Nursery) -> AsyncIterator[Setting]:
    setting = Setting(OPTIONS)
    await setting.start(nursery)
    yield setting
    setting.close()


async def test_one_client_by_both_paths(setting: Setting) -> None:
    """To and fro, and still one client."""
    client = await setting.connect()
    answers = [await client.ask(each) for each in (GET, CREATE, GET, SET, GET)]
    read_first = ok(CONTENT, b"ActionFlags: 1", b"Timeout: 20")

    assert [NOT_FOUND, ok(), read_first, ok(), ok(CONTENT, b"Timeout: 20")] == answers
    assert 1 == setting.downstream.connections


async def test_a_refused_client_leaves_its_place(setting: Setting) -> None:
    """What is malformed is refused by the slow path, and others take the places of such clients."""
    for _ in range(4):
        client = await setting.connect()
        await client.send(GET.replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert REFUSAL == await client.receive_rest()
        client.leave()
    other = await setting.connect()

    assert NOT_FOUND == await other.ask(GET)


async def test_there_are_so_many_places(setting: Setting) -> None:
    """Another client waits until one has left."""
    first, second, third = [await setting.connect() for _ in range(3)]
    await first.ask(GET)
    await second.ask(GET)
    await third.send(GET)
    await setting.observer.wait_for("clients_filled_up")
    answered_before = len(setting.observer.named("exchange_finished"))
    first.leave()

    assert NOT_FOUND == await third.receive_answer()
    assert (2, 2) == (answered_before, setting.downstream.connections)


async def test_a_client_from_elsewhere_is_turned_away(nursery: trio.Nursery) -> None:
    """As on the slow path, before it is served by any."""
    setting = Setting(NOBODY)
    await setting.start(nursery)
    client = await setting.connect()
    rest = await client.receive_rest()
    setting.close()

    assert b"" == rest
    assert [("client_turned_away", "127.0.0.1", NOT_ALLOWED)] == setting.observer.facts


async def test_stopping_sends_idle_clients_home(setting: Setting) -> None:
    """At once, and then serving ends."""
    client = await setting.connect()
    await client.ask(GET)
    setting.downstream.stop()

    assert b"" == await client.receive_rest()
    await setting.has_ended.wait()


async def test_idle_clients_are_sent_home(setting: Setting) -> None:
    """And a client that comes after that is served."""
    client = await setting.connect()
    await client.ask(GET)
    setting.downstream.close_idle()
    other = await setting.connect()

    assert b"" == await client.receive_rest()
    assert NOT_FOUND == await other.ask(GET)


async def test_stopping_waits_for_an_exchange(setting: Setting) -> None:
    """A request that has begun is answered, and its client closed then."""
    client, other = await setting.connect(), await setting.connect()
    await client.send(GET[:10])
    await other.ask(GET)  # it came later, so what the first one has sent was taken in when this is answered
    under_way = setting.downstream.exchanges_under_way
    setting.downstream.stop()
    await other.receive_rest()
    had_ended = setting.has_ended.is_set()
    answer = await client.ask(GET[10:])

    assert (1, False) == (under_way, had_ended)
    assert (NOT_FOUND, b"") == (answer, await client.receive_rest())
    await setting.has_ended.wait()


async def test_who_is_stopped_before_it_serves() -> None:
    """Where the signal comes while it still starts, it does not wait for clients that cannot come."""
    setting = Setting(OPTIONS)
    setting.downstream.stop()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await setting.start(nursery)

    assert setting.has_ended.is_set()
