"""What a state server answers on the reactor, and what it leaves to the slow path, round by round."""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from partitioner.fastpath.states import ClientState
from partitioner.fastpath.task import FastPathTask
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import server_key
from partitioner.sessions.table import SessionTable
from partitioner.transport.backend_connections import HELD_BODY
from partitioner.transport.client_connection import SLOW
from partitioner.transport.limits import BytesInFlight
from partitioner.transport.state_server import StateServer
from tests.doubles.observers import RecordingObserver
from tests.doubles.sessions import (
    ACQUIRE,
    CONTENT,
    CREATE,
    GET,
    HEAD,
    RELEASE,
    SET,
    TARGET,
    request,
    target,
    whole,
)
from tests.fastpath.router_setup import reset, shrink
from tests.fastpath.server_setup import POLICY, StateServerSetup
from tests.tables import each_case

REMOVE = request(Operation.REMOVE)


@pytest.fixture
def server_setup() -> Iterator[StateServerSetup]:
    server_setup = StateServerSetup()
    yield server_setup
    server_setup.close()


def set_of(body: bytes, number: int = 1) -> bytes:
    return request(Operation.SET, target(number), body=body)


# --- what is ordinary ---

STORIES: dict[str, list[bytes]] = {
    "get": [SET, GET],
    "get, absent": [GET],
    "acquire": [SET, ACQUIRE],
    "acquire, locked": [SET, ACQUIRE, ACQUIRE],
    "release": [SET, ACQUIRE, request(Operation.RELEASE, cookie=2)],
    "release, locked": [SET, ACQUIRE, RELEASE],
    "release without a cookie": [SET, RELEASE.replace(b"LockCookie:0\r\n", b"")],
    "set, locked": [SET, ACQUIRE, request(Operation.SET, cookie=3)],
    "set by the holder": [SET, ACQUIRE, request(Operation.SET, cookie=2), GET],
    "set for too long": [request(Operation.SET, minutes=525601)],
    "remove": [SET, REMOVE, GET],
    "remove, absent": [REMOVE],
    "head": [SET, HEAD],
    "head, absent": [HEAD],
}


@each_case("story", STORIES.values(), ids=STORIES)
async def test_what_is_ordinary_is_answered(story: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """As the responder of the slow path answers, whatever the answer is; and it is reported."""
    monkeypatch.setattr("partitioner.transport.state_server.local_ticks", lambda: 0)
    with closing(StateServerSetup()) as server_setup:
        responder = StateServer(SessionTable(), RecordingObserver(), clock=lambda: server_setup.now)
        near, _ = server_setup.client()
        for asked in story:
            response = await responder.respond(whole(asked, 0.0))
            assert response.head.raw + response.body == server_setup.ask(near, asked)

        assert len(story) == len(server_setup.observer.named("exchange_finished"))
        assert server_setup.observer.named("exchange_finished")[-1][2] == response.head.status
        assert server_setup.client_handoff.openings == []


def test_what_is_reported(server_setup: StateServerSetup) -> None:
    """Operation, status, seconds since the first byte, and the size of what was sent to be saved."""
    near, _ = server_setup.client()
    near.sendall(SET[:10])
    server_setup.turn()
    server_setup.now += 0.25
    server_setup.ask(near, SET[10:])

    assert server_setup.observer.facts == [("exchange_finished", Operation.SET, 200, 0.25, len(CONTENT))]


def test_the_time_between_two_exchanges_counts_for_neither(server_setup: StateServerSetup) -> None:
    """The client was idle."""
    near, _ = server_setup.client()
    server_setup.ask(near, SET)
    server_setup.now += 5.0
    server_setup.ask(near, GET)

    assert [0.0, 0.0] == [fact[3] for fact in server_setup.observer.named("exchange_finished")]


def test_a_slow_exchange_is_told_of(server_setup: StateServerSetup) -> None:
    """By client and operation; there is no backend to be named."""
    near, _ = server_setup.client()
    near.sendall(SET[:10])
    server_setup.turn()
    server_setup.now += SLOW
    server_setup.ask(near, SET[10:])

    assert [("exchange_was_slow", "192.0.2.1", Operation.SET, SLOW, "")] == server_setup.observer.facts[1:]


@pytest.mark.parametrize("asked", [SET, ACQUIRE])
def test_a_request_at_every_split(asked: bytes, server_setup: StateServerSetup) -> None:
    """In whatever two pieces a request comes, it is carried out when it is whole, once."""
    near, _ = server_setup.client()
    for place in range(1, len(asked)):
        server_setup.ask(near, SET.replace(b"LockCookie:0\r\n", b"LockCookie:2\r\n"))
        near.sendall(asked[:place])
        server_setup.turn()
        assert server_setup.ask(near, asked[place:]).startswith(b"200 OK")
        server_setup.ask(near, request(Operation.REMOVE, cookie=2))


def test_sessions_as_large_as_are_held(server_setup: StateServerSetup) -> None:
    """In as many reads as they take."""
    body = bytes(range(256)) * (HELD_BODY // 256)
    near, _ = server_setup.client()
    near.sendall(set_of(body))
    while not server_setup.observer.named("exchange_finished"):
        server_setup.turn()
    near.recv(1000)
    got = server_setup.ask(near, request(Operation.GET, target(1)))
    while not got.endswith(body):
        got += near.recv(HELD_BODY)

    assert got.startswith(b"200 OK")
    assert server_setup.client_handoff.openings == []


def test_clients_of_one_round_are_served_one_after_the_other(server_setup: StateServerSetup) -> None:
    """Two acquires of one session in one round: one lock."""
    (first, _), (second, _) = server_setup.client(), server_setup.client()
    server_setup.ask(first, SET)
    first.sendall(ACQUIRE)
    second.sendall(ACQUIRE)
    while len(server_setup.observer.named("exchange_finished")) < 3:
        server_setup.turn()

    assert sorted([first.recv(1000)[:3], second.recv(1000)[:3]]) == [b"200", b"423"]


def test_a_full_table() -> None:
    """A new session that does not fit is refused here, too, and that is reported."""
    full = StateServerSetup(max_memory=300)
    near, _ = full.client()
    answer = full.ask(near, SET)
    full.close()

    assert answer.startswith(b"400 Bad Request")
    assert full.observer.facts[0] == ("creation_refused", 0, 0)
    assert full.client_handoff.openings == []


def test_an_answer_that_does_not_go_at_once(server_setup: StateServerSetup) -> None:
    """The client gets it as it takes it, whole; then it may ask again."""
    near, client = server_setup.client()
    shrink(client.socket)
    body = bytes(range(256)) * 4000
    server_setup.put(body)
    near.sendall(GET)
    got = b""
    while not got.endswith(body):
        server_setup.turn()
        got += near.recv(100_000)

    assert client.state is ClientState.IDLE
    assert server_setup.ask(near, HEAD).startswith(b"200 OK")


# --- clients that leave ---


@each_case("asked", [SET, GET, ACQUIRE, RELEASE, HEAD, REMOVE])
def test_a_client_that_half_closes_gets_its_answer(asked: bytes) -> None:
    """It has said that it asks nothing more, and reads on; its end comes in the round of its request."""
    with closing(StateServerSetup()) as server_setup:
        near, client = server_setup.client()
        server_setup.ask(near, SET)
        near.sendall(asked)
        near.shutdown(socket.SHUT_WR)
        server_setup.turn()

        assert near.recv(1000).startswith(b"200 OK")
        assert near.recv(1000) == b""
        assert client not in server_setup.fast_server.connected


def test_a_client_that_half_closes_gets_a_long_answer_whole(server_setup: StateServerSetup) -> None:
    """Then its connection is closed."""
    near, client = server_setup.client()
    shrink(client.socket)
    body = bytes(range(256)) * 4000
    server_setup.put(body)
    near.sendall(GET)
    near.shutdown(socket.SHUT_WR)
    got = b""
    while client in server_setup.fast_server.connected:
        server_setup.turn()
        got += near.recv(100_000)
    while more := near.recv(100_000):
        got += more

    assert got.endswith(body)


def is_locked(server_setup: StateServerSetup) -> bool:
    (session,) = (session for key, session in server_setup.table.sessions() if key == server_key(TARGET))
    return session.locked_since is not None


def test_a_client_that_has_left_before_its_answer(server_setup: StateServerSetup) -> None:
    """Its request is carried out all the same; a lock stays until it is broken, as on the slow path."""
    near, client = server_setup.client()
    server_setup.ask(near, SET)
    near.sendall(ACQUIRE)
    near.close()
    server_setup.turn()
    while client in server_setup.fast_server.connected:
        server_setup.turn()

    assert is_locked(server_setup)
    assert (1, []) == (server_setup.client_handoff.left, server_setup.client_handoff.openings)


def test_an_answer_that_cannot_be_sent(server_setup: StateServerSetup) -> None:
    """The client is closed, and nothing is reported as finished."""
    near, client = server_setup.client()
    server_setup.ask(near, SET)
    client.socket.shutdown(socket.SHUT_WR)
    near.sendall(ACQUIRE)
    server_setup.turn()

    assert is_locked(server_setup)
    assert 1 == len(server_setup.observer.facts) == server_setup.client_handoff.left


def test_a_client_that_breaks_off_while_it_is_answered(server_setup: StateServerSetup) -> None:
    """It is closed, without a word."""
    near, client = server_setup.client()
    shrink(client.socket)
    server_setup.put(b"x" * 1_000_000)
    near.sendall(GET)
    server_setup.turn()
    reset(near)
    server_setup.turn()

    assert ([], 1) == (server_setup.observer.facts, server_setup.client_handoff.left)


# --- what is left to the slow path ---

LEFT = {
    "two at once": SET + GET,
    "more than one": SET + b"G",
    "create": CREATE,
    "a field in an odd spelling": GET.replace(b"Host", b"host"),
    "HTTP/1.0": GET.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a control character in the target": GET.replace(TARGET, TARGET + b"\x01"),
    "no head at all": b"\r\n\r\n",
    "a head that is too long": GET[:-2] + b"X: " + b"x" * 10_240,
}


@each_case("received", LEFT.values(), ids=LEFT)
def test_what_is_out_of_the_ordinary_is_handed_over(received: bytes) -> None:
    """With all that has come, and nothing done about it."""
    with closing(StateServerSetup()) as server_setup:
        near, client = server_setup.client()
        near.sendall(received)
        server_setup.turn()
        while client in server_setup.fast_server.connected:
            server_setup.turn()
        (opening,) = server_setup.client_handoff.openings

        assert (received, None, server_setup.now) == (opening.received, opening.head, opening.began_at)
        assert (0, 0, []) == (
            len(server_setup.table),
            server_setup.client_handoff.left,
            server_setup.observer.facts,
        )


def test_a_session_that_is_not_held_is_handed_over_by_its_head(server_setup: StateServerSetup) -> None:
    """The slow path takes it in."""
    asked = set_of(b"x" * (HELD_BODY + 1))
    near, _ = server_setup.client()
    near.sendall(asked[:500])
    server_setup.turn()

    assert asked[:500] == server_setup.client_handoff.openings[0].received


def test_half_a_request_counts_until_it_is_whole_or_gone(server_setup: StateServerSetup) -> None:
    """In bytes of it that have come."""
    in_flight = server_setup.fast_server.clients.in_flight
    (near, _), (other, client) = server_setup.client(), server_setup.client()
    used = []
    for connection, data in ((near, SET[:10]), (near, SET[10:20]), (other, SET[:10]), (near, SET[20:])):
        connection.sendall(data)
        server_setup.turn()
        used.append(in_flight.used)
    server_setup.fast_server.clients.close(client)

    assert [10, 20, 30, 10, 0] == [*used, in_flight.used]


@pytest.mark.parametrize("room", [5, 15])
def test_half_a_request_for_which_there_is_no_room_is_handed_over(
    room: int, server_setup: StateServerSetup
) -> None:
    """With all that has come; the slow path refuses it."""
    server_setup.fast_server.clients.in_flight = BytesInFlight(lambda: room)
    near, client = server_setup.client()
    for data in (SET[:10], SET[10:20]):
        near.sendall(data)
        if client in server_setup.fast_server.connected:
            server_setup.turn()
    (opening,) = server_setup.client_handoff.openings

    assert SET[: 10 if room == 5 else 20] == opening.received
    assert 0 == server_setup.fast_server.clients.in_flight.used


# --- the end, and faults ---


def test_stopping_waits_for_what_is_under_way(server_setup: StateServerSetup) -> None:
    """A client that is in the middle of a request has it answered, and is closed then."""
    near, _ = server_setup.client()
    near.sendall(SET[:10])
    server_setup.turn()
    server_setup.fast_server.clients.is_stopping = True

    assert server_setup.ask(near, SET[10:]).startswith(b"200 OK")
    assert (b"", 1) == (near.recv(1), server_setup.client_handoff.left)


def test_a_fault_of_ours_is_one_clients(
    server_setup: StateServerSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported, its client closed, and everybody else served."""
    (near, _), (other, _) = server_setup.client(), server_setup.client()

    def fail(*request: object) -> bool:
        raise ValueError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr(server_setup.fast_server.collector, "_serve", fail)
        near.sendall(GET)
        server_setup.turn()

    assert "conversation_crashed" == server_setup.observer.facts[0][0]
    assert b"" == near.recv(1)
    assert server_setup.ask(other, SET).startswith(b"200 OK")


def test_a_fault_of_ours_with_a_client_that_is_gone(
    server_setup: StateServerSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported all the same: nothing is swallowed uncounted."""
    near, client = server_setup.client()

    def fail(*request: object) -> bool:
        server_setup.fast_server.close_client(client)
        raise KeyError("a fault of ours")

    monkeypatch.setattr(server_setup.fast_server.collector, "_serve", fail)
    near.sendall(GET)
    server_setup.turn()

    assert ["conversation_crashed"] == [name for name, *_ in server_setup.observer.facts]


def test_a_fault_of_ours_after_an_answer(
    server_setup: StateServerSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where its answer was sent; answers to others in the same round are sent all the same."""
    (near, _), (other, _) = server_setup.client(), server_setup.client()

    def fail(operation: Operation, status: int, duration: float, size: int) -> None:
        if operation is Operation.GET:
            raise ValueError("a fault of ours")

    monkeypatch.setattr(server_setup.observer, "exchange_finished", fail)
    near.sendall(GET)
    other.sendall(HEAD)
    server_setup.turn()

    assert near.recv(1000).startswith(b"404 Not Found")
    assert b"" == near.recv(1)
    assert other.recv(1000).startswith(b"404 Not Found")
    assert ["conversation_crashed"] == [name for name, *_ in server_setup.observer.facts]


@pytest.mark.parametrize(
    ("state", "patience"),
    [(ClientState.IDLE, 30.0), (ClientState.RECEIVING, 30.0), (ClientState.DELIVERING, 30.0)],
)
def test_times_that_are_over(state: ClientState, patience: float, server_setup: StateServerSetup) -> None:
    """Not before: the time for being idle, or that for an exchange."""
    core = FastPathTask(lambda clock, client_handoff: server_setup.fast_server, POLICY)
    near, client = server_setup.client()
    if state is ClientState.RECEIVING:
        near.sendall(GET[:10])
        server_setup.turn()
    elif state is ClientState.DELIVERING:
        shrink(client.socket)
        server_setup.put(b"x" * 1_000_000)
        near.sendall(GET)
        server_setup.turn()
    assert client.state is state
    list(core.look_at_deadlines(server_setup.fast_server, server_setup.now + patience))
    was_there = client in server_setup.fast_server.connected
    list(core.look_at_deadlines(server_setup.fast_server, server_setup.now + patience + 0.1))

    assert (True, False) == (was_there, client in server_setup.fast_server.connected)


def test_a_save_that_has_come_with_the_term_that_supersedes_its_router(
    server_setup: StateServerSetup,
) -> None:
    """Both are received in one round, the term first: the save is not carried out, nor answered."""
    (former, _), (claiming, _) = server_setup.client(), server_setup.client()
    for near in (former, claiming):
        server_setup.ask(near, request(Operation.GET, b"%2fpartitioner%2ffarm%2fcanary"))
    server_setup.ask(former, HEAD)
    claiming.sendall(request(Operation.SET, b"%2fpartitioner%2ffarm%2fterm", body=b"1 a"))
    former.sendall(SET)
    server_setup.turn()

    assert claiming.recv(1000).startswith(b"200 OK")
    assert b"" == former.recv(1000)
    assert len(server_setup.fast_server.connected) == 1
    assert server_setup.table.sessions_held == 0


def test_an_answer_that_is_ready_when_its_router_is_superseded(server_setup: StateServerSetup) -> None:
    """The connection is closed all the same, and others of the round are answered."""
    (former, _), (claiming, _) = server_setup.client(), server_setup.client()
    for near in (former, claiming):
        server_setup.ask(near, request(Operation.GET, b"%2fpartitioner%2ffarm%2fcanary"))
    former.sendall(SET)
    claiming.sendall(request(Operation.SET, b"%2fpartitioner%2ffarm%2fterm", body=b"1 a"))
    server_setup.turn()

    assert claiming.recv(1000).startswith(b"200 OK")
    assert b"" == former.recv(1000)
    assert len(server_setup.fast_server.connected) == 1
    assert [] == server_setup.observer.named("conversation_crashed")
