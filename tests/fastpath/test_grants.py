"""Locks that are handed over by the fast path: to clients that are there, and to no others."""

import trio

from tests.doubles.sessions import ACQUIRE
from tests.fastpath.router_setup import (
    LONG_ENOUGH,
    MOST_EVENTS,
    RouterSetup,
)
from tests.fastpath.samples import GRANTED


async def test_a_lock_whose_client_has_left_is_given_back(
    router_setup: RouterSetup, nursery: trio.Nursery
) -> None:
    """Where the end of the client comes in the same round as its grant, it is not delivered."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    near.sendall(ACQUIRE)
    router_setup.turn()
    backend.recv(1000)
    near.close()
    backend.sendall(GRANTED)
    await trio.sleep(0.01)  # both are there now
    router_setup.turn()

    assert router_setup.router.core.undelivered_locks.is_giving_back
    assert router_setup.client_handoff.left == 1


async def test_a_full_round_with_a_grant_for_a_client_that_has_left(router_setup: RouterSetup) -> None:
    """The end of the client has come before, but there was no room for it among the events of the round."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    near.sendall(ACQUIRE)
    router_setup.turn()
    backend.recv(1000)
    router_setup.fast_router.work_off(
        0, MOST_EVENTS
    )  # nothing; the client is the last now in whom epoll looks for news
    backend.sendall(GRANTED)
    await trio.sleep(0.01)  # it is there, before the other
    near.close()
    await trio.sleep(0.01)
    router_setup.fast_router.work_off(LONG_ENOUGH, 1)

    assert router_setup.router.core.undelivered_locks.is_giving_back
    assert 1 == router_setup.client_handoff.left


async def test_a_full_round_with_a_grant(router_setup: RouterSetup) -> None:
    """A client that is still there gets its lock."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    near.sendall(ACQUIRE)
    router_setup.turn()
    backend.recv(1000)
    backend.sendall(GRANTED)
    router_setup.fast_router.work_off(LONG_ENOUGH, 1)

    assert GRANTED == near.recv(1000)
