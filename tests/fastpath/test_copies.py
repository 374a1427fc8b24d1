"""Writes with copies on the fast path: everybody has them before the client is answered, or is marked."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
import trio

from partitioner.fastpath.connections import BackendConnection
from partitioner.fastpath.states import ClientState, LinkState
from partitioner.membership.backend import Backend
from partitioner.protocol.messages import Operation
from partitioner.transport.backend_connections import HELD_BODY
from partitioner.transport.messages import Response
from tests.doubles.backends import NOT_FOUND, ok
from tests.doubles.sessions import ACQUIRE, CONTENT, CREATE, GET, SET, TARGET, request
from tests.fastpath.router_setup import RouterSetup, nothing_has_come, reset, shrink
from tests.fastpath.samples import GRANTED, KEY, REMOVE

LARGE = b"x" * HELD_BODY
LARGE_SET = SET.replace(b"Content-Length:7", b"Content-Length:%d" % HELD_BODY).removesuffix(CONTENT) + LARGE

MANY = 3


class Scene:
    """A client, and a link to each holder of its session, the primary's first."""

    def __init__(self, nursery: trio.Nursery, copies: int, *, is_local: bool = False) -> None:
        """The client connects over a Unix socket if it `is_local`."""
        self.router_setup = RouterSetup(nursery, copies=copies, backends=copies)
        self.holders = self.router_setup.holders(TARGET)
        pairs = [self.router_setup.link(name) for name in self.holders]
        self.backends = [backend for backend, _ in pairs]
        self.links: list[BackendConnection] = [link for _, link in pairs]
        self.near, self.client = self.router_setup.client(is_local=is_local)

    def have_accepted(self, write: bytes = SET) -> None:
        """Have the primary accept a write."""
        self.near.sendall(write)
        self.router_setup.turn()
        assert write == self.backends[0].recv(2 * HELD_BODY)
        self.backends[0].sendall(ok())
        self.router_setup.turn()

    def confirm(self, number: int, answer: bytes = ok()) -> None:
        self.backends[number].sendall(answer)
        self.router_setup.turn()

    async def go_on(self) -> Response:
        """Have the exchange that was handed over brought to its end."""
        (opening,) = self.router_setup.client_handoff.openings
        assert opening.respond is not None
        response = await opening.respond()
        response.finish(True)
        return response

    def marked(self) -> list[str]:
        return list(self.router_setup.router.ledger.marks(KEY))

    def copies_written(self) -> list[tuple[str, object]]:
        """Who got one, or did not."""
        told = self.router_setup.router.observer.named("copy_written")
        return [(backend.name, is_good) for _, backend, is_good in told if isinstance(backend, Backend)]


@pytest.fixture
def scene(nursery: trio.Nursery) -> Iterator[Scene]:
    scene = Scene(nursery, copies=2)
    yield scene
    scene.router_setup.close()


@pytest.fixture
def wide_scene(nursery: trio.Nursery) -> Iterator[Scene]:
    scene = Scene(nursery, copies=MANY)
    yield scene
    scene.router_setup.close()


@pytest.mark.parametrize("write", [SET, REMOVE, request(Operation.SET, cookie=7)])
async def test_a_client_is_answered_when_the_copy_is_written(write: bytes, scene: Scene) -> None:
    """The copy gets the same bytes, once the first server has accepted them and not before."""
    scene.near.sendall(write)
    scene.router_setup.turn()
    was_early = not nothing_has_come(scene.backends[1])
    scene.backends[0].sendall(ok())
    scene.router_setup.turn()
    state, copied = scene.client.state, scene.backends[1].recv(1000)
    scene.confirm(1)

    assert not was_early
    assert (ClientState.WAITING, write) == (state, copied)
    assert ok() == scene.near.recv(1000)
    assert ClientState.IDLE is scene.client.state
    assert len(scene.router_setup.router.core.gate) == 0


async def test_everything_is_as_before(scene: Scene) -> None:
    """Links are idle, places given back, the exchange and its copy reported, and nothing is remembered."""
    scene.have_accepted()
    scene.confirm(1)
    upstreams = [scene.router_setup.router.roster.upstreams[name] for name in scene.holders]

    assert [1, 1] == [upstream.idle for upstream in upstreams]
    assert [256, 256] == [upstream.limit.free for upstream in upstreams]
    assert [1, 1] == [upstream.traffic.answers[200] for upstream in upstreams]
    assert [(scene.holders[1], True)] == scene.copies_written()
    assert 1 == len(scene.router_setup.router.observer.named("exchange_finished"))
    assert 0 == len(scene.router_setup.router.ledger)


async def test_the_expiry_of_copies_is_renewed_by_a_write(scene: Scene) -> None:
    """The expiry sync knows that this key's copies were reached just now."""
    scene.have_accepted()
    scene.confirm(1)

    assert 1 == len(scene.router_setup.router.core.expiry_sync)


async def test_a_remove_is_not_reported_as_a_copy(scene: Scene) -> None:
    """Nothing was written, and there is nothing whose expiry would have to be renewed."""
    scene.have_accepted(REMOVE)
    scene.confirm(1)

    assert [] == scene.copies_written()
    assert 0 == len(scene.router_setup.router.core.expiry_sync)


async def test_a_confirmation_in_the_round_of_a_failure(wide_scene: Scene) -> None:
    """What one copy has confirmed is not lost when another one of the same round is out of the ordinary."""
    wide_scene.have_accepted()
    wide_scene.backends[1].close()
    wide_scene.backends[2].sendall(ok())
    await trio.sleep(0.01)  # both are there now
    wide_scene.router_setup.turn()
    await wide_scene.go_on()

    assert {(wide_scene.holders[1], False), (wide_scene.holders[2], True)} == set(wide_scene.copies_written())


async def test_a_client_that_talks_in_the_round_of_its_answer(nursery: trio.Nursery) -> None:
    """What it says is not lost where there is no room for its answer yet."""
    scene = Scene(nursery, copies=2, is_local=True)
    scene.have_accepted()
    shrink(scene.client.socket)
    fill(scene.client.socket)
    scene.near.sendall(GET)
    scene.backends[1].sendall(ok())
    with trio.fail_after(30):
        for each in (scene.client, scene.links[1]):  # both are there then
            await trio.lowlevel.wait_readable(each.socket)
    scene.router_setup.turn()
    was_delivering = scene.client.state is ClientState.DELIVERING
    while scene.client.state is ClientState.DELIVERING:
        scene.near.recv(100_000)
        scene.router_setup.turn()
    openings = scene.router_setup.client_handoff.openings
    scene.router_setup.close()

    assert was_delivering
    assert [GET] == [opening.received for opening in openings]


def fill(connected: socket.socket) -> None:
    """Send until there is no room."""
    with suppress(BlockingIOError):
        while True:
            connected.send(b"x" * 10)


async def test_all_copies_are_written_at_the_same_time(wide_scene: Scene) -> None:
    """And the client waits for the slowest."""
    wide_scene.have_accepted()
    copied = [wide_scene.backends[number].recv(1000) for number in (1, 2)]
    wide_scene.confirm(2)
    state = wide_scene.client.state
    wide_scene.confirm(1)

    assert [SET, SET] == copied
    assert ClientState.WAITING is state
    assert ok() == wide_scene.near.recv(1000)
    assert {(name, True) for name in wide_scene.holders[1:]} == set(wide_scene.copies_written())


@pytest.mark.parametrize("length", [1, 10, len(ok()) - 1])
async def test_a_confirmation_in_two_pieces(length: int, scene: Scene) -> None:
    """It is read by the slow path, and good."""
    scene.have_accepted()
    scene.backends[1].recv(1000)
    scene.confirm(1, ok()[:length])
    scene.backends[1].sendall(ok()[length:])
    response = await scene.go_on()

    assert ok() == response.head.raw + response.body
    assert [] == scene.marked()
    assert [(scene.holders[1], True)] == scene.copies_written()


# --- what is left to the slow path ---


async def test_where_no_link_to_the_copy_is_idle(scene: Scene) -> None:
    """The first server is not asked a second time: its answer is known, and only the copy is missing."""
    scene.router_setup.shared_links(scene.holders[1]).close_idle()
    scene.have_accepted()
    response = await scene.go_on()

    assert ok() == response.head.raw
    assert nothing_has_come(scene.backends[0])
    assert [scene.holders[1]] == scene.marked()  # nothing listens there in this test
    assert [(scene.holders[1], False)] == scene.copies_written()


async def test_where_there_is_no_place_at_the_copy(scene: Scene) -> None:
    """The slow path waits for one; here it has to wait no longer than until the patience with it is over."""
    scene.router_setup.router.roster.upstreams[scene.holders[1]].limit.free = 0
    scene.have_accepted()

    assert 1 == len(scene.router_setup.client_handoff.openings)
    assert nothing_has_come(scene.backends[1])
    await scene.go_on()
    assert [scene.holders[1]] == scene.marked()


@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_copy_that_fails(is_reset: bool, scene: Scene) -> None:
    """The save is acknowledged with one copy fewer, its server is marked, and all of it is told."""
    scene.have_accepted()
    scene.backends[1].recv(1000)
    scene.backends[1].sendall(b"200 OK\r\n")
    if is_reset:
        await trio.sleep(0.01)  # both are there now
        reset(scene.backends[1])
    else:
        scene.backends[1].close()
    scene.router_setup.turn()
    response = await scene.go_on()

    assert ok() == response.head.raw
    assert [scene.holders[1]] == scene.marked()
    assert [(scene.holders[1], False)] == scene.copies_written()
    assert 1 == len(scene.router_setup.router.observer.named("write_degraded"))


async def test_a_server_that_does_not_have_what_is_to_be_copied(scene: Scene) -> None:
    """A copy of a remove that finds nothing is as good as one that removes."""
    scene.have_accepted(REMOVE)
    scene.backends[1].recv(1000)
    scene.confirm(1, NOT_FOUND)
    await scene.go_on()

    assert [] == scene.marked()


async def test_a_copy_s_server_is_ejected(scene: Scene) -> None:
    """It may have the write or not, so it is marked; the client has its answer all the same."""
    scene.have_accepted()
    scene.router_setup.router.roster.upstreams[scene.holders[1]].cut()
    response = await scene.go_on()

    assert ok() == response.head.raw
    assert [scene.holders[1]] == scene.marked()


async def test_a_copy_that_fails_does_not_harm_another(wide_scene: Scene) -> None:
    """What is under way to a third server is gone on with, and not sent again."""
    wide_scene.have_accepted()
    assert [SET, SET] == [wide_scene.backends[number].recv(1000) for number in (1, 2)]
    wide_scene.backends[1].close()
    wide_scene.router_setup.turn()
    wide_scene.backends[2].sendall(ok())
    await wide_scene.go_on()

    assert nothing_has_come(wide_scene.backends[2])
    assert [wide_scene.holders[1]] == wide_scene.marked()


async def test_a_copy_that_was_sent_in_part(nursery: trio.Nursery) -> None:
    """The slow path sends the rest, and not all of it once more."""
    scene = Scene(nursery, copies=2)
    shrink(scene.links[1].socket)
    scene.near.sendall(LARGE_SET)
    heard = b""
    while len(heard) < len(LARGE_SET):
        scene.router_setup.turn()
        heard += scene.backends[0].recv(2 * HELD_BODY) if scene.client.state is ClientState.WAITING else b""
    scene.backends[0].sendall(ok())
    scene.router_setup.turn()
    assert LinkState.SENDING_COPY is scene.links[1].state
    scene.router_setup.fast_router.hand_over.after(scene.client)
    nursery.start_soon(scene.go_on)
    copied = b""
    with trio.fail_after(30):
        while len(copied) < len(LARGE_SET):
            await trio.lowlevel.wait_readable(scene.backends[1])
            copied += scene.backends[1].recv(2 * HELD_BODY)
        scene.backends[1].sendall(ok())
        while len(scene.router_setup.router.core.gate):
            await trio.lowlevel.checkpoint()

    assert LARGE_SET == copied
    assert [] == scene.marked()
    scene.router_setup.close()


async def test_copies_that_take_long(scene: Scene) -> None:
    """They are found by when they were sent, however long their links had been idle before."""
    scene.have_accepted()
    link = scene.links[1]

    assert [] == scene.router_setup.fast_router.copies_before(link.since)
    assert [link] == scene.router_setup.fast_router.copies_before(link.since + 1)


async def test_two_copies_that_take_long(wide_scene: Scene) -> None:
    """They are handed over together, and once."""
    wide_scene.have_accepted()
    wide_scene.router_setup.fast_router.look_after(wide_scene.links[1].since + 1)

    assert 1 == len(wide_scene.router_setup.client_handoff.openings)
    assert 2 == sum(
        len(upstream.leases) for upstream in wide_scene.router_setup.router.roster.upstreams.values()
    )


async def test_a_client_that_leaves_before_its_copy_is_written(scene: Scene) -> None:
    """It is written all the same, or copies would differ unnoticed."""
    scene.have_accepted()
    scene.near.close()
    scene.router_setup.turn()
    scene.confirm(1)

    assert SET == scene.backends[1].recv(1000)
    assert [(scene.holders[1], True)] == scene.copies_written()
    assert 0 == len(scene.router_setup.router.core.gate)
    assert 1 == scene.router_setup.client_handoff.left


async def test_an_end_of_lock_is_noted_before_the_copy_is_written(scene: Scene) -> None:
    """A copy's 423 is judged by the locks that are held then."""
    scene.near.sendall(ACQUIRE)
    scene.router_setup.turn()
    scene.backends[0].recv(1000)
    scene.confirm(0, GRANTED)
    scene.near.recv(1000)
    was_locked = scene.router_setup.router.ledger.locks_held
    scene.have_accepted(request(Operation.SET, cookie=7))

    assert (1, 0) == (was_locked, scene.router_setup.router.ledger.locks_held)


async def test_a_create_is_for_the_slow_path(scene: Scene) -> None:
    """It asks first whether the session exists."""
    scene.near.sendall(CREATE)
    scene.router_setup.turn()

    assert [CREATE] == [opening.received for opening in scene.router_setup.client_handoff.openings]


@pytest.mark.parametrize("backends", [1, 3])
async def test_who_is_written_is_out_of_the_ordinary(backends: int, nursery: trio.Nursery) -> None:
    """One server too few for the copies; or one in addition, because it is not known what that holds."""
    router_setup = RouterSetup(nursery, copies=2, backends=backends)
    if backends > 1:
        router_setup.router.roster.suspect(router_setup.holders(TARGET)[1])
    for name in router_setup.holders(TARGET):
        router_setup.link(name)
    near, _ = router_setup.client()
    near.sendall(SET)
    router_setup.turn()

    assert [SET] == [opening.received for opening in router_setup.client_handoff.openings]
    router_setup.close()
