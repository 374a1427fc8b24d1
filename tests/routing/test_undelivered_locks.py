"""Locks that no page holds: grants that came too late, were withheld, or did not reach their clients.

The router knows of them in one of two ways. What it was told it gives back itself, still behind the gate.
What it was not told leaves a mark, and once the connection has ended a plain get shows a cookie that the
ledger does not know (design.md 6).
"""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.protocol.messages import Operation
from partitioner.transport.backend_connections import HELD_BODY
from tests.doubles.backends import (
    READ_CANARY,
    Close,
    Hear,
    HearEnd,
    Reset,
    Say,
    ScriptedBackend,
    Stall,
    Step,
    greeting,
    ok,
)
from tests.doubles.network import Fault
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import ACQUIRE, CONTENT, GET, request
from tests.identities import STATE_1
from tests.tables import each_case

TIMEOUT_FIELD = b"Timeout: 20"
GRANTED = ok(CONTENT, b"LockCookie: 7", TIMEOUT_FIELD)
LOCKED = b"423 Locked\r\nLockAge: 1\r\nLockCookie: 7\r\nContent-Length: 0\r\n\r\n"
LARGE = b"x" * (2 * HELD_BODY)
RELEASE = request(Operation.RELEASE, cookie=7)

FREED: list[Step] = [*greeting(), Hear(GET), Say(LOCKED), Hear(RELEASE), Say(ok())]
"""A fresh connection over which the lock of GRANTED is found, and given back."""


class Setting:
    """A router whose only backend plays these scripts, with its repairs going on."""

    def __init__(self, nursery: trio.Nursery, *scripts: list[Step]) -> None:
        self.router = MemoryRouter(nursery)
        self.observer = self.router.observer
        self.backend = ScriptedBackend(self.router.network, self.router.backends[0].address, *scripts)
        self.router.take_in()
        nursery.start_soon(self.router.core.repairer.run)

    async def leave_before_the_answer(self, asked: bytes, *, after: float) -> None:
        """Ask, and leave after so many seconds."""
        client = self.router.client()
        await client.send(asked)
        await trio.sleep(after)
        client.leave()


def ghosts(router: MemoryRouter) -> list[str]:
    """What became of locks that no page holds."""
    names = [str(fact[0]) for fact in router.observer.facts]
    return [name for name in names if name.startswith("ghost")]


# --- never told: found by a plain get ---


async def test_late_grant(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A lock that is granted after the router has given up is released when its connection has ended."""
    script = [*greeting(), Hear(ACQUIRE), HearEnd(), Stall(20), Say(GRANTED), Close()]
    setting = Setting(nursery, script, FREED)
    answer = await setting.router.client().ask(ACQUIRE)
    await setting.observer.wait_for("ghost_lock_released")

    assert answer == b""
    assert setting.backend.heard[1] == READ_CANARY + GET + RELEASE
    assert trio.current_time() == pytest.approx(7.9 + 20)


async def test_no_lock_was_granted(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Where the session turns out not to be locked there is nothing to release, and it is served again."""
    late = [*greeting(), Hear(ACQUIRE), HearEnd(), Stall(20), Close()]
    setting = Setting(nursery, late, [*greeting(), Hear(GET), Say(ok(CONTENT)), Hear(ACQUIRE), Say(GRANTED)])
    await setting.router.client().ask(ACQUIRE)
    await trio.sleep(25)

    assert GRANTED == await setting.router.client().ask(ACQUIRE)
    assert ghosts(setting.router) == []


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["end", "reset"])
async def test_half_a_grant(nursery: trio.Nursery, autojump_clock: MockClock, end: Step) -> None:
    """A grant whose content breaks off cannot be handed over, and its lock is released."""
    setting = Setting(nursery, [*greeting(), Hear(ACQUIRE), Say(GRANTED[:-1]), Stall(1), end], FREED)
    answer = await setting.router.client().ask(ACQUIRE)
    await setting.observer.wait_for("ghost_lock_released")

    assert answer == b""
    assert setting.backend.heard[1] == READ_CANARY + GET + RELEASE


@pytest.mark.parametrize("end", [Close(), Reset()], ids=["end", "reset"])
async def test_half_a_streamed_grant(nursery: trio.Nursery, autojump_clock: MockClock, end: Step) -> None:
    """Where the cookie was told before the content broke off, the lock is given back without a look."""
    granted = ok(LARGE, b"LockCookie: 7", TIMEOUT_FIELD)
    setting = Setting(
        nursery,
        [*greeting(), Hear(ACQUIRE), Say(granted[:-1]), Stall(1), end],
        [*greeting(), Hear(RELEASE), Say(ok()), Hear(GET), Say(ok(CONTENT))],
    )
    await setting.router.client().ask(ACQUIRE)
    await setting.observer.wait_for("ghost_lock_released")

    assert setting.backend.heard[1].startswith(READ_CANARY + RELEASE)


async def test_withheld_grant(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A grant of a server that is being ejected is withheld; the lock is looked for when it is back."""
    setting = Setting(nursery, [*greeting(), Hear(ACQUIRE), Stall(3), HearEnd(), Close()], FREED)
    upstream = setting.router.roster.upstreams[STATE_1]
    client = setting.router.client()
    await client.send(ACQUIRE)
    await wait_all_tasks_blocked()
    await setting.backend.streams[0].send_all(GRANTED)
    upstream.cut()  # before the exchange has had a turn to read it
    answer = await client.receive_answer()
    upstream.reinstate(b"0123456789abcdef" * 2)
    await setting.observer.wait_for("ghost_lock_released")

    assert answer == b""
    assert setting.backend.heard[1] == READ_CANARY + GET + RELEASE


async def test_lock_that_cannot_be_looked_for(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Looking for a lock is retried, a second later at first, until the server can be asked."""
    setting = Setting(nursery, [*greeting(), Hear(ACQUIRE), Stall(1), Reset()], FREED)
    client = setting.router.client()
    await client.send(ACQUIRE)
    await wait_all_tasks_blocked()
    # Two tries of two connections each: one that is found closed is worth a second one.
    setting.router.network.disturb_once(setting.backend.address, *[Fault.ACCEPT_THEN_CLOSE] * 4)
    await setting.observer.wait_for("ghost_lock_released")

    assert 1 + 1 + 2 <= trio.current_time() < 1 + 1 + 2 + 0.1


async def test_other_requests_that_went_unanswered_release_nobody(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The cookie that a plain get shows is only released if the ledger does not know it (design.md 6)."""
    save = request(Operation.SET, cookie=7)
    setting = Setting(
        nursery,
        [*greeting(), Hear(ACQUIRE), Say(GRANTED), Hear(ACQUIRE), HearEnd(), Stall(1), Close()],
        [*greeting(), Hear(save), Say(ok())],
    )
    holder = setting.router.client()
    await holder.ask(ACQUIRE)
    waiting = await setting.router.client().ask(ACQUIRE)
    await trio.sleep(40)
    saved = await setting.router.client().ask(save)

    assert (b"", ok()) == (waiting, saved)
    assert setting.backend.heard[1] == READ_CANARY + save
    assert ghosts(setting.router) == []


# --- told, and not delivered: given back at once ---


async def test_undelivered_grant(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A lock whose client has left before the answer came is given back with its cookie, at once."""
    setting = Setting(nursery, [*greeting(), Hear(ACQUIRE), Stall(1), Say(GRANTED), Hear(RELEASE), Say(ok())])
    await setting.leave_before_the_answer(ACQUIRE, after=0.5)
    await setting.observer.wait_for("ghost_lock_released")

    assert trio.current_time() == 1
    assert setting.router.ledger.locks_held == 0


async def test_undelivered_streamed_grant(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A large session's lock is given back when its client leaves in the middle of its content."""
    granted = ok(LARGE, b"LockCookie: 7", TIMEOUT_FIELD)
    setting = Setting(
        nursery,
        [*greeting(), Hear(ACQUIRE), Say(granted[:-1]), HearEnd()],
        [*greeting(), Hear(RELEASE), Say(ok()), Hear(GET), Say(ok(CONTENT))],
    )
    client = setting.router.client()
    await client.send(ACQUIRE)
    await wait_all_tasks_blocked()
    client.reset()
    await setting.backend.streams[0].send_all(b"x")
    await setting.observer.wait_for("ghost_lock_released")

    assert setting.backend.heard[1].startswith(READ_CANARY + RELEASE)


async def test_the_gate_is_kept_until_the_lock_is_given_back(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The next request of the key waits for the release: it would only find the session locked."""
    freeing: list[Step] = [Hear(ACQUIRE), Stall(1), Say(GRANTED), Hear(RELEASE), Stall(0.2), Say(ok())]
    setting = Setting(nursery, [*greeting(), *freeing, Hear(ACQUIRE), Say(GRANTED)])
    nursery.start_soon(lambda: setting.leave_before_the_answer(ACQUIRE, after=0.5))
    await wait_all_tasks_blocked()
    answer = await setting.router.client().ask(ACQUIRE)

    assert (GRANTED, 1.2) == (answer, trio.current_time())


@pytest.mark.parametrize("body", [CONTENT, LARGE], ids=["held", "streamed"])
async def test_delivered_grant(nursery: trio.Nursery, autojump_clock: MockClock, body: bytes) -> None:
    """A lock that was handed over is its client's: it is not released, and the ledger knows it."""
    granted = ok(body, b"LockCookie: 7", TIMEOUT_FIELD)
    setting = Setting(nursery, [*greeting(), Hear(ACQUIRE), Say(granted)])
    answer = await setting.router.client().ask(ACQUIRE)
    await trio.sleep(200)

    assert granted == answer
    assert setting.backend.heard == [READ_CANARY + ACQUIRE]
    assert [7] == [lock.cookie for _, lock in setting.router.ledger.locks()]


BUSY = b"503 Server Too Busy\r\nContent-Length: 0\r\n\r\n"

FAILING_RELEASES: dict[str, list[list[Step]]] = {
    "503": [[Say(BUSY)]],
    "late": [[HearEnd(), Close()]],
    "end": [[Close()], [Close()]],  # on a connection that had been kept: worth a second try
    "reset": [[Reset()], [Reset()]],
}


@each_case("failures", FAILING_RELEASES.values(), ids=FAILING_RELEASES)
async def test_release_that_fails(
    nursery: trio.Nursery, autojump_clock: MockClock, failures: list[list[Step]]
) -> None:
    """A lock that could not be given back at once is said to be left, and is looked for by repair."""
    granting: list[Step] = [*greeting(), Hear(ACQUIRE), Stall(1), Say(GRANTED)]
    first, *others = [[Hear(RELEASE), *failure] for failure in failures]
    again: list[list[Step]] = [[*greeting(), *each] for each in others]
    setting = Setting(nursery, [*granting, *first], *again, FREED)
    await setting.leave_before_the_answer(ACQUIRE, after=0.5)
    await setting.observer.wait_for("ghost_lock_released")

    assert ["ghost_lock_left", "ghost_lock_released"] == ghosts(setting.router)


@pytest.mark.parametrize("token", [None, b"another-incarnation"], ids=["none", "another"])
async def test_ghost_of_another_incarnation(
    nursery: trio.Nursery, autojump_clock: MockClock, token: bytes | None
) -> None:
    """A lock of an earlier incarnation is gone with it; its cookie may be another page's now, and is not
    used."""
    setting = Setting(
        nursery,
        [*greeting(), Hear(ACQUIRE), HearEnd(), Stall(5), Say(GRANTED), Close()],
        [*greeting(token), HearEnd()],
    )
    await setting.router.client().ask(ACQUIRE)
    await trio.sleep(200)

    assert setting.backend.heard[1:] == [READ_CANARY]
