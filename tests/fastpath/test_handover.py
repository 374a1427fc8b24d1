"""What the express lane leaves to the await lane: before anything was sent, or with all that was."""

import socket

import pytest
import trio

from partitioner.errors import BackendEjected, BackendHungUp, BackendReset, Phase
from partitioner.fastpath.states import LinkState
from partitioner.membership.ledger import Lock
from partitioner.protocol.grammar import MAX_HEAD_BYTES
from partitioner.protocol.messages import Operation
from partitioner.transport.backend_connections import HELD_BODY
from tests.doubles.backends import NOT_FOUND, life_of, ok
from tests.doubles.sessions import ACQUIRE, CONTENT, CREATE, GET, HEAD, SET, TARGET, request
from tests.fastpath.router_setup import (
    Platform,
    nothing_has_come,
    relayed,
    reset,
    shrink,
)
from tests.fastpath.samples import FOUND, GRANTED, KEY


def mark(platform: Platform) -> None:
    platform.router.lane.bookkeeper.mark(KEY, TARGET, "state-1", is_stale=True)


def lock_elsewhere(platform: Platform) -> None:
    lock = Lock(7, "state-2", life_of(2), trio.current_time())
    platform.router.ledger.note_lock(KEY, TARGET, lock, 20)


def lock_in_another_life(platform: Platform) -> None:
    lock = Lock(7, "state-1", b"another", trio.current_time())
    platform.router.ledger.note_lock(KEY, TARGET, lock, 20)


def enter_gate(platform: Platform) -> None:
    assert platform.router.lane.gate.enter_at_once(KEY)


def close_links(platform: Platform) -> None:
    platform.siding().close_idle()


@pytest.mark.parametrize("prepare", [mark, lock_elsewhere, lock_in_another_life, enter_gate, close_links])
async def test_what_is_not_ordinary_about_a_session(prepare: object, platform: Platform) -> None:
    """Its request is handed over as it came, and no backend has seen anything of it."""
    backend, _ = platform.link()
    near, _ = platform.client()
    assert callable(prepare)
    prepare(platform)
    near.sendall(GET)
    platform.turn()

    assert [GET] == [opening.received for opening in platform.door.openings]
    assert nothing_has_come(backend)


CANARY = request(Operation.GET, b"%2fpartitioner%2fcanary%2frouter-1")
LARGER = SET.replace(b"Content-Length:7", b"Content-Length:%d" % (HELD_BODY + 1))
ODD = GET.replace(b"HTTP/1.1", b"HTTP/1.0")


@pytest.mark.parametrize("asked", [CREATE, CANARY, LARGER, ODD, GET + GET, b"x" * 10_240, b"\r\n\r\n"])
async def test_what_is_not_ordinary_about_a_request(asked: bytes, platform: Platform) -> None:
    """The same."""
    platform.link()
    near, _ = platform.client()
    near.sendall(asked)
    while not platform.door.openings:
        platform.turn()

    assert asked == platform.door.openings[0].received


async def test_a_request_line_that_is_cut_elsewhere(platform: Platform) -> None:
    """It is refused at once, though the same bytes have been seen in the right places before."""
    backend, _ = platform.link()
    near, _ = platform.client()
    relayed(platform, near, backend, GET, FOUND)
    asked = GET.replace(b"GET ", b"GETH ").replace(b" HTTP/1.1", b" TTP/1.1")
    near.sendall(asked)
    platform.turn()

    assert [asked] == [opening.received for opening in platform.door.openings]


@pytest.mark.parametrize("target", [b"/a\r\n\r\nb", b"/\0", b"/\xe9"])
async def test_a_target_that_is_not_ordinary(target: bytes, platform: Platform) -> None:
    """Its content is not waited for: the await lane refuses some of them as soon as the head is there."""
    near, _ = platform.client()
    asked = SET.replace(TARGET, target).removesuffix(CONTENT)
    near.sendall(asked)
    platform.turn()

    assert [asked] == [opening.received for opening in platform.door.openings]


async def test_a_head_that_is_too_long(platform: Platform) -> None:
    """The await lane refuses it, though it has come in one piece, over a connection of large sessions."""
    backend, _ = platform.link()
    near, _ = platform.client()
    large = SET.replace(b"Content-Length:7", b"Content-Length:20000").removesuffix(CONTENT) + b"x" * 20_000
    near.sendall(large)
    while not platform.siding().busy:
        platform.turn()
    backend.recv(len(large), socket.MSG_WAITALL)
    backend.sendall(ok())
    platform.turn()
    too_long = GET.replace(TARGET, b"x" * MAX_HEAD_BYTES)
    near.sendall(too_long)
    while not platform.door.openings:
        platform.turn()

    assert too_long == platform.door.openings[0].received


async def failure(platform: Platform) -> BaseException | None:
    """How the exchange that was handed over ends, if it is not tried again."""
    (opening,) = platform.door.openings
    assert opening.respond is not None
    try:
        await opening.respond()
    except (BackendEjected, BackendHungUp, BackendReset) as error:
        return error
    return None


async def answer_of_await_lane(platform: Platform) -> bytes:
    """What the client gets whose exchange was handed over."""
    (opening,) = platform.door.openings
    assert opening.respond is not None
    response = await opening.respond()
    response.finish(True)
    return response.head.raw + response.body


async def test_an_ejected_backend_is_cut_off(platform: Platform) -> None:
    """What it says from then on is not relayed: a set under way fails as one of the await lane does."""
    platform.link()
    near, _ = platform.client()
    near.sendall(SET)
    platform.turn()
    platform.router.roster.upstreams["state-1"].cut()
    ended = await failure(platform)

    assert isinstance(ended, BackendEjected)
    assert ended.phase is Phase.READING
    assert platform.router.ledger.marks_of("state-1") == 1
    assert platform.siding().links == {}


async def test_a_backend_that_hangs_up_on_a_set(platform: Platform) -> None:
    """It may have been carried out: it is not sent again, and the client's connection is closed."""
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(SET)
    platform.turn()
    backend.recv(1000)
    backend.close()
    platform.turn()

    assert isinstance(await failure(platform), BackendHungUp)


async def test_a_backend_that_breaks_off_an_answer(platform: Platform) -> None:
    """The bytes that had come count: the connection was not stale, the backend is to blame."""
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(SET)
    platform.turn()
    backend.recv(1000)
    backend.sendall(b"200 OK\r\n")
    platform.turn()
    reset(backend)
    platform.turn()

    assert isinstance(await failure(platform), BackendReset)


@pytest.mark.parametrize(
    "answer",
    [
        NOT_FOUND.replace(b"X-AspNet", b"X-Net"),
        b"423 Locked\r\nLockAge: 1\r\nLockCookie: 7\r\nContent-Length: 0\r\n\r\n",
        FOUND.replace(b"Timeout", b"ActionFlags: 1\r\nTimeout"),
        FOUND.replace(b"Content-Length", b"content-length"),
        b"HTTP/1.1 " + FOUND,
    ],
)
async def test_an_answer_that_is_not_ordinary(answer: bytes, platform: Platform) -> None:
    """It is read by the await lane, with what has come of it, and relayed all the same."""
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(GET)
    platform.turn()
    backend.recv(1000)
    backend.sendall(answer)
    platform.turn()

    assert answer == await answer_of_await_lane(platform)
    assert len(platform.router.lane.gate) == 0


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
    asked: bytes, answer: bytes, platform: Platform
) -> None:
    """It is left to the await lane, and nothing of it is written down before that."""
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(asked)
    platform.turn()
    backend.recv(1000)
    backend.sendall(answer)
    platform.turn()

    assert 1 == len(platform.door.openings)
    assert 0 == platform.router.ledger.locks_held


async def test_an_answer_to_a_head_that_has_a_length(platform: Platform) -> None:
    """No body follows, whatever the length says, and none is waited for."""
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(HEAD)
    platform.turn()
    backend.recv(1000)
    answer = FOUND.removesuffix(CONTENT)
    backend.sendall(answer)
    platform.turn()

    assert answer == await answer_of_await_lane(platform)


async def test_a_request_that_was_cut_off_while_it_was_sent(platform: Platform) -> None:
    """The phase is known: the failover table tells sending from reading."""
    _, link = platform.link()
    near, _ = platform.client()
    shrink(link.socket)
    body = b"x" * HELD_BODY
    asked = SET.replace(b"Content-Length:7", b"Content-Length:%d" % HELD_BODY).removesuffix(CONTENT) + body
    near.sendall(asked)
    while link.state is LinkState.IDLE:
        platform.turn()
    platform.router.roster.upstreams["state-1"].cut()
    ended = await failure(platform)

    assert isinstance(ended, BackendEjected)
    assert ended.phase is Phase.SENDING


async def test_a_client_that_talks_in_the_round_in_which_it_is_handed_over(platform: Platform) -> None:
    """What it says is handed over as well."""
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(GET)
    platform.turn()
    backend.recv(1000)
    backend.sendall(b"HTTP/1.1 " + FOUND)
    near.sendall(HEAD)
    await trio.sleep(0.01)  # both are there now
    platform.turn()
    (opening,) = platform.door.openings
    assert opening.respond is not None
    (await opening.respond()).finish(True)

    assert HEAD == opening.received


async def test_a_set_during_which_the_pool_has_changed(platform: Platform) -> None:
    """Its answer is left to the await lane, which tells whoever is concerned now."""
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(SET)
    platform.turn()
    backend.recv(1000)
    roster = platform.router.roster
    roster.pool = roster.pool.succeeded_by(roster.pool.members, roster.pool.ranking, 1, trio.current_time())
    backend.sendall(ok())
    platform.turn()

    assert platform.door.openings[0].respond is not None


async def test_a_set_that_tells_of_longer_lives(nursery: trio.Nursery) -> None:
    """What an earlier pool has left behind may be alive by that time-out, so others are told of the write."""
    platform = Platform(nursery, longest_life=86_400.0)
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(SET)
    platform.turn()
    backend.recv(1000)
    backend.sendall(ok())
    platform.turn()

    assert platform.door.openings[0].respond is not None
    platform.close()
