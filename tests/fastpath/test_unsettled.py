"""Keys that are not settled, on the fast path.

Who may have something of them is told of a write, and is asked before anybody hears of a 404.
"""

from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.fastpath.connections import Client
from partitioner.fastpath.router import FastRouter
from partitioner.fastpath.states import ClientState
from partitioner.membership.backend import Backend, BackendId, Intent
from partitioner.membership.entry import REMOVE, WRITE
from partitioner.membership.health import Health
from partitioner.protocol.messages import Operation
from partitioner.routing.internal_requests import remove, touch
from partitioner.transport.messages import Response
from tests.doubles.backends import NOT_FOUND, ok
from tests.doubles.routers import CONVERSATION
from tests.doubles.sessions import ACQUIRE, CONTENT, GET, ID, SET, TARGET, request
from tests.fastpath.router_setup import (
    AN_HOUR,
    LONG_ENOUGH,
    MOST_EVENTS,
    RecordingClientHandoff,
    RouterSetup,
    nothing_has_come,
    tcp_pair,
)
from tests.fastpath.samples import FOUND, GRANTED, KEY
from tests.fastpath.test_router import LOCKED
from tests.routing.tenures import Site
from tests.tables import each_case

REMOVED, TOUCHED = remove(TARGET).head.raw, touch(TARGET).head.raw
RELEASE = request(Operation.RELEASE, cookie=7)
EXISTS = FOUND.removesuffix(CONTENT)  # a HEAD's answer has no body


class Scene:
    """A client, two holders of its session, and two servers that may have held it; nothing is settled."""

    def __init__(self, nursery: trio.Nursery, *, copies: int = 2, is_settled: bool = False) -> None:
        self.router_setup = RouterSetup(
            nursery, copies=copies, backends=4, is_settled=is_settled, longest_life=AN_HOUR
        )
        core = self.router_setup.router.core
        self.holders = self.router_setup.holders(TARGET)
        self.others = tuple(each for each in core.roster.pool.members if each not in self.holders)
        self.backends = {each: self.router_setup.link(each)[0] for each in (*self.holders, *self.others)}
        self.asked = (*self.holders[1:], *self.others)  # for what the acting primary misses
        self.near, self.client = self.router_setup.client()

    def ask(self, asked: bytes, answer: bytes) -> None:
        """Have the acting primary answer a request."""
        self.near.sendall(asked)
        self.router_setup.turn()
        assert asked == self.heard(self.holders[0])
        self.answer(answer, self.holders[0])

    def answer(self, answer: bytes, *servers: BackendId) -> None:
        for each in servers:
            self.backends[each].sendall(answer)
            self.router_setup.turn()

    def heard(self, server: BackendId) -> bytes:
        return self.backends[server].recv(1000)

    def has_heard(self, server: BackendId) -> bool:
        return not nothing_has_come(self.backends[server])

    def have_saved(self) -> None:
        self.ask(SET, ok())
        self.answer(ok(), *self.holders[1:])
        self.answer(NOT_FOUND, *self.others)

    @property
    def is_settled(self) -> bool:
        core = self.router_setup.router.core
        session = core.ledger_keeper.session_of(TARGET)
        unchanged = core.roster.pool.unchanged_since(session.placement)
        return core.ledger.is_settled(KEY, unchanged, trio.current_time())

    def copies_tried(self) -> set[str]:
        told = self.router_setup.router.observer.named("copy_written")
        return {backend.name for _, backend, _ in told if isinstance(backend, Backend)}

    async def go_on(self) -> Response:
        """Have the exchange that was handed over brought to its end."""
        (opening,) = self.router_setup.client_handoff.openings
        assert opening.respond is not None
        response = await opening.respond()
        response.finish(True)
        return response


@pytest.fixture
def scene(nursery: trio.Nursery) -> Iterator[Scene]:
    scene = Scene(nursery)
    yield scene
    scene.router_setup.close()


# --- writes ---


async def test_a_write_is_removed_elsewhere_once_its_copies_are_written(scene: Scene) -> None:
    """First the acting set has it, then former holders are told to remove theirs, then the client hears."""
    scene.ask(SET, ok())
    copied, early = scene.heard(scene.holders[1]), [scene.has_heard(each) for each in scene.others]
    scene.answer(ok(), scene.holders[1])
    removed, was_answered = [scene.heard(each) for each in scene.others], not nothing_has_come(scene.near)
    scene.answer(NOT_FOUND, scene.others[0])
    scene.answer(ok(), scene.others[1])

    assert (SET, [False, False]) == (copied, early)
    assert ([REMOVED, REMOVED], False) == (removed, was_answered)
    scene.near.setblocking(True)
    assert ok() == scene.near.recv(1000)
    assert ClientState.IDLE is scene.client.state
    assert 0 == len(scene.router_setup.router.core.gate)


async def test_what_is_remembered_of_it(scene: Scene) -> None:
    """The key is settled, and what a former holder still had has moved."""
    before = scene.is_settled
    scene.ask(SET, ok())
    scene.answer(ok(), scene.holders[1])
    scene.answer(ok(), scene.others[0])
    scene.answer(NOT_FOUND, scene.others[1])

    assert (False, True) == (before, scene.is_settled)
    assert 1 == len(scene.router_setup.router.observer.named("session_moved"))
    assert 1 == len(scene.router_setup.router.observer.named("copy_written"))
    assert 0 == len(scene.router_setup.router.ledger)
    assert {scene.others[0]: 1} == dict(scene.router_setup.router.core.replicator.moved_from)


async def test_the_next_write_concerns_the_acting_set_alone(scene: Scene) -> None:
    scene.have_saved()
    for each in (scene.holders[1], *scene.others):
        scene.heard(each)
    scene.ask(SET, ok())
    scene.answer(ok(), scene.holders[1])

    assert [False, False] == [scene.has_heard(each) for each in scene.others]
    assert ClientState.IDLE is scene.client.state


async def test_without_copies(nursery: trio.Nursery) -> None:
    """One server accepts it, and the three others remove theirs, with the cookie of the write."""
    scene = Scene(nursery, copies=1)
    scene.ask(request(Operation.SET, cookie=7), ok())
    heard = [scene.heard(each) for each in scene.others]
    scene.answer(NOT_FOUND, *scene.others)

    assert [remove(TARGET, 7).head.raw] * 3 == heard
    assert ok() == scene.near.recv(1000)
    assert scene.is_settled
    scene.router_setup.close()


async def test_a_set_that_tells_of_longer_lives(nursery: trio.Nursery) -> None:
    """What an earlier pool has left behind may be alive by that time-out, so others are told of the write."""
    scene = Scene(nursery, is_settled=True)
    before = scene.is_settled
    scene.ask(SET, ok())
    scene.answer(ok(), scene.holders[1])

    assert before
    assert [REMOVED, REMOVED] == [scene.heard(each) for each in scene.others]
    scene.router_setup.close()


async def test_a_former_holder_that_says_something_else(scene: Scene) -> None:
    """The slow path goes on: it writes no copy twice, and removes only where nothing was confirmed."""
    scene.ask(SET, ok())
    scene.answer(ok(), scene.holders[1])
    assert [REMOVED, REMOVED] == [scene.heard(each) for each in scene.others]
    assert SET == scene.heard(scene.holders[1])
    scene.answer(NOT_FOUND, scene.others[0])
    scene.answer(b"503 Busy\r\nContent-Length: 0\r\n\r\n", scene.others[1])
    response = await scene.go_on()

    assert 200 == response.status
    assert [False, False] == [scene.has_heard(each) for each in (scene.holders[1], scene.others[0])]
    assert [scene.others[1]] == list(scene.router_setup.router.ledger.marks(KEY))


async def test_no_room_for_removes(scene: Scene) -> None:
    """The slow path opens connections for them; what was copied is not copied again."""
    scene.router_setup.shared_links(scene.others[0]).close_idle()
    scene.ask(SET, ok())
    scene.answer(ok(), scene.holders[1])
    assert SET == scene.heard(scene.holders[1])
    response = await scene.go_on()

    assert 200 == response.status
    assert not scene.has_heard(scene.holders[1])


async def test_a_remove_that_is_under_way_where_the_session_belongs_by_now(scene: Scene) -> None:
    """Its end is waited for before the copy is written there: carried out after it, it would take it away."""
    core = scene.router_setup.router.core
    scene.ask(SET, ok())
    scene.answer(ok(), scene.holders[1])
    assert [REMOVED, REMOVED] == [scene.heard(each) for each in scene.others]
    core.roster.adopt([member.backend for member in core.roster.pool.members.values()], 4)
    scene.router_setup.fast_router.hand_over.after(scene.client)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.go_on)
        await wait_all_tasks_blocked()
        early = scene.copies_tried()
        for each in scene.others:
            scene.backends[each].sendall(ok())

    assert set() == early & {*scene.others}
    assert {*scene.others} <= scene.copies_tried()


# --- sessions that are missed ---


@pytest.mark.parametrize("asked", [GET, ACQUIRE, RELEASE])
async def test_a_404_is_relayed_when_nobody_has_the_session(asked: bytes, scene: Scene) -> None:
    scene.ask(asked, NOT_FOUND)
    heard = [scene.heard(each) for each in scene.asked]
    was_answered = not nothing_has_come(scene.near)
    scene.answer(NOT_FOUND, *scene.asked)

    assert ([TOUCHED] * 3, False) == (heard, was_answered)
    scene.near.setblocking(True)
    assert NOT_FOUND == scene.near.recv(1000)
    assert ClientState.IDLE is scene.client.state
    assert 0 == len(scene.router_setup.router.core.gate)
    assert 0 == len(scene.router_setup.router.ledger)


async def test_the_first_save_of_what_is_nowhere(scene: Scene) -> None:
    """No server has anything of its key, as all of them have just said: nothing has to be removed."""
    scene.ask(ACQUIRE, NOT_FOUND)
    for each in scene.asked:
        scene.heard(each)
    scene.answer(NOT_FOUND, *scene.asked)
    scene.near.recv(1000)
    was_settled = scene.is_settled
    scene.ask(SET, ok())
    scene.answer(ok(), scene.holders[1])

    assert was_settled
    assert [False, False] == [scene.has_heard(each) for each in scene.others]
    assert ok() == scene.near.recv(1000)


async def test_somebody_has_it(scene: Scene) -> None:
    """A 404 would wipe a user's session: the slow path moves it, and asks nobody twice."""
    scene.ask(GET, NOT_FOUND)
    for each in scene.asked:
        scene.heard(each)
    scene.answer(NOT_FOUND, scene.holders[1])
    scene.answer(EXISTS, scene.others[0])

    assert ClientState.GONE is scene.client.state
    assert nothing_has_come(scene.near)


@pytest.mark.parametrize("answer", [LOCKED, GRANTED, ok(), b"503 Busy\r\nContent-Length: 0\r\n\r\n", b"4"])
async def test_only_a_404_says_that_it_is_not_there(answer: bytes, scene: Scene) -> None:
    scene.ask(GET, NOT_FOUND)
    scene.answer(NOT_FOUND, *scene.asked[1:])
    scene.answer(answer, scene.asked[0])

    assert ClientState.GONE is scene.client.state
    assert nothing_has_come(scene.near)


async def test_one_that_cannot_be_asked(scene: Scene) -> None:
    """It may have the session, so the slow path decides whether anybody can be trusted."""
    scene.router_setup.router.roster.set_intent(scene.others[0], Intent.MAINT)
    scene.ask(GET, NOT_FOUND)

    assert ClientState.GONE is scene.client.state
    assert not scene.has_heard(scene.others[1])


async def test_the_pool_changes_during_a_search(scene: Scene) -> None:
    """There may be others to ask by now."""
    core = scene.router_setup.router.core
    scene.ask(GET, NOT_FOUND)
    core.roster.adopt([member.backend for member in core.roster.pool.members.values()], 1)
    scene.answer(NOT_FOUND, *scene.asked)

    assert ClientState.GONE is scene.client.state
    assert nothing_has_come(scene.near)


async def test_a_mark_that_is_made_during_a_search(scene: Scene) -> None:
    core = scene.router_setup.router.core
    scene.ask(GET, NOT_FOUND)
    core.ledger_keeper.mark(core.ledger_keeper.session_of(TARGET), scene.others[0], is_stale=True)
    scene.answer(NOT_FOUND, *scene.asked)

    assert ClientState.GONE is scene.client.state
    assert nothing_has_come(scene.near)


# --- servers that are away ---


def take_away(scene: Scene, server: BackendId) -> None:
    scene.router_setup.router.roster.set_intent(server, Intent.MAINT)


def mark(scene: Scene, server: BackendId, *, is_stale: bool = True) -> None:
    core = scene.router_setup.router.core
    core.ledger_keeper.mark(core.ledger_keeper.session_of(TARGET), server, is_stale=is_stale)


async def test_a_save_passes_by_who_is_away(scene: Scene) -> None:
    """It is marked, and what it may hold is not the session any more; the others remove theirs."""
    away, other = scene.others
    take_away(scene, away)
    scene.ask(SET, ok())
    scene.answer(ok(), scene.holders[1])
    heard = scene.heard(other)
    scene.answer(NOT_FOUND, other)
    (marked,) = scene.router_setup.router.ledger.marks(KEY).items()

    assert REMOVED == heard
    assert ok() == scene.near.recv(1000)
    assert (away, True, None) == (marked[0], marked[1].is_stale, marked[1].taken)
    assert not scene.is_settled


async def test_the_next_requests_stay_on_the_fast_path(scene: Scene) -> None:
    """For as long as nobody but servers that are away is marked, they say nothing about whom to ask."""
    away, other = scene.others
    take_away(scene, away)
    scene.ask(SET, ok())
    scene.answer(ok(), scene.holders[1])
    scene.answer(NOT_FOUND, other)
    scene.near.recv(1000)
    scene.ask(ACQUIRE, GRANTED)
    granted = scene.near.recv(1000)
    scene.ask(request(Operation.SET, cookie=7), ok())
    scene.answer(ok(), scene.holders[1])
    scene.answer(NOT_FOUND, other)

    assert (GRANTED, ok()) == (granted, scene.near.recv(1000))
    assert [away] == list(scene.router_setup.router.ledger.marks(KEY))
    assert [] == scene.router_setup.client_handoff.openings


async def test_what_is_remembered_is_when_it_was_served(scene: Scene) -> None:
    """A mark of a session that is served does not expire with what its server held."""
    away = scene.others[0]
    take_away(scene, away)
    mark(scene, away)
    scene.ask(GET, FOUND)
    (entry,) = (entry for key, entry in scene.router_setup.router.ledger.entries() if key == KEY)

    assert FOUND == scene.near.recv(1000)
    assert trio.current_time() == pytest.approx(entry.served_at, abs=1.0)


async def test_a_mark_of_who_can_be_asked(scene: Scene) -> None:
    """It may be the acting primary, and can be repaired: that is for the slow path."""
    mark(scene, scene.others[0])
    scene.near.sendall(GET)
    scene.router_setup.turn()

    assert ClientState.GONE is scene.client.state


async def test_who_was_away_is_back_by_the_answer(scene: Scene) -> None:
    away = scene.others[0]
    take_away(scene, away)
    mark(scene, away)
    scene.near.sendall(GET)
    scene.router_setup.turn()
    scene.heard(scene.holders[0])
    scene.router_setup.router.roster.set_intent(away, Intent.READY)
    scene.router_setup.router.take_in()
    scene.answer(FOUND, scene.holders[0])

    assert ClientState.GONE is scene.client.state


async def test_a_remove_that_passes_somebody_by(scene: Scene) -> None:
    """The next router has to know that before it is sent."""
    take_away(scene, scene.others[0])
    scene.near.sendall(request(Operation.REMOVE))
    scene.router_setup.turn()

    assert ClientState.GONE is scene.client.state
    assert not scene.has_heard(scene.holders[0])


@each_case(("is_stale", "is_marked"), [(True, True), (False, True), (False, False)])
async def test_a_miss_while_one_is_away(is_stale: bool, is_marked: bool, nursery: trio.Nursery) -> None:
    """Its holders have always been asked for the session: what they do not have does not exist.

    Whether something is left of it on the one that is away is another question: it stays unsettled.
    """
    scene = Scene(nursery, is_settled=True)
    away = scene.others[0]
    take_away(scene, away)
    mark(scene, away, is_stale=is_stale)
    if not is_marked:
        scene.router_setup.router.ledger.unmark(KEY, away)
    scene.ask(GET, NOT_FOUND)
    asked = [each for each in scene.asked if each != away]
    heard = [scene.heard(each) for each in asked]
    scene.answer(NOT_FOUND, *asked)

    assert [TOUCHED] * 2 == heard
    assert NOT_FOUND == scene.near.recv(1000)
    assert not scene.is_settled
    scene.router_setup.close()


@each_case(("reason", "expected"), [(WRITE, ClientState.IDLE), (REMOVE, ClientState.GONE)])
async def test_what_is_not_written_down_is_not_answered(
    reason: str, expected: ClientState, autojump_clock: MockClock
) -> None:
    """Of a server that is down the record says that it may lack writes, and nothing of removes yet."""
    async with trio.open_nursery() as nursery:
        site = Site(nursery)
        router = await site.router()
        primary, _, other = map(BackendId, router.roster.pool.ranking.preference_list(ID))
        site.servers[int(other[-1]) - 1].kill()
        while router.roster.pool.members[other].record.health is Health.UP:
            await router.roster.wait_for_change()
        await trio.sleep(0.1)
        fast_router = FastRouter(router.core, CONVERSATION, trio.current_time, RecordingClientHandoff())
        upstream = router.roster.upstreams[primary]
        assert upstream.incarnation is not None
        backend, link = tcp_pair()
        near, far = tcp_pair()
        fast_router.links.add(link, fast_router.links_to(upstream), upstream.incarnation)
        client = Client(far, "192.0.2.1", trio.current_time())
        fast_router.take(client)
        session = router.core.ledger_keeper.session_of(TARGET)
        router.ledger.mark(session.key, TARGET, other, trio.current_time(), is_stale=True, reason=reason)
        near.sendall(GET)
        assert fast_router.work_off(LONG_ENOUGH, MOST_EVENTS)
        assert GET == backend.recv(1000)
        backend.sendall(FOUND)
        assert fast_router.work_off(LONG_ENOUGH, MOST_EVENTS)
        state = client.state
        fast_router.end()
        for lease in upstream.leases:
            lease.channel.close()
        for each in (near, far, backend, link):
            each.close()
        nursery.cancel_scope.cancel()

    assert expected is state
