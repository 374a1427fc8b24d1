"""What the fast path leaves to the slow path: before anything was sent, or with all that was."""

import socket
from contextlib import closing

import pytest
import trio

from partitioner.errors import BackendEjected, BackendHungUp, BackendReset, Phase
from partitioner.fastpath.states import LinkState
from partitioner.membership.entry import Lock
from partitioner.protocol.grammar import MAX_HEAD_BYTES
from partitioner.protocol.messages import Operation
from partitioner.transport.backend_connections import HELD_BODY
from tests.doubles.backends import NOT_FOUND, incarnation_of, ok
from tests.doubles.sessions import ACQUIRE, CONTENT, CREATE, GET, HEAD, SET, TARGET, request
from tests.fastpath.router_setup import (
    RouterSetup,
    nothing_has_come,
    relayed,
    reset,
    shrink,
)
from tests.fastpath.samples import FOUND, GRANTED, KEY
from tests.identities import STATE_1, STATE_2
from tests.tables import each_case


def mark(router_setup: RouterSetup) -> None:
    ledger_keeper = router_setup.router.core.ledger_keeper
    ledger_keeper.mark(ledger_keeper.session_of(TARGET), STATE_1, is_stale=True)


def lock_elsewhere(router_setup: RouterSetup) -> None:
    lock = Lock(7, STATE_2, incarnation_of(2), trio.current_time())
    router_setup.router.ledger.note_lock(KEY, TARGET, lock, 20)


def lock_in_another_incarnation(router_setup: RouterSetup) -> None:
    lock = Lock(7, STATE_1, b"another", trio.current_time())
    router_setup.router.ledger.note_lock(KEY, TARGET, lock, 20)


def enter_gate(router_setup: RouterSetup) -> None:
    assert router_setup.router.core.gate.enter_at_once(KEY)


def close_links(router_setup: RouterSetup) -> None:
    router_setup.shared_links().close_idle()


@pytest.mark.parametrize(
    "prepare", [mark, lock_elsewhere, lock_in_another_incarnation, enter_gate, close_links]
)
async def test_what_is_not_ordinary_about_a_session(prepare: object, router_setup: RouterSetup) -> None:
    """Its request is handed over as it came, and no backend has seen anything of it."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    assert callable(prepare)
    prepare(router_setup)
    near.sendall(GET)
    router_setup.turn()

    assert [GET] == [opening.received for opening in router_setup.client_handoff.openings]
    assert nothing_has_come(backend)


CANARY = request(Operation.GET, b"%2fpartitioner%2fcanary%2frouter-1")
LARGER = SET.replace(b"Content-Length:7", b"Content-Length:%d" % (HELD_BODY + 1))
ODD = GET.replace(b"HTTP/1.1", b"HTTP/1.0")

NOT_ORDINARY = {
    "a create": CREATE,
    "a canary": CANARY,
    "a session that is not held": LARGER,
    "HTTP/1.0": ODD,
    "two at once": GET + GET,
    "no end of the head": b"x" * 10_240,
    "no request line": b"\r\n\r\n",
}


@each_case("asked", NOT_ORDINARY.values(), ids=NOT_ORDINARY)
async def test_what_is_not_ordinary_about_a_request(asked: bytes, nursery: trio.Nursery) -> None:
    """The same."""
    with closing(RouterSetup(nursery)) as router_setup:
        router_setup.link()
        near, _ = router_setup.client()
        near.sendall(asked)
        while not router_setup.client_handoff.openings:
            router_setup.turn()

        assert asked == router_setup.client_handoff.openings[0].received


async def test_a_request_line_that_is_cut_elsewhere(router_setup: RouterSetup) -> None:
    """It is refused at once, though the same bytes have been seen in the right places before."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    relayed(router_setup, near, backend, GET, FOUND)
    asked = GET.replace(b"GET ", b"GETH ").replace(b" HTTP/1.1", b" TTP/1.1")
    near.sendall(asked)
    router_setup.turn()

    assert [asked] == [opening.received for opening in router_setup.client_handoff.openings]


@each_case("target", [b"/a\r\n\r\nb", b"/\0", b"/\xe9"])
async def test_a_target_that_is_not_ordinary(target: bytes, nursery: trio.Nursery) -> None:
    """Its content is not waited for: the slow path refuses some of them as soon as the head is there."""
    with closing(RouterSetup(nursery)) as router_setup:
        near, _ = router_setup.client()
        asked = SET.replace(TARGET, target).removesuffix(CONTENT)
        near.sendall(asked)
        router_setup.turn()

        assert [asked] == [opening.received for opening in router_setup.client_handoff.openings]


async def test_a_head_that_is_too_long(router_setup: RouterSetup) -> None:
    """The slow path refuses it, though it has come in one piece, over a connection of large sessions."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    large = SET.replace(b"Content-Length:7", b"Content-Length:20000").removesuffix(CONTENT) + b"x" * 20_000
    near.sendall(large)
    while not router_setup.shared_links().busy:
        router_setup.turn()
    backend.recv(len(large), socket.MSG_WAITALL)
    backend.sendall(ok())
    router_setup.turn()
    too_long = GET.replace(TARGET, b"x" * MAX_HEAD_BYTES)
    near.sendall(too_long)
    while not router_setup.client_handoff.openings:
        router_setup.turn()

    assert too_long == router_setup.client_handoff.openings[0].received


async def failure(router_setup: RouterSetup) -> BaseException | None:
    """How the exchange that was handed over ends, if it is not retried."""
    (opening,) = router_setup.client_handoff.openings
    assert opening.respond is not None
    try:
        await opening.respond()
    except (BackendEjected, BackendHungUp, BackendReset) as error:
        return error
    return None


async def answer_of_slow_path(router_setup: RouterSetup) -> bytes:
    """What the client gets whose exchange was handed over."""
    (opening,) = router_setup.client_handoff.openings
    assert opening.respond is not None
    response = await opening.respond()
    response.finish(True)
    return response.head.raw + response.body


async def test_an_ejected_backend_is_cut_off(router_setup: RouterSetup) -> None:
    """What it says from then on is not relayed: a set under way fails as one of the slow path does."""
    router_setup.link()
    near, _ = router_setup.client()
    near.sendall(SET)
    router_setup.turn()
    router_setup.router.roster.upstreams[STATE_1].cut()
    ended = await failure(router_setup)

    assert isinstance(ended, BackendEjected)
    assert ended.phase is Phase.READING
    assert router_setup.router.ledger.marks_of(STATE_1) == 1
    assert router_setup.backend_links().links == {}


async def test_a_backend_that_hangs_up_on_a_set(router_setup: RouterSetup) -> None:
    """It may have been carried out: it is not sent again, and the client's connection is closed."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    near.sendall(SET)
    router_setup.turn()
    backend.recv(1000)
    backend.close()
    router_setup.turn()

    assert isinstance(await failure(router_setup), BackendHungUp)


async def test_a_backend_that_breaks_off_an_answer(router_setup: RouterSetup) -> None:
    """The bytes that had come count: the connection was not stale, the backend is to blame."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    near.sendall(SET)
    router_setup.turn()
    backend.recv(1000)
    backend.sendall(b"200 OK\r\n")
    router_setup.turn()
    reset(backend)
    router_setup.turn()

    assert isinstance(await failure(router_setup), BackendReset)


NOT_ORDINARY_ANSWERS = {
    "a field of another name": NOT_FOUND.replace(b"X-AspNet", b"X-Net"),
    "a lock without its date": b"423 Locked\r\nLockAge: 1\r\nLockCookie: 7\r\nContent-Length: 0\r\n\r\n",
    "the flag of a new session": FOUND.replace(b"Timeout", b"ActionFlags: 1\r\nTimeout"),
    "a field in an odd spelling": FOUND.replace(b"Content-Length", b"content-length"),
    "a version before the status": b"HTTP/1.1 " + FOUND,
}


@each_case("answer", NOT_ORDINARY_ANSWERS.values(), ids=NOT_ORDINARY_ANSWERS)
async def test_an_answer_that_is_not_ordinary(answer: bytes, nursery: trio.Nursery) -> None:
    """It is read by the slow path, with what has come of it, and relayed all the same."""
    with closing(RouterSetup(nursery)) as router_setup:
        backend, _ = router_setup.link()
        near, _ = router_setup.client()
        near.sendall(GET)
        router_setup.turn()
        backend.recv(1000)
        backend.sendall(answer)
        router_setup.turn()

        assert answer == await answer_of_slow_path(router_setup)
        assert len(router_setup.router.core.gate) == 0


STRANGE = {
    "a lock that was not asked for": (GET, GRANTED),
    "no lock": (ACQUIRE, FOUND),
    "a lock for a set": (SET, ok(b"", b"LockCookie: 7")),
    "content for a head": (HEAD, FOUND),
    "more than there was to say": (GET, FOUND + b"more"),
    "the beginning of a large session": (GET, ok(b"x" * (HELD_BODY + 1))[:1000]),
}


@pytest.mark.parametrize(("asked", "answer"), STRANGE.values(), ids=STRANGE)
async def test_an_answer_that_is_not_what_was_asked_for(
    asked: bytes, answer: bytes, router_setup: RouterSetup
) -> None:
    """It is left to the slow path, and nothing of it is written down before that."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    near.sendall(asked)
    router_setup.turn()
    backend.recv(1000)
    backend.sendall(answer)
    router_setup.turn()

    assert 1 == len(router_setup.client_handoff.openings)
    assert 0 == router_setup.router.ledger.locks_held


async def test_an_answer_to_a_head_that_has_a_length(router_setup: RouterSetup) -> None:
    """No body follows, whatever the length says, and none is waited for."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    near.sendall(HEAD)
    router_setup.turn()
    backend.recv(1000)
    answer = FOUND.removesuffix(CONTENT)
    backend.sendall(answer)
    router_setup.turn()

    assert answer == await answer_of_slow_path(router_setup)


async def test_a_request_that_was_cut_off_while_it_was_sent(router_setup: RouterSetup) -> None:
    """The phase is known: the retry table tells sending from reading."""
    _, link = router_setup.link()
    near, _ = router_setup.client()
    shrink(link.socket)
    body = b"x" * HELD_BODY
    asked = SET.replace(b"Content-Length:7", b"Content-Length:%d" % HELD_BODY).removesuffix(CONTENT) + body
    near.sendall(asked)
    while link.state is LinkState.IDLE:
        router_setup.turn()
    router_setup.router.roster.upstreams[STATE_1].cut()
    ended = await failure(router_setup)

    assert isinstance(ended, BackendEjected)
    assert ended.phase is Phase.SENDING


async def test_a_client_that_talks_in_the_round_in_which_it_is_handed_over(router_setup: RouterSetup) -> None:
    """What it says is handed over as well."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    near.sendall(GET)
    router_setup.turn()
    backend.recv(1000)
    backend.sendall(b"HTTP/1.1 " + FOUND)
    near.sendall(HEAD)
    await trio.sleep(0.01)  # both are there now
    router_setup.turn()
    (opening,) = router_setup.client_handoff.openings
    assert opening.respond is not None
    (await opening.respond()).finish(True)

    assert HEAD == opening.received


async def test_a_set_during_which_the_pool_has_changed(router_setup: RouterSetup) -> None:
    """Its answer is left to the slow path, which tells the servers that it concerns now."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    near.sendall(SET)
    router_setup.turn()
    backend.recv(1000)
    roster = router_setup.router.roster
    roster.pool = roster.pool.succeeded_by(roster.pool.members, roster.pool.ranking, 1, trio.current_time())
    backend.sendall(ok())
    router_setup.turn()

    assert router_setup.client_handoff.openings[0].respond is not None
