"""Requests that wait on the fast path for a place at their backend, or for a link to it."""

import socket

import trio

from partitioner.fastpath.connections import ENOUGH_LINKS, Client
from partitioner.fastpath.router import LONG_WAIT
from partitioner.fastpath.states import ClientState
from partitioner.protocol.messages import Operation
from tests.doubles.sessions import GET, TARGET, request, target
from tests.fastpath.router_setup import (
    MOST_EVENTS,
    RouterSetup,
)
from tests.fastpath.samples import FOUND
from tests.identities import STATE_1


async def test_who_finds_no_place_is_asked_when_there_is_one(router_setup: RouterSetup) -> None:
    """First come, first served; and the places are those of both paths."""
    backend, _ = router_setup.link()
    (first, _), (second, client), (third, _) = (router_setup.client() for _ in range(3))
    limit = router_setup.router.roster.upstreams[STATE_1].limit
    limit.free = 1
    for number, near in enumerate((first, second, third)):
        near.sendall(request(Operation.GET, target(number)))
        router_setup.turn()
    state = client.state
    heard = [backend.recv(1000)]
    for near in (first, second, third):
        backend.sendall(FOUND)
        router_setup.turn()
        assert FOUND == near.recv(1000)
        heard += [backend.recv(1000)] if near is not third else []

    assert state is ClientState.QUEUED
    assert [request(Operation.GET, target(number)) for number in range(3)] == heard
    assert (1, 0) == (limit.free, len(router_setup.backend_links().queue))


async def test_nobody_overtakes_those_who_wait_for_a_place(router_setup: RouterSetup) -> None:
    """A request that comes in the round in which a place becomes free is asked after those that wait."""
    backend, _ = router_setup.link()
    nears = [router_setup.client()[0] for _ in range(3)]
    router_setup.router.roster.upstreams[STATE_1].limit.free = 1
    asked = [request(Operation.GET, target(number)) for number in range(3)]
    for number in (0, 1):
        nears[number].sendall(asked[number])
        router_setup.turn()
    backend.recv(1000)
    backend.sendall(FOUND)
    nears[2].sendall(asked[2])
    await trio.sleep(0.01)  # both are there now
    router_setup.turn()

    assert asked[1] == backend.recv(1000)
    assert 1 == len(router_setup.backend_links().queue)


def wait_for_a_link(router_setup: RouterSetup) -> tuple[socket.socket, Client]:
    """Keep enough links busy, and have one more client ask; the last link's other end, and that client."""
    for number in range(ENOUGH_LINKS):
        backend, _ = router_setup.link()
        near, _ = router_setup.client()
        near.sendall(request(Operation.GET, target(number)))
        router_setup.turn()
    near, client = router_setup.client()
    near.sendall(GET)
    router_setup.turn()
    return backend, client


async def test_where_there_are_many_links_one_is_waited_for(router_setup: RouterSetup) -> None:
    """Rather than that another connection is opened."""
    backend, client = wait_for_a_link(router_setup)
    state = client.state
    backend.recv(1000)
    backend.sendall(FOUND)
    router_setup.turn()

    assert (ClientState.QUEUED, ClientState.WAITING) == (state, client.state)
    assert [] == router_setup.client_handoff.openings


async def test_silence_while_a_link_is_waited_for(router_setup: RouterSetup) -> None:
    """Then it is the backend that is slow, and another connection is opened for the request."""
    wait_for_a_link(router_setup)
    router_setup.fast_router.work_off(0, MOST_EVENTS)
    early = len(router_setup.client_handoff.openings)
    router_setup.fast_router.work_off(0.001, MOST_EVENTS)

    assert 0 == early
    assert [GET] == [opening.received for opening in router_setup.client_handoff.openings]


async def test_a_slow_backend_beside_fast_ones(router_setup: RouterSetup) -> None:
    """There is never silence; who has waited long for a link gets one of its own."""
    wait_for_a_link(router_setup)
    router_setup.fast_router.look_at_queues(router_setup.fast_router.reactor.tell_time())
    early = len(router_setup.client_handoff.openings)
    router_setup.fast_router.look_at_queues(router_setup.fast_router.reactor.tell_time() + 2 * LONG_WAIT)

    assert 0 == early
    assert [GET] == [opening.received for opening in router_setup.client_handoff.openings]


async def test_a_place_that_comes_free_without_a_word(router_setup: RouterSetup) -> None:
    """A place that the slow path gives back is found at the next look."""
    backend, _ = router_setup.link()
    near, client = router_setup.client()
    limit = router_setup.router.roster.upstreams[STATE_1].limit
    limit.free, free = 0, limit.free
    near.sendall(GET)
    router_setup.turn()
    limit.free = free
    router_setup.fast_router.look_at_queues(trio.current_time())

    assert client.state is ClientState.WAITING
    assert GET == backend.recv(1000)


async def test_who_waits_for_a_place_at_a_backend_that_is_ejected(nursery: trio.Nursery) -> None:
    """What that has left unanswered keeps its places for long; who waits for one is served elsewhere."""
    router_setup = RouterSetup(nursery, backends=2)
    (holder,) = router_setup.holders(TARGET)
    upstream = router_setup.router.roster.upstreams[holder]
    upstream.limit.free = 0
    near, _ = router_setup.client()
    near.sendall(GET)
    router_setup.turn()
    upstream.cut()

    assert [GET] == [opening.received for opening in router_setup.client_handoff.openings]
    assert {} == router_setup.backend_links(holder).queue
    router_setup.close()
