"""What the router asks of backends on its own account, about a session of its clients.

An internal request is an exchange like any other, over the same pooled connections: it fails the same way,
and what failed is reported the same way. But no client waits for its bytes, so its outcome is a value: what
was told, or None where nothing was. Its sender stands behind the key gate.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import trio
from xxhash import xxh3_64, xxh3_64_intdigest

from partitioner.errors import (
    BackendEjected,
    BackendFailure,
    BackendHungUp,
    BackendNotAtFault,
    BackendReset,
    Phase,
)
from partitioner.membership.backend import BackendId
from partitioner.protocol.messages import AnswerHead, Operation, RequestHead
from partitioner.protocol.writer import write_request_head
from partitioner.routing.roster import Roster
from partitioner.transport.limits import BodyBudget, HeldBody
from partitioner.transport.messages import BegunExchange, Request, Response

T = TypeVar("T")

PACE = 16 * 1024 * 1024
"""Bytes for which one more second is allowed (design.md 7.1)."""

SEARCH_PATIENCE = 1.0
"""Seconds for a search, or for reading what is moved. A copy that is late is repaired, and its client was
answered; where a search is late the client's connection is closed, so a busy server has longer for it."""

DEFAULT_TIMEOUT_MINUTES = 20  # protocol.md 7


@dataclass(frozen=True, slots=True)
class InternalRequest:
    """What is asked."""

    head: RequestHead
    body: bytes = b""
    source: BackendId | None = None
    """The server that holds the body, where it is not held here: it is read from there piece by piece."""


@dataclass(frozen=True, slots=True)
class BackendReply:
    """What was answered, and when the question was sent."""

    head: AnswerHead
    body: bytes
    sent_at: float
    held: HeldBody | None = None  # where its body is a long one
    unheld: "UnheldBody | None" = None  # where its body is larger than all the memory; then `body` is empty

    @property
    def status(self) -> int:
        return self.head.status

    @property
    def fingerprint(self) -> int:
        """The xxh3_64 of its body."""
        return xxh3_64_intdigest(self.body) if self.unheld is None else self.unheld.fingerprint

    @property
    def hands_out_flag(self) -> bool:
        """Whether it has consumed a one-shot flag, which has to be given back.

        That of a session larger than all the memory is lost: to store it anew its server would have to remove
        it first, and it could not be read there then. A new session has a few bytes.
        """
        return self.unheld is None and self.head.has_action_flags


@dataclass(frozen=True, slots=True)
class UnheldBody:
    """A body that was read to its end and not held, because it is larger than all the memory for bodies."""

    source: BackendId  # the server that told it
    fingerprint: int


class InternalRequests:
    """Sends internal requests to backends by their identity."""

    def __init__(self, roster: Roster, body_budget: BodyBudget, patience: float) -> None:
        """An internal request takes `patience` seconds at most, and a second more for each 16 MiB that it
        carries.

        The reply's bytes count too, as they come; otherwise a large session could never be moved or repaired.
        """
        self._roster = roster
        self._body_budget = body_budget
        self.patience = patience

    async def run(
        self,
        server: BackendId,
        internal_request: InternalRequest,
        patience: float = 0.0,
        begun: BegunExchange | None = None,
    ) -> BackendReply | None:
        """Have it done; None if it failed, came too late, or cannot be asked. `patience` may be longer.

        Where it has been begun, that is gone on with.
        """
        sent_at = trio.current_time() if begun is None else begun.sent_at
        is_held = internal_request.source is None
        least = self.patience if is_held else SEARCH_PATIENCE  # for reading it as well
        deadline = sent_at + max(patience, least) + len(internal_request.body) / PACE
        backend_reply = await self._try(server, internal_request, deadline, begun)
        if isinstance(backend_reply, BackendHungUp | BackendReset) and trio.current_time() < deadline:
            # Whatever lay in that connection is gone with it, and no other exchange is at this key.
            backend_reply = await self._try(server, internal_request, deadline)
        return None if isinstance(backend_reply, BackendFailure) else backend_reply

    async def run_all(
        self, internal_requests: Sequence[tuple[BackendId, InternalRequest]], patience: float = 0.0
    ) -> list[BackendReply | None]:
        """Have several done at the same time, each by its server; the outcomes in the same order."""
        return await side_by_side(
            lambda internal_request: self.run(*internal_request, patience), internal_requests
        )

    @asynccontextmanager
    async def fetched(self, server: BackendId, target: bytes) -> AsyncIterator[BackendReply | None]:
        """Read a session by a plain get, and hold its body for as long as the block lasts."""
        backend_reply = await self.run(server, get(target), SEARCH_PATIENCE)
        try:
            yield backend_reply
        finally:
            if backend_reply is not None and backend_reply.held is not None:
                backend_reply.held.give_back()

    async def _try(
        self,
        server: BackendId,
        internal_request: InternalRequest,
        deadline: float,
        begun: BegunExchange | None = None,
    ) -> BackendReply | BackendFailure:
        sent_at = trio.current_time() if begun is None else begun.sent_at
        failure: BackendFailure | None = None
        member = self._roster.pool.members.get(server)
        if begun is None and (member is None or not member.is_reachable):
            return BackendEjected(server, Phase.CONNECTING, "is not to be asked")
        with trio.move_on_at(deadline) as patience:
            try:
                if begun is not None:
                    response = await begun.finish()
                elif internal_request.source is not None:
                    response = await self._copy(internal_request.source, server, internal_request, patience)
                else:
                    response = await self._roster.upstreams[server].exchange(_request(internal_request))
                if response.rest is None:
                    return BackendReply(response.head, response.body, sent_at)
                if response.head.content_length > self._body_budget.limit:
                    return await self._let_pass(server, response, sent_at, patience)
                return await self._hold(response, sent_at, patience)
            except BackendFailure as error:
                failure = error
        if failure is None:
            failure = BackendNotAtFault(server, Phase.READING, "did not answer in time")
        self._roster.exchange_failed(failure)
        return failure

    async def _copy(
        self,
        source: BackendId,
        server: BackendId,
        internal_request: InternalRequest,
        patience: trio.CancelScope,
    ) -> Response:
        """Have a server store a body that another one holds; of which a few pieces are here at a time.

        Raises BackendFailure, of either server.
        """
        member = self._roster.pool.members.get(source)
        if member is None or not member.is_reachable or source == server:
            raise BackendEjected(source, Phase.CONNECTING, "is not to be asked")
        reading = await self._roster.upstreams[source].exchange(_request(get(internal_request.head.target)))
        was_read = reading.rest is None

        async def next_piece() -> bytes:
            nonlocal was_read
            assert reading.rest is not None
            piece = await reading.rest()
            was_read = not piece
            patience.deadline += len(piece) / PACE
            return piece

        try:
            told = internal_request.head.content_length
            if (reading.status, reading.head.content_length) != (200, told):
                detail = f"told {reading.head.content_length} bytes ({reading.status}); expected {told}"
                raise BackendNotAtFault(source, Phase.READING, detail)
            rest = None if was_read else next_piece
            request = Request(internal_request.head, reading.body, rest, float("inf"))
            return await self._roster.upstreams[server].exchange(request)
        finally:
            reading.finish(was_read)

    async def _let_pass(
        self, server: BackendId, response: Response, sent_at: float, patience: trio.CancelScope
    ) -> BackendReply:
        """Read a body for which there can never be enough memory to its end, and hold nothing of it."""
        assert response.rest is not None
        digest, was_read = xxh3_64(response.body), False
        try:
            while piece := await response.rest():
                patience.deadline += len(piece) / PACE
                digest.update(piece)
            was_read = True
        finally:
            response.finish(was_read)
        return BackendReply(response.head, b"", sent_at, unheld=UnheldBody(server, digest.intdigest()))

    async def _hold(self, response: Response, sent_at: float, patience: trio.CancelScope) -> BackendReply:
        """Read a long body to its end, as far as there is memory for it."""
        assert response.rest is not None
        told, pieces, was_read = response.head.content_length, [response.body], False
        held = self._body_budget.hold(told)
        try:
            while piece := await response.rest():
                patience.deadline += len(piece) / PACE  # by what has come: what is told prolongs nothing
                await held.grow(len(piece))
                pieces.append(piece)
            was_read = True
        finally:
            if not was_read:
                held.give_back()
            response.finish(was_read)
        return BackendReply(response.head, b"".join(pieces), sent_at, held)


async def side_by_side(
    do: Callable[[T], Awaitable[BackendReply | None]], things: Sequence[T]
) -> list[BackendReply | None]:
    """Do it for all of these at the same time; the outcomes in the same order."""
    if len(things) < 2:  # the common case by far, and a nursery with one task costs 30 us
        return [await do(each) for each in things]
    outcomes: list[BackendReply | None] = [None] * len(things)

    async def do_one(index: int, thing: T) -> None:
        outcomes[index] = await do(thing)

    async with trio.open_nursery() as nursery:
        for index, thing in enumerate(things):
            nursery.start_soon(do_one, index, thing)
    return outcomes


def get(target: bytes) -> InternalRequest:
    """Read it, if it is not locked."""
    return _internal_request(Operation.GET, target)


def touch(target: bytes) -> InternalRequest:
    """Is it there? And if so, start its time-out anew."""
    return _internal_request(Operation.RESET_TIMEOUT, target)


def release(target: bytes, cookie: int) -> InternalRequest:
    """Unlock it, or consume its one-shot flag."""
    return _internal_request(Operation.RELEASE, target, lock_cookie=cookie)


def remove(target: bytes, cookie: int = 0) -> InternalRequest:
    """Have it gone."""
    return _internal_request(Operation.REMOVE, target, lock_cookie=cookie)


def put(target: bytes, backend_reply: BackendReply) -> InternalRequest:
    """Store what was told by a get, flag and all."""
    operation = Operation.CREATE_UNINITIALIZED if backend_reply.hands_out_flag else Operation.SET
    minutes = backend_reply.head.timeout_minutes
    timeout = DEFAULT_TIMEOUT_MINUTES if minutes is None else minutes
    body, unheld = backend_reply.body, backend_reply.unheld
    length = len(body) if unheld is None else backend_reply.head.content_length
    internal_request = _internal_request(
        operation, target, timeout_minutes=timeout, lock_cookie=0, body=body, length=length
    )
    return internal_request if unheld is None else replace(internal_request, source=unheld.source)


def _request(internal_request: InternalRequest) -> Request:
    """It waits for as long as its sender does."""
    return Request(internal_request.head, internal_request.body, None, deadline=float("inf"))


def _internal_request(
    operation: Operation,
    target: bytes,
    *,
    timeout_minutes: int | None = None,
    lock_cookie: int | None = None,
    body: bytes = b"",
    length: int = 0,
) -> InternalRequest:
    raw = write_request_head(
        operation, target, timeout_minutes=timeout_minutes, lock_cookie=lock_cookie, length=length
    )
    return InternalRequest(RequestHead(raw, operation, target, length, timeout_minutes, lock_cookie), body)
