"""The talk with one client: what it may send, how long it may take, and what it sees when something fails."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner import errors
from partitioner.errors import ClientGone, MalformedRequest, NoBackendLeft, PartitionerError, Phase
from partitioner.membership.backend import Address
from partitioner.net.channel import listen_tcp, listening_address, socket_channel
from partitioner.net.conversation import (
    ANSWER_MARGIN,
    LINGER,
    LINGER_BYTES,
    SLOW,
    Conversation,
    ConversationPolicy,
)
from partitioner.net.responder import Request, Response
from partitioner.protocol.grammar import Dialect, parse_answer_head
from partitioner.protocol.messages import Operation
from tests.doubles.backends import ok
from tests.doubles.clients import Client, is_closed_at
from tests.doubles.network import WINDOW, connection
from tests.doubles.observers import RecordingObserver
from tests.doubles.sessions import ACQUIRE, CONTENT, GET, SET, TARGET, request, target

PEER = "192.0.2.1"
REFUSAL = (
    b"400 Bad Request\r\nX-AspNet-Version: 4.0.30319\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n"
)
POLICY = ConversationPolicy(Dialect.GUARDED, exchange=8.0, client_idle=60.0, max_body=1000, held_body=100)
ANSWER = ok(CONTENT)

Respond = Callable[[Request], Awaitable[Response]]


def response(answer: bytes = ANSWER) -> Response:
    """An answer that is here whole."""
    end = answer.index(b"\r\n\r\n") + 4
    return Response(parse_answer_head(answer[:end]), answer[end:])


class Setting:
    """A client in conversation with a responder that remembers what it was asked, and when."""

    def __init__(self, nursery: trio.Nursery, respond: Respond | None = None) -> None:
        self.observer = RecordingObserver()
        self.asked: list[tuple[float, bytes]] = []
        self._respond = respond
        near, far = connection()
        self.near = near
        self.client = Client(near)
        self.conversation = Conversation(far.channel(PEER), self._remember, POLICY, self.observer)
        nursery.start_soon(self.conversation.run)

    async def _remember(self, request: Request) -> Response:
        self.asked.append((trio.current_time(), request.head.raw + request.body))
        return await self._respond(request) if self._respond is not None else response()


def with_fields(*fields: bytes) -> bytes:
    return b"\r\n".join([b"GET " + TARGET + b" HTTP/1.1", *fields, b"", b""])


# --- bad input ---

MALFORMED = {
    "no request at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
    "empty head": b"\r\n\r\n",
    "other verb": b"POST " + TARGET + b" HTTP/1.1\r\n\r\n",
    "verb in lower case": GET.replace(b"GET", b"get"),
    "no target": b"GET  HTTP/1.1\r\n\r\n",
    "space in target": b"GET " + TARGET + b" x HTTP/1.1\r\n\r\n",
    "HTTP/1.0": GET.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "no version": b"GET " + TARGET + b"\r\n\r\n",
    "head over 10,240": with_fields(b"X: " + b"x" * 10_240),
    "head that does not end": b"GET " + b"x" * 10_236,
    "two lengths": SET.replace(b"Content-Length:7", b"Content-Length:7\r\nContent-Length:6"),
    "length of another case": SET.replace(b"Content-Length:7", b"Content-Length:7\r\ncontent-length:7"),
    "exclusive in lower case": with_fields(b"exclusive: acquire"),
    "exclusive without a blank": with_fields(b"Exclusive:acquire"),
    "exclusive of another value": with_fields(b"Exclusive: Acquire"),
    "cookie of another case": with_fields(b"Exclusive: release", b"Lockcookie:2"),
    "number that is none": with_fields(b"LockCookie:two"),
    "number that is empty": with_fields(b"LockCookie:"),
    "number below zero": with_fields(b"LockCookie:-1"),
    "number out of range": with_fields(b"Timeout:2147483647"),
    "content of a get": with_fields(b"Content-Length:3") + b"abc",
    "put without content": SET.replace(b"Content-Length:7", b"Content-Length:0")[:-7],
    "content over the limit": request(Operation.SET, body=b"x" * 1001),
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
async def test_malformed(nursery: trio.Nursery, autojump_clock: MockClock, sent: bytes) -> None:
    """What no server should see is answered 400 without content, and the client is closed (design.md 6)."""
    setting = Setting(nursery)
    await setting.client.send(sent)
    await setting.client.finish()

    assert await setting.client.receive_rest() == REFUSAL
    assert setting.asked == []
    assert [("request_rejected", PEER)] == [fact[:2] for fact in setting.observer.facts]


async def test_nothing_is_served_after_a_refusal(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """What comes behind a malformed request is not read as a request: nobody knows where it begins."""
    setting = Setting(nursery)
    await setting.client.send(MALFORMED["two lengths"] + GET + GET)
    await setting.client.send(GET)
    await setting.client.finish()

    assert await setting.client.receive_rest() == REFUSAL
    assert setting.asked == []


async def test_largest_head(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A head of 10,240 bytes, its empty line included, is taken (protocol.md 3.2)."""
    asked = with_fields(b"X: " + b"x" * (10_240 - len(with_fields(b"X: "))))
    setting = Setting(nursery)

    assert len(asked) == 10_240
    assert await setting.client.ask(asked) == ANSWER


async def test_largest_body(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A body of exactly the limit is taken."""
    setting = Setting(nursery)

    assert await setting.client.ask(request(Operation.SET, body=b"x" * 1000)) == ANSWER


async def test_refusal_reaches_a_client_that_goes_on_sending(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A client in the middle of a long body gets its 400: closing over unread bytes would be a reset."""
    setting = Setting(nursery)
    await setting.client.send(request(Operation.SET, body=b"x" * 5000)[:2000])
    for _ in range(9):
        await trio.sleep(0.1)
        await setting.client.send(b"x" * 333)

    assert await setting.client.receive_rest() == REFUSAL


async def test_refusal_comes_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A refused client gets its 400 and the end of file without delay, whether it closes its end or not."""
    setting = Setting(nursery)
    await setting.client.send(MALFORMED["HTTP/1.0"])

    assert await setting.client.receive_rest() == REFUSAL
    assert trio.current_time() == 0


async def test_refused_client_that_does_not_leave(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A refused client that does not close its end is left alone after a second."""
    setting = Setting(nursery)
    await setting.client.send(MALFORMED["HTTP/1.0"])
    await setting.near.wait_until_abandoned()

    assert trio.current_time() == LINGER


async def test_refused_client_that_sends_without_end(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A refused client is listened to for a megabyte, and no longer."""
    setting = Setting(nursery)
    await setting.client.send(MALFORMED["HTTP/1.0"])
    sent = 0
    with suppress(trio.BrokenResourceError):
        while sent < 10 * LINGER_BYTES:
            await setting.client.send(b"x" * 65_536)
            sent += 65_536

    assert LINGER_BYTES <= sent <= LINGER_BYTES + 5 * 65_536


# --- requests that break off ---


@pytest.mark.parametrize(
    "sent",
    [b"G", GET[:-1], SET[:-1], request(Operation.SET, body=b"x" * 100)[:-1]],
    ids=["verb", "head", "body", "held"],
)
async def test_cut_off(nursery: trio.Nursery, autojump_clock: MockClock, sent: bytes) -> None:
    """A request that breaks off midway is carried out by nobody, and its connection closed without a word."""
    setting = Setting(nursery)
    await setting.client.send(sent)
    await setting.client.finish()

    assert await setting.client.receive_rest() == b""
    assert setting.asked == []


async def test_streamed_body_cut_off(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A responder that has begun with a streamed body learns that the client is gone."""
    learnt = []

    async def respond(request: Request) -> Response:
        assert request.rest is not None
        try:
            while await request.rest():
                pass
        except ClientGone as error:
            learnt.append(str(error))
            raise
        return response()

    setting = Setting(nursery, respond)
    await setting.client.send(request(Operation.SET, body=b"x" * 101)[:-1])
    await setting.client.finish()

    assert await setting.client.receive_rest() == b""
    assert learnt == ["in the middle of a request"]


async def test_streamed_body_broken_off(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A client whose connection breaks in its body is gone: whoever waits for its bytes is told so."""
    learnt: list[type[BaseException]] = []

    async def respond(request: Request) -> Response:
        assert request.rest is not None
        try:
            while await request.rest():
                pass
        except PartitionerError as error:
            learnt.append(type(error))
            raise
        return response()

    setting = Setting(nursery, respond)
    await setting.client.send(request(Operation.SET, body=b"x" * 101)[:-1])
    await wait_all_tasks_blocked()
    setting.client.reset()
    await wait_all_tasks_blocked()

    assert learnt == [ClientGone]


@pytest.mark.parametrize("sent", [b"", GET], ids=["nothing", "a request"])
async def test_leaving_is_no_news(nursery: trio.Nursery, autojump_clock: MockClock, sent: bytes) -> None:
    """A client that leaves between two requests is let go without a report."""
    setting = Setting(nursery)
    if sent:
        await setting.client.ask(sent)
    await setting.client.finish()
    await setting.client.receive_rest()

    assert [fact for fact in setting.observer.facts if fact[0] != "exchange_finished"] == []


# --- requests in order ---


async def test_pipelined(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Pipelined requests are answered in order, and one is begun only when the one before it is answered."""

    async def respond(request: Request) -> Response:
        await trio.sleep(1)
        return response(ok(request.head.target[-2:]))

    setting = Setting(nursery, respond)
    requests = [request(Operation.GET, target(number)) for number in range(10, 13)]
    await setting.client.send(b"".join(requests))
    await setting.client.finish()

    assert await setting.client.receive_rest() == ok(b"10") + ok(b"11") + ok(b"12")
    assert [(0, requests[0]), (1, requests[1]), (2, requests[2])] == setting.asked


async def test_byte_by_byte(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Requests are understood in whatever pieces they come."""
    setting = Setting(nursery)
    for index in range(len(SET)):
        await setting.client.send(SET[index : index + 1])
        await wait_all_tasks_blocked()

    assert await setting.client.receive_answer() == ANSWER
    assert [(0, SET)] == setting.asked


async def test_exchange_is_reported(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An answered request is reported with its status, and the time since its first byte."""

    async def respond(request: Request) -> Response:
        await trio.sleep(0.5)
        return response(b"404 Not Found\r\nContent-Length: 0\r\n\r\n")

    setting = Setting(nursery, respond)
    await setting.client.send(ACQUIRE[:5])
    await trio.sleep(0.25)
    await setting.client.ask(ACQUIRE[5:])

    assert [("exchange_finished", Operation.ACQUIRE, 404, 0.75, 0)] == setting.observer.facts


@pytest.mark.parametrize(("duration", "is_slow"), [(SLOW - 0.125, False), (SLOW, True)])
async def test_a_slow_exchange_is_reported(
    nursery: trio.Nursery, autojump_clock: MockClock, duration: float, is_slow: bool
) -> None:
    """What took long is told apart, with who answered."""

    async def respond(request: Request) -> Response:
        await trio.sleep(duration)
        head = response(b"404 Not Found\r\nContent-Length: 0\r\n\r\n").head
        return Response(head, b"", backend="state-2")

    setting = Setting(nursery, respond)
    await setting.client.ask(ACQUIRE)

    expected = [("exchange_was_slow", PEER, Operation.ACQUIRE, duration, "state-2")] if is_slow else []
    assert expected == setting.observer.named("exchange_was_slow")


# --- time ---


async def test_idle_from_the_start(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A client that connects and says nothing is closed after its idle time exactly."""
    setting = Setting(nursery)

    assert await is_closed_at(setting.client) == POLICY.client_idle


async def test_idle_after_an_exchange(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A client's idle time begins anew with each answer."""
    setting = Setting(nursery)
    await trio.sleep(59)
    await setting.client.ask(GET)

    assert await is_closed_at(setting.client) == 59 + POLICY.client_idle


@pytest.mark.parametrize("sent", [b"G", GET[:-1], SET[:-1]], ids=["first byte", "head", "body"])
async def test_half_a_request(nursery: trio.Nursery, autojump_clock: MockClock, sent: bytes) -> None:
    """A request that is not complete one exchange's time after its first byte is closed exactly then."""
    setting = Setting(nursery)
    await trio.sleep(3)
    await setting.client.send(sent)

    assert await is_closed_at(setting.client) == 3 + POLICY.exchange
    assert setting.asked == []


async def test_trickling_does_not_prolong(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Sending a byte now and then does not buy more time."""
    setting = Setting(nursery)
    for index in range(7):
        await setting.client.send(GET[index : index + 1])
        await trio.sleep(1)

    assert await is_closed_at(setting.client) == POLICY.exchange


async def test_responder_that_does_not_end(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A client whose answer does not come is closed when the exchange's time is over; that is reported."""

    async def respond(request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    setting = Setting(nursery, respond)
    await setting.client.send(GET)

    assert await is_closed_at(setting.client) == POLICY.exchange
    assert setting.observer.facts == [
        ("exchange_closed", PEER, Operation.GET, "the exchange was not over after 8 s")
    ]


async def test_deadline_of_a_request(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A responder has to be done a little before the exchange is over, counted from the head's first byte."""
    deadlines = []

    async def respond(request: Request) -> Response:
        deadlines.append(request.deadline)
        return response()

    setting = Setting(nursery, respond)
    await setting.client.send(GET[:1])
    await trio.sleep(2)
    await setting.client.ask(GET[1:])

    assert [POLICY.exchange - ANSWER_MARGIN] == deadlines


# --- responders that fail ---


def failures() -> Iterator[PartitionerError]:
    """One of each failure that the partitioner foresees, but for a refusal of the request itself."""
    for kind in vars(errors).values():
        if not isinstance(kind, type) or not issubclass(kind, PartitionerError):
            continue
        if issubclass(kind, errors.BackendFailure):
            yield kind("state-1", Phase.READING, "had a bad day")
        elif kind is errors.ConfigurationInvalid:
            yield kind([])
        elif kind is errors.UnknownBackend:
            yield kind("state-9", ["state-1"])
        elif kind is not MalformedRequest:
            yield kind("had a bad day")


@pytest.mark.parametrize("failure", list(failures()), ids=lambda failure: type(failure).__name__)
async def test_failing_responder(
    nursery: trio.Nursery, autojump_clock: MockClock, failure: PartitionerError
) -> None:
    """A request that cannot be answered is met by closing, without a byte (protocol.md 8.2)."""

    async def respond(request: Request) -> Response:
        raise failure

    setting = Setting(nursery, respond)
    await setting.client.send(GET)

    assert await setting.client.receive_rest() == b""
    assert trio.current_time() == 0


@pytest.mark.parametrize(
    "failure",
    [NoBackendLeft("no backend is up"), errors.BackendTooSlow("state-1", Phase.READING, "did not answer")],
    ids=["no backend", "backend"],
)
async def test_closing_is_reported(
    nursery: trio.Nursery, autojump_clock: MockClock, failure: PartitionerError
) -> None:
    """A connection that is closed instead of an answer is reported with the operation and the reason."""

    async def respond(request: Request) -> Response:
        raise failure

    setting = Setting(nursery, respond)
    await setting.client.send(ACQUIRE)
    await setting.client.receive_rest()

    assert setting.observer.facts == [("exchange_closed", PEER, Operation.ACQUIRE, str(failure))]


async def test_fault_of_ours(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An unforeseen exception ends the one conversation in which it happened, and is reported."""
    fault = ZeroDivisionError("ours")

    async def respond(request: Request) -> Response:
        raise fault

    other = Setting(nursery)
    setting = Setting(nursery, respond)
    await setting.client.send(GET)

    assert await setting.client.receive_rest() == b""
    assert setting.observer.facts == [("conversation_crashed", PEER, fault)]
    assert await other.client.ask(GET) == ANSWER


# --- being asked to end ---


async def test_idle_conversation_ends_at_once(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An idle connection is closed when it is asked to end."""
    setting = Setting(nursery)
    await setting.client.ask(GET)
    await trio.sleep(5)
    setting.conversation.end_when_idle()

    assert await is_closed_at(setting.client) == 5


async def test_busy_conversation_ends_after_its_exchange(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """An exchange under way is finished, and then the connection is closed."""

    async def respond(request: Request) -> Response:
        await trio.sleep(3)
        return response()

    setting = Setting(nursery, respond)
    await setting.client.send(GET)
    await trio.sleep(1)
    setting.conversation.end_when_idle()

    assert await setting.client.receive_rest() == ANSWER
    assert trio.current_time() == 3


async def test_half_a_request_is_finished_too(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A request of which only a part has come when the conversation is asked to end is still answered."""
    setting = Setting(nursery)
    await setting.client.send(GET[:5])
    await wait_all_tasks_blocked()
    setting.conversation.end_when_idle()
    await wait_all_tasks_blocked()
    await setting.client.send(GET[5:])

    assert await setting.client.receive_rest() == ANSWER


# --- bodies that stream ---


async def test_streamed_request(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A body longer than what is held is handed on while it still comes in."""
    asked = request(Operation.SET, body=bytes(range(101)))
    pieces: list[tuple[float, bytes]] = []

    async def respond(request: Request) -> Response:
        assert request.rest is not None
        while piece := await request.rest():
            pieces.append((trio.current_time(), piece))
        return response()

    setting = Setting(nursery, respond)
    await setting.client.send(asked[:-1])
    await trio.sleep(1)

    assert await setting.client.ask(asked[-1:]) == ANSWER
    assert [(0, bytes(range(100))), (1, b"\x64")] == pieces


async def test_held_request(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A body of ordinary size is handed on when all of it is here."""
    asked = request(Operation.SET, body=b"x" * 100)
    setting = Setting(nursery)
    await setting.client.send(asked[:-1])
    await trio.sleep(1)
    await setting.client.ask(asked[-1:])

    assert [(1, asked)] == setting.asked


async def test_streamed_answer(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An answer's body is handed on as it comes, and has been delivered with its last piece."""
    finished: list[bool] = []

    async def respond(request: Request) -> Response:
        pieces = iter([b"ab", b"cd", b""])

        async def rest() -> bytes:
            await trio.sleep(1)
            return next(pieces)

        whole = response(ok(b"__abcd"))
        return replace(whole, body=b"__", rest=rest, finish=finished.append)

    setting = Setting(nursery, respond)
    await setting.client.send(GET)
    await trio.sleep(1.5)
    early = await setting.client.stream.receive_some()
    late = await setting.client.stream.receive_some()
    arrived_at = trio.current_time()
    await trio.sleep(2)

    assert (early, late, arrived_at) == (ok(b"__abcd")[:-2], b"cd", 2)
    assert finished == [True]


async def test_streamed_answer_that_breaks_off(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An answer whose body breaks off is closed where it stands, and counts as not delivered."""
    finished: list[bool] = []

    async def respond(request: Request) -> Response:
        async def rest() -> bytes:
            raise errors.BackendReset("state-1", Phase.READING, "(gone)")

        return replace(response(ok(b"abcd")), body=b"ab", rest=rest, finish=finished.append)

    setting = Setting(nursery, respond)
    await setting.client.send(GET)

    assert await setting.client.receive_rest() == ok(b"abcd")[:-2]
    assert finished == [False]


# --- answers that nobody receives ---


def granting(finished: list[bool]) -> Respond:
    """A responder that grants a lock after a second."""

    async def respond(request: Request) -> Response:
        await trio.sleep(1)
        return replace(response(ok(CONTENT, b"LockCookie: 2")), takes_lock=True, finish=finished.append)

    return respond


@pytest.mark.parametrize("leave", [Client.leave, Client.reset], ids=["closed", "reset"])
async def test_lock_for_a_client_that_left(
    nursery: trio.Nursery, autojump_clock: MockClock, leave: Callable[[Client], None]
) -> None:
    """A lock is not handed to a client that has left: whoever granted it learns that it did not arrive."""
    finished: list[bool] = []
    setting = Setting(nursery, granting(finished))
    await setting.client.send(ACQUIRE)
    await trio.sleep(0.5)
    leave(setting.client)
    await trio.sleep(1)

    assert finished == [False]


async def test_lock_for_a_client_that_stays(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A lock that was handed over is reported as delivered, once."""
    finished: list[bool] = []
    setting = Setting(nursery, granting(finished))

    assert await setting.client.ask(ACQUIRE) == ok(CONTENT, b"LockCookie: 2")
    assert finished == [True]


async def test_lock_for_a_client_that_pipelines(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Bytes behind an acquire are the next request, and no sign that the client has left."""
    finished: list[bool] = []
    setting = Setting(nursery, granting(finished))
    await setting.client.send(ACQUIRE)
    await trio.sleep(0.5)
    await setting.client.send(GET)
    answers = [await setting.client.receive_answer(), await setting.client.receive_answer()]

    assert [ok(CONTENT, b"LockCookie: 2")] * 2 == answers
    assert [ACQUIRE, GET] == [asked for _, asked in setting.asked]


async def test_half_closed_client_gets_its_answers(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A client that has said all and still reads gets its plain answers."""
    setting = Setting(nursery)
    await setting.client.send(GET + SET)
    await setting.client.finish()

    assert await setting.client.receive_rest() == ANSWER + ANSWER


async def test_pipelining_is_not_read_ahead(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Looking whether a client has left takes in no more than there is room for anyway."""
    near, far = connection()
    answered = sent = 0

    async def grant(request: Request) -> Response:
        nonlocal answered
        answered += 1
        if answered > 50:
            await trio.sleep_forever()
        return replace(response(), takes_lock=True)

    async def flood() -> None:
        nonlocal sent
        while True:
            await near.send_all(ACQUIRE * 100)
            sent += len(ACQUIRE) * 100

    nursery.start_soon(Conversation(far.channel(PEER), grant, POLICY, RecordingObserver()).run)
    nursery.start_soon(flood)
    await wait_all_tasks_blocked()

    assert answered == 51
    assert sent <= 3 * WINDOW


async def test_pipelining_lets_others_have_their_turn(nursery: trio.Nursery) -> None:
    """A client that sends many requests at once does not keep everybody else waiting until the last."""
    asked = turns = 0

    async def respond(request: Request) -> Response:
        nonlocal asked
        asked += 1
        return response()

    async def take_turns() -> None:
        nonlocal turns
        while asked < 50:
            await trio.lowlevel.checkpoint()
            turns += asked > 0

    [listener] = await listen_tcp(Address("127.0.0.1", 0))  # memory streams yield whenever they send
    async with listener, await open_tcp_stream_to(listener) as client:
        accepted = await listener.accept()
        await client.send_all(GET * 50)
        channel = socket_channel(accepted.socket, PEER)
        nursery.start_soon(Conversation(channel, respond, POLICY, RecordingObserver()).run)
        async with trio.open_nursery() as others:
            others.start_soon(take_turns)

    assert turns >= 49


async def open_tcp_stream_to(listener: trio.SocketListener) -> trio.SocketStream:
    address = listening_address(listener)
    return await trio.open_tcp_stream(address.host, address.port)


async def test_an_observer_that_raises(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A fault in what listens ends the conversation that it was told of, and no other."""

    class Broken(RecordingObserver):
        def request_rejected(self, peer: str, reason: str) -> None:
            raise OSError("the log is full")

    near, far = connection()
    observer = Broken()
    nursery.start_soon(Conversation(far.channel(PEER), Setting(nursery)._remember, POLICY, observer).run)
    client = Client(near)
    await client.send(MALFORMED["HTTP/1.0"])

    assert await client.receive_rest() == b""
    assert ["conversation_crashed"] == [fact[0] for fact in observer.facts]
