"""Locks that are handed over by the express lane: to clients that are there, and to nobody else."""

import trio

from tests.doubles.sessions import ACQUIRE
from tests.fastpath.router_setup import (
    LONG_ENOUGH,
    MOST_EVENTS,
    Platform,
)
from tests.fastpath.samples import GRANTED


async def test_a_lock_whose_client_has_left_is_given_back(platform: Platform, nursery: trio.Nursery) -> None:
    """Where the end of the client comes in the same round as its grant, it is not delivered."""
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(ACQUIRE)
    platform.turn()
    backend.recv(1000)
    near.close()
    backend.sendall(GRANTED)
    await trio.sleep(0.01)  # both are there now
    platform.turn()

    assert platform.router.router.is_giving_back
    assert platform.door.left == 1


async def test_a_full_round_with_a_grant_for_a_client_that_has_left(platform: Platform) -> None:
    """The end of the client has come before, but there was no room for it among the events of the round."""
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(ACQUIRE)
    platform.turn()
    backend.recv(1000)
    platform.relay.work_off(
        0, MOST_EVENTS
    )  # nothing; the client is the last now in whom epoll looks for news
    backend.sendall(GRANTED)
    await trio.sleep(0.01)  # it is there, before the other
    near.close()
    await trio.sleep(0.01)
    platform.relay.work_off(LONG_ENOUGH, 1)

    assert platform.router.router.is_giving_back
    assert 1 == platform.door.left


async def test_a_full_round_with_a_grant(platform: Platform) -> None:
    """A client that is still there gets its lock."""
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(ACQUIRE)
    platform.turn()
    backend.recv(1000)
    backend.sendall(GRANTED)
    platform.relay.work_off(LONG_ENOUGH, 1)

    assert GRANTED == near.recv(1000)
