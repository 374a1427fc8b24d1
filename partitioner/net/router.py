"""The router as a responder: which backend a request goes to, and what to do when that fails.

The await lane: every exchange is straight-line code, and this file is the definition of what is
right. It decides nothing itself; it asks the pool who serves, and the failover table what next.
"""

from dataclasses import dataclass, replace

import trio

from partitioner.errors import BackendFailure, MalformedRequest, NoBackendLeft, Phase
from partitioner.membership.backend import Backend
from partitioner.membership.failover import Verdict, verdict
from partitioner.membership.losses import LostSessions
from partitioner.membership.pool import Pool
from partitioner.net.canary import CANARIES
from partitioner.net.responder import Request, Response
from partitioner.net.roster import Roster
from partitioner.placement.session_id import HashKey, placement_key
from partitioner.protocol.target import canonical_key

RETRY_PAUSE = 0.1
"""Seconds to wait before connecting again where nothing was sent yet, unless the pool changes sooner."""


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """How sessions are placed, and what becomes of those whose server is out."""

    hash_key: HashKey
    lost_sessions: LostSessions


class Router:
    """Sends each request to the acting primary of its session."""

    def __init__(self, roster: Roster, policy: RoutingPolicy) -> None:
        self._roster = roster
        self._policy = policy

    async def respond(self, request: Request) -> Response:
        """Have the request answered by its backend; this is a Responder.

        Raises NoBackendLeft or BackendFailure: the client's connection is to be closed then; or
        MalformedRequest for a key that is none of a client's business.
        """
        canonical = canonical_key(request.head.target)
        if canonical.startswith(CANARIES.encode()):
            raise MalformedRequest("a key that is kept for canaries")
        key = placement_key(canonical, self._policy.hash_key)
        sendings = 0
        while True:
            pool = self._roster.pool
            backend = self._acting_primary(pool, key)
            if backend.name not in pool.eligible:
                await self._wait_until_known(backend, request.deadline)
                continue
            try:
                response = await self._roster.upstreams[backend.name].exchange(request)
            except BackendFailure as failure:
                self._roster.exchange_failed(failure)
                sendings += failure.phase is not Phase.CONNECTING
                is_late = trio.current_time() + RETRY_PAUSE > request.deadline
                if is_late or not _may_be_repeated(request, failure, sendings):
                    raise
                # Nothing has changed yet: give it a moment before connecting again.
                needs_pause = failure.phase is Phase.CONNECTING and self._roster.pool.epoch == pool.epoch
            else:
                return self._report_its_rest(response)
            if needs_pause:
                with trio.move_on_after(RETRY_PAUSE):
                    await self._roster.wait_for_change()

    async def _wait_until_known(self, backend: Backend, deadline: float) -> None:
        """At the router's start: wait for the verdict on a backend of which nothing is known yet."""
        with trio.move_on_at(deadline) as waiting:
            await self._roster.wait_for_change()
        if waiting.cancelled_caught:
            raise NoBackendLeft(f"nothing is known of {backend.name} yet")

    def _report_its_rest(self, response: Response) -> Response:
        """Have it reported if the backend fails in the middle of a streamed answer."""
        rest = response.rest
        if rest is None:
            return response

        async def watched() -> bytes:
            try:
                return await rest()
            except BackendFailure as failure:
                self._roster.exchange_failed(failure)
                raise

        return replace(response, rest=watched)

    def _acting_primary(self, pool: Pool, key: bytes) -> Backend:
        backend = pool.acting_primary(key)
        if backend is None:
            raise NoBackendLeft("no backend is up")
        if self._policy.lost_sessions is LostSessions.CLOSE and backend != (owner := pool.first_choice(key)):
            raise NoBackendLeft(f"{owner.name} is out, and lost_sessions is 'close'")
        return backend


def _may_be_repeated(request: Request, failure: BackendFailure, sendings: int) -> bool:
    """Whether the table allows another try, and the request is still here to be sent."""
    if verdict(request.head.operation, failure.phase, sendings) is Verdict.GIVE_UP:
        return False
    return request.is_whole or failure.phase is Phase.CONNECTING
