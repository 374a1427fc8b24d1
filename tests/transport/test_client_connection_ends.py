"""How the talk with a client ends: its time is over, nobody can answer it, or it is asked to end."""

from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner import errors
from partitioner.errors import MalformedRequest, NoBackendLeft, PartitionerError, Phase
from partitioner.protocol.messages import Operation
from partitioner.transport.client_connection import ANSWER_MARGIN
from partitioner.transport.messages import Request, Response
from tests.doubles.clients import is_closed_at
from tests.doubles.sessions import ACQUIRE, GET, SET
from tests.tables import each_case
from tests.transport.client_connections import ANSWER, PEER, POLICY, Respond, Setting, response

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


@each_case("sent", [b"G", GET[:-1], SET[:-1]], ids=["first byte", "head", "body"])
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


def failing(fault: Exception) -> Respond:
    """A responder that raises this."""

    async def respond(request: Request) -> Response:
        raise fault

    return respond


@each_case("failure", list(failures()), ids=lambda failure: type(failure).__name__)
async def test_failing_responder(
    nursery: trio.Nursery, autojump_clock: MockClock, failure: PartitionerError
) -> None:
    """A request that cannot be answered is met by closing, without a byte (protocol.md 8.2)."""
    setting = Setting(nursery, failing(failure))
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
    setting = Setting(nursery, failing(failure))
    await setting.client.send(ACQUIRE)
    await setting.client.receive_rest()

    assert setting.observer.facts == [("exchange_closed", PEER, Operation.ACQUIRE, str(failure))]


async def test_fault_of_ours(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """An unforeseen exception ends the one conversation in which it happened, and is reported."""
    fault = ZeroDivisionError("ours")
    other = Setting(nursery)
    setting = Setting(nursery, failing(fault))
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
