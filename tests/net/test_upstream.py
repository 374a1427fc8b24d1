"""The connections to one backend, and one exchange on one of them: lease and upstream together."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.errors import (
    BackendEjected,
    BackendFailure,
    BackendHungUp,
    BackendMalformed,
    BackendNotAtFault,
    BackendRefused,
    BackendReset,
    BackendRestarted,
    BackendTooSlow,
    BackendUnreachable,
    ClientGone,
    Phase,
)
from partitioner.net.lease import FAIR_CHANCE
from partitioner.net.responder import Request, Response
from partitioner.net.upstream import HELD_BODY, Upstream
from partitioner.net.vigil import GLANCE, PATIENCE
from partitioner.protocol.grammar import Dialect, parse_request_head
from partitioner.protocol.messages import Operation
from tests.doubles.backends import (
    LIFE,
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
from tests.doubles.network import WINDOW, Fault, ResetAfter
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import ACQUIRE, CONTENT, GET, HEAD, SET, request, target, whole

LARGE = b"x" * (2 * HELD_BODY)


class Setting:
    """An upstream to a backend that is UP, and what the backend plays on its connections."""

    def __init__(self, nursery: trio.Nursery, *scripts: list[Step], connections: int = 256) -> None:
        self._router = MemoryRouter(nursery, connections=connections)
        self.network = self._router.network
        self.observer = self._router.observer
        self.address = self._router.backends[0].address
        self.backend = ScriptedBackend(self.network, self.address, *scripts)
        self.upstream: Upstream = self._router.roster.upstreams["state-1"]
        self._router.take_in()

    async def ask(self, asked: bytes, *, within: float = 8.0) -> bytes:
        """Have a whole request answered, by now plus `within`; the answer's bytes, streamed or not."""
        response = await self.begin(asked, within=within)
        pieces = [response.head.raw, response.body]
        while response.rest is not None and (piece := await response.rest()):
            pieces.append(piece)
        return b"".join(pieces)

    async def begin(self, asked: bytes, *, within: float = 8.0) -> Response:
        return await self.upstream.exchange(whole(asked, trio.current_time() + within))

    async def fail(self, asked: bytes, *, within: float = 8.0) -> tuple[type[BackendFailure], Phase]:
        """Have a request fail; how, and in which phase."""
        with pytest.raises(BackendFailure) as caught:
            await self.ask(asked, within=within)
        return type(caught.value), caught.value.phase


def get(number: int) -> bytes:
    return request(Operation.GET, target(number))


def asked_and_answered(asked: bytes = GET, answer: bytes | None = None) -> list[Step]:
    return [Hear(asked), Say(ok(CONTENT) if answer is None else answer)]


# --- new connections ---


async def test_canary_comes_first(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A request is sent on a new connection only after the known canary was read on it."""
    setting = Setting(nursery, [Hear(READ_CANARY), Stall(0.5), Say(ok(LIFE)), *asked_and_answered()])
    nursery.start_soon(setting.ask, GET)
    await trio.sleep(0.4)
    heard_before = setting.backend.heard[0]
    await trio.sleep(0.2)

    assert heard_before == READ_CANARY
    assert setting.backend.heard == [READ_CANARY + GET]


@pytest.mark.parametrize("token", [None, b"another life"], ids=["none", "another"])
async def test_restart(nursery: trio.Nursery, autojump_clock: MockClock, token: bytes | None) -> None:
    """No canary or another one is a restart: nothing is sent, and the connection is closed (design.md 5)."""
    setting = Setting(nursery, [*greeting(token), HearEnd()])

    assert await setting.fail(GET) == (BackendRestarted, Phase.CONNECTING)
    assert setting.backend.heard == [READ_CANARY]
    assert setting.backend.streams[0].is_abandoned


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ([Hear(READ_CANARY), Say(b"503 Server Too Busy\r\n\r\n")], BackendMalformed),
        ([Hear(READ_CANARY), Say(b"what?\r\n\r\n")], BackendMalformed),
        ([Hear(READ_CANARY), Say(ok(LIFE)[:-1]), Close()], BackendHungUp),
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


@pytest.mark.parametrize(
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
    setting = Setting(nursery, [Hear(READ_CANARY), Stall(0.5), Say(ok(LIFE)), HearEnd()])
    async with trio.open_nursery() as asking:
        asking.start_soon(_fail_as, setting, GET, BackendEjected, Phase.CONNECTING)
        await trio.sleep(0.1)
        setting.upstream.cut()

    assert setting.backend.heard == [READ_CANARY]


# --- reuse ---


async def test_reused(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A connection whose answer was complete serves the next request, without another look at the canary."""
    setting = Setting(nursery, [*greeting(), *asked_and_answered(get(1)), *asked_and_answered(get(2))])
    await setting.ask(get(1))
    await setting.ask(get(2))

    assert setting.backend.heard == [READ_CANARY + get(1) + get(2)]


async def test_last_returned_is_first_reused(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Idle connections are a stack: the one that came back last goes out first."""
    early = [*greeting(), Hear(get(1)), Stall(1), Say(ok())]
    late = [*greeting(), Hear(get(2)), Stall(2), Say(ok()), *asked_and_answered(get(3))]
    setting = Setting(nursery, early, late)
    async with trio.open_nursery() as asking:
        asking.start_soon(setting.ask, get(1))
        await wait_all_tasks_blocked()
        asking.start_soon(setting.ask, get(2))
    await setting.ask(get(3))

    assert setting.backend.heard == [READ_CANARY + get(1), READ_CANARY + get(2) + get(3)]


async def test_idle_not_long_enough(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A connection that was idle for up to 10 s is used again."""
    setting = Setting(nursery, [*greeting(), *asked_and_answered(get(1)), *asked_and_answered(get(2))])
    await setting.ask(get(1))
    await trio.sleep(10)

    assert await setting.ask(get(2)) == ok(CONTENT)


async def test_idle_too_long(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A connection that was idle for more than 10 s is not used again: its backend may be closing it."""
    setting = Setting(
        nursery, [*greeting(), *asked_and_answered(get(1))], [*greeting(), *asked_and_answered(get(2))]
    )
    await setting.ask(get(1))
    await trio.sleep(10.01)

    assert await setting.ask(get(2)) == ok(CONTENT)
    assert setting.backend.streams[0].is_abandoned


async def test_retired(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Of the idle connections those that were idle for more than 10 s are retired, and the others kept."""
    early = [*greeting(), Hear(get(1)), Stall(1), Say(ok())]
    late = [*greeting(), Hear(get(2)), Stall(2), Say(ok())]
    setting = Setting(nursery, early, late)
    async with trio.open_nursery() as asking:
        asking.start_soon(setting.ask, get(1))
        await wait_all_tasks_blocked()
        asking.start_soon(setting.ask, get(2))
    await trio.sleep(9.5)
    setting.upstream.retire_idle()

    assert [stream.is_abandoned for stream in setting.backend.streams] == [True, False]


@pytest.mark.parametrize("end", [Close(), Reset(), Say(b"x")], ids=["end", "reset", "unasked byte"])
async def test_idle_connection_found_bad(nursery: trio.Nursery, autojump_clock: MockClock, end: Step) -> None:
    """A pooled connection in which something has come in is not used: a set must not be sent twice."""
    going_bad = [*greeting(), *asked_and_answered(), Stall(1), end]
    setting = Setting(nursery, going_bad, [*greeting(), Hear(SET), Say(ok())])
    await setting.ask(GET)
    await trio.sleep(2)

    assert await setting.ask(SET) == ok()
    assert setting.backend.streams[0].is_abandoned


async def test_one_dead_connection_condemns_the_others(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Where one pooled connection is found dead the others likely are, and are not tried one by one."""
    early = [*greeting(), Hear(get(1)), Stall(1), Say(ok())]
    late = [*greeting(), Hear(get(2)), Stall(2), Say(ok()), Hear(get(3)), Reset()]
    setting = Setting(nursery, early, late, [*greeting(), *asked_and_answered(get(4))])
    async with trio.open_nursery() as asking:
        asking.start_soon(setting.ask, get(1))
        await wait_all_tasks_blocked()
        asking.start_soon(setting.ask, get(2))
    await setting.fail(get(3))

    assert await setting.ask(get(4)) == ok(CONTENT)
    assert setting.backend.streams[0].is_abandoned


@pytest.mark.parametrize(
    "answer", [ok(CONTENT) + b"x", ok(CONTENT) + ok(), ok(LARGE) + b"x"], ids=["byte", "answer", "streamed"]
)
async def test_surplus(nursery: trio.Nursery, autojump_clock: MockClock, answer: bytes) -> None:
    """A connection on which more came than was asked for is not used again: the rest is nobody's answer."""
    setting = Setting(
        nursery, [*greeting(), *asked_and_answered(GET, answer)], [*greeting(), Hear(SET), Say(ok())]
    )
    first = await setting.ask(GET)

    assert answer.startswith(first)
    assert await setting.ask(SET) == ok()


async def test_answer_to_head_has_no_body(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The answer to a HEAD ends with its head, whatever length it states (protocol.md 10.1.3)."""
    answer = b"200 OK\r\nContent-Length: 7\r\n\r\n"
    setting = Setting(nursery, [*greeting(), Hear(HEAD), Say(answer), *asked_and_answered()])

    assert await setting.ask(HEAD) == answer
    assert await setting.ask(GET) == ok(CONTENT)


# --- the limit of connections ---


async def test_limit(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """At the limit a request waits until a connection is free, and then reuses it."""
    setting = Setting(
        nursery, [*greeting(), Hear(get(1)), Stall(3), Say(ok()), *asked_and_answered(get(2))], connections=1
    )
    async with trio.open_nursery() as asking:
        asking.start_soon(setting.ask, get(1))
        await wait_all_tasks_blocked()
        asking.start_soon(setting.ask, get(2))

    assert trio.current_time() == 3
    assert len(setting.backend.streams) == 1


async def test_failed_connecting_gives_its_place_back(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A connection that did not come about does not count."""
    setting = Setting(nursery, [*greeting(), *asked_and_answered()], connections=1)
    setting.network.disturb_once(setting.address, Fault.REFUSE)
    await setting.fail(GET)

    assert await setting.ask(GET) == ok(CONTENT)


async def test_broken_connection_gives_its_place_back(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A connection that broke does not count any more."""
    setting = Setting(
        nursery, [*greeting(), Hear(SET), Reset()], [*greeting(), *asked_and_answered()], connections=1
    )
    await setting.fail(SET)

    assert await setting.ask(GET) == ok(CONTENT)


async def test_unanswered_counts_until_its_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An unanswered connection counts until its end of file, so a frozen backend cannot collect them."""
    setting = Setting(
        nursery,
        [*greeting(), Hear(SET), HearEnd(), Stall(5), Close()],
        [*greeting(), *asked_and_answered()],
        connections=1,
    )
    await setting.fail(SET, within=1)
    await setting.ask(GET)

    assert trio.current_time() == 1 + 5


async def test_limit_holds_after_an_ejection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A request that an ejection turned away from the queue has taken no place, and gives none back."""
    setting = Setting(
        nursery,
        [*greeting(), Hear(SET), HearEnd(), Close()],
        [*greeting(), Hear(get(2)), Stall(3), Say(ok()), *asked_and_answered(get(3))],
        connections=1,
    )
    async with trio.open_nursery() as asking:
        asking.start_soon(_fail_as, setting, SET, BackendEjected, Phase.READING)
        await wait_all_tasks_blocked()
        asking.start_soon(_fail_as, setting, get(1), BackendEjected, Phase.CONNECTING)
        await wait_all_tasks_blocked()
        setting.upstream.cut()
    await wait_all_tasks_blocked()
    setting.upstream.reinstate(LIFE)
    async with trio.open_nursery() as asking:
        asking.start_soon(setting.ask, get(2))
        await wait_all_tasks_blocked()
        asking.start_soon(setting.ask, get(3))

    assert setting.backend.heard[1:] == [READ_CANARY + get(2) + get(3)]


# --- answers ---


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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


# --- unanswered connections ---


async def test_half_closed(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An unanswered connection is half-closed, and closed when the backend has ended it (design.md 6)."""
    setting = Setting(nursery, [*greeting(), Hear(SET), HearEnd(), Stall(7), Close()])
    await setting.fail(SET, within=2)
    stream = setting.backend.streams[0]
    await trio.sleep(6.9)
    was_abandoned = stream.is_abandoned
    await stream.wait_until_abandoned()

    assert (was_abandoned, trio.current_time()) == (False, 2 + 7)


async def test_client_that_is_gone_leaves_a_watched_connection(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """An exchange that is cancelled from outside, its client being out of time, is watched as well."""
    setting = Setting(nursery, [*greeting(), Hear(ACQUIRE), HearEnd(), Stall(5), Close()])
    with trio.move_on_after(2):
        await setting.ask(ACQUIRE)
    await setting.backend.streams[0].wait_until_abandoned()

    assert trio.current_time() == 2 + 5


async def test_given_up_after_patience(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend that answers probes has 30 s for its end of file; then it is closed (design.md 6)."""
    setting = Setting(nursery, [*greeting(), Hear(SET), HearEnd()])
    await setting.fail(SET, within=2)
    await setting.backend.streams[0].wait_until_abandoned()

    assert 2 + PATIENCE <= trio.current_time() <= 2 + PATIENCE + GLANCE


async def test_not_given_up_while_probes_fail(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While the backend answers no probes its connections are kept: it may still work them off."""
    setting = Setting(nursery, [*greeting(), Hear(SET), HearEnd()])
    await setting.fail(SET, within=2)
    setting.upstream.vigil.note_answering(False)
    await trio.sleep(1000)

    assert not setting.backend.streams[0].is_abandoned


async def test_patience_begins_when_probes_are_answered_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The 30 s begin when the backend answers probes again, and not anew with each of its answers."""
    setting = Setting(nursery, [*greeting(), Hear(SET), HearEnd()])
    await setting.fail(SET, within=2)
    setting.upstream.vigil.note_answering(False)
    await trio.sleep(98)
    setting.upstream.vigil.note_answering(True)
    await trio.sleep(20)
    setting.upstream.vigil.note_answering(True)
    await setting.backend.streams[0].wait_until_abandoned()

    assert 100 + PATIENCE <= trio.current_time() <= 100 + PATIENCE + GLANCE


# --- cut ---


async def test_cut_ends_what_is_under_way(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An exchange under way fails at once when its backend is ejected; the backend hears the end of file."""
    setting = Setting(nursery, [*greeting(), Hear(GET), HearEnd(), Stall(1), Say(ok(CONTENT)), Close()])
    async with trio.open_nursery() as asking:
        asking.start_soon(_fail_as, setting, GET, BackendEjected, Phase.READING)
        await trio.sleep(3)
        setting.upstream.cut()

    assert trio.current_time() == 3


async def test_cut_withholds_what_had_arrived(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Not even an answer that lies in the connection already is relayed after an ejection."""
    setting = Setting(nursery, [*greeting(), Hear(GET), Stall(100)])
    async with trio.open_nursery() as asking:
        asking.start_soon(_fail_as, setting, GET, BackendEjected, Phase.READING)
        await wait_all_tasks_blocked()
        await setting.backend.streams[0].send_all(ok(CONTENT))
        setting.upstream.cut()  # before the exchange has had a turn to read it


async def test_cut_in_a_streamed_answer(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A streamed answer of an ejected backend ends at once, even if nothing more comes in."""
    setting = Setting(nursery, [*greeting(), Hear(GET), Say(ok(LARGE)[:-1])])
    response = await setting.begin(GET)
    assert response.rest is not None
    received = 0
    while received < len(LARGE) - 1:
        received += len(await response.rest())
    setting.upstream.cut()
    with pytest.raises(BackendEjected):
        await response.rest()

    assert trio.current_time() == 0


async def test_cut_closes_idle_connections(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """The idle connections of an ejected backend are closed: its next life starts with new ones."""
    setting = Setting(nursery, [*greeting(), *asked_and_answered()])
    await setting.ask(GET)
    setting.upstream.cut()

    assert setting.backend.streams[0].is_abandoned


async def test_no_reuse_across_an_ejection(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An answer that was streaming when its backend left and came back does not return its connection."""
    setting = Setting(
        nursery, [*greeting(), Hear(GET), Say(ok(LARGE))], [*greeting(b"next life"), Hear(SET), Say(ok())]
    )
    response = await setting.begin(GET)
    setting.upstream.cut()
    setting.upstream.reinstate(b"next life")
    assert response.rest is not None
    with pytest.raises(BackendEjected):
        await response.rest()

    assert await setting.ask(SET) == ok()


# --- steps of these tests ---


async def _fail_as(setting: Setting, asked: bytes, kind: type[BackendFailure], phase: Phase) -> None:
    assert await setting.fail(asked) == (kind, phase)


def streamed(head: bytes, rest: object, deadline: float = 8.0) -> Request:
    """A request of which more is to come: the head, perhaps with some of the body behind it."""
    end = head.index(b"\r\n\r\n") + 4
    parsed = parse_request_head(head[:end], Dialect.GUARDED)
    return Request(parsed, head[end:], rest, deadline)  # type: ignore[arg-type]


async def forever() -> bytes:
    await trio.sleep_forever()
    raise AssertionError("forever is over")


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


async def test_no_time_left(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A request whose time is over is not sent: it could only be carried out and then given up."""
    setting = Setting(nursery, greeting())

    assert await setting.fail(SET, within=0.0) == (BackendNotAtFault, Phase.CONNECTING)
    assert setting.backend.heard == [READ_CANARY]


async def test_no_fair_chance(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A backend that was asked in the last moment is not blamed for being late."""
    setting = Setting(nursery, [*greeting(), Hear(SET)])

    assert await setting.fail(SET, within=FAIR_CHANCE / 2) == (BackendNotAtFault, Phase.READING)


async def test_a_client_that_leaves_costs_one_connection(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A client that leaves a streamed answer says nothing about the idle connections to its backend."""
    answer = ok(LARGE)
    setting = Setting(
        nursery,
        [*greeting(), Hear(get(1)), Stall(1), Say(ok()), Hear(get(3)), Say(ok())],
        [*greeting(), Hear(get(2)), Say(answer)],
    )
    nursery.start_soon(setting.ask, get(1))
    await trio.sleep(0.5)
    streamed = await setting.begin(get(2))
    await trio.sleep(1)
    streamed.finish(False)

    assert ok() == await setting.ask(get(3))
