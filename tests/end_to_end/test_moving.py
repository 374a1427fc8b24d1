"""Moving in and out, as docs/moving.md says: from one state server to a pool, and out of it again.

No user is logged out: every session is read back with its last content, and what a page holds stays
its own, whichever servers come and go meanwhile.
"""

import signal
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from partitioner.placement.rendezvous import Ranking
from partitioner.protocol.messages import Operation
from tests.end_to_end.farm import QUICK_PROBES
from tests.end_to_end.processes import (
    CONFIGURATION,
    RouterProcess,
    StateServerProcess,
    router,
    run_to_end,
    state_server,
)
from tests.end_to_end.web_server import WebServer

SESSIONS = [f"session{number:017d}" for number in range(200)]
RANKING = Ranking({"state-1": 1.0, "state-2": 1.0})
GOES_AWAY = [each for each in SESSIONS if RANKING.preference_list(each.encode(), 1) == ("state-2",)]
STAYS = [each for each in SESSIONS if each not in GOES_AWAY]


@dataclass
class Farm:
    """A router whose pool is changed, and what was last saved through it, or before it was there."""

    in_front: RouterProcess
    file: Path
    web: WebServer
    saved: dict[str, bytes] = field(default_factory=dict)

    def reload(self, *backends: str, reads: str, force: bool = False) -> None:
        """Have the pool consist of these, and wait until the log says this and that it was done.

        With `force` also where sessions have one copy then.
        """
        in_lines = "".join(f"  - {{{backend}}}\n" for backend in backends)
        self.file.write_text(f"listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n{QUICK_PROBES}backends:\n{in_lines}")
        if force:
            ended = run_to_end("reload", "--force", "--admin", self.in_front.admin)
            assert 0 == ended.returncode, ended.stderr
        else:
            self.in_front.program.process.send_signal(signal.SIGHUP)
        self.in_front.program.wait_for(f"{reads}(?s:.*)configuration reloaded")

    def save(self, session: str, body: bytes, cookie: int = 0) -> None:
        self.web.save(session, body, cookie)
        self.saved[session] = body

    def lock(self, session: str) -> int:
        """Begin a page; return its lock cookie."""
        reply = self.web.ask(Operation.ACQUIRE, session)
        assert (200, self.saved[session]) == (reply.status, reply.body)
        assert reply.head.lock_cookie is not None
        return reply.head.lock_cookie

    def page(self, session: str, body: bytes) -> None:
        """A whole page: lock, then save."""
        self.save(session, body, self.lock(session))

    def logged_out(self, except_for: Collection[str] = ()) -> list[str]:
        """Whose session is not what was last saved."""
        return [
            each
            for each, body in self.saved.items()
            if each not in except_for and self.web.read(each) != body
        ]

    def is_locked(self, session: str) -> bool:
        return self.web.ask(Operation.ACQUIRE, session).status == 423


@contextmanager
def moved_in(directory: Path) -> Iterator[tuple[Farm, StateServerProcess, dict[str, int]]]:
    """A state server full of live sessions, two of them held by pages, and a router newly in front of it.

    The pages began before there was a router; their lock cookies come along.
    """
    with ExitStack() as stack:
        first = stack.enter_context(state_server())
        before = Farm(None, directory, stack.enter_context(WebServer(first.port)))  # type: ignore[arg-type]
        for session in SESSIONS:
            before.save(session, b"before " + session.encode())
        cookies = {session: before.lock(session) for session in (GOES_AWAY[0], STAYS[0])}
        in_front = stack.enter_context(router(directory, [first.port], QUICK_PROBES))
        web = stack.enter_context(WebServer(in_front.port))
        yield Farm(in_front, directory / CONFIGURATION, web, before.saved), first, cookies


def at(name: str, server: StateServerProcess, more: str = "") -> str:
    return f"name: {name}, address: '127.0.0.1:{server.port}'{more}"


def test_from_one_state_server_to_a_pool_and_out_of_it_again(tmp_path: Path) -> None:
    """A full server becomes the first of a pool, a second one joins, the first is drained and removed."""
    with moved_in(tmp_path) as (farm, first, cookies), state_server() as second:
        # Moved in: one server, one copy. Pages that began before are still pages.
        held = list(cookies)
        free = [each for each in SESSIONS if each not in cookies]
        assert [True, True] == [farm.is_locked(each) for each in held]
        assert farm.logged_out(except_for=held) == []

        # A second server joins. Some sessions are used, some are not; the pages go on, and end.
        farm.reload(at("state-1", first), at("state-2", second), reads="copies.*1 -> 2")
        farm.in_front.program.wait_for("backend is up.*state-2")
        assert [True, True] == [farm.is_locked(each) for each in held]
        for session in free[:100]:
            farm.page(session, b"with two " + session.encode())
        for session, cookie in cookies.items():
            farm.save(session, b"from before the router", cookie)
        assert [False, False] == [farm.is_locked(each) for each in held]
        for session in held:  # the page that looked has taken the lock
            farm.web.ask(Operation.RELEASE, session, cookie=lock_cookie(farm, session))
        assert farm.logged_out() == []

        # The first one is drained, with more pages under way; every session is used once.
        pages = {session: farm.lock(session) for session in (*GOES_AWAY[1:4], *STAYS[1:4])}
        farm.reload(
            at("state-1", first, ", intent: drain"),
            at("state-2", second),
            reads="intent ready -> drain",
            force=True,
        )
        assert [True] * 6 == [farm.is_locked(each) for each in pages]
        for session in (GOES_AWAY[1], STAYS[1]):
            farm.save(session, b"while it was drained", pages.pop(session))
        assert farm.logged_out(except_for=pages) == []

        # It is removed: it is still asked. A page that lasts all that time ends as if nothing had been.
        farm.reload(at("state-2", second), reads="state-1 change=leaves", force=True)
        assert [True] * 4 == [farm.is_locked(each) for each in pages]
        for session in (GOES_AWAY[2], STAYS[2]):
            farm.save(session, b"after it was removed", pages.pop(session))

        # It is stopped. The pages that it has locked are still pages, and no user was logged out.
        first.program.kill()
        assert [True] * 2 == [farm.is_locked(each) for each in pages]
        for session in tuple(pages):
            farm.save(session, b"after it was stopped", pages.pop(session))
        assert farm.logged_out() == []
        for session in SESSIONS:
            farm.page(session, b"with the second alone")
        assert farm.logged_out() == []


def lock_cookie(farm: Farm, session: str) -> int:
    """The cookie of a lock that is held."""
    cookie = farm.web.ask(Operation.GET, session).head.lock_cookie
    assert cookie is not None
    return cookie
