"""The state server as a responder: a session table, a clock, and a broom.

It also keeps superseded routers from writing (membership.fencing): it is told over which connection each
request has come, and looks at those for routers' own items.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

import trio

from partitioner.errors import RouterSuperseded
from partitioner.membership.fencing import Fence, RouterConnection, is_lower, maybe_term
from partitioner.membership.items import Term
from partitioner.protocol.messages import Answer, AnswerHead, Operation, RequestHead
from partitioner.protocol.target import Applications, server_key
from partitioner.protocol.writer import write_answer, write_answer_head
from partitioner.sessions.session import OK
from partitioner.sessions.table import ITEMS, SessionTable
from partitioner.transport.messages import Caller, Request, Response
from partitioner.transport.observer import Observer

SWEEP_INTERVAL = 1.0
SWEEP_BATCH = 500
"""Sessions looked at in one go, about half a millisecond; between two goes clients have a turn."""

_OK_CODE, _WRITTEN_OK = OK.status.code, write_answer(OK)
_GET, _SET, _CREATE = Operation.GET, Operation.SET, Operation.CREATE_UNINITIALIZED


class Connection(Protocol):
    """The connection that a request has come over."""

    router: RouterConnection | None


ConnectionT = TypeVar("ConnectionT", bound=Connection)


class StateServer:
    """Answers requests from a session table."""

    def __init__(
        self,
        table: SessionTable,
        observer: Observer,
        key_of: Callable[[bytes], bytes] = server_key,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`key_of` derives a session's key from a target; `clock` is monotonic seconds."""
        self._table = table
        self._observer = observer
        self._key_of = Applications(key_of).key_of
        self._clock = clock
        self._fence = Fence()

    @property
    def table(self) -> SessionTable:
        return self._table

    @property
    def fenced_connections(self) -> int:
        """How many connections are known to be those of routers."""
        return len(self._fence)

    async def respond(self, request: Request) -> Response:
        """Carry out a request; this is a Responder.

        Raises RouterSuperseded.
        """
        caller = _NO_CALLER if request.caller is None else request.caller
        answer = self._carry_out(request.head, request.body, caller, _break_off)
        code = answer.status.code
        head = AnswerHead(_written_head(answer), code, len(answer.body), answer.lock_cookie)
        return Response(head, answer.body)

    def answer(
        self,
        head: RequestHead,
        body: bytes,
        connection: ConnectionT,
        break_off: Callable[[ConnectionT, str], None],
    ) -> tuple[int, bytes]:
        """The same without a task: the status of the answer, and all its bytes.

        `break_off` closes a connection that was given to an earlier call, for a reason, which is its second
        argument.

        Raises RouterSuperseded.
        """
        answer = self._carry_out(head, body, connection, break_off)
        if answer is OK:
            return _OK_CODE, _WRITTEN_OK
        return answer.status.code, _written_head(answer) + answer.body

    def _carry_out(
        self,
        head: RequestHead,
        body: bytes,
        connection: ConnectionT,
        break_off: Callable[[ConnectionT, str], None],
    ) -> Answer:
        key, router = self._key_of(head.target), connection.router
        if key.startswith(ITEMS):
            return self._carry_out_on_item(head, key, body, connection, break_off)
        if router is not None and not router.may_write:
            self._let_write(router)
        return self._apply(head, key, body)

    def _apply(self, head: RequestHead, key: bytes, body: bytes) -> Answer:
        refused_before = self._table.refused_creations
        answer = self._table.apply(head, key, body, self._clock())
        if self._table.refused_creations != refused_before:
            self._observer.creation_refused(len(self._table), self._table.used_memory)
        return answer

    # --- routers' own items (design.md 5.3) ---

    def _carry_out_on_item(
        self,
        head: RequestHead,
        key: bytes,
        body: bytes,
        connection: ConnectionT,
        break_off: Callable[[ConnectionT, str], None],
    ) -> Answer:
        farm, _, item = key[len(ITEMS) :].rpartition(b"/")
        router = connection.router
        if router is not None and router.is_closed:
            raise RouterSuperseded("another router has claimed")
        if item == b"canary" and head.operation is _GET:
            if router is None:
                router = connection.router = RouterConnection(self._fence, partial(break_off, connection))
            self._fence.canary_read(router, farm, self._stored_term(farm))
        elif item == b"term" and head.operation is _GET:
            if router is not None:
                self._fence.term_seen(router, farm, self._stored_term(farm))
        elif item == b"term" and head.operation in (_SET, _CREATE):
            return self._store_term(head, key, body, farm, router)
        elif router is not None and not router.may_write:
            self._let_write(router)
        return self._apply(head, key, body)

    def _store_term(
        self, head: RequestHead, key: bytes, body: bytes, farm: bytes, router: RouterConnection | None
    ) -> Answer:
        """Store a term. One that is lower than the stored one is only acknowledged."""
        term = maybe_term(body)
        if term is not None and is_lower(term, self._stored_term(farm)):
            answer = OK
        else:
            answer = self._apply(head, key, body)
        if term is None or answer is not OK:
            return answer
        if router is not None:
            self._fence.term_seen(router, farm, term)
        if self._stored_term(farm) == term:
            for superseded in self._fence.term_stored(farm, term):
                superseded.cut(f"another router has claimed: term {term}")
        return answer

    def _let_write(self, router: RouterConnection) -> None:
        """Let a router go on, at its first request other than for a canary or a term.

        Raises RouterSuperseded.
        """
        if router.is_closed:
            raise RouterSuperseded("another router has claimed")
        for farm, seen in router.seen.items():
            stored = self._stored_term(farm)
            if is_lower(seen, stored):
                raise RouterSuperseded(f"another router has claimed: term {stored}")
        router.may_write = True

    def _stored_term(self, farm: bytes) -> Term | None:
        return maybe_term(self._table.maybe_content(b"%b%b/term" % (ITEMS, farm), self._clock()))

    async def sweep_forever(self) -> None:
        """Forget expired sessions, a few at a time."""
        while True:
            await trio.sleep(SWEEP_INTERVAL)
            while self._table.sweep(self._clock(), SWEEP_BATCH) == SWEEP_BATCH:
                await trio.lowlevel.checkpoint()


class _NoCaller:
    """What a request comes from that comes over no connection: nothing is remembered of it."""

    @property
    def router(self) -> RouterConnection | None:
        return None

    @router.setter
    def router(self, router: RouterConnection | None) -> None:
        pass

    def break_off(self, reason: str) -> None:
        """There is nothing to be closed."""


_NO_CALLER = _NoCaller()


def _break_off(caller: Caller, reason: str) -> None:
    caller.break_off(reason)


def _written_head(answer: Answer) -> bytes:
    return write_answer_head(answer, local_ticks() if answer.lock_age is not None else 0)


_TICKS_PER_SECOND = 10_000_000
_EPOCH_TICKS = 621_355_968_000_000_000  # 1970-01-01 in 100 ns since the year 1


def local_ticks() -> int:
    """The local time now in 100 ns since the year 1, as a stock server dates its locks (protocol.md 5.1)."""
    now = time.time()
    return _EPOCH_TICKS + int((now + time.localtime(now).tm_gmtoff) * _TICKS_PER_SECOND)
