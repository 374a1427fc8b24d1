"""The users of a farm's sessions, and the checker that compares what they read with what they are owed.

Every change is repeated until it is acknowledged, so there is one content that each session must have:
that of the last acknowledged change. A closed connection is no violation, since the page fails and nothing
is lost; it is asked again for as long as the patience lasts.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from partitioner.placement.rendezvous import Ranking
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import encode_target
from partitioner.protocol.writer import write_request
from tests.end_to_end.web_server import APPLICATION, Closed, Reply, WebServer

CONNECTIONS = 8
PATIENCE = 40.0
"""Seconds for which a user asks again whose connection is closed."""

MOST_CLOSED = 0.05
"""The share of the sessions that may be out of reach at the end: some are closed rather than served old."""


def session_ids(count: int, first: int = 0) -> list[str]:
    return [f"session{number:017d}" for number in range(first, first + count)]


def session_ids_on(names: Sequence[str], servers: int, count: int) -> list[str]:
    """Session IDs whose preference list begins with these of so many servers, state-1 and so on."""
    ranking = Ranking({f"state-{number}": 1.0 for number in range(1, servers + 1)})
    found = []
    for session in session_ids(10_000):
        if set(ranking.preference_list(session.encode(), len(names))) == set(names):
            found.append(session)
        if len(found) == count:
            break
    return found


def in_words(*faults: Iterable[str]) -> str:
    """What was found wrong, on one line; nothing if all is well."""
    return ", ".join(each for found in faults for each in found)


@dataclass
class Findings:
    """What the checker saw: sessions by what is wrong with them."""

    stale: list[str] = field(default_factory=list)  # older content than was acknowledged
    lost: list[str] = field(default_factory=list)  # "not found", and it should exist
    back: list[str] = field(default_factory=list)  # found, and it was removed
    given_twice: list[str] = field(default_factory=list)  # acquired by two
    closed: list[str] = field(default_factory=list)  # no answer for as long as the patience lasted


class Users:
    """Web servers of one farm behind one router, and what they have been promised."""

    def __init__(self, port: int, timeout_minutes: int = 20) -> None:
        self.owed: dict[str, bytes | None] = {}  # the last acknowledged content; None: removed
        self.held: dict[str, int] = {}  # lock cookies
        self._port = port
        self._timeout_minutes = timeout_minutes

    def turn_to(self, port: int) -> None:
        """Ask another router from now on."""
        self._port = port

    # --- what they do; every change is acknowledged when these return ---

    def save(self, sessions: Iterable[str], content: bytes) -> None:
        """Save sessions whose locks no page holds."""

        def save_one(web: WebServer, session: str) -> None:
            self._insist(web, Operation.SET, session, content, 0)
            self.owed[session] = content

        self._for_each(sessions, save_one)

    def remove(self, sessions: Iterable[str]) -> None:
        def remove_one(web: WebServer, session: str) -> None:
            self._insist(web, Operation.REMOVE, session, cookie=0)
            self.owed[session] = None

        self._for_each(sessions, remove_one)

    def acquire(self, sessions: Iterable[str]) -> None:
        """Begin pages: from now on their locks are held."""

        def acquire_one(web: WebServer, session: str) -> None:
            reply = self._insist(web, Operation.ACQUIRE, session)
            assert reply.head.lock_cookie is not None
            self.held[session] = reply.head.lock_cookie

        self._for_each(sessions, acquire_one)

    def save_held(self, content: bytes) -> None:
        """End all pages: each saves its session with the cookie of its lock."""

        def save_one(web: WebServer, session: str) -> None:
            self._insist(web, Operation.SET, session, content, self.held.pop(session))
            self.owed[session] = content

        self._for_each(list(self.held), save_one)

    def read(self, sessions: Iterable[str]) -> dict[str, Reply | None]:
        """Read each session once; None where the connection was closed instead of an answer."""
        return self._read_all(sessions, Operation.GET)

    # --- the checker ---

    def find_fault(self, patience: float = PATIENCE, most_closed: float = MOST_CLOSED) -> list[str]:
        """Look at every session, and try to acquire every lock that is held.

        Returns what is wrong, in sentences like `13 of 50 stale`; nothing if all is well.
        """
        findings = self.look_at_all(patience)
        existing = sum(content is not None for content in self.owed.values())
        counts = [
            (findings.stale, existing, "stale"),
            (findings.lost, existing, "lost"),
            (findings.back, len(self.owed) - existing, "removed sessions back"),
            (findings.given_twice, len(self.held), "locks given twice"),
        ]
        if len(findings.closed) > most_closed * len(self.owed):
            counts.append((findings.closed, len(self.owed), "out of reach"))
        return [f"{len(found)} of {among} {what}" for found, among, what in counts if found]

    def look_at_all(self, patience: float = PATIENCE) -> Findings:
        """Ask about every session once, and again about those that were closed until the patience ends."""
        findings, left = Findings(), list(self.owed)
        deadline = time.monotonic() + patience
        while left:
            locked = self._read_all((each for each in left if each in self.held), Operation.ACQUIRE)
            unlocked = self._read_all((each for each in left if each not in self.held), Operation.GET)
            left = []
            for session, reply in (locked | unlocked).items():
                if reply is None:
                    left.append(session)
                else:
                    self._judge(session, reply, findings)
            if left and time.monotonic() > deadline:
                findings.closed = left
                break
            time.sleep(0.1 if left else 0.0)
        return findings

    def _judge(self, session: str, reply: Reply, findings: Findings) -> None:
        owed = self.owed[session]
        if reply.status == 200 and session in self.held:
            findings.given_twice.append(session)
        elif reply.status == 200 and owed is None:
            findings.back.append(session)
        elif reply.status == 200 and reply.body != owed:
            findings.stale.append(session)
        elif reply.status == 404 and owed is not None:
            findings.lost.append(session)
        else:
            assert reply.status in (200, 404) or session in self.held, f"{reply.status} for {session}"

    # --- how they ask ---

    def _read_all(self, sessions: Iterable[str], operation: Operation) -> dict[str, Reply | None]:
        replies: dict[str, Reply | None] = {}

        def ask_one(web: WebServer, session: str) -> None:
            try:
                replies[session] = web.ask(operation, session)
            except Closed:
                replies[session] = None

        self._for_each(sessions, ask_one)
        return replies

    def _insist(
        self, web: WebServer, operation: Operation, session: str, body: bytes = b"", cookie: int | None = None
    ) -> Reply:
        """Ask until there is an answer, which must be a 200.

        An acquire whose answer was lost may have left a lock, which the router releases: it polls.
        """
        request = write_request(
            operation,
            encode_target(APPLICATION + session),
            timeout_minutes=self._timeout_minutes if body else None,
            lock_cookie=cookie,
            body=body,
        )
        deadline = time.monotonic() + PATIENCE
        was_closed = False
        while True:
            try:
                reply = web.send(request, operation)
            except Closed:
                assert time.monotonic() < deadline, f"{operation.value} of {session} is not answered"
                was_closed = True
            else:
                if reply.status == 200:
                    return reply
                polls = operation is Operation.ACQUIRE and was_closed and time.monotonic() < deadline
                assert polls, f"{reply.status} to {operation.value} of {session}"
            time.sleep(0.1)

    def _for_each(self, sessions: Iterable[str], work: Callable[[WebServer, str], None]) -> None:
        """Do something for each session, over several connections at once."""
        everyone = list(sessions)
        slices = [everyone[start::CONNECTIONS] for start in range(min(CONNECTIONS, len(everyone)))]

        def work_through(part: list[str]) -> None:
            with WebServer(self._port) as web:
                for session in part:
                    work(web, session)

        with ThreadPoolExecutor(CONNECTIONS) as threads:
            for done in [threads.submit(work_through, part) for part in slices]:
                done.result()
