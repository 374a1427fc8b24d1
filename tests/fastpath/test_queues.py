"""Requests that wait on the express lane for a place at their backend, or for a link to it."""

import socket

import trio

from partitioner.fastpath.connections import Client
from partitioner.fastpath.router import LONG_WAIT
from partitioner.fastpath.routes import ENOUGH_LINKS
from partitioner.fastpath.states import ClientState
from partitioner.protocol.messages import Operation
from tests.doubles.sessions import GET, TARGET, request, target
from tests.fastpath.router_setup import (
    MOST_EVENTS,
    Platform,
)
from tests.fastpath.samples import FOUND


async def test_who_finds_no_place_is_asked_when_there_is_one(platform: Platform) -> None:
    """First come, first served; and the places are those of both lanes."""
    backend, _ = platform.link()
    (first, _), (second, client), (third, _) = (platform.client() for _ in range(3))
    places = platform.router.roster.upstreams["state-1"].places
    places.free = 1
    for number, near in enumerate((first, second, third)):
        near.sendall(request(Operation.GET, target(number)))
        platform.turn()
    state = client.state
    heard = [backend.recv(1000)]
    for near in (first, second, third):
        backend.sendall(FOUND)
        platform.turn()
        assert FOUND == near.recv(1000)
        heard += [backend.recv(1000)] if near is not third else []

    assert state is ClientState.QUEUED
    assert [request(Operation.GET, target(number)) for number in range(3)] == heard
    assert (1, 0) == (places.free, len(platform.siding().queue))


async def test_nobody_overtakes_those_who_wait_for_a_place(platform: Platform) -> None:
    """A request that comes in the round in which a place becomes free is asked after those that wait."""
    backend, _ = platform.link()
    nears = [platform.client()[0] for _ in range(3)]
    platform.router.roster.upstreams["state-1"].places.free = 1
    asked = [request(Operation.GET, target(number)) for number in range(3)]
    for number in (0, 1):
        nears[number].sendall(asked[number])
        platform.turn()
    backend.recv(1000)
    backend.sendall(FOUND)
    nears[2].sendall(asked[2])
    await trio.sleep(0.01)  # both are there now
    platform.turn()

    assert asked[1] == backend.recv(1000)
    assert 1 == len(platform.siding().queue)


def wait_for_a_link(platform: Platform) -> tuple[socket.socket, Client]:
    """Keep enough links busy, and have one more client ask; the last link's other end, and that client."""
    for number in range(ENOUGH_LINKS):
        backend, _ = platform.link()
        near, _ = platform.client()
        near.sendall(request(Operation.GET, target(number)))
        platform.turn()
    near, client = platform.client()
    near.sendall(GET)
    platform.turn()
    return backend, client


async def test_where_there_are_many_links_one_is_waited_for(platform: Platform) -> None:
    """Rather than that another connection is opened."""
    backend, client = wait_for_a_link(platform)
    state = client.state
    backend.recv(1000)
    backend.sendall(FOUND)
    platform.turn()

    assert (ClientState.QUEUED, ClientState.WAITING) == (state, client.state)
    assert [] == platform.door.openings


async def test_silence_while_a_link_is_waited_for(platform: Platform) -> None:
    """Then it is the backend that is slow, and another connection is opened for the request."""
    wait_for_a_link(platform)
    platform.relay.work_off(0, MOST_EVENTS)
    early = len(platform.door.openings)
    platform.relay.work_off(0.001, MOST_EVENTS)

    assert 0 == early
    assert [GET] == [opening.received for opening in platform.door.openings]


async def test_a_slow_backend_beside_fast_ones(platform: Platform) -> None:
    """There is never silence; who has waited long for a link gets one of its own."""
    wait_for_a_link(platform)
    platform.relay.look_at_queues(platform.relay.reactor.tell_time())
    early = len(platform.door.openings)
    platform.relay.look_at_queues(platform.relay.reactor.tell_time() + 2 * LONG_WAIT)

    assert 0 == early
    assert [GET] == [opening.received for opening in platform.door.openings]


async def test_a_place_that_comes_free_without_a_word(platform: Platform) -> None:
    """A place that the await lane gives back is found at the next look."""
    backend, _ = platform.link()
    near, client = platform.client()
    places = platform.router.roster.upstreams["state-1"].places
    places.free, free = 0, places.free
    near.sendall(GET)
    platform.turn()
    places.free = free
    platform.relay.look_at_queues(trio.current_time())

    assert client.state is ClientState.WAITING
    assert GET == backend.recv(1000)


async def test_who_waits_for_a_place_at_a_backend_that_is_ejected(nursery: trio.Nursery) -> None:
    """What that has left unanswered keeps its places for long; who waits for one is served elsewhere."""
    platform = Platform(nursery, backends=2)
    (holder,) = platform.holders(TARGET)
    upstream = platform.router.roster.upstreams[holder]
    upstream.places.free = 0
    near, _ = platform.client()
    near.sendall(GET)
    platform.turn()
    upstream.cut()

    assert [GET] == [opening.received for opening in platform.door.openings]
    assert {} == platform.siding(holder).queue
    platform.close()
