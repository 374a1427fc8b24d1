"""For 110 s after a crash no page gets a lock that a page of before may hold (design.md 5.2.6)."""

import trio
from trio.testing import MockClock

from partitioner.membership.entry import LOCK, LONGEST_PAGE
from partitioner.membership.health import Health
from partitioner.protocol.messages import Operation
from tests.doubles.backends import MemoryStateServer
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import ACQUIRE, GET, ID, TARGET, request
from tests.identities import identities
from tests.routing.tenures import Site, ask, crash, save, tenure_of
from tests.tables import each_case

OLD, NEW = b"old content", b"new content"


class Crash:
    """A farm whose router has granted a lock, and was then gone: what the next one finds."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.site = Site(nursery)

    async def lock(self) -> None:
        """Have the first router save a session and grant its lock, at the session's primary."""
        self.died = await self.site.router()
        self.places = identities(self.died.roster.pool.ranking.preference_list(ID))
        await save(self.died, OLD)
        self.grant = await ask(self.died, ACQUIRE)

    async def eject_primary(self) -> None:
        """Have the first router take the lock's server for down, so that it stands for the lock."""
        self.primary.freeze()
        while self.died.roster.pool.members[self.places[0]].record.health is Health.UP:
            await self.died.roster.wait_for_change()
        await trio.sleep(1.0)

    async def take_over(self) -> MemoryRouter:
        """Crash the first router and have another one claim, once the lock's server answers again."""
        crash(self.died)
        self.primary.thaw()
        again = await self.site.router()
        await tenure_of(again).claim("a test")
        return again

    @property
    def primary(self) -> MemoryStateServer:
        return self.site.servers[int(self.places[0][-1]) - 1]

    @property
    def is_locked(self) -> bool:
        """Whether the session is locked on its primary."""
        session = self.primary.maybe_session(TARGET)
        return session is not None and session.locked_since is not None


async def test_a_lock_on_a_server_that_is_not_read(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Its server may lack a change, and is asked all the same whether the session is locked there."""
    farm = Crash(nursery)
    await farm.lock()
    await farm.eject_primary()
    again = await farm.take_over()
    answers = [await ask(again, asked) for asked in (ACQUIRE, GET)]

    assert farm.grant.startswith(b"200 OK")
    assert Health.RECOVERING is again.roster.pool.members[farm.places[0]].record.health
    assert [b"423", b"423"] == [answer[:3] for answer in answers]


async def test_a_server_that_cannot_be_asked(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A page may hold the lock: clients are closed until no page of before can run any more."""
    farm = Crash(nursery)
    await farm.lock()
    crash(farm.died)
    farm.primary.freeze()
    again = await farm.site.router()
    await tenure_of(again).claim("a test")
    at_once = await ask(again, ACQUIRE)
    await trio.sleep(LONGEST_PAGE)

    assert b"" == at_once
    assert (await ask(again, ACQUIRE)).startswith(b"200 OK")


async def test_a_server_that_has_forgotten_the_lock(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """It began anew since, so its word says nothing: closed, and the lock is not granted a second time."""
    farm = Crash(nursery)
    await farm.lock()
    crash(farm.died)
    farm.primary.restart()
    again = await farm.site.router()
    await tenure_of(again).claim("a test")

    assert b"" == await ask(again, ACQUIRE)


async def test_the_holder_releases_it_everywhere(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A release goes to every server that may have granted the lock, whichever is read now."""
    farm = Crash(nursery)
    await farm.lock()
    await farm.eject_primary()
    again = await farm.take_over()
    was_locked = farm.is_locked
    released = await ask(again, request(Operation.RELEASE, cookie=2))

    assert (True, b"200", False) == (was_locked, released[:3], farm.is_locked)


@each_case(
    ("operation", "expected"),
    [(Operation.SET, b""), (Operation.REMOVE, b""), (Operation.RELEASE, b"200"), (Operation.ACQUIRE, b"423")],
)
async def test_a_lock_beside_that_of_the_holder(
    nursery: trio.Nursery, autojump_clock: MockClock, operation: Operation, expected: bytes
) -> None:
    """The server that is read shows a lock that nobody was told of; the holder's is on another one.

    Which of both came later cannot be told: a save is closed, and not refused as if its page had lost it.
    """
    farm = Crash(nursery)
    await farm.lock()
    assert farm.died.core.keeper is not None
    await farm.died.core.keeper.ensure({farm.places[0]: frozenset({LOCK})})
    farm.primary.tell(request(Operation.RELEASE, cookie=2))
    farm.primary.tell(ACQUIRE)
    farm.site.servers[int(farm.places[1][-1]) - 1].tell(ACQUIRE)
    again = await farm.take_over()
    answer = await ask(again, request(operation, cookie=2, body=NEW))

    assert again.serving == {"state-1", "state-2", "state-3"}
    assert expected == answer[:3]


async def test_a_lock_of_what_is_missed_is_released(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Where its server alone has the session, and is not read, a lock that was shown can be released all the
    same: the release is acknowledged, although no server can tell whether the session exists."""
    farm = Crash(nursery)
    await farm.lock()
    await farm.eject_primary()
    again = await farm.take_over()
    for server in farm.site.servers:
        if server is not farm.primary:
            server.tell(request(Operation.REMOVE, cookie=0))
    shown = await ask(again, ACQUIRE)
    released = await ask(again, request(Operation.RELEASE, cookie=2))

    assert (b"423", b"200", False) == (shown[:3], released[:3], farm.is_locked)


async def test_no_copy_breaks_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A save without that lock leaves it alone where it is, with what is locked there."""
    farm = Crash(nursery)
    await farm.lock()
    await farm.eject_primary()
    again = await farm.take_over()
    await save(again, NEW)
    session = farm.primary.maybe_session(TARGET)

    assert farm.is_locked
    assert session is not None
    assert OLD == session.body


async def test_what_is_asked_lives_on(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """To ask a server that is not read starts the time-out of what is stale there anew: it stays unread for
    that session, until it has been put right, and for no other one."""
    farm = Crash(nursery)
    await farm.lock()
    await farm.eject_primary()
    again = await farm.take_over()
    key = again.core.ledger_keeper.session_of(TARGET).key
    await ask(again, GET)
    was_doubtful = again.ledger.marks(key)[farm.places[0]].is_doubtful

    assert was_doubtful


async def test_what_is_shown_to_be_locked_lives_on(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A 423 renews the session where it is read as well: it is there when its lock is gone."""
    farm = Crash(nursery)
    await farm.lock()
    await ask(farm.died, request(Operation.SET, cookie=2, minutes=1, body=NEW))
    await ask(farm.died, ACQUIRE)
    await farm.eject_primary()
    again = await farm.take_over()
    polled = []
    for _ in range(4):
        polled.append(await ask(again, GET))
        await trio.sleep(25.0)
    await ask(again, request(Operation.RELEASE, cookie=3))
    answer = await ask(again, GET)

    assert {b"423"} == {each[:3] for each in polled}
    assert answer.endswith(NEW)
