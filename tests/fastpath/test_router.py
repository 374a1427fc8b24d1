"""What the express lane relays, and what it writes down, in rounds worked off by hand."""

import select
import socket

import pytest
import trio
from trio.testing import MockClock

from partitioner.fastpath.reactor import SHORT_SIZE
from partitioner.fastpath.states import ClientState
from partitioner.membership.backend import Intent
from partitioner.membership.ledger import Lock
from partitioner.protocol.messages import Answer, Operation, Status
from partitioner.protocol.writer import write_answer
from partitioner.transport.backend_connections import HELD_BODY
from partitioner.transport.client_connection import SLOW
from tests.doubles.backends import LIFE, NOT_FOUND, ok
from tests.doubles.sessions import ACQUIRE, CONTENT, GET, HEAD, RELEASE, SET, TARGET, request
from tests.fastpath.router_setup import (
    MOST_EVENTS,
    Platform,
    relayed,
)
from tests.fastpath.samples import FOUND, GRANTED, KEY, REMOVE

SOON = 0.01
"""Seconds for a round in which perhaps nothing comes, because all that was sent is under way already."""

ORDINARY = [(GET, FOUND), (ACQUIRE, GRANTED), (RELEASE, ok()), (SET, ok()), (REMOVE, ok()), (HEAD, ok())]


@pytest.mark.parametrize(("asked", "answer"), ORDINARY)
async def test_what_is_ordinary_is_relayed(asked: bytes, answer: bytes, platform: Platform) -> None:
    """Byte for byte, and reported with status, duration and size; then everything is as before."""
    backend, link = platform.link()
    near, client = platform.client()

    assert answer == relayed(platform, near, backend, asked, answer)
    assert platform.router.observer.named("exchange_finished")[0][2] == 200
    assert (ClientState.IDLE, [link]) == (client.state, platform.siding().idle_links)
    assert len(platform.router.lane.gate) == 0
    assert platform.router.roster.upstreams["state-1"].traffic.answers[200] == 1


@pytest.mark.parametrize("asked", [SET, ACQUIRE])
async def test_a_request_at_every_split(asked: bytes, platform: Platform) -> None:
    """In whatever two pieces a request comes, it is relayed when it is whole, in one."""
    backend, _ = platform.link()
    near, _ = platform.client()
    for place in range(1, len(asked)):
        near.sendall(asked[:place])
        platform.turn()
        near.sendall(asked[place:])
        platform.turn()
        assert asked == backend.recv(1000)
        backend.sendall(GRANTED if asked is ACQUIRE else ok())
        platform.turn()
        assert near.recv(1000)


@pytest.mark.parametrize(("asked", "answer"), [(SET, ok()), (ACQUIRE, GRANTED)])
async def test_an_answer_at_every_split(asked: bytes, answer: bytes, platform: Platform) -> None:
    """In whatever two pieces an answer comes, the client gets all of it, and nothing before it is whole."""
    backend, _ = platform.link()
    near, client = platform.client()
    for place in range(1, len(answer)):
        near.sendall(asked)
        platform.turn()
        assert asked == backend.recv(1000)
        backend.sendall(answer[:place])
        platform.turn()
        assert client.state is ClientState.WAITING
        backend.sendall(answer[place:])
        platform.turn()
        assert answer == near.recv(1000)


async def test_sessions_as_large_as_are_held(platform: Platform) -> None:
    """Both ways, in as many reads as they take."""
    body = bytes(range(256)) * (HELD_BODY // 256)
    asked = SET.replace(b"Content-Length:7", b"Content-Length:%d" % HELD_BODY).removesuffix(CONTENT) + body
    backend, _ = platform.link()
    near, _ = platform.client()
    heard, got = b"", b""
    near.sendall(asked)
    while len(heard) < len(asked):
        platform.relay.work_off(SOON, MOST_EVENTS)
        heard += arrived(backend)
    backend.sendall(ok())
    platform.turn()
    near.recv(1000)
    near.sendall(GET)
    platform.turn()
    backend.recv(1000)
    backend.sendall(ok(body, b"Timeout: 20"))
    while len(got) < len(ok(body, b"Timeout: 20")):
        platform.relay.work_off(SOON, MOST_EVENTS)
        got += arrived(near)

    assert asked == heard
    assert ok(body, b"Timeout: 20") == got


def arrived(connected: socket.socket) -> bytes:
    """What has come to this end, without waiting for more."""
    has_come, _, _ = select.select([connected], [], [], 0)
    return connected.recv(2 * HELD_BODY) if has_come else b""


async def test_where_sessions_are_large_more_is_taken_in_at_a_time(platform: Platform) -> None:
    """Each read that was filled has the next one take in four times as much, over that connection."""
    near, client = platform.client()
    near.sendall(SET.replace(b"Content-Length:7", b"Content-Length:%d" % HELD_BODY) + b"x" * 30_000)
    platform.turn()
    platform.turn()

    assert [SHORT_SIZE, 4 * SHORT_SIZE] == [len(piece) for piece in client.pieces]


async def test_a_byte_that_is_urgent(platform: Platform) -> None:
    """It is skipped. A read ends before it, and what comes after it is read all the same."""
    backend, _ = platform.link()
    near, client = platform.client()
    near.sendall(GET[:20])
    near.send(b"!", socket.MSG_OOB)
    near.sendall(GET[20:])
    await trio.sleep(0.01)  # all is there now
    while client.state is not ClientState.WAITING:
        platform.turn()

    assert GET == backend.recv(1000)


async def test_the_end_comes_after_a_read_that_was_filled(platform: Platform) -> None:
    """It is noticed in the next round, though there is nothing more to be read."""
    platform.link()
    near, client = platform.client()
    head = SET.removesuffix(CONTENT).replace(b"Content-Length:7", b"Content-Length:3000")
    asked = head.replace(b"localhost", b"l" * (9 + SHORT_SIZE - 3000 - len(head))) + b"x" * 3000
    near.sendall(asked)
    near.shutdown(socket.SHUT_WR)
    platform.turn()
    was_waiting = client.state is ClientState.WAITING
    platform.turn()

    assert SHORT_SIZE == len(asked)
    assert was_waiting
    assert ClientState.DEAF is client.state
    assert b"" == client.ahead


LOCKED = write_answer(Answer(Status.LOCKED, lock_age=3.0, lock_cookie=9), 638_000_000_000_000_000)
REFUSALS = [
    *((asked, NOT_FOUND, 404) for asked in (GET, ACQUIRE, RELEASE, HEAD)),
    *((asked, LOCKED, 423) for asked in (GET, ACQUIRE, RELEASE, SET, REMOVE)),
]


@pytest.mark.parametrize(("asked", "answer", "status"), REFUSALS)
async def test_what_is_refused_is_relayed(
    asked: bytes, answer: bytes, status: int, platform: Platform
) -> None:
    """In settled times a 404 is the truth, and whoever polls a locked session is answered here, too."""
    backend, link = platform.link()
    near, client = platform.client()

    assert answer == relayed(platform, near, backend, asked, answer)
    assert status == platform.router.observer.named("exchange_finished")[0][2]
    assert (ClientState.IDLE, [link]) == (client.state, platform.siding().idle_links)
    assert len(platform.router.lane.gate) == 0
    assert platform.router.roster.upstreams["state-1"].traffic.answers[status] == 1


@pytest.mark.parametrize(("asked", "answer"), [(SET, NOT_FOUND), (REMOVE, NOT_FOUND), (HEAD, LOCKED)])
async def test_what_is_refused_for_no_common_reason(asked: bytes, answer: bytes, platform: Platform) -> None:
    """A remove of what is not there concerns others; the rest no state server should say."""
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(asked)
    platform.turn()
    backend.recv(1000)
    backend.sendall(answer)
    platform.turn()

    assert 1 == len(platform.door.openings)


async def test_a_404_in_unsettled_times(nursery: trio.Nursery) -> None:
    """The session may be elsewhere: the await lane looks for it."""
    platform = Platform(nursery, is_settled=False)
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(GET)
    platform.turn()
    backend.recv(1000)
    backend.sendall(NOT_FOUND)
    platform.turn()

    assert 1 == len(platform.door.openings)
    platform.close()


async def test_a_404_ends_a_lock(platform: Platform) -> None:
    """A session that is not there is not locked either."""
    backend, _ = platform.link()
    near, _ = platform.client()
    relayed(platform, near, backend, ACQUIRE, GRANTED)
    relayed(platform, near, backend, GET, NOT_FOUND)

    assert 0 == platform.router.ledger.locks_held


async def test_a_lock_of_another_client_is_not_given_back(platform: Platform) -> None:
    """Whoever is refused a lock and leaves has nothing to give back."""
    backend, _ = platform.link()
    holder, _ = platform.client()
    near, _ = platform.client()
    relayed(platform, holder, backend, ACQUIRE, GRANTED)
    near.sendall(ACQUIRE)
    platform.turn()
    backend.recv(1000)
    near.close()
    backend.sendall(LOCKED)
    await trio.sleep(0.01)  # both are there now
    platform.turn()

    assert not platform.router.router.is_giving_back
    assert 1 == platform.router.ledger.locks_held
    assert 0 == len(platform.router.lane.gate)


async def test_a_lock_is_written_down_and_crossed_out(platform: Platform) -> None:
    """An acquire's 200 makes an entry in the ledger, the set of its page ends it."""
    backend, _ = platform.link()
    near, _ = platform.client()
    relayed(platform, near, backend, ACQUIRE, GRANTED)
    locked = platform.router.ledger.maybe_lock(KEY, trio.current_time())
    relayed(platform, near, backend, request(Operation.SET, cookie=7), ok())

    assert locked is not None
    assert (7, "state-1", LIFE) == (locked.cookie, locked.server, locked.life)
    assert len(platform.router.ledger) == 0


async def test_the_pool_changes_during_an_exchange(nursery: trio.Nursery) -> None:
    """A lock is written down for the server that has granted it, whoever is asked for its session by then."""
    platform = Platform(nursery, backends=2)
    (holder,) = platform.holders(TARGET)
    backend, _ = platform.link(holder)
    near, _ = platform.client()
    other, _ = platform.client()
    near.sendall(ACQUIRE)
    platform.turn()
    backend.recv(1000)
    platform.router.roster.set_intent(holder, Intent.DRAIN)
    other.sendall(GET)
    platform.turn()
    backend.sendall(GRANTED)
    platform.turn()
    lock = platform.router.ledger.maybe_lock(KEY, trio.current_time())

    assert lock is not None
    assert holder == lock.server
    assert (holder,) != platform.holders(TARGET)
    platform.close()


async def test_the_pool_changes_between_two_exchanges(nursery: trio.Nursery) -> None:
    """The next request of a session goes to whoever is asked for it by now."""
    platform = Platform(nursery, backends=2)
    (first,) = platform.holders(TARGET)
    backend, _ = platform.link(first)
    near, _ = platform.client()
    relayed(platform, near, backend, GET, FOUND)
    platform.router.roster.set_intent(first, Intent.DRAIN)
    (second,) = platform.holders(TARGET)
    backend, _ = platform.link(second)

    assert first != second
    assert FOUND == relayed(platform, near, backend, GET, FOUND)
    platform.close()


async def test_the_time_between_two_exchanges_counts_for_neither(
    platform: Platform, autojump_clock: MockClock
) -> None:
    """Neither the client's nor the link's: both have been idle."""
    backend, _ = platform.link()
    near, _ = platform.client()
    await trio.sleep(5.0)
    relayed(platform, near, backend, GET, FOUND)
    (told,) = platform.router.observer.named("exchange_finished")

    assert 0.0 == told[3]
    assert 0.0 == platform.router.roster.upstreams["state-1"].traffic.durations.total


async def test_a_client_is_sent_home_after_its_answer(platform: Platform) -> None:
    """If the router is being stopped by then."""
    backend, _ = platform.link()
    near, _ = platform.client()
    platform.relay.is_draining = True

    assert FOUND == relayed(platform, near, backend, GET, FOUND)
    assert b"" == near.recv(1000)
    assert (1, {}) == (platform.door.left, platform.relay.connected)


async def test_the_gate_is_kept_until_the_answer_is_delivered(platform: Platform) -> None:
    """A second request of the same key is not for the express lane meanwhile."""
    platform.link()
    platform.link()
    near, _ = platform.client()
    second, _ = platform.client()
    near.sendall(GET)
    platform.turn()
    second.sendall(GET)
    platform.turn()

    assert not platform.router.lane.gate.is_free(KEY)
    assert [GET] == [opening.received for opening in platform.door.openings]


async def test_a_lock_lives_on_from_when_a_request_is_sent(
    platform: Platform, autojump_clock: MockClock
) -> None:
    """Not from when it came, before it had to wait: another one may have slid the session since."""
    platform.link()
    places = platform.router.roster.upstreams["state-1"].places
    places.free, free = 0, places.free
    near, client = platform.client()
    near.sendall(GET)
    platform.turn()
    await trio.sleep(3.0)
    places.free, now = free, trio.current_time()
    platform.router.ledger.note_lock(KEY, TARGET, Lock(7, "state-1", LIFE, now), 20)
    platform.relay.look_at_queues(now)

    assert client.state is ClientState.WAITING
    assert platform.router.ledger.maybe_lock(KEY, now + 1199.0) is not None


async def test_an_exchange_that_took_long_is_told_of(platform: Platform) -> None:
    """With whom it was, as on the await lane."""
    backend, _ = platform.link()
    near, client = platform.client()
    near.sendall(GET)
    platform.turn()
    client.began_at -= SLOW
    backend.sendall(FOUND)
    platform.turn()
    (told,) = platform.router.observer.named("exchange_was_slow")

    assert ("192.0.2.1", Operation.GET, "state-1") == (told[1], told[2], told[4])
