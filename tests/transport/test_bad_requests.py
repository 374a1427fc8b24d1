"""What a client may not send, and what it sees then; requests that break off."""

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.errors import ClientGone, PartitionerError
from partitioner.protocol.messages import Operation
from partitioner.transport.client_connection import LINGER, LINGER_BYTES, Conversation
from partitioner.transport.messages import Request, Response
from tests.doubles.clients import Client
from tests.doubles.network import connection
from tests.doubles.observers import RecordingObserver
from tests.doubles.sessions import GET, SET, TARGET, request
from tests.tables import each_case
from tests.transport.client_connections import ANSWER, PEER, POLICY, Setting, response

REFUSAL = (
    b"400 Bad Request\r\nX-AspNet-Version: 4.0.30319\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n"
)


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


@each_case("sent", MALFORMED.values(), ids=MALFORMED)
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


# --- requests that break off ---


@each_case(
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
