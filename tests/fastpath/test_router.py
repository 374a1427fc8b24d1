"""What the fast path relays, and what it writes down, in rounds worked off by hand."""

import select
import socket
from contextlib import closing

import pytest
import trio
from trio.testing import MockClock

from partitioner.fastpath.reactor import SHORT_SIZE
from partitioner.fastpath.states import ClientState
from partitioner.membership.backend import Intent
from partitioner.membership.entry import Lock
from partitioner.protocol.messages import Answer, Operation, Status
from partitioner.protocol.writer import write_answer
from partitioner.transport.backend_connections import HELD_BODY
from partitioner.transport.client_connection import SLOW
from tests.doubles.backends import INCARNATION, NOT_FOUND, ok
from tests.doubles.sessions import ACQUIRE, CONTENT, GET, HEAD, RELEASE, SET, TARGET, request
from tests.fastpath.router_setup import (
    MOST_EVENTS,
    RouterSetup,
    relayed,
    shrink,
)
from tests.fastpath.samples import FOUND, GRANTED, KEY, REMOVE
from tests.identities import STATE_1
from tests.tables import each_case

SOON = 0.01
"""Seconds for a round in which perhaps nothing comes, because all that was sent is under way already."""

ORDINARY = {
    "get": (GET, FOUND),
    "acquire": (ACQUIRE, GRANTED),
    "release": (RELEASE, ok()),
    "set": (SET, ok()),
    "remove": (REMOVE, ok()),
    "head": (HEAD, ok()),
}


@each_case(("asked", "answer"), ORDINARY.values(), ids=ORDINARY)
async def test_what_is_ordinary_is_relayed(asked: bytes, answer: bytes, nursery: trio.Nursery) -> None:
    """Byte for byte, and reported with status, duration and size; then everything is as before."""
    with closing(RouterSetup(nursery)) as router_setup:
        backend, link = router_setup.link()
        near, client = router_setup.client()

        assert answer == relayed(router_setup, near, backend, asked, answer)
        assert router_setup.router.observer.named("exchange_finished")[0][2] == 200
        assert (ClientState.IDLE, [link]) == (client.state, router_setup.backend_links().idle_links)
        assert len(router_setup.router.core.gate) == 0
        assert router_setup.router.roster.upstreams[STATE_1].traffic.answers[200] == 1


@pytest.mark.parametrize("asked", [SET, ACQUIRE])
async def test_a_request_at_every_split(asked: bytes, router_setup: RouterSetup) -> None:
    """In whatever two pieces a request comes, it is relayed when it is whole, in one."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    for place in range(1, len(asked)):
        near.sendall(asked[:place])
        router_setup.turn()
        near.sendall(asked[place:])
        router_setup.turn()
        assert asked == backend.recv(1000)
        backend.sendall(GRANTED if asked is ACQUIRE else ok())
        router_setup.turn()
        assert near.recv(1000)


@pytest.mark.parametrize(("asked", "answer"), [(SET, ok()), (ACQUIRE, GRANTED)])
async def test_an_answer_at_every_split(asked: bytes, answer: bytes, router_setup: RouterSetup) -> None:
    """In whatever two pieces an answer comes, the client gets all of it, and nothing before it is whole."""
    backend, _ = router_setup.link()
    near, client = router_setup.client()
    for place in range(1, len(answer)):
        near.sendall(asked)
        router_setup.turn()
        assert asked == backend.recv(1000)
        backend.sendall(answer[:place])
        router_setup.turn()
        assert client.state is ClientState.WAITING
        backend.sendall(answer[place:])
        router_setup.turn()
        assert answer == near.recv(1000)


async def test_a_client_that_does_not_read_does_not_keep_the_gate(router_setup: RouterSetup) -> None:
    """What its server says is settled; the session's other requests go on, and it gets its answer."""
    body = b"x" * (HELD_BODY - 1)
    answer = ok(body, b"Timeout: 20")
    backend, _ = router_setup.link()
    near, client = router_setup.client()
    shrink(client.socket)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    near.sendall(GET)
    router_setup.turn()
    backend.recv(1000)
    backend.sendall(answer)
    while client.state is not ClientState.DELIVERING:
        router_setup.turn()
    busy, got = len(router_setup.router.core.gate), b""
    while len(got) < len(answer):
        router_setup.fast_router.work_off(SOON, MOST_EVENTS)
        got += arrived(near)

    assert (0, answer) == (busy, got)
    assert 0 == len(router_setup.router.core.gate)


async def test_sessions_as_large_as_are_held(router_setup: RouterSetup) -> None:
    """Both ways, in as many reads as they take."""
    body = bytes(range(256)) * (HELD_BODY // 256)
    asked = SET.replace(b"Content-Length:7", b"Content-Length:%d" % HELD_BODY).removesuffix(CONTENT) + body
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    heard, got = b"", b""
    near.sendall(asked)
    while len(heard) < len(asked):
        router_setup.fast_router.work_off(SOON, MOST_EVENTS)
        heard += arrived(backend)
    backend.sendall(ok())
    router_setup.turn()
    near.recv(1000)
    near.sendall(GET)
    router_setup.turn()
    backend.recv(1000)
    backend.sendall(ok(body, b"Timeout: 20"))
    while len(got) < len(ok(body, b"Timeout: 20")):
        router_setup.fast_router.work_off(SOON, MOST_EVENTS)
        got += arrived(near)

    assert asked == heard
    assert ok(body, b"Timeout: 20") == got


def arrived(connected: socket.socket) -> bytes:
    """What has come to this end, without waiting for more."""
    has_come, _, _ = select.select([connected], [], [], 0)
    return connected.recv(2 * HELD_BODY) if has_come else b""


async def test_where_sessions_are_large_more_is_taken_in_at_a_time(router_setup: RouterSetup) -> None:
    """Each read that was filled has the next one take in four times as much, over that connection."""
    near, client = router_setup.client()
    near.sendall(SET.replace(b"Content-Length:7", b"Content-Length:%d" % HELD_BODY) + b"x" * 30_000)
    router_setup.turn()
    router_setup.turn()

    assert [SHORT_SIZE, 4 * SHORT_SIZE] == [len(piece) for piece in client.pieces]


async def test_a_byte_that_is_urgent(router_setup: RouterSetup) -> None:
    """It is skipped. A read ends before it, and what comes after it is read all the same."""
    backend, _ = router_setup.link()
    near, client = router_setup.client()
    near.sendall(GET[:20])
    near.send(b"!", socket.MSG_OOB)
    near.sendall(GET[20:])
    await trio.sleep(0.01)  # all is there now
    while client.state is not ClientState.WAITING:
        router_setup.turn()

    assert GET == backend.recv(1000)


async def test_the_end_comes_after_a_read_that_was_filled(router_setup: RouterSetup) -> None:
    """It is noticed in the next round, though there is nothing more to be read."""
    router_setup.link()
    near, client = router_setup.client()
    head = SET.removesuffix(CONTENT).replace(b"Content-Length:7", b"Content-Length:3000")
    asked = head.replace(b"localhost", b"l" * (9 + SHORT_SIZE - 3000 - len(head))) + b"x" * 3000
    near.sendall(asked)
    near.shutdown(socket.SHUT_WR)
    router_setup.turn()
    was_waiting = client.state is ClientState.WAITING
    router_setup.turn()

    assert SHORT_SIZE == len(asked)
    assert was_waiting
    assert ClientState.PAUSED is client.state
    assert b"" == client.ahead


LOCKED = write_answer(Answer(Status.LOCKED, lock_age=3.0, lock_cookie=9), 638_000_000_000_000_000)
ASKED = {name: asked for name, (asked, _) in ORDINARY.items()}
REFUSALS = {
    **{f"404 to {name}": (ASKED[name], NOT_FOUND, 404) for name in ("get", "acquire", "release", "head")},
    **{f"423 to {name}": (asked, LOCKED, 423) for name, asked in ASKED.items() if name != "head"},
}


@each_case(("asked", "answer", "status"), REFUSALS.values(), ids=REFUSALS)
async def test_what_is_refused_is_relayed(
    asked: bytes, answer: bytes, status: int, nursery: trio.Nursery
) -> None:
    """In settled times a 404 is the truth, and a client that polls a locked session is answered here, too."""
    with closing(RouterSetup(nursery)) as router_setup:
        backend, link = router_setup.link()
        near, client = router_setup.client()

        assert answer == relayed(router_setup, near, backend, asked, answer)
        assert status == router_setup.router.observer.named("exchange_finished")[0][2]
        assert (ClientState.IDLE, [link]) == (client.state, router_setup.backend_links().idle_links)
        assert len(router_setup.router.core.gate) == 0
        assert router_setup.router.roster.upstreams[STATE_1].traffic.answers[status] == 1


@each_case(
    ("asked", "answer"),
    [(SET, NOT_FOUND), (REMOVE, NOT_FOUND), (HEAD, LOCKED)],
    ids=["404 to set", "404 to remove", "423 to head"],
)
async def test_what_is_refused_for_no_common_reason(
    asked: bytes, answer: bytes, nursery: trio.Nursery
) -> None:
    """A remove of what is not there concerns others; the rest no state server should say."""
    with closing(RouterSetup(nursery)) as router_setup:
        backend, _ = router_setup.link()
        near, _ = router_setup.client()
        near.sendall(asked)
        router_setup.turn()
        backend.recv(1000)
        backend.sendall(answer)
        router_setup.turn()

        assert 1 == len(router_setup.client_handoff.openings)


async def test_a_404_ends_a_lock(router_setup: RouterSetup) -> None:
    """A session that is not there is not locked either."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    relayed(router_setup, near, backend, ACQUIRE, GRANTED)
    relayed(router_setup, near, backend, GET, NOT_FOUND)

    assert 0 == router_setup.router.ledger.locks_held


async def test_a_lock_of_another_client_is_not_given_back(router_setup: RouterSetup) -> None:
    """A client that is refused a lock and leaves has nothing to give back."""
    backend, _ = router_setup.link()
    holder, _ = router_setup.client()
    near, _ = router_setup.client()
    relayed(router_setup, holder, backend, ACQUIRE, GRANTED)
    near.sendall(ACQUIRE)
    router_setup.turn()
    backend.recv(1000)
    near.close()
    backend.sendall(LOCKED)
    await trio.sleep(0.01)  # both are there now
    router_setup.turn()

    assert not router_setup.router.core.undelivered_locks.is_giving_back
    assert 1 == router_setup.router.ledger.locks_held
    assert 0 == len(router_setup.router.core.gate)


async def test_a_lock_is_written_down_and_crossed_out(router_setup: RouterSetup) -> None:
    """An acquire's 200 makes an entry in the ledger, the set of its page ends it."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    relayed(router_setup, near, backend, ACQUIRE, GRANTED)
    locked = router_setup.router.ledger.maybe_lock(KEY, trio.current_time())
    relayed(router_setup, near, backend, request(Operation.SET, cookie=7), ok())

    assert locked is not None
    assert (7, "state-1", INCARNATION) == (locked.cookie, locked.server, locked.incarnation)
    assert len(router_setup.router.ledger) == 0


async def test_the_pool_changes_during_an_exchange(nursery: trio.Nursery) -> None:
    """A lock is written down for the server that granted it, whichever is asked for its session by then."""
    router_setup = RouterSetup(nursery, backends=2)
    (holder,) = router_setup.holders(TARGET)
    backend, _ = router_setup.link(holder)
    near, _ = router_setup.client()
    other, _ = router_setup.client()
    near.sendall(ACQUIRE)
    router_setup.turn()
    backend.recv(1000)
    router_setup.router.roster.set_intent(holder, Intent.DRAIN)
    other.sendall(GET)
    router_setup.turn()
    backend.sendall(GRANTED)
    router_setup.turn()
    lock = router_setup.router.ledger.maybe_lock(KEY, trio.current_time())

    assert lock is not None
    assert holder == lock.server
    assert (holder,) != router_setup.holders(TARGET)
    router_setup.close()


async def test_the_pool_changes_between_two_exchanges(nursery: trio.Nursery) -> None:
    """The next request of a session goes to the server that is asked for it by now."""
    router_setup = RouterSetup(nursery, backends=2)
    (first,) = router_setup.holders(TARGET)
    backend, _ = router_setup.link(first)
    near, _ = router_setup.client()
    relayed(router_setup, near, backend, GET, FOUND)
    router_setup.router.roster.set_intent(first, Intent.DRAIN)
    (second,) = router_setup.holders(TARGET)
    backend, _ = router_setup.link(second)

    assert first != second
    assert FOUND == relayed(router_setup, near, backend, GET, FOUND)
    router_setup.close()


async def test_the_time_between_two_exchanges_counts_for_neither(
    router_setup: RouterSetup, autojump_clock: MockClock
) -> None:
    """Neither the client's nor the link's: both have been idle."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    await trio.sleep(5.0)
    relayed(router_setup, near, backend, GET, FOUND)
    (told,) = router_setup.router.observer.named("exchange_finished")

    assert 0.0 == told[3]
    assert 0.0 == router_setup.router.roster.upstreams[STATE_1].traffic.durations.total


async def test_a_client_is_sent_home_after_its_answer(router_setup: RouterSetup) -> None:
    """If the router is being stopped by then."""
    backend, _ = router_setup.link()
    near, _ = router_setup.client()
    router_setup.fast_router.clients.is_stopping = True

    assert FOUND == relayed(router_setup, near, backend, GET, FOUND)
    assert b"" == near.recv(1000)
    assert (1, {}) == (router_setup.client_handoff.left, router_setup.fast_router.connected)


async def test_the_gate_is_kept_until_the_answer_is_delivered(router_setup: RouterSetup) -> None:
    """A second request of the same key is not for the fast path meanwhile."""
    router_setup.link()
    router_setup.link()
    near, _ = router_setup.client()
    second, _ = router_setup.client()
    near.sendall(GET)
    router_setup.turn()
    second.sendall(GET)
    router_setup.turn()

    assert not router_setup.router.core.gate.is_free(KEY)
    assert [GET] == [opening.received for opening in router_setup.client_handoff.openings]


async def test_a_lock_lives_on_from_when_a_request_is_sent(
    router_setup: RouterSetup, autojump_clock: MockClock
) -> None:
    """Not from when it came, before it had to wait: another one may have renewed the session since."""
    router_setup.link()
    limit = router_setup.router.roster.upstreams[STATE_1].limit
    limit.free, free = 0, limit.free
    near, client = router_setup.client()
    near.sendall(GET)
    router_setup.turn()
    await trio.sleep(3.0)
    limit.free, now = free, trio.current_time()
    router_setup.router.ledger.note_lock(KEY, TARGET, Lock(7, STATE_1, INCARNATION, now), 20)
    router_setup.fast_router.look_at_queues(now)

    assert client.state is ClientState.WAITING
    assert router_setup.router.ledger.maybe_lock(KEY, now + 1199.0) is not None


async def test_an_exchange_that_took_long_is_told_of(router_setup: RouterSetup) -> None:
    """With whom it was, as on the slow path."""
    backend, _ = router_setup.link()
    near, client = router_setup.client()
    near.sendall(GET)
    router_setup.turn()
    client.began_at -= SLOW
    backend.sendall(FOUND)
    router_setup.turn()
    (told,) = router_setup.router.observer.named("exchange_was_slow")

    assert ("192.0.2.1", Operation.GET, "state-1") == (told[1], told[2], told[4])
