"""The HTTP server of the operator's port, over real sockets on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from trio.testing import wait_all_tasks_blocked

from partitioner.config.settings import LOOPBACK
from partitioner.membership.backend import Address
from partitioner.ops.admin.serving import MOST_CONNECTIONS, MOST_OF_A_BODY, AdminServer
from partitioner.ops.event_log import EventLog
from partitioner.transport.channel import listen_tcp, listening_address
from tests.tables import each_case

PATIENCE = 60.0
GET = b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"HEAD /echo HTTP/1.1\r\nHost: localhost\r\n\r\n"

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # an empty frame (RFC 9113, 6.5)
UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
)


async def echo(request: Request) -> Response:
    return PlainTextResponse(b"got " + await request.body())


APP = Starlette(routes=[Route("/echo", echo, methods=["GET", "POST"])])


@asynccontextmanager
async def serving(
    allow: tuple[str, ...] = (), event_log: EventLog | None = None
) -> AsyncIterator[tuple[AdminServer, int]]:
    """A server, and its port; it is stopped at the end."""
    listeners = await listen_tcp(Address("127.0.0.1", 0))
    port = listening_address(listeners[0]).port
    networks = tuple(ip_network(each) for each in allow) or LOOPBACK
    server = AdminServer(APP, listeners, networks, event_log)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            yield server, port
            await server.stop()


async def connect(port: int) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", port)


async def answer(stream: trio.SocketStream, asked: bytes, end: bytes = b"got ") -> bytes:
    """Send a request; what comes back until that ends so, or the connection does."""
    await stream.send_all(asked)
    got = b""
    while not got.endswith(end) and (data := await stream.receive_some()):
        got += data
    return got


async def test_requests_on_one_connection() -> None:
    """One after the other."""
    async with serving() as (_, port), await connect(port) as stream:
        answers = [await answer(stream, GET) for _ in range(3)]

    assert [b"HTTP/1.1 200"] * 3 == [each[:12] for each in answers]
    assert all(b"\r\ndate: " in each.lower() for each in answers)


async def test_a_body() -> None:
    """It is taken in whole before the app is asked, also where the client waits to be told to go on."""
    asked = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    async with serving() as (_, port), await connect(port) as stream:
        go_on = await answer(stream, asked, b"\r\n\r\n")
        got = await answer(stream, b"body", b"body")

    assert b"HTTP/1.1 100" == go_on[:12]
    assert got.endswith(b"got body")


async def test_an_answer_to_head() -> None:
    """The head of what a GET would be answered, and nothing more."""
    async with serving() as (_, port), await connect(port) as stream:
        got = await answer(stream, HEAD, b"\r\n\r\n")
        after = await answer(stream, GET)

    assert b"content-length: 4\r\n" in got.lower()
    assert after.startswith(b"HTTP/1.1 200")


REFUSED = {
    "HTTP/2 with prior knowledge": PREFACE + 100 * SETTINGS,
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a head that does not end": b"GET / HTTP/1.1\r\nX: " + 100_000 * b"x",
    "a body that is too large": b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n"
    + (MOST_OF_A_BODY + 1) * b"x",
}


@each_case("asked", REFUSED.values(), ids=REFUSED)
async def test_what_is_refused(asked: bytes) -> None:
    """By HTTP/1.1, and the connection is closed."""
    async with serving() as (_, port), await connect(port) as stream:
        try:
            got = await answer(stream, asked)
        except trio.BrokenResourceError:
            got = b"HTTP/1.1 4"  # it was closed before all was sent

    assert got.startswith((b"HTTP/1.1 4", b"HTTP/1.1 505"))
    assert b"got" not in got


async def test_an_upgrade_is_not_taken_up() -> None:
    """HTTP/2 is work that a client can order without a token; the request is answered as it stands."""
    async with serving() as (_, port), await connect(port) as stream:
        got = await answer(stream, UPGRADE)

    assert got.startswith(b"HTTP/1.1 200")


async def test_so_many_connections() -> None:
    """A further one takes the place of the one that has been idle for longest."""
    async with serving() as (server, port):
        streams = []
        for _ in range(MOST_CONNECTIONS):
            streams.append(await connect(port))
            await answer(streams[-1], GET)
        await answer(streams[0], GET)
        late = await connect(port)
        got = await answer(late, GET)
        first = await answer(streams[0], GET)
        second = await streams[1].receive_some()
        count = repr(server)
        for each in (*streams, late):
            await each.aclose()

    assert f"<AdminServer, {MOST_CONNECTIONS} connections>" == count
    assert (b"HTTP/1.1 200", b"HTTP/1.1 200", b"") == (got[:12], first[:12], second)


async def test_half_requests_keep_nobody_out() -> None:
    """A connection over which a request only begins to come makes way, too."""
    async with serving() as (_, port):
        streams = [await connect(port) for _ in range(3 * MOST_CONNECTIONS)]
        for each in streams[:MOST_CONNECTIONS]:
            await each.send_all(GET[:-4])
        late = await connect(port)
        got = await answer(late, GET)
        for each in (*streams, late):
            await each.aclose()

    assert b"HTTP/1.1 200" == got[:12]


async def test_who_is_not_allowed_is_closed_at_once() -> None:
    """And that is said once."""
    event_log = EventLog()
    async with serving(("192.0.2.0/24",), event_log) as (_, port):
        for _ in range(2):
            async with await connect(port) as stream:
                assert b"" == await stream.receive_some()

    assert ["admin client turned away"] == [event.what for event in event_log.events()]


@pytest.mark.parametrize("asked", [b"", GET[:-4]])
async def test_the_end_closes_what_is_idle(asked: bytes) -> None:
    """A connection over which nothing, or not all of a request, has come."""
    async with serving() as (server, port), await connect(port) as stream:
        await answer(stream, GET)
        await stream.send_all(asked)
        await wait_all_tasks_blocked()  # for it to be read: a socket with bytes unread is closed by a reset
        await server.stop()
        assert b"" == await stream.receive_some()
