"""Links of the express lane that nobody uses any more, and faults of ours."""

import pytest
import trio

from partitioner.protocol.messages import Operation
from tests.doubles.backends import ok
from tests.doubles.sessions import ACQUIRE, GET, SET, request, target
from tests.fastpath.router_setup import (
    Platform,
    relayed,
)
from tests.fastpath.samples import FOUND, GRANTED


async def test_the_await_lane_takes_an_idle_link(platform: Platform) -> None:
    """Connections are shared: one that lies idle here need not be opened there."""
    platform.link()
    upstream = platform.router.roster.upstreams["state-1"]
    assert upstream.idle == 1
    channel = platform.siding().maybe_channel()

    assert channel is not None
    assert (0, {}) == (upstream.idle, platform.siding().links)
    channel.close()


async def test_links_that_nobody_has_used_for_long(platform: Platform) -> None:
    """They are found, to be closed before the backend does."""
    _, link = platform.link()

    assert [] == platform.relay.idle_links_before(link.since)
    assert [link] == platform.relay.idle_links_before(link.since + 1)


async def test_a_link_that_its_backend_has_closed_is_not_given_a_request(platform: Platform) -> None:
    """Where both come in one round, the link's end is seen first."""
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(SET)
    backend.close()
    await trio.sleep(0.01)  # both are there now
    platform.turn()

    assert [SET] == [opening.received for opening in platform.door.openings]
    assert platform.door.openings[0].respond is None


@pytest.mark.parametrize("answer", [FOUND, ok()])
async def test_a_link_that_its_backend_closes_after_an_answer(answer: bytes, platform: Platform) -> None:
    """It is not given the next request of the same round either, which would fail without need."""
    backend, _ = platform.link()
    near, _ = platform.client()
    second, _ = platform.client()
    near.sendall(GET)
    platform.turn()
    backend.recv(1000)
    second.sendall(request(Operation.SET, target(2)))
    backend.sendall(answer)
    backend.close()
    await trio.sleep(0.01)  # all are there now
    platform.turn()

    assert answer == near.recv(1000)
    assert [None] == [opening.respond for opening in platform.door.openings]
    assert {} == platform.siding().links


async def test_a_fault_of_ours_ends_one_connection(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported; the exchange is given up, with its gate left."""
    near, _ = platform.client()

    def fail(*request: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(platform.relay.clients.intake, "_serve", fail)
    near.sendall(GET)
    platform.turn()

    assert len(platform.router.observer.named("conversation_crashed")) == 1
    assert platform.door.left == 1


@pytest.mark.parametrize(("asked", "answer"), [(GET, FOUND), (ACQUIRE, GRANTED)])
async def test_a_fault_of_ours_after_an_answer(
    asked: bytes, answer: bytes, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client has its answer, and its lock; the gate is left once, and its connection closed."""

    def fail(*fact: object) -> None:
        raise ZeroDivisionError

    backend, _ = platform.link()
    near, _ = platform.client()
    monkeypatch.setattr(platform.router.observer, "exchange_finished", fail, raising=False)
    got = relayed(platform, near, backend, asked, answer)

    assert answer == got
    assert (0, 1) == (len(platform.router.lane.gate), platform.door.left)
    assert not platform.router.router.is_giving_back
    assert 1 == len(platform.router.observer.named("conversation_crashed"))


async def test_a_fault_of_ours_with_a_request_that_has_waited(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends that client's connection, and the lane goes on."""

    def fail(*seen: object) -> None:
        raise ZeroDivisionError

    platform.link()
    places = platform.router.roster.upstreams["state-1"].places
    places.free, free = 0, places.free
    near, _ = platform.client()
    near.sendall(GET)
    platform.turn()
    places.free = free
    monkeypatch.setattr(platform.relay.routes, "find", fail)
    platform.relay.look_at_queues(platform.relay.reactor.tell_time())

    assert 1 == platform.door.left
    assert 1 == len(platform.router.observer.named("conversation_crashed"))
