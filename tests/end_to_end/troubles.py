"""Everything that can go wrong with a farm, one trouble after the other, for those who watch it.

Each step leaves the farm working, so the next one begins from a known state. The order counts: sessions
are declared lost while two servers are gone, before the third is drained.
"""

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import httpx

from partitioner.protocol.messages import Operation
from partitioner.protocol.target import encode_target
from partitioner.protocol.writer import write_request
from tests.end_to_end.farm import RANKING, Farm
from tests.end_to_end.processes import state_server
from tests.end_to_end.web_server import WebServer, request_bytes

SETTINGS = """\
allow_clients: [127.0.0.1/32]
health: {interval: 200ms, timeout: 1s, hold_down: 0s}
timeouts: {copy: 2s}
"""
"""A client can be turned away, servers return at once, and a busy machine is not taken for trouble."""

OTHER_APPLICATION = "/LM/W3SVC/2/ROOT(anotherHashOfAnotherMachineKey+++++++++++++=)/"

_numbers = count()


def session_of(*servers: str) -> str:
    """A new session ID whose preference list begins with these."""
    while True:
        session = f"trouble{next(_numbers):017d}"
        if RANKING.preference_list(session.encode(), len(servers)) == servers:
            return session


def lock(farm: Farm, session: str) -> int:
    """Begin a page on a session; return its lock cookie."""
    farm.web.save(session, b"before")
    cookie = farm.web.ask(Operation.ACQUIRE, session).head.lock_cookie
    assert cookie is not None
    return cookie


def clients_misbehave(farm: Farm) -> None:
    """A client sends what is not a request, is turned away, saves too late, and shares no machine key."""
    with WebServer(farm.in_front.port) as odd:
        assert odd.send(b"BREW /coffee HTCPCP/1.0\r\n\r\n").status == 400
    with socket.create_connection(("127.0.0.1", farm.in_front.port), 5, ("127.0.0.2", 0)) as stranger:
        assert stranger.recv(1) == b""
    session = session_of("state-1")
    cookie = lock(farm, session)
    assert farm.web.ask(Operation.SET, session, b"too late", cookie + 1).status == 423
    farm.web.send(write_request(Operation.GET, encode_target(OTHER_APPLICATION + session)))


def a_reload_fails(farm: Farm) -> None:
    """The file has a mistake in it, and is then put right."""
    right = farm.file.read_text()
    farm.file.write_text(right.replace("health:", "helth:"))
    farm.in_front.program.process.send_signal(signal.SIGHUP)
    farm.wait_until("reload invalid")
    farm.file.write_text(right)


def a_web_server_dies(farm: Farm) -> None:
    """It has asked for a session, and is gone when it is given the lock."""
    session = session_of("state-2")
    farm.web.save(session, b"before")
    farm.servers["state-2"].program.freeze()
    with socket.create_connection(("127.0.0.1", farm.in_front.port)) as impatient:
        impatient.sendall(request_bytes(Operation.ACQUIRE, session))
        time.sleep(0.05)  # let the request be relayed, within the time of one probe
    farm.servers["state-2"].program.thaw()
    farm.wait_until("ghost lock released.*state-2")


def a_server_freezes(farm: Farm) -> None:
    """A save has no copy, an acquire has no answer, a page outlives its lock's server; then it thaws."""
    held, other = session_of("state-1"), session_of("state-1")
    cookie = lock(farm, held)
    farm.web.save(other, b"before")
    farm.servers["state-1"].program.freeze()
    with socket.create_connection(("127.0.0.1", farm.in_front.port), 10) as page:
        page.sendall(request_bytes(Operation.ACQUIRE, other))
        farm.web.save(session_of("state-2", "state-1"), b"without a copy")
        page.recv(1)  # it is closed; or its copy answers, if no connection to state-1 was at hand
    farm.wait_until("backend is down.*backend=state-1")
    farm.web.save(held, b"after", cookie)
    farm.servers["state-1"].program.thaw()
    farm.wait_until("backend is back.*backend=state-1")


SCRAPED_WITHIN = 3.0
"""Seconds for which servers stay down at least: a scrape once a second has to see it."""


@contextmanager
def all_of_them(farm: Farm) -> Iterator[None]:
    """One after the other; what was restarted runs on until the end."""
    clients_misbehave(farm)
    a_reload_fails(farm)
    a_web_server_dies(farm)
    a_server_freezes(farm)
    with two_servers_restart(farm):
        a_drain_waits_for_a_page(farm)
        yield


@contextmanager
def two_servers_restart(farm: Farm) -> Iterator[None]:
    """A session whose two servers are killed at the same time is declared lost; both come back, empty."""
    names = ("state-2", "state-3")
    session = session_of(*names)
    farm.web.save(session, b"on both")
    for name in names:
        farm.servers[name].program.kill()
    for name in names:
        farm.wait_until(f"backend is down.*backend={name}")
    assert farm.web.read(session) is None
    time.sleep(SCRAPED_WITHIN)
    with ExitStack() as stack:
        for name in names:
            killed = farm.servers[name]
            admin = ("--admin", f"127.0.0.1:{killed.admin_port}")
            farm.servers[name] = stack.enter_context(state_server(killed.port, *admin))
        for name in names:
            farm.wait_until(f"backend is back.*backend={name}.*starts empty")
        yield


def a_drain_waits_for_a_page(farm: Farm) -> None:
    """A server is to go, and cannot, because a page holds a session of it."""
    farm.web.save(session_of("state-1"), b"to be moved")
    lock(farm, session_of("state-1"))
    httpx.post(f"{farm.in_front.admin}/api/v1/backends/state-1/drain").raise_for_status()
