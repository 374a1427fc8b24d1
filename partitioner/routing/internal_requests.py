"""What the router asks of backends on its own account, about a session of its clients.

An internal request is an exchange like any other, over the same pooled connections: it fails the same way,
and what failed is reported the same way. But no client waits for its bytes, so its outcome is a value: what
was told, or None where nothing was. Its sender stands behind the key gate.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import trio

from partitioner.errors import (
    BackendEjected,
    BackendFailure,
    BackendHungUp,
    BackendMalformed,
    BackendNotAtFault,
    BackendReset,
    Phase,
)
from partitioner.membership.backend import BackendId
from partitioner.protocol.messages import AnswerHead, Operation, RequestHead
from partitioner.protocol.writer import write_request
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


@dataclass(frozen=True, slots=True)
class BackendReply:
    """What was answered, and when the question was sent."""

    head: AnswerHead
    body: bytes
    sent_at: float
    held: HeldBody | None = None  # where its body is a long one

    @property
    def status(self) -> int:
        return self.head.status


class InternalRequests:
    """Sends internal requests to backends by their identity."""

    def __init__(self, roster: Roster, body_budget: BodyBudget, patience: float) -> None:
        """An internal request takes `patience` seconds at most, and a second more for each 16 MiB that it
        carries.

        The reply's bytes count too, as they come; otherwise a large session could never be moved or repaired.
        """
        self._roster = roster
        self._body_budget = body_budget
        self._patience = patience

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
        deadline = sent_at + max(patience, self._patience) + len(internal_request.body) / PACE
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
                if begun is None:
                    request = Request(
                        internal_request.head, internal_request.body, None, deadline=float("inf")
                    )
                    response = await self._roster.upstreams[server].exchange(request)
                else:
                    response = await begun.finish()
                if response.rest is None:
                    return BackendReply(response.head, response.body, sent_at)
                return await self._hold(server, response, sent_at, patience)
            except BackendFailure as error:
                failure = error
        if failure is None:
            failure = BackendNotAtFault(server, Phase.READING, "did not answer in time")
        self._roster.exchange_failed(failure)
        return failure

    async def _hold(
        self, server: BackendId, response: Response, sent_at: float, patience: trio.CancelScope
    ) -> BackendReply:
        """Read a long body to its end, as far as there is memory for it.

        Raises BackendMalformed where there can never be enough.
        """
        assert response.rest is not None
        told, pieces, was_read = response.head.content_length, [response.body], False
        if told > self._body_budget.limit:
            response.finish(False)
            detail = f"answered with a body of {told} bytes; the limit is {self._body_budget.limit}"
            raise BackendMalformed(server, Phase.READING, detail)
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
    operation = Operation.CREATE_UNINITIALIZED if backend_reply.head.has_action_flags else Operation.SET
    minutes = backend_reply.head.timeout_minutes
    timeout = DEFAULT_TIMEOUT_MINUTES if minutes is None else minutes
    return _internal_request(
        operation, target, timeout_minutes=timeout, lock_cookie=0, body=backend_reply.body
    )


def _internal_request(
    operation: Operation,
    target: bytes,
    *,
    timeout_minutes: int | None = None,
    lock_cookie: int | None = None,
    body: bytes = b"",
) -> InternalRequest:
    written = write_request(
        operation, target, timeout_minutes=timeout_minutes, lock_cookie=lock_cookie, body=body
    )
    raw = written[: len(written) - len(body)]
    return InternalRequest(RequestHead(raw, operation, target, len(body), timeout_minutes, lock_cookie), body)
