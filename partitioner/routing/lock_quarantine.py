"""Asks other servers for locks that a router before this one may have granted there (design.md 5.2.6)."""

from partitioner.errors import NoBackendLeft
from partitioner.membership.backend import BackendId
from partitioner.membership.quarantine import Quarantine
from partitioner.placement.session_id import SessionRef
from partitioner.protocol.messages import Operation
from partitioner.routing.internal_requests import BackendReply, InternalRequests, release
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.roster import Roster
from partitioner.routing.tenure import Tenure
from partitioner.transport.messages import Response


class LockQuarantine:
    """The waiting side of a `Quarantine`. While there is none, its methods do nothing."""

    def __init__(
        self,
        tenure: Tenure | None,
        roster: Roster,
        ledger_keeper: LedgerKeeper,
        internal_requests: InternalRequests,
    ) -> None:
        self._tenure = tenure
        self._roster = roster
        self._ledger_keeper = ledger_keeper
        self._internal_requests = internal_requests

    def _quarantine(self) -> Quarantine | None:
        return None if self._tenure is None else self._tenure.maybe_quarantine()

    def note_answered(self, key: bytes) -> None:
        """An answer has shown that no lock from before is left on this key."""
        quarantine = self._quarantine()
        if quarantine is not None:
            quarantine.note_answered(key)

    async def maybe_refusal(self, operation: Operation, session: SessionRef) -> Response | None:
        """The 423 of a server that holds a lock of the router before this one; None if there is none.

        Raises NoBackendLeft where a server that may hold one cannot be asked.
        """
        quarantine = self._quarantine()
        if quarantine is None or operation not in (Operation.GET, Operation.ACQUIRE):
            return None
        if quarantine.is_answered(session.key):
            return None
        pool = self._roster.pool
        acting = self._ledger_keeper.acting_set(pool, session, self._ledger_keeper.ledger.marks(session.key))
        for server, token in quarantine.candidates(session.placement).items():
            member = pool.members.get(server)
            if member is None or not member.is_reachable or token != member.record.incarnation:
                name = pool.name_of(server)
                raise NoBackendLeft(f"{name} may hold a lock of the router before this one, and is away")
            if acting is not None and server == acting.primary:
                continue
            async with self._internal_requests.fetched(server, session.target) as backend_reply:
                self._ledger_keeper.note_read_in_doubt(session, server, backend_reply)
                if backend_reply is None:
                    name = pool.name_of(server)
                    raise NoBackendLeft(f"{name} may hold a lock of the router before this one")
                if backend_reply.status == 423:
                    return Response(backend_reply.head, backend_reply.body)
        return None

    async def confirm_refusal(self, session: SessionRef, cookie: int | None, server: BackendId) -> None:
        """See whether a page that this server refuses, because of another lock, holds one on another server.

        A server may show a lock that nobody was told of; the router that knew is gone, and which lock was
        granted later cannot be told. A page that is closed fails loudly; to one that is refused its save is
        lost without a word.

        Raises NoBackendLeft where another server shows the lock of this page, or cannot be asked.
        """
        quarantine = self._quarantine()
        if quarantine is None or quarantine.is_answered(session.key) or not cookie:
            return
        for other in quarantine.candidates(session.placement):
            if other == server:
                continue
            async with self._internal_requests.fetched(other, session.target) as reply:
                self._ledger_keeper.note_read_in_doubt(session, other, reply)
                if reply is None or (reply.status == 423 and reply.head.lock_cookie == cookie):
                    raise NoBackendLeft(f"{other} may hold the lock of this page, and {server} another one")

    async def release_elsewhere(
        self, session: SessionRef, cookie: int | None, server: BackendId
    ) -> list[BackendReply]:
        """Release a lock that was granted before this router's time at the other servers that may have it.

        Returns what was replied there.
        """
        quarantine = self._quarantine()
        if quarantine is None or quarantine.is_answered(session.key) or cookie is None:
            return []
        others = [each for each in quarantine.candidates(session.placement) if each != server]
        return await self.release_at(others, session, cookie)

    async def release_at(
        self, servers: list[BackendId], session: SessionRef, cookie: int
    ) -> list[BackendReply]:
        """Release a lock on servers that may lack a change of its session, too; return what was replied."""
        replies = await self._internal_requests.run_all(
            [(each, release(session.target, cookie)) for each in servers]
        )
        for server, reply in zip(servers, replies, strict=True):
            self._ledger_keeper.note_read_in_doubt(session, server, reply)
        return [each for each in replies if each is not None]
