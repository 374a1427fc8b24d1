"""Web servers: each page does what the real client does, and reacts as it reacts (protocol.md 8).

    read-write page    acquire; polls while it is locked, and breaks a lock that is too old; creates what is
                       not found and acquires once more; works; then saves, releases or abandons
    read-only page     get; polls while it is locked
    keep-alive page    HEAD

Statuses other than 200, 423 and 400 are "not found" to it, answers to anything but a get are not looked
at, and a connection that is closed fails the page. What a page saves names its session and carries a
number that is never used twice, so that whatever is read later tells where it came from.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import trio

from partitioner.protocol.grammar import parse_answer_head
from partitioner.protocol.messages import AnswerHead, Operation
from partitioner.protocol.writer import write_request
from tests.doubles.clients import Client
from tests.doubles.sessions import target
from tests.simulation.history import Exchange, History
from tests.simulation.seeded import ActorRandom

NETWORK_TIMEOUT = 10.0  # stateNetworkTimeout
POLL = 0.5
EXECUTION_TIMEOUT = 30.0
"""Seconds; 110 by default, and as short here as an administrator may set it, to keep histories short."""

LONGEST_WORK = 8.0
SHORTEST_TIMEOUT = 60.0
LONGEST_TIMEOUT = 120.0
"""Seconds, of sessions."""

LARGE = 70_000
"""Bytes: more than the router passes on in one piece."""

_CONTENT = re.compile(rb"<s([0-9]+) v([0-9]+)>")
_LOCK_AGE = re.compile(rb"\r\nLockAge: ([0-9]+)\r\n")


class Kind(Enum):
    """What a page does with its session."""

    SAVE = "save"
    RELEASE = "release"
    ABANDON = "abandon"
    READ = "read"
    KEEP_ALIVE = "keep alive"
    CRASH = "crash"  # its web server dies while it works


Mix = dict[Kind, int]
"""How often which kind of page comes, in proportion."""

ORDINARY: Mix = {
    Kind.SAVE: 50,
    Kind.RELEASE: 15,
    Kind.ABANDON: 6,
    Kind.READ: 20,
    Kind.KEEP_ALIVE: 8,
    Kind.CRASH: 1,
}
CHANGING: Mix = {Kind.SAVE: 35, Kind.RELEASE: 25, Kind.ABANDON: 40}
READING: Mix = {Kind.SAVE: 8, Kind.RELEASE: 25, Kind.READ: 50, Kind.KEEP_ALIVE: 16, Kind.CRASH: 1}

END_A_LOCK = (Operation.SET, Operation.RELEASE, Operation.REMOVE)
"""A page that leaves before one of these has arrived leaves its lock behind, as it would anywhere."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as the client reads it."""

    head: AnswerHead
    body: bytes

    @property
    def status(self) -> int:
        return self.head.status


class WebServer:
    """Runs pages, over a stack of pooled connections."""

    def __init__(
        self,
        connect: Callable[[], Client | None],
        history: History,
        rng: ActorRandom,
        timeouts: tuple[int, ...] = (1,),
    ) -> None:
        """`connect` opens a connection to the router; None if nothing listens. Time-outs are minutes."""
        self._timeouts = timeouts
        self._connect = connect
        self._history = history
        self._rng = rng
        self.on_answer: Callable[[Exchange], None] = lambda exchange: None
        self.on_failure: Callable[[Exchange], None] = lambda exchange: None
        self._idle: list[tuple[Client, float]] = []
        self.versions = 0
        self.impatience = 0.0  # how often a page leaves while it waits for an answer
        self.large_share = 0.0
        self.largest_new = LARGE  # bytes of a session that is created uninitialized
        self.execution_timeout = EXECUTION_TIMEOUT
        self.longest_work = LONGEST_WORK

    async def run_page(self, number: int, session: int, kind: Kind) -> None:
        """Run one page from its beginning to its end."""
        page = Page(self, number, session)
        match kind:
            case Kind.READ:
                await page.poll(Operation.GET)
            case Kind.KEEP_ALIVE:
                await page.ask(Operation.RESET_TIMEOUT)
            case _:
                await self._run_read_write(page, kind)

    async def _run_read_write(self, page: "Page", kind: Kind) -> None:
        cookie = await page.open()
        if cookie is None:
            return
        longest = self.longest_work if self._rng.happens(0.1) else min(0.5, self.longest_work)
        await trio.sleep(self._rng.uniform(0.0, longest))
        match kind:
            case Kind.SAVE:
                await page.save(cookie)
            case Kind.RELEASE:
                if cookie:
                    await page.ask(Operation.RELEASE, cookie)
            case Kind.ABANDON:
                await page.ask(Operation.REMOVE, cookie)
            case Kind.CRASH:
                self._history.crashed_pages.add(page.number)

    async def exchange(self, exchange: Exchange, request: bytes) -> Reply | None:
        """Send a request and take its answer into the history; None where the page fails."""
        reply = await self._try(request, exchange.operation)
        exchange.ended_at = trio.current_time()
        if reply is None:
            self.on_failure(exchange)
            return None
        exchange.status = reply.status
        exchange.lock_cookie = reply.head.lock_cookie
        exchange.has_flag = reply.head.has_action_flags
        if age := _LOCK_AGE.search(reply.head.raw):
            exchange.lock_age = int(age[1])
        if content := _CONTENT.match(reply.body):
            exchange.seen_session, exchange.seen_version = int(content[1]), int(content[2])
        self.on_answer(exchange)
        return reply

    async def _try(self, request: bytes, operation: Operation) -> Reply | None:
        client = self._maybe_idle() or self._connect()
        if client is None:
            return None
        patience = NETWORK_TIMEOUT
        if operation not in END_A_LOCK and self._rng.happens(self.impatience):
            patience = self._rng.uniform(0.0, 0.02)
        reply: Reply | None = None
        with trio.move_on_after(patience):
            await trio.sleep(self._rng.uniform(0.0, 0.003))
            try:
                await client.send(request)
                raw = await client.receive_answer(is_to_head=operation is Operation.RESET_TIMEOUT)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                raw = b""
            reply = _maybe_reply(raw)
        if reply is None:
            client.leave()
        else:
            self._idle.append((client, trio.current_time()))
        return reply

    def _maybe_idle(self) -> Client | None:
        """The youngest idle connection that is not too old and not closed: the native client looks too."""
        while self._idle:
            client, since = self._idle.pop()
            if trio.current_time() - since < 5.0 and not client.stream.is_readable():
                return client
            client.leave()
        return None

    def timeout_minutes(self) -> int:
        """The time-out that a page gives its session; a new one resets its cookies (protocol.md 6)."""
        return self._rng.choice(self._timeouts)

    def next_version(self) -> int:
        self.versions += 1
        return self.versions

    def body(self, session: int, version: int, most: int = LARGE) -> bytes:
        size = min(LARGE if self._rng.happens(self.large_share) else 0, most)
        return (b"<s%d v%d>" % (session, version)).ljust(size, b".")

    @property
    def history(self) -> History:
        return self._history


class Page:
    """One page and its session."""

    def __init__(self, web: WebServer, number: int, session: int) -> None:
        self._web = web
        self.number = number
        self._session = session
        self._target = target(session)

    async def open(self) -> int | None:
        """Lock the session, creating it where it is not found; the cookie, or None where the page fails.

        0 stands for a page that goes on without its session, as ASP.NET does (protocol.md 8.2).
        """
        reply = await self.poll(Operation.ACQUIRE)
        if reply is not None and reply.status not in (200, 400):
            if await self._create() is None:
                return None
            reply = await self.poll(Operation.ACQUIRE)
        if reply is None or reply.status == 400:
            return None
        return (reply.head.lock_cookie or 0) if reply.status == 200 else 0

    async def poll(self, operation: Operation) -> Reply | None:
        """Get or acquire, for as long as somebody else holds the lock and the page may run."""
        give_up_at = trio.current_time() + self._web.execution_timeout
        while True:
            asked = self._begin(operation)
            reply = await self._web.exchange(asked, write_request(operation, self._target))
            if reply is None or reply.status != 423:
                return reply
            if asked.lock_age is not None and asked.lock_age >= self._web.execution_timeout:
                forced = self._begin(Operation.RELEASE, reply.head.lock_cookie)
                forced.is_forced = True
                release = write_request(Operation.RELEASE, self._target, lock_cookie=reply.head.lock_cookie)
                if await self._web.exchange(forced, release) is None:
                    return None
            if trio.current_time() > give_up_at:
                return None
            await trio.sleep(POLL)

    async def ask(self, operation: Operation, cookie: int | None = None) -> Reply | None:
        asked = self._begin(operation, cookie)
        return await self._web.exchange(asked, write_request(operation, self._target, lock_cookie=cookie))

    async def save(self, cookie: int) -> Reply | None:
        asked = self._begin(Operation.SET, cookie)
        asked.version = self._web.next_version()
        body = self._web.body(self._session, asked.version)
        request = write_request(
            Operation.SET,
            self._target,
            timeout_minutes=self._web.timeout_minutes(),
            lock_cookie=cookie,
            body=body,
        )
        return await self._web.exchange(asked, request)

    async def _create(self) -> Reply | None:
        asked = self._begin(Operation.CREATE_UNINITIALIZED, 0)
        asked.version = self._web.next_version()
        request = write_request(
            Operation.CREATE_UNINITIALIZED,
            self._target,
            timeout_minutes=self._web.timeout_minutes(),
            lock_cookie=0,
            body=self._web.body(self._session, asked.version, self._web.largest_new),
        )
        return await self._web.exchange(asked, request)

    def _begin(self, operation: Operation, cookie: int | None = None) -> Exchange:
        return self._web.history.begin(
            self.number, self._session, operation, trio.current_time(), cookie=cookie
        )


def _maybe_reply(raw: bytes) -> Reply | None:
    """An answer, if it came whole."""
    head, end, body = raw.partition(b"\r\n\r\n")
    if not end:
        return None
    parsed = parse_answer_head(head + end)
    return Reply(parsed, body) if len(body) == parsed.content_length else None
