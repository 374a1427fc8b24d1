"""The canary: how one incarnation of a backend is told from the next."""

import pytest
import trio
from trio.testing import MockClock

from partitioner.errors import ConnectionBroken, ConnectionEnded, MalformedAnswer, PartitionerError
from partitioner.membership.items import MOST_CANARY_BYTES, CanaryItem
from partitioner.protocol.messages import Operation
from partitioner.protocol.writer import write_request
from partitioner.transport.canary import Canary
from partitioner.transport.channel import Channel
from tests.doubles.backends import (
    CANARY_TARGET,
    NOT_FOUND,
    READ_CANARY,
    ROUTER_NAME,
    Close,
    Hear,
    MemoryStateServer,
    Reset,
    Say,
    ScriptedBackend,
    Step,
    ok,
)
from tests.doubles.network import Network
from tests.doubles.routers import backend
from tests.tables import each_case

ADDRESS = backend(1).address
TOKEN = b"some-token"


async def connect(nursery: trio.Nursery, *steps: Step) -> Channel:
    """A connection on which these steps are played."""
    network = Network(nursery)
    ScriptedBackend(network, ADDRESS, steps)
    return await network.dial(ADDRESS)


async def test_read(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The token is the content of an item whose key is made from the router's name."""
    channel = await connect(nursery, Hear(READ_CANARY), Say(ok(TOKEN)))

    assert await Canary(ROUTER_NAME).read(channel) == CanaryItem(TOKEN)


async def test_none(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Where there is no canary the answer is None."""
    channel = await connect(nursery, Hear(READ_CANARY), Say(NOT_FOUND))

    assert await Canary(ROUTER_NAME).read(channel) is None


@each_case(
    ("step", "kind"),
    [
        (Say(b"423 Locked\r\nContent-Length: 0\r\n\r\n"), MalformedAnswer),
        (Say(ok(b"x" * (MOST_CANARY_BYTES + 1))), MalformedAnswer),
        (Say(b"400 Bad Request\r\nContent-Length: 0\r\n\r\n"), MalformedAnswer),
        (Say(b"503 Server Too Busy\r\nContent-Length: 0\r\n\r\n"), MalformedAnswer),
        (Say(b"what?\r\n\r\n"), MalformedAnswer),
        (Say(ok(TOKEN) + b"x"), MalformedAnswer),
        (Close(), ConnectionEnded),
        (Reset(), ConnectionBroken),
    ],
    ids=["423", "too long", "400", "503", "garbage", "surplus", "end", "reset"],
)
async def test_unreadable(
    nursery: trio.Nursery, autojump_clock: MockClock, step: Step, kind: type[PartitionerError]
) -> None:
    """What is neither the canary nor its absence says nothing of the backend's incarnation."""
    channel = await connect(nursery, Hear(READ_CANARY), step)
    with pytest.raises(kind):
        await Canary(ROUTER_NAME).read(channel)


async def test_planted_for_a_year(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The canary is still there when a year less a minute has passed without anybody reading it."""
    network = Network(nursery)
    MemoryStateServer(network, ADDRESS)
    canary = Canary(ROUTER_NAME)
    token = await canary.plant(await network.dial(ADDRESS))
    await trio.sleep((525_600 - 1) * 60)

    assert await canary.read(await network.dial(ADDRESS)) == token


async def test_planted_tokens_differ(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Each planting has a token of its own, or one incarnation could not be told from the next."""
    network = Network(nursery)
    server = MemoryStateServer(network, ADDRESS)
    tokens = set()
    for _ in range(10):
        tokens.add(await Canary(ROUTER_NAME).plant(await network.dial(ADDRESS)))
        server.restart()

    assert len(tokens) == 10


async def test_planting_keeps_what_is_there(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Two routers of one name agree on an incarnation: who plants second reads back the first one's token."""
    network = Network(nursery)
    MemoryStateServer(network, ADDRESS)
    active = await Canary(ROUTER_NAME).plant(await network.dial(ADDRESS))
    standby = await Canary(ROUTER_NAME).plant(await network.dial(ADDRESS))

    assert active == standby


async def test_routers_of_different_names(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Routers of different names do not see each other's canaries."""
    network = Network(nursery)
    MemoryStateServer(network, ADDRESS)
    await Canary(ROUTER_NAME).plant(await network.dial(ADDRESS))

    assert await Canary("router-2").read(await network.dial(ADDRESS)) is None


async def test_odd_router_name(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Any name makes a target that a state server takes."""
    network = Network(nursery)
    MemoryStateServer(network, ADDRESS)
    canary = Canary("Zentrale Köln / 2.OG (links) %41")
    token = await canary.plant(await network.dial(ADDRESS))

    assert await canary.read(await network.dial(ADDRESS)) == token


@pytest.mark.parametrize(
    "answers",
    [[b"400 Bad Request\r\nContent-Length: 0\r\n\r\n"], [ok(), NOT_FOUND]],
    ids=["refused", "forgotten"],
)
async def test_planting_fails(nursery: trio.Nursery, autojump_clock: MockClock, answers: list[bytes]) -> None:
    """A backend that does not store the canary, or forgets it, cannot be told from its next incarnation."""
    network = Network(nursery)

    async def serve(stream: trio.abc.HalfCloseableStream) -> None:
        for answer in answers:
            await stream.receive_some()
            await stream.send_all(answer)

    network.listen(ADDRESS, serve)
    with pytest.raises(MalformedAnswer):
        await Canary(ROUTER_NAME).plant(await network.dial(ADDRESS))


async def test_key_is_nobodys_session() -> None:
    """No session of an application has the canary's key: it has no `(hash)/` in it (protocol.md 4.1)."""
    assert b"(" not in CANARY_TARGET


async def test_a_locked_canary_is_released(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Somebody has acquired the item by mistake: it is released with the cookie that the refusal shows."""
    network = Network(nursery)
    server = MemoryStateServer(network, ADDRESS)
    canary = Canary(ROUTER_NAME)
    planted = await canary.plant(await network.dial(ADDRESS))
    server.tell(write_request(Operation.ACQUIRE, CANARY_TARGET))

    assert planted == await canary.read(await network.dial(ADDRESS))
