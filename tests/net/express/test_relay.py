"""What the express lane relays, and what it leaves to the await lane, in rounds worked off by hand."""

import socket
from collections.abc import Iterator

import pytest
import trio

from partitioner.errors import BackendEjected, BackendHungUp, BackendReset, Phase
from partitioner.membership.backend import Intent
from partitioner.membership.ledger import Lock
from partitioner.net.express.connections import Client, News
from partitioner.net.express.reactor import RECEIVE_SIZE, SHORT_SIZE
from partitioner.net.express.relay import LONG_WAIT
from partitioner.net.express.routes import ENOUGH_LINKS
from partitioner.net.express.states import ClientState, LinkState
from partitioner.net.upstream import HELD_BODY
from partitioner.protocol.messages import Answer, Operation, Status
from partitioner.protocol.target import server_key
from partitioner.protocol.writer import write_answer
from tests.doubles.backends import LIFE, NOT_FOUND, ok
from tests.doubles.sessions import ACQUIRE, CONTENT, CREATE, GET, HEAD, RELEASE, SET, TARGET, request, target
from tests.net.express.platform import (
    LONG_ENOUGH,
    MOST_EVENTS,
    Platform,
    nothing_has_come,
    reset,
    shrink,
)

KEY = server_key(TARGET)
REMOVE = request(Operation.REMOVE)
FOUND = ok(CONTENT, b"Timeout: 20")
GRANTED = ok(CONTENT, b"LockCookie: 7", b"Timeout: 20")


@pytest.fixture
def platform(nursery: trio.Nursery) -> Iterator[Platform]:
    platform = Platform(nursery)
    yield platform
    platform.close()


def relayed(
    platform: Platform, near: socket.socket, backend: socket.socket, asked: bytes, answer: bytes
) -> bytes:
    """Have a request and its answer relayed; what the client gets."""
    near.sendall(asked)
    platform.turn()
    assert asked == backend.recv(2 * HELD_BODY)
    backend.sendall(answer)
    platform.turn()
    return near.recv(2 * HELD_BODY)


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
    near, client = platform.client()
    heard, got = b"", b""
    near.sendall(asked)
    while len(heard) < len(asked):
        platform.relay.work_off(LONG_ENOUGH, MOST_EVENTS)
        heard += backend.recv(len(asked)) if client.state is ClientState.WAITING else b""
    backend.sendall(ok())
    platform.turn()
    near.recv(1000)
    near.sendall(GET)
    platform.turn()
    backend.recv(1000)
    backend.sendall(ok(body, b"Timeout: 20"))
    while len(got) < len(ok(body, b"Timeout: 20")):
        platform.relay.work_off(LONG_ENOUGH, MOST_EVENTS)
        got += near.recv(2 * HELD_BODY) if client.state is not ClientState.WAITING else b""

    assert asked == heard
    assert ok(body, b"Timeout: 20") == got


async def test_where_sessions_are_large_more_is_taken_in_at_a_time(platform: Platform) -> None:
    """Once a read was filled, a session as large as is held comes in one, over that connection."""
    _, link = platform.link()
    near, client = platform.client()
    near.sendall(b"PUT " + b"x" * (SHORT_SIZE - 4))
    await trio.sleep(0.01)  # all of it is there now
    sizes = [client.receive_size]
    platform.relay.work_off(LONG_ENOUGH, MOST_EVENTS)
    sizes.append(client.receive_size)

    assert [SHORT_SIZE, RECEIVE_SIZE] == sizes
    assert SHORT_SIZE == link.receive_size


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


# --- the books ---


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


async def test_a_lock_whose_client_has_left_is_given_back(platform: Platform, nursery: trio.Nursery) -> None:
    """Where the end of the client comes in the same round as its grant, it is not delivered."""
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(ACQUIRE)
    platform.turn()
    backend.recv(1000)
    near.close()
    backend.sendall(GRANTED)
    await trio.sleep(0.01)  # both are there now
    platform.turn()

    assert platform.router.router.is_giving_back
    assert platform.door.left == 1


async def test_a_full_round_with_a_grant_for_a_client_that_has_left(platform: Platform) -> None:
    """The end of the client has come before, but there was no room for it among the events of the round."""
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(ACQUIRE)
    platform.turn()
    backend.recv(1000)
    platform.relay.work_off(
        0, MOST_EVENTS
    )  # nothing; the client is the last now in whom epoll looks for news
    backend.sendall(GRANTED)
    await trio.sleep(0.01)  # it is there, before the other
    near.close()
    await trio.sleep(0.01)
    platform.relay.work_off(LONG_ENOUGH, 1)

    assert platform.router.router.is_giving_back
    assert 1 == platform.door.left


async def test_a_full_round_with_a_grant(platform: Platform) -> None:
    """A client that is still there gets its lock."""
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(ACQUIRE)
    platform.turn()
    backend.recv(1000)
    backend.sendall(GRANTED)
    platform.relay.work_off(LONG_ENOUGH, 1)

    assert GRANTED == near.recv(1000)


async def test_who_finds_no_place_is_asked_when_there_is_one(platform: Platform) -> None:
    """First come, first served; and the places are those of both lanes."""
    backend, _ = platform.link()
    (first, _), (second, client), (third, _) = (platform.client() for _ in range(3))
    places = platform.router.roster.upstreams["state-1"].places
    places.free = 1
    for number, near in enumerate((first, second, third)):
        near.sendall(request(Operation.GET, target(number)))
        platform.turn()
    state = client.state
    heard = [backend.recv(1000)]
    for near in (first, second, third):
        backend.sendall(FOUND)
        platform.turn()
        assert FOUND == near.recv(1000)
        heard += [backend.recv(1000)] if near is not third else []

    assert state is ClientState.QUEUED
    assert [request(Operation.GET, target(number)) for number in range(3)] == heard
    assert (1, 0) == (places.free, len(platform.siding().queue))


async def test_nobody_overtakes_those_who_wait_for_a_place(platform: Platform) -> None:
    """A request that comes in the round in which a place becomes free is asked after those that wait."""
    backend, _ = platform.link()
    nears = [platform.client()[0] for _ in range(3)]
    platform.router.roster.upstreams["state-1"].places.free = 1
    asked = [request(Operation.GET, target(number)) for number in range(3)]
    for number in (0, 1):
        nears[number].sendall(asked[number])
        platform.turn()
    backend.recv(1000)
    backend.sendall(FOUND)
    nears[2].sendall(asked[2])
    await trio.sleep(0.01)  # both are there now
    platform.turn()

    assert asked[1] == backend.recv(1000)
    assert 1 == len(platform.siding().queue)


def wait_for_a_link(platform: Platform) -> tuple[socket.socket, Client]:
    """Keep enough links busy, and have one more client ask; the last link's other end, and that client."""
    for number in range(ENOUGH_LINKS):
        backend, _ = platform.link()
        near, _ = platform.client()
        near.sendall(request(Operation.GET, target(number)))
        platform.turn()
    near, client = platform.client()
    near.sendall(GET)
    platform.turn()
    return backend, client


async def test_where_there_are_many_links_one_is_waited_for(platform: Platform) -> None:
    """Rather than that another connection is opened."""
    backend, client = wait_for_a_link(platform)
    state = client.state
    backend.recv(1000)
    backend.sendall(FOUND)
    platform.turn()

    assert (ClientState.QUEUED, ClientState.WAITING) == (state, client.state)
    assert [] == platform.door.openings


async def test_silence_while_a_link_is_waited_for(platform: Platform) -> None:
    """Then it is the backend that is slow, and another connection is opened for the request."""
    wait_for_a_link(platform)
    platform.relay.work_off(0, MOST_EVENTS)
    early = len(platform.door.openings)
    platform.relay.work_off(0.001, MOST_EVENTS)

    assert 0 == early
    assert [GET] == [opening.received for opening in platform.door.openings]


async def test_a_slow_backend_beside_fast_ones(platform: Platform) -> None:
    """There is never silence; who has waited long for a link gets one of its own."""
    wait_for_a_link(platform)
    platform.relay.look_at_queues(platform.relay.clock())
    early = len(platform.door.openings)
    platform.relay.look_at_queues(platform.relay.clock() + 2 * LONG_WAIT)

    assert 0 == early
    assert [GET] == [opening.received for opening in platform.door.openings]


async def test_a_place_that_comes_free_without_a_word(platform: Platform) -> None:
    """A place that the await lane gives back is found at the next look."""
    backend, _ = platform.link()
    near, client = platform.client()
    places = platform.router.roster.upstreams["state-1"].places
    places.free, free = 0, places.free
    near.sendall(GET)
    platform.turn()
    places.free = free
    platform.relay.look_at_queues(trio.current_time())

    assert client.state is ClientState.WAITING
    assert GET == backend.recv(1000)


async def test_who_waits_for_a_place_at_a_backend_that_is_ejected(nursery: trio.Nursery) -> None:
    """What that has left unanswered keeps its places for long; who waits for one is served elsewhere."""
    platform = Platform(nursery, backends=2)
    (holder,) = platform.holders(TARGET)
    upstream = platform.router.roster.upstreams[holder]
    upstream.places.free = 0
    near, _ = platform.client()
    near.sendall(GET)
    platform.turn()
    upstream.cut()

    assert [GET] == [opening.received for opening in platform.door.openings]
    assert {} == platform.siding(holder).queue
    platform.close()


async def test_a_lock_lives_on_from_when_a_request_is_sent(platform: Platform) -> None:
    """Not from when it came, before it had to wait: another one may have slid the session since."""
    platform.link()
    places = platform.router.roster.upstreams["state-1"].places
    places.free, free = 0, places.free
    near, client = platform.client()
    near.sendall(GET)
    platform.turn()
    client.began_at -= 3.0
    places.free, now = free, trio.current_time()
    platform.router.ledger.note_lock(KEY, TARGET, Lock(7, "state-1", LIFE, now), 20)
    platform.relay.look_at_queues(now)

    assert client.state is ClientState.WAITING
    assert platform.router.ledger.maybe_lock(KEY, now + 1199.0) is not None


# --- what is left to the await lane, before anything was sent ---


def mark(platform: Platform) -> None:
    platform.router.lane.bookkeeper.mark(KEY, TARGET, "state-1", is_stale=True)


def lock_elsewhere(platform: Platform) -> None:
    lock = Lock(7, "state-2", LIFE, trio.current_time())
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


# --- what is left to it after something was sent ---


async def failure(platform: Platform) -> BaseException | None:
    """How the exchange that was handed over ends, if it is not tried again."""
    (opening,) = platform.door.openings
    assert opening.respond is not None
    try:
        await opening.respond()
    except (BackendEjected, BackendHungUp, BackendReset) as error:
        return error
    return None


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
    (opening,) = platform.door.openings
    assert opening.respond is not None
    response = await opening.respond()
    response.finish(True)

    assert answer == response.head.raw + response.body
    assert len(platform.router.lane.gate) == 0


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
    """What it says is for the await lane to read."""
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(GET)
    platform.turn()
    backend.recv(1000)
    backend.sendall(b"HTTP/1.1 " + FOUND)
    near.sendall(HEAD)
    await trio.sleep(0.01)  # both are there now
    platform.turn()
    (opening,), (connected,) = platform.door.openings, platform.door.sockets
    assert opening.respond is not None
    (await opening.respond()).finish(True)

    assert b"" == opening.received
    assert HEAD == connected.recv(1000)


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


# --- links ---


async def test_the_await_lane_takes_an_idle_link(platform: Platform) -> None:
    """Connections are shared: one that lies idle here need not be opened there."""
    platform.link()
    upstream = platform.router.roster.upstreams["state-1"]
    assert upstream.idle == 1
    channel = platform.siding().maybe_channel()

    assert channel is not None
    assert (0, {}) == (upstream.idle, platform.siding().links)
    channel.close()


async def test_links_that_nobody_has_used_for_long(platform: Platform) -> None:
    """They are found, to be closed before the backend does."""
    _, link = platform.link()

    assert [] == platform.relay.idle_links_before(link.since)
    assert [link] == platform.relay.idle_links_before(link.since + 1)


async def test_a_link_that_its_backend_has_closed_is_not_given_a_request(platform: Platform) -> None:
    """Where both come in one round, the link's end is seen first."""
    backend, _ = platform.link()
    near, _ = platform.client()
    near.sendall(SET)
    backend.close()
    await trio.sleep(0.01)  # both are there now
    platform.turn()

    assert [SET] == [opening.received for opening in platform.door.openings]
    assert platform.door.openings[0].respond is None


@pytest.mark.parametrize("answer", [FOUND, ok()])
async def test_a_link_that_its_backend_closes_after_an_answer(answer: bytes, platform: Platform) -> None:
    """It is not given the next request of the same round either, which would fail without need."""
    backend, _ = platform.link()
    near, _ = platform.client()
    second, _ = platform.client()
    near.sendall(GET)
    platform.turn()
    backend.recv(1000)
    second.sendall(request(Operation.SET, target(2)))
    backend.sendall(answer)
    backend.close()
    await trio.sleep(0.01)  # all are there now
    platform.turn()

    assert answer == near.recv(1000)
    assert [None] == [opening.respond for opening in platform.door.openings]
    assert {} == platform.siding().links


async def test_a_fault_of_ours_ends_one_connection(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported; the exchange is given up, with its gate left."""
    near, _ = platform.client()

    def fail(client: Client, news: News) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(platform.relay.clients.intake, "consider", fail)
    near.sendall(GET)
    platform.turn()

    assert len(platform.router.observer.named("conversation_crashed")) == 1
    assert platform.door.left == 1


@pytest.mark.parametrize(("asked", "answer"), [(GET, FOUND), (ACQUIRE, GRANTED)])
async def test_a_fault_of_ours_after_an_answer(
    asked: bytes, answer: bytes, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client has its answer, and its lock; the gate is left once, and its connection closed."""

    def fail(*fact: object) -> None:
        raise ZeroDivisionError

    backend, _ = platform.link()
    near, _ = platform.client()
    monkeypatch.setattr(platform.router.observer, "exchange_finished", fail, raising=False)
    got = relayed(platform, near, backend, asked, answer)

    assert answer == got
    assert (0, 1) == (len(platform.router.lane.gate), platform.door.left)
    assert not platform.router.router.is_giving_back
    assert 1 == len(platform.router.observer.named("conversation_crashed"))


async def test_a_fault_of_ours_with_a_request_that_has_waited(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends that client's connection, and the lane goes on."""

    def fail(*seen: object) -> None:
        raise ZeroDivisionError

    platform.link()
    places = platform.router.roster.upstreams["state-1"].places
    places.free, free = 0, places.free
    near, _ = platform.client()
    near.sendall(GET)
    platform.turn()
    places.free = free
    monkeypatch.setattr(platform.relay.routes, "find", fail)
    platform.relay.look_at_queues(platform.relay.clock())

    assert 1 == platform.door.left
    assert 1 == len(platform.router.observer.named("conversation_crashed"))
