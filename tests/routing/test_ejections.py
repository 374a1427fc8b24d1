"""Sessions while their server is ejected or restarted, and after it has come back."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from partitioner.membership.backend import BackendId
from partitioner.membership.losses import LossReason, LostSessions
from partitioner.protocol.messages import Operation
from partitioner.routing.dispatch import RETRY_PAUSE
from tests.doubles.backends import NOT_FOUND, Hear, HearEnd, ScriptedBackend, greeting, ok
from tests.doubles.clients import is_closed_at
from tests.doubles.network import Fault
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import request, target
from tests.routing.steps import (
    ANSWER,
    SHORT,
    TIMEOUT_FIELD,
    a_session_of,
    exchange,
    preference_list,
    read,
    save,
    settle,
    start_servers,
)


def sessions_of(name: str, backends: int) -> tuple[bytes, bytes]:
    """The targets of two sessions whose first choice is this backend."""
    found = [target(number) for number in range(1000) if preference_list(number, backends)[0] == name]
    return found[0], found[1]


def restart(router: MemoryRouter, name: BackendId) -> None:
    """Have the router learn that this backend was restarted."""
    router.roster.probe_succeeded(name, b"another-incarnation")


# --- ejection ---


async def test_refused_until_ejected(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A request of which nothing was written is tried until the ejection, and then goes to the next."""
    router = MemoryRouter(nursery, backends=2)
    dead, alive = router.backends
    router.network.disturb(dead.address, Fault.REFUSE)
    asked = request(Operation.SET, a_session_of("state-1", 2))
    ScriptedBackend(router.network, alive.address, [*greeting(), *exchange(asked, ok())])
    router.take_in()

    assert ok() == await router.client().ask(asked)
    assert [dead.address] * 3 + [alive.address] == [address for _, address in router.network.dialled]
    assert trio.current_time() <= router.health.fall * RETRY_PAUSE + 1e-9


async def test_ejected_sessions_go_to_the_next(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While a server is out each of its sessions is served by the next of its own preference list."""
    router = MemoryRouter(nursery, backends=3)
    servers = start_servers(router)
    await router.probe_on()
    servers["state-2"].kill()
    await router.observer.wait_for("backend_ejected")
    expected: dict[str, list[bytes]] = {name: [] for name in servers}
    client = router.client()
    for number in range(60):
        await client.ask(request(Operation.GET, target(number)))
        first = next(name for name in preference_list(number, 3) if name != "state-2")
        expected[first].append(target(number))

    assert expected == {
        name: [each for operation, each in server.requests if operation is Operation.GET]
        for name, server in servers.items()
    }


async def test_home_again(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A server that comes back with what it held serves its sessions again."""
    router = MemoryRouter(nursery, backends=2)
    servers = start_servers(router)
    await router.probe_on()
    session = a_session_of("state-1", 2)
    await save(router, session, b"before")
    servers["state-1"].freeze()
    await router.observer.wait_for("backend_ejected")
    servers["state-1"].thaw()
    await router.observer.wait_for("backend_came_up", times=3)

    assert ok(b"before", TIMEOUT_FIELD) == await read(router, session)


async def test_what_was_declared_lost_does_not_come_home(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A session of which its client was told that it is lost never comes back (design.md 7.4, P4)."""
    router = MemoryRouter(nursery, backends=2)
    servers = start_servers(router)
    await router.probe_on()
    session = a_session_of("state-1", 2)
    await save(router, session, b"before")
    servers["state-1"].freeze()
    await router.observer.wait_for("backend_ejected")
    await trio.sleep(60)  # lost_after
    meanwhile = await read(router, session)
    servers["state-1"].thaw()
    await router.observer.wait_for("backend_came_up", times=3)

    assert NOT_FOUND == meanwhile
    assert NOT_FOUND == await read(router, session)
    assert [("loss_declared", Operation.GET, ("state-1",), LossReason.TIMED_OUT)] == router.observer.named(
        "loss_declared"
    )


async def test_other_sessions_notice_nothing(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """While one server freezes and is ejected, sessions of the others are answered without delay."""
    router = MemoryRouter(nursery, backends=2)
    servers = start_servers(router)
    await router.probe_on()
    session = a_session_of("state-2", 2)
    await save(router, session)
    servers["state-1"].freeze()
    delays = []
    client = router.client()
    while not router.observer.named("backend_ejected"):
        asked_at = trio.current_time()
        await client.ask(request(Operation.GET, session))
        delays.append(trio.current_time() - asked_at)
        await trio.sleep(0.05)

    assert max(delays) == 0


async def test_cut_request_that_may_run_twice(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A get that waits for a frozen server is answered by the next server as soon as the first is ejected."""
    router = MemoryRouter(nursery, backends=2)
    frozen, other = router.backends
    asked = request(Operation.GET, a_session_of("state-1", 2))
    ScriptedBackend(router.network, frozen.address, [*greeting(), Hear(asked), HearEnd()])
    ScriptedBackend(router.network, other.address, [*greeting(), *exchange(asked)])
    router.take_in()
    client = router.client()
    await client.send(asked)
    await trio.sleep(3)
    restart(router, frozen.identity)

    assert ANSWER == await client.receive_answer()
    assert trio.current_time() == 3


async def test_cut_request_that_may_not_run_twice(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A set that waits for a frozen server is closed as soon as the server is ejected."""
    router = MemoryRouter(nursery, backends=2)
    servers = start_servers(router)
    await router.probe_on()
    session = a_session_of("state-1", 2)
    await save(router, session)
    servers["state-1"].freeze()
    await trio.sleep(5)
    client = router.client()
    await client.send(request(Operation.SET, session))
    closed_at = await is_closed_at(client)

    assert router.serving == {"state-2"}
    assert closed_at < 5 + 7.9
    assert Operation.SET not in [operation for operation, _ in servers["state-2"].requests]


async def test_waiting_for_a_place_ends_with_the_ejection(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A request that waits for a frozen server's connections goes to the next server at the ejection."""
    router = MemoryRouter(nursery, backends=2, connections=1)
    frozen, other = router.backends
    one, another = sessions_of("state-1", 2)
    first, second = request(Operation.SET, one), request(Operation.GET, another)
    ScriptedBackend(router.network, frozen.address, [*greeting(), Hear(first), HearEnd()])
    ScriptedBackend(router.network, other.address, [*greeting(), *exchange(second)])
    router.take_in()
    await router.client().send(first)
    await wait_all_tasks_blocked()
    waiting = router.client()
    await waiting.send(second)
    await trio.sleep(1)
    restart(router, frozen.identity)

    assert ANSWER == await waiting.receive_answer()
    assert trio.current_time() == 1


async def test_restart_is_noticed_before_anything_is_sent(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A restarted server sees no request before the router knows: it would say 404 of what it lost."""
    router = MemoryRouter(nursery, backends=2)
    servers = start_servers(router)
    await router.probe_on()
    session = a_session_of("state-1", 2)
    await save(router, session)
    servers["state-1"].restart()
    before = len(servers["state-1"].requests)
    answer = await read(router, session)

    assert NOT_FOUND == answer
    assert Operation.GET not in [operation for operation, _ in servers["state-1"].requests[before:]]
    assert (Operation.GET, session) in servers["state-2"].requests


async def test_restarted_server_is_taken_in_empty(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A restarted server is back within one probe interval; what it says then of a session is true."""
    router = MemoryRouter(nursery, backends=2)
    servers = start_servers(router)
    await router.probe_on()
    session = a_session_of("state-1", 2)
    await save(router, session)
    servers["state-1"].restart()
    await trio.sleep(router.health.interval + 1)

    assert NOT_FOUND == await read(router, session)
    assert Operation.GET in [operation for operation, _ in servers["state-1"].requests]
    assert router.observer.named("loss_declared") == []


# --- lost_sessions: close ---


async def test_close_while_the_owner_is_out(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """With `lost_sessions: close` nothing that is out is declared lost: its clients are closed."""
    router = MemoryRouter(nursery, backends=2, lost_sessions=LostSessions.CLOSE)
    servers = start_servers(router)
    await router.probe_on()
    servers["state-1"].kill()
    await router.observer.wait_for("backend_ejected")

    assert await read(router, a_session_of("state-1", 2)) == b""
    assert router.observer.named("loss_declared") == []


async def test_close_leaves_others_alone(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """With `lost_sessions: close` a server that has always been there speaks for its own sessions.

    What it does not have then does not exist, whichever others are silent (design.md 7.4).
    """
    router = MemoryRouter(nursery, backends=2, lost_sessions=LostSessions.CLOSE, ledger=SHORT)
    servers = start_servers(router)
    await router.probe_on()
    await settle(router)
    servers["state-1"].kill()
    await router.observer.wait_for("backend_ejected")

    assert NOT_FOUND == await read(router, a_session_of("state-2", 2))


async def test_close_until_a_server_can_be_trusted(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Soon after the router's start no server has always been there, and none is believed alone."""
    router = MemoryRouter(nursery, backends=2, lost_sessions=LostSessions.CLOSE)
    servers = start_servers(router)
    await router.probe_on()
    servers["state-1"].kill()
    await router.observer.wait_for("backend_ejected")

    assert await read(router, a_session_of("state-2", 2)) == b""
