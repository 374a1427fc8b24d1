"""The fast path counts failovers as the slow path does: each answer that another server has given, once."""

import socket
from collections.abc import Iterator

import pytest
import trio

from partitioner.errors import BackendRestarted, Phase
from tests.doubles.sessions import ACQUIRE, GET, TARGET
from tests.fastpath.router_setup import RouterSetup, relayed, reset
from tests.fastpath.samples import FOUND, GRANTED


class Scene:
    """A session whose first choice is DOWN, with a client, and a link to the server that acts for it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.router_setup = RouterSetup(nursery, backends=2)
        roster = self.router_setup.router.roster
        (self.first,) = self.router_setup.holders(TARGET)
        roster.exchange_failed(BackendRestarted(self.first, Phase.CONNECTING, "has another canary"))
        (acting,) = self.router_setup.holders(TARGET)
        self.backend, _ = self.router_setup.link(acting)
        self.near, _ = self.router_setup.client()

    @property
    def passed_over(self) -> list[str]:
        facts = self.router_setup.router.observer.named("failed_over")
        return [backend.identity for _, backend in facts]  # type: ignore[attr-defined]

    def ask(self, asked: bytes) -> None:
        self.near.sendall(asked)
        self.router_setup.turn()
        assert asked == self.backend.recv(1000)


@pytest.fixture
def scene(nursery: trio.Nursery) -> Iterator[Scene]:
    scene = Scene(nursery)
    yield scene
    scene.router_setup.close()


@pytest.mark.parametrize(("asked", "answer"), [(GET, FOUND), (ACQUIRE, GRANTED)])
async def test_an_answer_that_is_delivered(asked: bytes, answer: bytes, scene: Scene) -> None:
    """The first choice is down and another server answers: that is one failover."""
    relayed(scene.router_setup, scene.near, scene.backend, asked, answer)

    assert [scene.first] == scene.passed_over


@pytest.mark.parametrize(("asked", "answer"), [(GET, FOUND), (ACQUIRE, GRANTED)])
async def test_a_client_that_resets_before_its_answer(asked: bytes, answer: bytes, scene: Scene) -> None:
    """Another server has answered all the same: it counts, as it does on the slow path."""
    scene.ask(asked)
    reset(scene.near)
    scene.router_setup.turn()
    scene.backend.sendall(answer)
    scene.router_setup.turn()

    assert [scene.first] == scene.passed_over
    assert 1 == scene.router_setup.client_handoff.left


async def test_a_client_that_leaves_where_nothing_was_answered(scene: Scene) -> None:
    """A server that hangs up has answered nothing: the slow path takes over, and counts if one answers."""
    scene.ask(ACQUIRE)
    scene.near.close()
    scene.router_setup.turn()
    scene.backend.shutdown(socket.SHUT_RDWR)
    scene.router_setup.turn()

    assert [] == scene.passed_over
    assert 1 == len(scene.router_setup.client_handoff.openings)
