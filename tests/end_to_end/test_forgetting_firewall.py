"""A firewall between router and state servers forgets its connections: the kernel drops what comes over them.

New connections are let through. So it is with a firewall that was restarted, or whose table was full.
"""

import ctypes
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import pytest

from tests.end_to_end.farm import FAST_PATH
from tests.end_to_end.knowledge.site import Site, site_in
from tests.end_to_end.web_server import Closed, WebServer

_SO_ATTACH_FILTER = 26
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)  # one instruction: return 0 bytes of each packet
WATCHED = 12.0
"""Seconds for which users go on: longer than all that the router may wait for."""

LIMIT = 8.0
"""Seconds that a page may take, by what design.md 6 promises of a whole exchange."""


class Firewall:
    """Relays connections to one state server, until it forgets them."""

    def __init__(self, server_port: int) -> None:
        self._server = ("127.0.0.1", server_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lets_through: list[socket.socket] = []
        self._ends: list[socket.socket] = [self._listener]
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def forget(self) -> int:
        """Nothing more gets through, nor is anything acknowledged; returns of how many connections."""
        forgotten, self._lets_through = self._lets_through, []
        instructions = ctypes.create_string_buffer(_DROP_ALL)
        program = struct.pack("HxxxxxxP", 1, ctypes.addressof(instructions))
        for connection in forgotten:
            connection.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        return len(forgotten)

    def close(self) -> None:
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _serve(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                router, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._ends += [router, server]
                self._lets_through.append(router)
                for source, sink in ((router, server), (server, router)):
                    threading.Thread(target=_relay, args=(source, sink), daemon=True).start()


def _relay(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while said := source.recv(65536):
            sink.sendall(said)
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def firewalls_before(site: Site) -> Iterator[list[Firewall]]:
    """One before each state server; routers that begin from now on go through them."""
    firewalls = [Firewall(server.port) for server in site.servers.values()]
    site.backends = {
        name: f"127.0.0.1:{firewall.port}" for name, firewall in zip(site.servers, firewalls, strict=True)
    }
    try:
        yield firewalls
    finally:
        for firewall in firewalls:
            firewall.close()


class User(threading.Thread):
    """Saves and reads a session all the time; knows what went wrong, and how long a page took at most."""

    def __init__(self, port: int, number: int) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.saves_cut_off = 0
        self.longest = 0.0
        self._port = port
        self._session = f"user{number:020d}"
        self._may_be = {b""}

    def run(self) -> None:
        until = time.monotonic() + WATCHED
        with WebServer(self._port) as web:
            while (began_at := time.monotonic()) < until:
                self._save(web, b"saved at %f" % began_at)
                self.longest = max(self.longest, time.monotonic() - began_at)
                began_at = time.monotonic()
                self._read(web)
                self.longest = max(self.longest, time.monotonic() - began_at)
                time.sleep(0.01)

    def _save(self, web: WebServer, content: bytes) -> None:
        """Nobody knows whether a save that is cut off has arrived; the router tells no one that it has."""
        try:
            web.save(self._session, content)
            self._may_be = {content}
        except Closed:
            self._may_be.add(content)
            self.saves_cut_off += 1

    def _read(self, web: WebServer) -> None:
        try:
            found = web.read(self._session)
        except Closed:
            self.faults.append("a read was closed")
        else:
            if found not in self._may_be:
                self.faults.append(f"{found!r} was read, and not {self._may_be}")


@pytest.mark.parametrize("path", FAST_PATH)
def test_users_wait_for_seconds_and_lose_nothing(path: str, tmp_path: Path) -> None:
    """Reads are answered, saves that were under way fail once, and no state server is ejected."""
    with site_in(tmp_path, 3, f"copies: 2\n{path}") as site, firewalls_before(site) as firewalls:
        router = site.start_router()
        users = [User(router.port, number) for number in range(16)]
        for user in users:
            user.start()
        time.sleep(1.0)
        forgotten = [firewall.forget() for firewall in firewalls]
        for user in users:
            user.join()

        assert all(forgotten)
        click.echo(
            f"longest page {max(user.longest for user in users):.1f} s, forgotten {forgotten}, "
            f"{sum(user.saves_cut_off for user in users)} saves cut off"
        )
        assert [] == [fault for user in users for fault in user.faults]
        assert max(user.saves_cut_off for user in users) <= 1
        assert max(user.longest for user in users) < LIMIT
        assert "backend is down" not in router.program.output
