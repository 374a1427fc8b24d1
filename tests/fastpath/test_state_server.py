"""What a state server answers on the reactor, and what it leaves to the await lane, round by round."""

import socket
from collections.abc import Iterator

import pytest

from partitioner.fastpath.states import ClientState
from partitioner.fastpath.task import ExpressLane
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import server_key
from partitioner.sessions.table import SessionTable
from partitioner.transport.backend_connections import HELD_BODY
from partitioner.transport.client_connection import SLOW
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
from tests.fastpath.server_setup import POLICY, Depot

REMOVE = request(Operation.REMOVE)


@pytest.fixture
def depot() -> Iterator[Depot]:
    depot = Depot()
    yield depot
    depot.close()


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


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_what_is_ordinary_is_answered(
    story: list[bytes], depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the responder of the await lane answers, whatever the answer is; and it is reported."""
    monkeypatch.setattr("partitioner.transport.state_server.local_ticks", lambda: 0)
    responder = StateServer(SessionTable(), RecordingObserver(), clock=lambda: depot.now)
    near, _ = depot.client()
    for asked in story:
        response = await responder.respond(whole(asked, 0.0))
        assert response.head.raw + response.body == depot.ask(near, asked)

    assert len(story) == len(depot.observer.named("exchange_finished"))
    assert depot.observer.named("exchange_finished")[-1][2] == response.head.status
    assert depot.door.openings == []


def test_what_is_reported(depot: Depot) -> None:
    """Operation, status, seconds since the first byte, and the size of what was sent to be saved."""
    near, _ = depot.client()
    near.sendall(SET[:10])
    depot.turn()
    depot.now += 0.25
    depot.ask(near, SET[10:])

    assert depot.observer.facts == [("exchange_finished", Operation.SET, 200, 0.25, len(CONTENT))]


def test_the_time_between_two_exchanges_counts_for_neither(depot: Depot) -> None:
    """The client was idle."""
    near, _ = depot.client()
    depot.ask(near, SET)
    depot.now += 5.0
    depot.ask(near, GET)

    assert [0.0, 0.0] == [fact[3] for fact in depot.observer.named("exchange_finished")]


def test_a_slow_exchange_is_told_of(depot: Depot) -> None:
    """By client and operation; there is no backend to be named."""
    near, _ = depot.client()
    near.sendall(SET[:10])
    depot.turn()
    depot.now += SLOW
    depot.ask(near, SET[10:])

    assert [("exchange_was_slow", "192.0.2.1", Operation.SET, SLOW, "")] == depot.observer.facts[1:]


@pytest.mark.parametrize("asked", [SET, ACQUIRE])
def test_a_request_at_every_split(asked: bytes, depot: Depot) -> None:
    """In whatever two pieces a request comes, it is carried out when it is whole, once."""
    near, _ = depot.client()
    for place in range(1, len(asked)):
        depot.ask(near, SET.replace(b"LockCookie:0\r\n", b"LockCookie:2\r\n"))
        near.sendall(asked[:place])
        depot.turn()
        assert depot.ask(near, asked[place:]).startswith(b"200 OK")
        depot.ask(near, request(Operation.REMOVE, cookie=2))


def test_sessions_as_large_as_are_held(depot: Depot) -> None:
    """In as many reads as they take."""
    body = bytes(range(256)) * (HELD_BODY // 256)
    near, _ = depot.client()
    near.sendall(set_of(body))
    while not depot.observer.named("exchange_finished"):
        depot.turn()
    near.recv(1000)
    got = depot.ask(near, request(Operation.GET, target(1)))
    while not got.endswith(body):
        got += near.recv(HELD_BODY)

    assert got.startswith(b"200 OK")
    assert depot.door.openings == []


def test_clients_of_one_round_are_served_one_after_the_other(depot: Depot) -> None:
    """Two acquires of one session in one round: one lock."""
    (first, _), (second, _) = depot.client(), depot.client()
    depot.ask(first, SET)
    first.sendall(ACQUIRE)
    second.sendall(ACQUIRE)
    while len(depot.observer.named("exchange_finished")) < 3:
        depot.turn()

    assert sorted([first.recv(1000)[:3], second.recv(1000)[:3]]) == [b"200", b"423"]


def test_a_full_table() -> None:
    """A new session that does not fit is refused here, too, and that is reported."""
    full = Depot(max_memory=300)
    near, _ = full.client()
    answer = full.ask(near, SET)
    full.close()

    assert answer.startswith(b"400 Bad Request")
    assert full.observer.facts[0] == ("creation_refused", 0, 0)
    assert full.door.openings == []


def test_an_answer_that_does_not_go_at_once(depot: Depot) -> None:
    """The client gets it as it takes it, whole; then it may ask again."""
    near, client = depot.client()
    shrink(client.socket)
    body = bytes(range(256)) * 4000
    depot.put(body)
    near.sendall(GET)
    got = b""
    while not got.endswith(body):
        depot.turn()
        got += near.recv(100_000)

    assert client.state is ClientState.IDLE
    assert depot.ask(near, HEAD).startswith(b"200 OK")


# --- clients that leave ---


def is_locked(depot: Depot) -> bool:
    (session,) = (session for key, session in depot.table.sessions() if key == server_key(TARGET))
    return session.locked_since is not None


def test_a_client_that_has_left_before_its_answer(depot: Depot) -> None:
    """Its request is carried out all the same; a lock stays until it is broken, as on the await lane."""
    near, client = depot.client()
    depot.ask(near, SET)
    near.sendall(ACQUIRE)
    near.close()
    depot.turn()
    while client in depot.origin.connected:
        depot.turn()

    assert is_locked(depot)
    assert (1, []) == (depot.door.left, depot.door.openings)


def test_an_answer_that_cannot_be_sent(depot: Depot) -> None:
    """The client is closed, and nothing is reported as finished."""
    near, client = depot.client()
    depot.ask(near, SET)
    client.socket.shutdown(socket.SHUT_WR)
    near.sendall(ACQUIRE)
    depot.turn()

    assert is_locked(depot)
    assert 1 == len(depot.observer.facts) == depot.door.left


def test_a_client_that_breaks_off_while_it_is_answered(depot: Depot) -> None:
    """It is closed, without a word."""
    near, client = depot.client()
    shrink(client.socket)
    depot.put(b"x" * 1_000_000)
    near.sendall(GET)
    depot.turn()
    reset(near)
    depot.turn()

    assert ([], 1) == (depot.observer.facts, depot.door.left)


# --- what is left to the await lane ---

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


@pytest.mark.parametrize("received", LEFT.values(), ids=LEFT)
def test_what_is_out_of_the_ordinary_is_handed_over(received: bytes, depot: Depot) -> None:
    """With all that has come, and nothing done about it."""
    near, client = depot.client()
    near.sendall(received)
    depot.turn()
    while client in depot.origin.connected:
        depot.turn()
    (opening,) = depot.door.openings

    assert (received, None, depot.now) == (opening.received, opening.head, opening.began_at)
    assert (0, 0, []) == (len(depot.table), depot.door.left, depot.observer.facts)


def test_a_session_that_is_not_held_is_handed_over_by_its_head(depot: Depot) -> None:
    """The await lane takes it in."""
    asked = set_of(b"x" * (HELD_BODY + 1))
    near, _ = depot.client()
    near.sendall(asked[:500])
    depot.turn()

    assert asked[:500] == depot.door.openings[0].received


# --- the end, and faults ---


def test_draining_waits_for_what_is_under_way(depot: Depot) -> None:
    """A client that is in the middle of a request has it answered, and is closed then."""
    near, _ = depot.client()
    near.sendall(SET[:10])
    depot.turn()
    depot.origin.is_draining = True

    assert depot.ask(near, SET[10:]).startswith(b"200 OK")
    assert (b"", 1) == (near.recv(1), depot.door.left)


def test_a_fault_of_ours_is_one_clients(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported, its client closed, and everybody else served."""
    (near, _), (other, _) = depot.client(), depot.client()

    def fail(*request: object) -> bool:
        raise ValueError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr(depot.origin.intake, "_serve", fail)
        near.sendall(GET)
        depot.turn()

    assert "conversation_crashed" == depot.observer.facts[0][0]
    assert b"" == near.recv(1)
    assert depot.ask(other, SET).startswith(b"200 OK")


def test_a_fault_of_ours_after_an_answer(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where its answer was sent; answers to others in the same round are sent all the same."""
    (near, _), (other, _) = depot.client(), depot.client()

    def fail(operation: Operation, status: int, duration: float, size: int) -> None:
        if operation is Operation.GET:
            raise ValueError("a fault of ours")

    monkeypatch.setattr(depot.observer, "exchange_finished", fail)
    near.sendall(GET)
    other.sendall(HEAD)
    depot.turn()

    assert near.recv(1000).startswith(b"404 Not Found")
    assert b"" == near.recv(1)
    assert other.recv(1000).startswith(b"404 Not Found")
    assert ["conversation_crashed"] == [name for name, *_ in depot.observer.facts]


@pytest.mark.parametrize(
    ("state", "patience"),
    [(ClientState.IDLE, 30.0), (ClientState.RECEIVING, 15.0), (ClientState.DELIVERING, 30.0)],
)
def test_times_that_are_over(state: ClientState, patience: float, depot: Depot) -> None:
    """Not before: the time for being idle, half of that for an exchange, or all of it."""
    lane = ExpressLane(lambda clock, door: depot.origin, POLICY)
    near, client = depot.client()
    if state is ClientState.RECEIVING:
        near.sendall(GET[:10])
        depot.turn()
    elif state is ClientState.DELIVERING:
        shrink(client.socket)
        depot.put(b"x" * 1_000_000)
        near.sendall(GET)
        depot.turn()
    assert client.state is state
    lane.look_at_deadlines(depot.origin, depot.now + patience)
    was_there = client in depot.origin.connected
    lane.look_at_deadlines(depot.origin, depot.now + patience + 0.1)

    assert (True, False) == (was_there, client in depot.origin.connected)


def test_a_save_that_has_come_with_the_term_that_supersedes_its_router(depot: Depot) -> None:
    """Both are received in one round, the term first: the save is not carried out, nor answered."""
    (former, _), (claiming, _) = depot.client(), depot.client()
    for near in (former, claiming):
        depot.ask(near, request(Operation.GET, b"%2fpartitioner%2ffarm%2fcanary"))
    depot.ask(former, HEAD)
    claiming.sendall(request(Operation.SET, b"%2fpartitioner%2ffarm%2fterm", body=b"1 a"))
    former.sendall(SET)
    depot.turn()

    assert claiming.recv(1000).startswith(b"200 OK")
    assert b"" == former.recv(1000)
    assert len(depot.origin.connected) == 1
    assert depot.table.sessions_held == 0


def test_an_answer_that_is_ready_when_its_router_is_superseded(depot: Depot) -> None:
    """The connection is closed all the same, and others of the round are answered."""
    (former, _), (claiming, _) = depot.client(), depot.client()
    for near in (former, claiming):
        depot.ask(near, request(Operation.GET, b"%2fpartitioner%2ffarm%2fcanary"))
    former.sendall(SET)
    claiming.sendall(request(Operation.SET, b"%2fpartitioner%2ffarm%2fterm", body=b"1 a"))
    depot.turn()

    assert claiming.recv(1000).startswith(b"200 OK")
    assert b"" == former.recv(1000)
    assert len(depot.origin.connected) == 1
    assert [] == depot.observer.named("conversation_crashed")
