"""Touches on the express lane: copies live on like their primary, and who cannot be touched is marked."""

import socket
from collections.abc import AsyncIterator, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.fastpath.connections import Link
from partitioner.membership.backend import Intent
from partitioner.routing.expiry_sync import NEXT_LOOK
from tests.doubles.backends import NOT_FOUND, ok
from tests.doubles.sessions import GET, HEAD, TARGET
from tests.fastpath.router_setup import Platform, nothing_has_come
from tests.fastpath.samples import FOUND, KEY


class Scene:
    """A session's primary and its copy, with a link to each."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.platform = Platform(nursery, copies=2, backends=2)
        self.lane = self.platform.router.lane
        self.primary, self.copy = self.platform.holders(TARGET)
        self.primary_backend, _ = self.platform.link(self.primary)
        self.copy_backend, self.copy_link = self.platform.link(self.copy)
        self.copy_backend.settimeout(30)
        nursery.start_soon(self.lane.toucher.run)

    def touch(self) -> bool:
        return self.platform.relay.touch(TARGET, self.primary)

    def answer(self, answer: bytes) -> None:
        self.copy_backend.sendall(answer)
        self.platform.turn()

    async def come_to_rest(self) -> None:
        """Wait until the toucher has finished what was handed over to it."""
        with trio.fail_after(30):
            while len(self.lane.gate):
                await trio.lowlevel.checkpoint()

    def marked(self) -> list[str]:
        return list(self.platform.router.ledger.marks(KEY))


@pytest.fixture
async def scene(nursery: trio.Nursery) -> AsyncIterator[Scene]:
    scene = Scene(nursery)
    await wait_all_tasks_blocked()  # the toucher runs
    yield scene
    scene.platform.close()


async def test_a_touch_takes_its_time_from_when_it_is_sent(scene: Scene, autojump_clock: MockClock) -> None:
    """However long nothing has come in before: else it were handed over as a late one at the next look."""
    await trio.sleep(5.0)
    is_under_way = scene.touch()

    assert is_under_way
    assert [] == scene.platform.relay.copies_before(trio.current_time())


async def test_a_touch_of_a_session_that_is_elsewhere_by_now(scene: Scene) -> None:
    """Once the pool has changed, the server that has slid it need not be its primary any more."""
    scene.touch()
    scene.answer(ok())
    scene.lane.roster.set_intent(scene.primary, Intent.DRAIN)

    assert not scene.touch()


async def test_the_copy_is_touched_behind_the_gate(scene: Scene) -> None:
    """One HEAD for the copy and none for the primary, and nobody else is at the key until it is answered."""
    is_under_way = scene.touch()
    asked, was_free = scene.copy_backend.recv(1000), scene.lane.gate.is_free(KEY)
    scene.answer(ok())

    assert is_under_way
    assert (HEAD, False) == (asked, was_free)
    assert nothing_has_come(scene.primary_backend)
    assert scene.lane.gate.is_free(KEY)
    assert [scene.copy_link] == scene.platform.siding(scene.copy).idle_links


async def test_a_touch_that_is_due_is_offered_to_the_express_lane(scene: Scene) -> None:
    """A client's get slides its primary; its copy is touched over an idle link."""
    near, _ = scene.platform.client()
    near.sendall(GET)
    scene.platform.turn()
    scene.primary_backend.recv(1000)
    scene.primary_backend.sendall(FOUND)
    scene.platform.turn()
    with trio.fail_after(30):
        await trio.lowlevel.wait_readable(scene.copy_backend)
    asked = scene.copy_backend.recv(1000)
    scene.answer(ok())

    assert FOUND == near.recv(1000)
    assert HEAD == asked
    assert scene.lane.gate.is_free(KEY)


@pytest.mark.parametrize("is_written", [True, False])
async def test_a_key_that_is_busy_is_looked_at_again(
    is_written: bool, scene: Scene, autojump_clock: MockClock
) -> None:
    """What is under way may be a write, which touches the copies, too; if not, they are touched after it."""
    placement = scene.lane.bookkeeper.placement_of(KEY)
    assert scene.lane.gate.enter_at_once(KEY)
    scene.lane.toucher.note_slid(KEY, TARGET, placement, scene.primary, 20)
    await trio.sleep(NEXT_LOOK / 2)
    was_early = not nothing_has_come(scene.copy_backend)
    if is_written:
        scene.lane.toucher.note_written(KEY, TARGET, placement, 20)
    scene.lane.gate.leave(KEY)
    await trio.sleep(2 * NEXT_LOOK)

    assert not was_early
    assert is_written is nothing_has_come(scene.copy_backend)


def enter_gate(scene: Scene) -> None:
    assert scene.lane.gate.enter_at_once(KEY)


def mark(scene: Scene) -> None:
    scene.lane.bookkeeper.mark(KEY, TARGET, scene.copy, is_stale=True)


def close_links(scene: Scene) -> None:
    scene.platform.siding(scene.copy).close_idle()


def take_places(scene: Scene) -> None:
    scene.platform.router.roster.upstreams[scene.copy].places.free = 0


@pytest.mark.parametrize("prepare", [enter_gate, mark, close_links, take_places])
async def test_what_is_left_to_the_toucher(prepare: Callable[[Scene], None], scene: Scene) -> None:
    """Nothing of it has been begun then."""
    prepare(scene)

    assert not scene.touch()
    assert prepare is enter_gate or scene.lane.gate.is_free(KEY)
    assert prepare is close_links or nothing_has_come(scene.copy_backend)


async def test_a_session_that_another_server_has_slid(scene: Scene) -> None:
    """After a failover more than the copies have to be touched."""
    assert not scene.platform.relay.touch(TARGET, scene.copy)


async def test_a_copy_that_is_missing(scene: Scene) -> None:
    """It is marked, so that it will be written again."""
    scene.touch()
    scene.copy_backend.recv(1000)
    scene.answer(NOT_FOUND)
    await scene.come_to_rest()

    assert [scene.copy] == scene.marked()


def hang_up(scene: Scene) -> None:
    scene.copy_backend.shutdown(socket.SHUT_RDWR)
    scene.platform.turn()


def eject(scene: Scene) -> None:
    scene.platform.router.roster.upstreams[scene.copy].cut()


@pytest.mark.parametrize("fail", [hang_up, eject])
async def test_a_copy_that_cannot_be_touched(fail: Callable[[Scene], None], scene: Scene) -> None:
    """It will expire too early, so it is marked as well; and the gate is left."""
    scene.touch()
    scene.copy_backend.recv(1000)
    fail(scene)
    await scene.come_to_rest()

    assert [scene.copy] == scene.marked()
    assert {} == scene.platform.siding(scene.copy).links


async def test_a_fault_of_ours_in_a_touch(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported; the toucher goes on with the touch, and the gate is left."""
    scene.touch()
    scene.copy_backend.recv(1000)

    def fail(link: Link, data: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(scene.platform.relay.links, "is_empty_success", fail)
    scene.answer(ok())
    scene.copy_backend.shutdown(socket.SHUT_RDWR)
    await scene.come_to_rest()

    assert [scene.copy] == scene.marked()
    assert 1 == len(scene.platform.router.observer.named("conversation_crashed"))


async def test_the_lane_ends_during_a_touch(scene: Scene) -> None:
    """The gate is left: clients that the await lane still serves may wait for it."""
    scene.touch()
    scene.platform.relay.end()

    assert scene.lane.gate.is_free(KEY)
