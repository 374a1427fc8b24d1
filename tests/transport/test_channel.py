"""The seam to the network, on real loopback sockets: what goes wrong there, in our own words."""

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
import trio

from partitioner.errors import AddressUnavailable, ConnectionBroken, NotListening, OutOfFiles, Unreachable
from partitioner.membership.backend import Address
from partitioner.transport.channel import Channel, dial_tcp, listen_tcp, listening_address
from tests.tables import each_case

LOOPBACK = Address("127.0.0.1", 0)
NOT_OURS = Address("192.0.2.1", 42424)  # kept for documentation, nobody's (RFC 5737)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Channel, trio.SocketStream]]:
    """A channel that was dialled, and the stream at its other end."""
    [listener] = await listen_tcp(LOOPBACK)
    async with listener:
        channel = await dial_tcp(listening_address(listener))
        async with await listener.accept() as other:
            yield channel, other
            channel.close()


async def something_in(channel: Channel) -> None:
    """Let the network do its work, which takes no time on a loopback."""
    with trio.fail_after(30):
        while channel.is_quiet():
            await trio.lowlevel.checkpoint()


async def unused() -> Address:
    """An address of ours at which nothing listens."""
    [listener] = await listen_tcp(LOOPBACK)
    async with listener:
        return listening_address(listener)


async def test_dial() -> None:
    """What one end sends the other receives."""
    async with connected() as (channel, other):
        await channel.send(b"there")
        await other.send_all(b"and back")

        assert (await other.receive_some(), await channel.receive()) == (b"there", b"and back")


async def test_all_addresses_of_both_families() -> None:
    """`::` takes IPv4 as well, at the same port, whatever the system's default is for that."""
    listeners = await listen_tcp(Address("::", 0))
    port = listening_address(listeners[0]).port
    peers = []
    for host, listener in zip(("::1", "127.0.0.1"), listeners, strict=True):
        async with listener, await trio.open_tcp_stream(host, port), await listener.accept() as accepted:
            peers.append(accepted.socket.getpeername()[0])

    assert ["::1", "127.0.0.1"] == peers


async def test_peer_is_the_address() -> None:
    """A channel is named by what was dialled."""
    [listener] = await listen_tcp(LOOPBACK)
    async with listener:
        channel = await dial_tcp(listening_address(listener))
        channel.close()

        assert channel.peer == str(listening_address(listener))


async def test_dial_refused() -> None:
    """A port at which nothing listens says so."""
    with pytest.raises(NotListening, match="refused the connection"):
        await dial_tcp(await unused())


@each_case("host", ["255.255.255.255", "x" * 64 + ".invalid", "a..b"], ids=["no way", "too long", "no name"])
async def test_dial_unreachable(host: str) -> None:
    """An address to which no way leads, or which is none, says so."""
    with pytest.raises(Unreachable):
        await dial_tcp(Address(host, 42424))


numbers = count(1)


class NameService:
    """What getaddrinfo says of a name: that it is this machine, nothing at all, or that it is out of order.

    A process remembers names and counts their look-ups as long as it lives, and a look-up that is under way
    when trio's run ends is never counted out. So each test has a name of its own.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name = f"state-{next(numbers)}.example"
        self.is_hanging = False
        self.error: int | None = None
        self.asked = 0
        self.may_answer = threading.Event()
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)

    def _getaddrinfo(self, host: Any, port: int, *others: Any, **options: Any) -> Any:
        if host != self.name or options["flags"] & socket.AI_NUMERICHOST:
            return self._real(host, port, *others, **options)
        self.asked += 1
        if self.is_hanging:
            self.may_answer.wait(60)
        if self.error is not None:
            raise socket.gaierror(self.error, "out of order")
        return self._real("127.0.0.1", port, **options)


@pytest.fixture
def name_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameService]:
    service = NameService(monkeypatch)
    yield service
    service.may_answer.set()


async def test_a_name_service_that_hangs(name_service: NameService) -> None:
    """The address of last time is used; while one look-up hangs no other one is begun."""
    [listener] = await listen_tcp(LOOPBACK)
    async with listener:
        address = Address(name_service.name, listening_address(listener).port)
        (await dial_tcp(address)).close()
        name_service.is_hanging = True
        with trio.fail_after(30):
            for _ in range(8):
                (await dial_tcp(address)).close()
        asked = name_service.asked

    assert 2 == asked


@pytest.mark.parametrize("error", [socket.EAI_AGAIN, socket.EAI_NONAME])
async def test_a_name_service_that_fails(name_service: NameService, error: int) -> None:
    """The same, whatever it says: a zone that was lost is no reason to give up a server."""
    [listener] = await listen_tcp(LOOPBACK)
    async with listener:
        address = Address(name_service.name, listening_address(listener).port)
        (await dial_tcp(address)).close()
        name_service.error = error
        (await dial_tcp(address)).close()

    assert 2 == name_service.asked


@each_case(("error", "expected"), [(socket.EAI_AGAIN, OutOfFiles), (socket.EAI_NONAME, Unreachable)])
async def test_a_name_that_was_never_known(
    name_service: NameService, error: int, expected: type[Exception]
) -> None:
    """It is the name service's trouble, and not the server's, unless it says that there is no such name."""
    name_service.error = error
    with pytest.raises(expected):
        await dial_tcp(Address(name_service.name, 1))


async def test_cancelled_dial() -> None:
    """A dial that is cancelled leaves no socket open (that would warn, which is an error here)."""
    address = await unused()
    with trio.CancelScope() as scope:
        scope.cancel()
        await dial_tcp(address)

    assert scope.cancelled_caught


async def test_port_in_use() -> None:
    """A port in use is one sentence that names address and port."""
    [listener] = await listen_tcp(LOOPBACK)
    async with listener:
        taken = listening_address(listener)
        with pytest.raises(AddressUnavailable) as caught:
            await listen_tcp(taken)

    assert str(caught.value).startswith(f"cannot listen on {taken}: port {taken.port} is in use")
    assert "\n" not in str(caught.value)


async def test_address_not_ours() -> None:
    """An address of another machine is one sentence that names it."""
    with pytest.raises(AddressUnavailable) as caught:
        await listen_tcp(NOT_OURS)

    assert str(caught.value) == (
        "cannot listen on 192.0.2.1:42424: 192.0.2.1 is not an address of this machine"
    )


async def test_port_zero_takes_a_free_one() -> None:
    """Port 0 stands for any free one, and it can be asked which."""
    address = await unused()

    assert address.host == "127.0.0.1"
    assert address.port > 0


async def test_quiet() -> None:
    """A channel is quiet as long as nothing has come in."""
    async with connected() as (channel, other):
        was_quiet = channel.is_quiet()
        await other.send_all(b"x")
        await something_in(channel)

        assert (was_quiet, channel.is_quiet()) == (True, False)


async def test_end_of_file_is_not_quiet() -> None:
    """An end of file is something that has come in: a pooled connection with one is of no use."""
    async with connected() as (channel, other):
        await other.aclose()
        await something_in(channel)

        assert not channel.is_quiet()
        assert await channel.receive() == b""


async def test_half_closed() -> None:
    """After the end of file was sent, what the other end still says can be received."""
    async with connected() as (channel, other):
        await channel.send_eof()
        heard = await other.receive_some()
        await other.send_all(b"late")

        assert (heard, await channel.receive()) == (b"", b"late")


async def test_reset() -> None:
    """A connection that is torn down is broken, for who receives and for who sends."""
    async with connected() as (channel, other):
        await channel.send(b"never read")
        await trio.lowlevel.wait_readable(other.socket)
        other.socket.close()
        with pytest.raises(ConnectionBroken):
            await channel.receive()
        with pytest.raises(ConnectionBroken):
            await channel.send(b"x")


async def test_closed_by_ourselves() -> None:
    """A channel that was closed cannot be used; closing it again does no harm."""
    async with connected() as (channel, _):
        channel.close()
        channel.close()
        with pytest.raises(ConnectionBroken):
            await channel.receive()
        with pytest.raises(ConnectionBroken):
            await channel.send(b"x")
        with pytest.raises(ConnectionBroken):
            await channel.send_eof()


async def test_a_dialled_connection_that_is_closed_is_reset() -> None:
    """What was not sent yet never is: nobody waits for what it would bring about."""
    async with connected() as (channel, other):
        with trio.move_on_after(0.1):
            await channel.send(bytes(64 * 1024 * 1024))  # far more than the network takes
        channel.close()
        ended_in_order = True
        try:
            while await other.receive_some():
                pass
        except trio.BrokenResourceError:
            ended_in_order = False

        assert not ended_in_order


async def test_a_dialled_connection_that_is_closed_in_order() -> None:
    """Where nothing is under way the other end sees an end of file, after all that was sent."""
    async with connected() as (channel, other):
        await channel.send(b"sent")
        channel.close_in_order()

        assert (b"sent", b"") == (await other.receive_some(), await other.receive_some())


async def test_closed_in_order_after_half_closing() -> None:
    """An unanswered connection whose other end has finished ends without a reset."""
    async with connected() as (channel, other):
        await channel.send_eof()
        await other.send_eof()
        assert await channel.receive() == b""
        channel.close_in_order()

        assert await other.receive_some() == b""
