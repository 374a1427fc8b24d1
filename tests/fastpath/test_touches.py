"""Touches on the fast path: copies live on like their primary, and who cannot be touched is marked."""

import socket
from collections.abc import AsyncIterator, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.fastpath.connections import BackendConnection
from partitioner.membership.backend import Intent
from partitioner.membership.entry import Lock
from partitioner.routing.expiry_sync import NEXT_LOOK, PAGE
from tests.doubles.backends import NOT_FOUND, ok
from tests.doubles.sessions import GET, HEAD, TARGET
from tests.fastpath.router_setup import RouterSetup, nothing_has_come
from tests.fastpath.samples import FOUND, KEY


class Scene:
    """A session's primary and its copy, with a link to each."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.router_setup = RouterSetup(nursery, copies=2, backends=2)
        self.core = self.router_setup.router.core
        self.primary, self.copy = self.router_setup.holders(TARGET)
        self.primary_backend, _ = self.router_setup.link(self.primary)
        self.copy_backend, self.copy_link = self.router_setup.link(self.copy)
        self.copy_backend.settimeout(30)
        nursery.start_soon(self.core.expiry_sync.run)

    def touch(self) -> bool:
        return self.router_setup.fast_router.touch(TARGET, self.primary)

    def answer(self, answer: bytes) -> None:
        self.copy_backend.sendall(answer)
        self.router_setup.turn()

    async def come_to_rest(self) -> None:
        """Wait until the expiry sync has finished what was handed over to it."""
        with trio.fail_after(30):
            while len(self.core.gate):
                await trio.lowlevel.checkpoint()

    def marked(self) -> list[str]:
        return list(self.router_setup.router.ledger.marks(KEY))


@pytest.fixture
async def scene(nursery: trio.Nursery) -> AsyncIterator[Scene]:
    scene = Scene(nursery)
    await wait_all_tasks_blocked()  # the expiry sync runs
    yield scene
    scene.router_setup.close()


async def test_a_touch_takes_its_time_from_when_it_is_sent(scene: Scene, autojump_clock: MockClock) -> None:
    """However long nothing has come in before: else it were handed over as a late one at the next look."""
    await trio.sleep(5.0)
    is_under_way = scene.touch()

    assert is_under_way
    assert [] == scene.router_setup.fast_router.copies_before(trio.current_time())


async def test_a_touch_of_a_session_that_is_elsewhere_by_now(scene: Scene) -> None:
    """Once the pool has changed, the server that has renewed it need not be its primary any more."""
    scene.touch()
    scene.answer(ok())
    scene.core.roster.set_intent(scene.primary, Intent.DRAIN)

    assert not scene.touch()


async def test_the_copy_is_touched_behind_the_gate(scene: Scene) -> None:
    """One HEAD for the copy, none for the primary, and no other exchange of the key until it is answered."""
    is_under_way = scene.touch()
    asked, was_free = scene.copy_backend.recv(1000), scene.core.gate.is_free(KEY)
    scene.answer(ok())

    assert is_under_way
    assert (HEAD, False) == (asked, was_free)
    assert nothing_has_come(scene.primary_backend)
    assert scene.core.gate.is_free(KEY)
    assert [scene.copy_link] == scene.router_setup.backend_links(scene.copy).idle_links


async def test_a_touch_that_is_due_is_offered_to_the_fast_path(scene: Scene) -> None:
    """A client's get renews its primary; its copy is touched over an idle link."""
    near, _ = scene.router_setup.client()
    near.sendall(GET)
    scene.router_setup.turn()
    scene.primary_backend.recv(1000)
    scene.primary_backend.sendall(FOUND)
    scene.router_setup.turn()
    with trio.fail_after(30):
        await trio.lowlevel.wait_readable(scene.copy_backend)
    asked = scene.copy_backend.recv(1000)
    scene.answer(ok())

    assert FOUND == near.recv(1000)
    assert HEAD == asked
    assert scene.core.gate.is_free(KEY)


@pytest.mark.parametrize("is_saved", [True, False])
async def test_a_page_has_a_moment_to_save_what_it_has_locked(
    is_saved: bool, scene: Scene, autojump_clock: MockClock
) -> None:
    """A save touches the copies, too, and would find its key busy. Without one they are touched after it."""
    ledger, key_gate = scene.router_setup.router.ledger, scene.core.gate
    session = scene.core.ledger_keeper.session_of(TARGET)
    ledger.note_lock(KEY, TARGET, Lock(7, scene.primary, None, trio.current_time()), 20)
    scene.core.expiry_sync.note_renewed(session, scene.primary, 20)
    await trio.sleep(0.9 * PAGE)
    early = nothing_has_come(scene.copy_backend) and key_gate.is_free(KEY)
    if is_saved:
        ledger.end_lock(KEY)
        scene.core.expiry_sync.note_written(session, 20)
    await trio.sleep(0.2 * PAGE)

    assert early
    assert is_saved is nothing_has_come(scene.copy_backend)


@pytest.mark.parametrize("is_written", [True, False])
async def test_a_key_that_is_busy_is_looked_at_again(
    is_written: bool, scene: Scene, autojump_clock: MockClock
) -> None:
    """What is under way may be a write, which touches the copies, too; if not, they are touched after it."""
    session = scene.core.ledger_keeper.session_of(TARGET)
    assert scene.core.gate.enter_at_once(KEY)
    scene.core.expiry_sync.note_renewed(session, scene.primary, 20)
    await trio.sleep(NEXT_LOOK / 2)
    was_early = not nothing_has_come(scene.copy_backend)
    if is_written:
        scene.core.expiry_sync.note_written(session, 20)
    scene.core.gate.leave(KEY)
    await trio.sleep(2 * NEXT_LOOK)

    assert not was_early
    assert is_written is nothing_has_come(scene.copy_backend)


def enter_gate(scene: Scene) -> None:
    assert scene.core.gate.enter_at_once(KEY)


def mark(scene: Scene) -> None:
    scene.core.ledger_keeper.mark(scene.core.ledger_keeper.session_of(TARGET), scene.copy, is_stale=True)


def close_links(scene: Scene) -> None:
    scene.router_setup.shared_links(scene.copy).close_idle()


def take_places(scene: Scene) -> None:
    scene.router_setup.router.roster.upstreams[scene.copy].limit.free = 0


@pytest.mark.parametrize("prepare", [enter_gate, mark, close_links, take_places])
async def test_what_is_left_to_the_expiry_sync(prepare: Callable[[Scene], None], scene: Scene) -> None:
    """Nothing of it has been begun then."""
    prepare(scene)

    assert not scene.touch()
    assert prepare is enter_gate or scene.core.gate.is_free(KEY)
    assert prepare is close_links or nothing_has_come(scene.copy_backend)


async def test_a_session_that_another_server_has_slid(scene: Scene) -> None:
    """After a failover more than the copies have to be touched."""
    assert not scene.router_setup.fast_router.touch(TARGET, scene.copy)


async def test_a_copy_that_is_missing(scene: Scene) -> None:
    """It is marked, so that it will be written again."""
    scene.touch()
    scene.copy_backend.recv(1000)
    scene.answer(NOT_FOUND)
    await scene.come_to_rest()

    assert [scene.copy] == scene.marked()


def hang_up(scene: Scene) -> None:
    scene.copy_backend.shutdown(socket.SHUT_RDWR)
    scene.router_setup.turn()


def eject(scene: Scene) -> None:
    scene.router_setup.router.roster.upstreams[scene.copy].cut()


@pytest.mark.parametrize("fail", [hang_up, eject])
async def test_a_copy_that_cannot_be_touched(fail: Callable[[Scene], None], scene: Scene) -> None:
    """It will expire too early, so it is marked as well; and the gate is left."""
    scene.touch()
    scene.copy_backend.recv(1000)
    fail(scene)
    await scene.come_to_rest()

    assert [scene.copy] == scene.marked()
    assert {} == scene.router_setup.backend_links(scene.copy).links


async def test_a_fault_of_ours_in_a_touch(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported; the expiry sync goes on with the touch, and the gate is left."""
    scene.touch()
    scene.copy_backend.recv(1000)

    def fail(link: BackendConnection, data: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(scene.router_setup.fast_router.recogniser, "is_empty_success", fail)
    scene.answer(ok())
    scene.copy_backend.shutdown(socket.SHUT_RDWR)
    await scene.come_to_rest()

    assert [scene.copy] == scene.marked()
    assert 1 == len(scene.router_setup.router.observer.named("conversation_crashed"))


async def test_the_core_ends_during_a_touch(scene: Scene) -> None:
    """The gate is left: clients that the slow path still serves may wait for it."""
    scene.touch()
    scene.router_setup.fast_router.end()

    assert scene.core.gate.is_free(KEY)
