"""`check --connect` finds servers that were entered twice, and what web servers would fail by."""

import pytest
import trio
from trio.testing import MockClock

from partitioner.transport.checkup import examine, find_twins
from tests.doubles.backends import MemoryStateServer
from tests.doubles.network import MemoryStream, Network
from tests.doubles.routers import backend


async def test_one_server_under_two_addresses(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The second and third entry are named with the first one; the other server is nobody's twin."""
    network = Network(nursery)
    server = MemoryStateServer(network, backend(1).address)
    MemoryStateServer(network, backend(2).address)
    for number in (3, 4):
        network.listen(backend(number).address, server.serve)
    entries = [backend(number) for number in (1, 2, 3, 4)]

    assert {"state-3": backend(1), "state-4": backend(1)} == await find_twins(entries, network.dial, 1.0)


async def test_nothing_is_left_behind(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What was stored is removed; a server that does not answer is nobody's twin."""
    network = Network(nursery)
    server = MemoryStateServer(network, backend(1).address)

    assert {} == await find_twins([backend(1), backend(2)], network.dial, 1.0)
    assert 0 == len((await server.list_keys(None)).targets)


async def test_a_state_server_is_good(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It closes a connection of which the other end has finished, at once."""
    network = Network(nursery)
    MemoryStateServer(network, backend(1).address)

    assert await examine(backend(1), network.dial, 8.0) is None
    assert trio.current_time() < 1.0


async def test_a_server_that_keeps_half_closed_connections(
    nursery: trio.Nursery, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All its answers are right; it is refused when it has had its time."""
    network = Network(nursery)
    server = MemoryStateServer(network, backend(1).address)

    async def serve_and_stay(stream: MemoryStream) -> None:
        monkeypatch.setattr(stream, "close", lambda: None)
        await server.serve(stream)

    network.listen(backend(1).address, serve_and_stay)

    expected = "does not close a connection that was half-closed, within 8s"
    assert expected == await examine(backend(1), network.dial, 8.0)
