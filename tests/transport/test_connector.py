"""New connections to a backend: its canary is read before anything is asked."""

import pytest
import trio
from trio.testing import MockClock

from partitioner.errors import (
    BackendEjected,
    BackendFailure,
    BackendHungUp,
    BackendMalformed,
    BackendRefused,
    BackendReset,
    BackendRestarted,
    BackendTooSlow,
    BackendUnreachable,
    Phase,
)
from tests.doubles.backends import (
    INCARNATION,
    READ_CANARY,
    Close,
    Hear,
    HearEnd,
    Reset,
    Say,
    Stall,
    Step,
    greeting,
    ok,
)
from tests.doubles.network import Fault, ResetAfter
from tests.doubles.sessions import GET, SET
from tests.tables import each_case
from tests.transport.upstreams import Setting, asked_and_answered, fail_as


async def test_canary_comes_first(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A request is sent on a new connection only after the known canary was read on it."""
    setting = Setting(nursery, [Hear(READ_CANARY), Stall(0.5), Say(ok(INCARNATION)), *asked_and_answered()])
    nursery.start_soon(setting.ask, GET)
    await trio.sleep(0.4)
    heard_before = setting.backend.heard[0]
    await trio.sleep(0.2)

    assert heard_before == READ_CANARY
    assert setting.backend.heard == [READ_CANARY + GET]


@pytest.mark.parametrize("token", [None, b"another-incarnation"], ids=["none", "another"])
async def test_restart(nursery: trio.Nursery, autojump_clock: MockClock, token: bytes | None) -> None:
    """No canary or another one is a restart: nothing is sent, and the connection is closed (design.md 5)."""
    setting = Setting(nursery, [*greeting(token), HearEnd()])

    assert await setting.fail(GET) == (BackendRestarted, Phase.CONNECTING)
    assert setting.backend.heard == [READ_CANARY]
    assert setting.backend.streams[0].is_abandoned


@each_case(
    ("script", "kind"),
    [
        ([Hear(READ_CANARY), Say(b"503 Server Too Busy\r\n\r\n")], BackendMalformed),
        ([Hear(READ_CANARY), Say(b"what?\r\n\r\n")], BackendMalformed),
        ([Hear(READ_CANARY), Say(ok(INCARNATION)[:-1]), Close()], BackendHungUp),
        ([Hear(READ_CANARY), Close()], BackendHungUp),
        ([Hear(READ_CANARY), Reset()], BackendReset),
        ([Hear(READ_CANARY)], BackendTooSlow),
    ],
    ids=["503", "garbage", "half", "end", "reset", "silence"],
)
async def test_canary_badly_answered(
    nursery: trio.Nursery, autojump_clock: MockClock, script: list[Step], kind: type[BackendFailure]
) -> None:
    """A backend that does not answer for its canary gets no request, and its connection is closed."""
    setting = Setting(nursery, script)

    assert await setting.fail(SET) == (kind, Phase.CONNECTING)
    assert setting.backend.heard == [READ_CANARY]
    assert setting.backend.streams[0].is_abandoned


@each_case(
    ("fault", "kind", "after"),
    [
        (Fault.REFUSE, BackendRefused, 0.0),
        (Fault.UNREACHABLE, BackendUnreachable, 0.0),
        (Fault.HANG, BackendTooSlow, 1.0),
        (Fault.ACCEPT_THEN_CLOSE, BackendHungUp, 0.0),
        (ResetAfter(5), BackendReset, 0.0),
    ],
)
async def test_connecting_fails(
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    fault: Fault | ResetAfter,
    kind: type[BackendFailure],
    after: float,
) -> None:
    """Whatever stands in the way of a connection fails as what it is, within the time to connect."""
    setting = Setting(nursery, [])
    setting.network.disturb(setting.address, fault)

    assert await setting.fail(SET) == (kind, Phase.CONNECTING)
    assert trio.current_time() == after


async def test_closed_at_once_names_a_likely_cause(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend that connects and closes at once gives the operator a hint (issue: bad input)."""
    setting = Setting(nursery, [])
    setting.network.disturb(setting.address, Fault.ACCEPT_THEN_CLOSE)
    with pytest.raises(BackendHungUp) as caught:
        await setting.ask(GET)

    assert caught.value.detail == "connected and closed at once, is AllowRemoteConnection 0 there?"


async def test_out(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An ejected backend is not connected to."""
    setting = Setting(nursery)
    setting.upstream.cut()

    assert await setting.fail(GET) == (BackendEjected, Phase.CONNECTING)
    assert setting.network.dialled == []


async def test_ejected_while_connecting(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend that is ejected while it is connected to gets no request any more."""
    setting = Setting(nursery, [Hear(READ_CANARY), Stall(0.5), Say(ok(INCARNATION)), HearEnd()])
    async with trio.open_nursery() as asking:
        asking.start_soon(fail_as, setting, GET, BackendEjected, Phase.CONNECTING)
        await trio.sleep(0.1)
        setting.upstream.cut()

    assert setting.backend.heard == [READ_CANARY]


async def test_restart_seen_by_many(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Of many connections that find no canary one tells of the restart; the others may be tried elsewhere."""
    script = [Hear(READ_CANARY), Stall(0.1), *greeting(None)[1:]]
    setting = Setting(nursery, *[script] * 3)
    kinds: list[type[BackendFailure]] = []

    async def fail() -> None:
        with pytest.raises(BackendFailure) as caught:
            await setting.ask(SET)
        kinds.append(type(caught.value))
        setting.upstream.cut()

    async with trio.open_nursery() as at_once:
        for _ in range(3):
            at_once.start_soon(fail)

    assert [BackendRestarted, BackendEjected, BackendEjected] == kinds
