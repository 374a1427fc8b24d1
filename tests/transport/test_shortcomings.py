"""What a backend does that web servers fail by: said once, and shown."""

import trio
from trio.testing import MockClock

from partitioner.transport.half_closed import PATIENCE
from partitioner.transport.shortcomings import Shortcoming
from tests.doubles.backends import Hear, HearEnd, Say, Step, greeting, ok
from tests.doubles.sessions import ACQUIRE, CONTENT, GET, SET
from tests.tables import each_case
from tests.transport.upstreams import Setting, asked_and_answered

WITHOUT_VERSION = ok(CONTENT).replace(b"X-AspNet-Version: 4.0.30319\r\n", b"")
OLD_VERSION = ok(CONTENT).replace(b"4.0.30319", b"1.1.4322")


def told(setting: Setting) -> list[object]:
    return [fact[2] for fact in setting.observer.named("backend_falls_short")]


@each_case(
    ("asked", "answer", "expected"),
    [
        (GET, ok(CONTENT), []),
        (GET, WITHOUT_VERSION, [Shortcoming.NO_VERSION]),
        (GET, OLD_VERSION, [Shortcoming.NO_VERSION]),
        (ACQUIRE, ok(CONTENT, b"LockCookie: 2"), []),
        (ACQUIRE, ok(CONTENT), [Shortcoming.NO_LOCK_COOKIE]),
        (ACQUIRE, WITHOUT_VERSION, [Shortcoming.NO_VERSION, Shortcoming.NO_LOCK_COOKIE]),
    ],
)
async def test_an_answer_that_no_state_server_gives(
    asked: bytes,
    answer: bytes,
    expected: list[Shortcoming],
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    """It is relayed as it is, told of once however often it comes, and shown from then on."""
    twice: list[Step] = [Hear(asked), Say(answer), Hear(asked), Say(answer)]
    setting = Setting(nursery, [*greeting(), *twice])
    answers = [await setting.ask(asked) for _ in range(2)]

    assert [answer, answer] == answers
    assert expected == told(setting) == list(setting.upstream.shortcomings.seen)


async def test_a_half_closed_connection_that_stays(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend that answers probes and never ends such a connection takes a place each time."""
    setting = Setting(nursery, [*greeting(), Hear(SET), HearEnd()])
    await setting.fail(SET, within=2)
    await trio.sleep(PATIENCE - 5)
    before = told(setting)
    await setting.backend.streams[0].wait_until_abandoned()

    assert ([], [Shortcoming.KEEPS_HALF_CLOSED]) == (before, told(setting))


async def test_another_memory_is_another_server(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What was seen is forgotten when another process answers, and not when the same one is back."""
    setting = Setting(nursery, [*greeting(), *asked_and_answered(GET, WITHOUT_VERSION)])
    await setting.ask(GET)
    incarnation = setting.upstream.incarnation
    assert incarnation is not None
    setting.upstream.cut()
    setting.upstream.reinstate(incarnation)
    same = setting.upstream.shortcomings.seen
    setting.upstream.cut()
    setting.upstream.reinstate(b"another")

    assert ((Shortcoming.NO_VERSION,), ()) == (same, setting.upstream.shortcomings.seen)
