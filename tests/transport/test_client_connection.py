"""The talk with one client: requests in order, bodies that stream, and answers that nobody receives."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner import errors
from partitioner.errors import Phase
from partitioner.membership.backend import Address
from partitioner.protocol.messages import Operation
from partitioner.transport.channel import listen_tcp, listening_address, socket_channel
from partitioner.transport.client_connection import SLOW, Conversation
from partitioner.transport.messages import Request, Response
from tests.doubles.backends import ok
from tests.doubles.clients import Client
from tests.doubles.network import WINDOW, connection
from tests.doubles.observers import RecordingObserver
from tests.doubles.sessions import ACQUIRE, CONTENT, GET, SET, request, target
from tests.transport.client_connections import ANSWER, PEER, POLICY, Respond, Setting, response

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
