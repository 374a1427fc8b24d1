"""Where each server may lack something, they are read if all of them agree (design.md 5.2.4 and 5.5.5)."""

import trio
from trio.testing import MockClock

from partitioner.membership.entry import REMOVE, WRITE
from partitioner.membership.health import Health
from partitioner.protocol.messages import Operation
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import ACQUIRE, GET, TARGET, request
from tests.identities import identities
from tests.routing.tenures import Site, ask, crash, save, tenure_of

OLD, NEW = b"old content", b"new content"
OTHER = TARGET[:-1] + b"x"


async def after_a_crash(site: Site, *reasons: str, is_locked: bool = False) -> MemoryRouter:
    """The router after one that had saved OLD and died when each server might lack something."""
    died = await site.router()
    await save(died, OLD)
    if is_locked:
        await ask(died, ACQUIRE)
    assert died.core.keeper is not None
    names = identities(f"state-{number}" for number in range(1, len(reasons) + 1))
    await died.core.keeper.ensure({name: frozenset({why}) for name, why in zip(names, reasons, strict=True)})
    crash(died)
    again = await site.router()
    await tenure_of(again).claim("a test")
    assert {Health.RECOVERING} == {each.record.health for each in again.roster.pool.members.values()}
    return again


async def test_they_agree(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """All have the same content: that is the session."""
    again = await after_a_crash(Site(nursery, 2), WRITE, WRITE)

    assert (await ask(again, GET)).endswith(OLD)


async def test_they_do_not_agree(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """One of the contents is out of date, and it is not known which: closed."""
    site = Site(nursery, 2)
    again = await after_a_crash(site, WRITE, WRITE)
    site.servers[0].tell(request(Operation.SET, body=NEW))

    assert b"" == await ask(again, GET)


async def test_one_alone_has_it(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The other one may lack the save."""
    site = Site(nursery, 2)
    again = await after_a_crash(site, REMOVE, WRITE)
    site.servers[0].tell(request(Operation.REMOVE))

    assert (await ask(again, GET)).endswith(OLD)


async def test_one_alone_has_it_and_may_have_missed_its_remove(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """It may have been removed, and does not come back: closed."""
    site = Site(nursery, 2)
    again = await after_a_crash(site, WRITE, REMOVE)
    site.servers[0].tell(request(Operation.REMOVE))

    assert b"" == await ask(again, GET)


async def test_a_lock_is_released_at_all(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Servers with a lock do not agree, so its holder's release goes to all of them, and then they do."""
    again = await after_a_crash(Site(nursery, 2), WRITE, WRITE, is_locked=True)
    locked = await ask(again, GET)
    await ask(again, request(Operation.RELEASE, cookie=2))

    assert locked[:3] in (b"", b"423")
    assert (await ask(again, GET)).endswith(OLD)


async def test_doubt_ends_although_clients_ask(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """After T_max what they lacked has expired, but for sessions that were asked for: these stay closed."""
    site = Site(nursery, 2)
    again = await after_a_crash(site, WRITE, WRITE)
    site.servers[0].tell(request(Operation.SET, body=NEW))
    answers = []
    for _ in range(8):
        await trio.sleep(again.ledger.longest_life / 7)
        answers.append(await ask(again, GET))
    other = request(Operation.SET, OTHER, body=OLD)

    assert {b""} == set(answers)
    assert {Health.UP} == {each.record.health for each in again.roster.pool.members.values()}
    assert (await ask(again, other)).startswith(b"200 OK")
