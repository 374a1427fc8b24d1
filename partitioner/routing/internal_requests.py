"""What the router asks of backends on its own account, about a session of its clients.

An errand is an exchange like any other, over the same pooled connections: it fails the same way, and
what failed is reported the same way. But nobody waits for its bytes, so its outcome is a value: what
was told, or None where nothing was. Whoever sends one stands behind the key gate.
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
    BackendNotAtFault,
    BackendReset,
    Phase,
)
from partitioner.protocol.messages import AnswerHead, Operation, RequestHead
from partitioner.protocol.writer import write_request
from partitioner.routing.roster import Roster
from partitioner.transport.limits import BodyMemory
from partitioner.transport.messages import BegunExchange, Pieces, Request, Response

T = TypeVar("T")

PACE = 16 * 1024 * 1024
"""Bytes for which one more second is allowed (design.md 7.1)."""

SEARCH_PATIENCE = 1.0
"""Seconds for a search, or for reading what is moved. A copy that is late is repaired, and its client was
answered; where a search is late the client's connection is closed, so a busy server has longer for it."""

DEFAULT_TIMEOUT_MINUTES = 20  # protocol.md 7


@dataclass(frozen=True, slots=True)
class Errand:
    """What is asked."""

    head: RequestHead
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Told:
    """What was answered, and when the question was sent."""

    head: AnswerHead
    body: bytes
    sent_at: float
    held: int = 0  # bytes of the body that were reserved for it

    @property
    def status(self) -> int:
        return self.head.status


class Errands:
    """Sends errands to backends by their identity."""

    def __init__(self, roster: Roster, memory: BodyMemory, patience: float) -> None:
        """An errand takes `patience` seconds at most, and a second more for each 16 MiB that it carries.

        Those of the answer count as well: a large session could never be moved or repaired else.
        """
        self._roster = roster
        self._memory = memory
        self._patience = patience

    async def run(
        self, server: str, errand: Errand, patience: float = 0.0, begun: BegunExchange | None = None
    ) -> Told | None:
        """Have it done; None if it failed, came too late, or cannot be asked. `patience` may be longer.

        Where it has been begun, that is gone on with.
        """
        sent_at = trio.current_time() if begun is None else begun.sent_at
        deadline = sent_at + max(patience, self._patience) + len(errand.body) / PACE
        told = await self._try(server, errand, deadline, begun)
        if isinstance(told, BackendHungUp | BackendReset) and trio.current_time() < deadline:
            # Whatever lay in that connection is gone with it, and nobody else is at this key.
            told = await self._try(server, errand, deadline)
        return None if isinstance(told, BackendFailure) else told

    async def run_all(
        self, errands: Sequence[tuple[str, Errand]], patience: float = 0.0
    ) -> list[Told | None]:
        """Have several done at the same time, each by its server; the outcomes in the same order."""
        return await side_by_side(lambda errand: self.run(*errand, patience), errands)

    @asynccontextmanager
    async def fetched(self, server: str, target: bytes) -> AsyncIterator[Told | None]:
        """Read a session by a plain get, and hold its body for as long as the block lasts."""
        told = await self.run(server, get(target), SEARCH_PATIENCE)
        try:
            yield told
        finally:
            if told is not None and told.held:
                self._memory.give_back(told.held)

    async def _try(
        self, server: str, errand: Errand, deadline: float, begun: BegunExchange | None = None
    ) -> Told | BackendFailure:
        sent_at = trio.current_time() if begun is None else begun.sent_at
        failure: BackendFailure | None = None
        member = self._roster.pool.members.get(server)
        if begun is None and (member is None or not member.is_reachable):
            return BackendEjected(server, Phase.CONNECTING, "is not to be asked")
        with trio.move_on_at(deadline) as patience:
            try:
                if begun is None:
                    request = Request(errand.head, errand.body, None, deadline=float("inf"))
                    response = await self._roster.upstreams[server].exchange(request)
                else:
                    response = await begun.finish()
                if response.rest is None:
                    return Told(response.head, response.body, sent_at)
                patience.deadline += response.head.content_length / PACE
                return await self._hold(response, response.rest, sent_at)
            except BackendFailure as error:
                failure = error
        if failure is None:
            failure = BackendNotAtFault(server, Phase.READING, "did not answer in time")
        self._roster.exchange_failed(failure)
        return failure

    async def _hold(self, response: Response, rest: Pieces, sent_at: float) -> Told:
        """Read a long body to its end, once there is memory for it."""
        count, pieces = response.head.content_length, [response.body]
        was_read = False
        try:
            await self._memory.reserve(count)
            try:
                while piece := await rest():
                    pieces.append(piece)
                was_read = True
            finally:
                if not was_read:
                    self._memory.give_back(count)
        finally:
            response.finish(was_read)
        return Told(response.head, b"".join(pieces), sent_at, count)


async def side_by_side(do: Callable[[T], Awaitable[Told | None]], things: Sequence[T]) -> list[Told | None]:
    """Do it for all of these at the same time; the outcomes in the same order."""
    if len(things) < 2:  # the common case by far, and a nursery with one task costs 30 us
        return [await do(each) for each in things]
    outcomes: list[Told | None] = [None] * len(things)

    async def do_one(index: int, thing: T) -> None:
        outcomes[index] = await do(thing)

    async with trio.open_nursery() as nursery:
        for index, thing in enumerate(things):
            nursery.start_soon(do_one, index, thing)
    return outcomes


def get(target: bytes) -> Errand:
    """Read it, if it is not locked."""
    return _errand(Operation.GET, target)


def touch(target: bytes) -> Errand:
    """Is it there? And if so, start its time-out anew."""
    return _errand(Operation.RESET_TIMEOUT, target)


def release(target: bytes, cookie: int) -> Errand:
    """Unlock it, or consume its one-shot flag."""
    return _errand(Operation.RELEASE, target, lock_cookie=cookie)


def remove(target: bytes, cookie: int = 0) -> Errand:
    """Have it gone."""
    return _errand(Operation.REMOVE, target, lock_cookie=cookie)


def put(target: bytes, told: Told) -> Errand:
    """Store what was told by a get, flag and all."""
    operation = Operation.CREATE_UNINITIALIZED if told.head.has_action_flags else Operation.SET
    minutes = told.head.timeout_minutes
    timeout = DEFAULT_TIMEOUT_MINUTES if minutes is None else minutes
    return _errand(operation, target, timeout_minutes=timeout, lock_cookie=0, body=told.body)


def _errand(
    operation: Operation,
    target: bytes,
    *,
    timeout_minutes: int | None = None,
    lock_cookie: int | None = None,
    body: bytes = b"",
) -> Errand:
    written = write_request(
        operation, target, timeout_minutes=timeout_minutes, lock_cookie=lock_cookie, body=body
    )
    raw = written[: len(written) - len(body)]
    return Errand(RequestHead(raw, operation, target, len(body), timeout_minutes, lock_cookie), body)
