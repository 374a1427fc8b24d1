"""Links of the fast path that are not used any more, and faults of ours."""

import pytest
import trio

from partitioner.protocol.messages import Operation
from tests.doubles.backends import ok
from tests.doubles.sessions import ACQUIRE, GET, SET, request, target
from tests.fastpath.router_setup import (
    RouterSetup,
    relayed,
)
from tests.fastpath.samples import FOUND, GRANTED
from tests.identities import STATE_1


async def test_the_slow_path_takes_an_idle_link(router_setup: RouterSetup) -> None:
    """Connections are shared: one that lies idle here need not be opened there."""
    router_setup.link()
    upstream = router_setup.router.roster.upstreams[STATE_1]
    assert upstream.idle == 1
    channel = router_setup.shared_links().maybe_channel()

    assert channel is not None
    assert (0, {}) == (upstream.idle, router_setup.backend_links().links)
    channel.close()


async def test_links_that_nobody_has_used_for_long(router_setup: RouterSetup) -> None:
    """They are found, to be closed before the backend does."""
    _, link = router_setup.link()

    assert [] == router_setup.fast_router.idle_links_before(link.since)
    assert [link] == router_setup.fast_router.idle_links_before(link.since + 1)


async def test_a_link_that_its_backend_has_closed_is_not_given_a_request(router_setup: RouterSetup) -> None:
    """Where both come in one round, the link's end is seen first."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    near.sendall(SET)
    backend.close()
    await trio.sleep(0.01)  # both are there now
    router_setup.turn()

    assert [SET] == [opening.received for opening in router_setup.client_handoff.openings]
    assert router_setup.client_handoff.openings[0].respond is None


@pytest.mark.parametrize("answer", [FOUND, ok()])
async def test_a_link_that_its_backend_closes_after_an_answer(
    answer: bytes, router_setup: RouterSetup
) -> None:
    """It is not given the next request of the same round either, which would fail without need."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    second, _ = router_setup.client()
    near.sendall(GET)
    router_setup.turn()
    backend.recv(1000)
    second.sendall(request(Operation.SET, target(2)))
    backend.sendall(answer)
    backend.close()
    await trio.sleep(0.01)  # all are there now
    router_setup.turn()

    assert answer == near.recv(1000)
    assert [None] == [opening.respond for opening in router_setup.client_handoff.openings]
    assert {} == router_setup.backend_links().links


async def test_a_fault_of_ours_ends_one_connection(
    router_setup: RouterSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported; the exchange is given up, with its gate left."""
    near, _ = router_setup.client()

    def fail(*request: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(router_setup.fast_router.client_reactions.collector, "_serve", fail)
    near.sendall(GET)
    router_setup.turn()

    assert len(router_setup.router.observer.named("conversation_crashed")) == 1
    assert router_setup.client_handoff.left == 1


async def test_a_fault_of_ours_with_a_client_that_is_gone(
    router_setup: RouterSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported all the same: nothing is swallowed uncounted."""
    near, client = router_setup.client()

    def fail(*request: object) -> bool:
        router_setup.fast_router.clients.close(client)
        raise KeyError("a fault of ours")

    monkeypatch.setattr(router_setup.fast_router.client_reactions.collector, "_serve", fail)
    near.sendall(GET)
    router_setup.turn()

    assert len(router_setup.router.observer.named("conversation_crashed")) == 1


@pytest.mark.parametrize(("asked", "answer"), [(GET, FOUND), (ACQUIRE, GRANTED)])
async def test_a_fault_of_ours_after_an_answer(
    asked: bytes, answer: bytes, router_setup: RouterSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client has its answer, and its lock; the gate is left once, and its connection closed."""

    def fail(*fact: object) -> None:
        raise ZeroDivisionError

    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    monkeypatch.setattr(router_setup.router.observer, "exchange_finished", fail, raising=False)
    got = relayed(router_setup, near, backend, asked, answer)

    assert answer == got
    assert (0, 1) == (len(router_setup.router.core.gate), router_setup.client_handoff.left)
    assert not router_setup.router.core.undelivered_locks.is_giving_back
    assert 1 == len(router_setup.router.observer.named("conversation_crashed"))


async def test_a_fault_of_ours_with_a_request_that_has_waited(
    router_setup: RouterSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends that client's connection, and the fast path goes on."""

    def fail(*seen: object) -> None:
        raise ZeroDivisionError

    router_setup.link()
    limit = router_setup.router.roster.upstreams[STATE_1].limit
    limit.free, free = 0, limit.free
    near, _ = router_setup.client()
    near.sendall(GET)
    router_setup.turn()
    limit.free = free
    monkeypatch.setattr(router_setup.fast_router.routes, "find", fail)
    router_setup.fast_router.look_at_queues(router_setup.fast_router.reactor.tell_time())

    assert 1 == router_setup.client_handoff.left
    assert 1 == len(router_setup.router.observer.named("conversation_crashed"))
