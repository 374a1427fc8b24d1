"""One exchange with a backend: what an answer is, how long it may take, and whose fault it is."""

import pytest
import trio
from trio.testing import MockClock

from partitioner.errors import (
    BackendFailure,
    BackendHungUp,
    BackendMalformed,
    BackendNotAtFault,
    BackendReset,
    BackendTooSlow,
    ClientGone,
    Phase,
)
from partitioner.protocol.grammar import Dialect, parse_request_head
from partitioner.protocol.messages import Operation
from partitioner.transport.backend_connections import HELD_BODY
from partitioner.transport.backend_exchange import FAIR_CHANCE
from partitioner.transport.messages import Request
from tests.doubles.backends import READ_CANARY, Close, Hear, HearEnd, Reset, Say, Stall, Step, greeting, ok
from tests.doubles.network import WINDOW
from tests.doubles.sessions import CONTENT, GET, SET, request
from tests.tables import each_case
from tests.transport.upstreams import LARGE, Setting, asked_and_answered, get


def streamed(head: bytes, rest: object, deadline: float = 8.0) -> Request:
    """A request of which more is to come: the head, perhaps with some of the body behind it."""
    end = head.index(b"\r\n\r\n") + 4
    parsed = parse_request_head(head[:end], Dialect.GUARDED)
    return Request(parsed, head[end:], rest, deadline)  # type: ignore[arg-type]


async def forever() -> bytes:
    await trio.sleep_forever()
    raise AssertionError("forever is over")


# --- answers ---


@each_case(
    "answer",
    [
        ok(CONTENT),
        b"400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"423 Locked\r\nLockCookie: 2\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["200", "400", "404", "423"],
)
async def test_relayed(nursery: trio.Nursery, autojump_clock: MockClock, answer: bytes) -> None:
    """The four things that a state server says of a session are answers, not failures."""
    setting = Setting(nursery, [*greeting(), *asked_and_answered(GET, answer)])

    assert await setting.ask(GET) == answer


@each_case(
    ("steps", "kind"),
    [
        ([Say(b"503 Server Too Busy\r\nContent-Length: 0\r\n\r\n")], BackendMalformed),
        ([Say(b"500 Oops\r\nContent-Length: 0\r\n\r\n")], BackendMalformed),
        ([Say(b"201 Created\r\nContent-Length: 0\r\n\r\n")], BackendMalformed),
        ([Say(b"100 Continue\r\n\r\n")], BackendMalformed),
        ([Say(b"\x00\x01\x02\r\n\r\n")], BackendMalformed),
        ([Say(b"200 OK\r\n\r\n")], BackendMalformed),
        ([Say(b"200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx")], BackendMalformed),
        ([Say(b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")], BackendMalformed),
        ([Say(b"x" * 10_240)], BackendMalformed),
        ([Close()], BackendHungUp),
        ([Say(b"200 OK\r\nContent-Le"), Close()], BackendHungUp),
        ([Say(ok(CONTENT)[:-1]), Close()], BackendHungUp),
        ([Say(ok(LARGE)[:-1]), Close()], BackendHungUp),
        ([Reset()], BackendReset),
        ([Say(ok(CONTENT)[:-1]), Stall(1), Reset()], BackendReset),
        ([], BackendTooSlow),
        ([Say(ok(CONTENT)[:-1])], BackendTooSlow),
        ([Say(ok(LARGE)[:-1])], BackendTooSlow),
    ],
    ids=[
        "503",
        "500",
        "201",
        "100",
        "garbage",
        "200 without a length",
        "two lengths",
        "chunked",
        "endless head",
        "nothing",
        "half a head",
        "half a body",
        "half a streamed body",
        "reset",
        "reset in the body",
        "silence",
        "silence in the body",
        "silence in a streamed body",
    ],
)
async def test_no_answer(
    nursery: trio.Nursery, autojump_clock: MockClock, steps: list[Step], kind: type[BackendFailure]
) -> None:
    """What is no whole answer of a state server fails as what it is, in reading."""
    setting = Setting(nursery, [*greeting(), Hear(SET), *steps])

    assert await setting.fail(SET) == (kind, Phase.READING)


async def test_held_answer_is_whole(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An answer of ordinary size is handed on only when all of it is here."""
    answer = ok(b"x" * HELD_BODY)
    setting = Setting(nursery, [*greeting(), Hear(GET), Say(answer[:-1]), Stall(2), Say(answer[-1:])])
    response = await setting.begin(GET)

    assert (response.head.raw + response.body, response.rest) == (answer, None)
    assert trio.current_time() == 2


async def test_large_answer_streams(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A longer answer is handed on while it comes in; its connection is reused after the last byte."""
    answer = ok(b"x" * (HELD_BODY + 1))
    setting = Setting(
        nursery,
        [
            *greeting(),
            Hear(get(1)),
            Say(answer[:-1]),
            Stall(2),
            Say(answer[-1:]),
            *asked_and_answered(get(2)),
        ],
    )
    response = await setting.begin(get(1))
    began_at = trio.current_time()
    received = response.head.raw + response.body
    assert response.rest is not None
    while piece := await response.rest():
        received += piece

    assert (began_at, trio.current_time(), received) == (0, 2, answer)
    assert await setting.ask(get(2)) == ok(CONTENT)


async def test_streamed_answer_given_up_by_its_client(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The connection of a streamed answer whose client has left is closed: the rest is nobody's."""
    setting = Setting(nursery, [*greeting(), Hear(GET), Say(ok(LARGE)[:-1])], connections=1)
    response = await setting.begin(GET)
    response.finish(False)

    assert setting.backend.streams[0].is_abandoned


# --- deadlines, and whose fault it is ---


async def test_too_slow_in_reading(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A request that is not answered by its deadline has failed exactly then."""
    setting = Setting(nursery, [*greeting(), Hear(SET)])

    assert await setting.fail(SET, within=2.5) == (BackendTooSlow, Phase.READING)
    assert trio.current_time() == 2.5


async def test_too_slow_in_sending(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend that does not take a request in by its deadline fails in sending."""
    setting = Setting(nursery, greeting())
    asked = request(Operation.SET, body=b"x" * 2 * WINDOW)

    assert await setting.fail(asked, within=2.5) == (BackendTooSlow, Phase.SENDING)
    assert trio.current_time() == 2.5


async def test_streamed_request(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A body that still comes in is passed on piece by piece, as it comes."""
    asked = request(Operation.SET, body=b"abc")
    setting = Setting(nursery, [*greeting(), Hear(asked), Say(ok())])
    pieces = iter([b"a", b"bc", b""])

    async def rest() -> bytes:
        await trio.sleep(1)
        return next(pieces)

    response = await setting.upstream.exchange(streamed(asked[:-3], rest))

    assert (response.head.raw, trio.current_time()) == (ok(), 3)


async def test_client_stalls(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A client whose body stops coming is gone; its backend is not blamed, and hears the end of file."""
    setting = Setting(nursery, [*greeting(), Hear(SET[:-1]), HearEnd()])
    pieces = iter([SET[-7:-1]])

    async def rest() -> bytes:
        for piece in pieces:
            return piece
        return await forever()

    with pytest.raises(ClientGone):
        await setting.upstream.exchange(streamed(SET[:-7], rest, deadline=3))

    assert trio.current_time() == 3


async def test_no_time_left(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A request whose time is over is not sent: it could only be carried out and then given up."""
    setting = Setting(nursery, greeting())

    assert await setting.fail(SET, within=0.0) == (BackendNotAtFault, Phase.CONNECTING)
    assert setting.backend.heard == [READ_CANARY]


async def test_no_fair_chance(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend that was asked in the last moment is not blamed for being late."""
    setting = Setting(nursery, [*greeting(), Hear(SET)])

    assert await setting.fail(SET, within=FAIR_CHANCE / 2) == (BackendNotAtFault, Phase.READING)
