"""Gives locks back whose answers did not reach their clients; no page would release them for 110 s."""

import trio

from partitioner.membership.entry import Lock
from partitioner.placement.session_id import SessionRef
from partitioner.routing.internal_requests import InternalRequests, release
from partitioner.routing.key_gate import KeyGate
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.roster import Roster
from partitioner.transport.observer import Observer


class UndeliveredLocks:
    """Releases locks in the background, behind the gate of their sessions."""

    def __init__(
        self,
        roster: Roster,
        ledger_keeper: LedgerKeeper,
        gate: KeyGate,
        internal_requests: InternalRequests,
        observer: Observer,
        background: trio.Nursery,
    ) -> None:
        """`background` outlives every exchange."""
        self._roster = roster
        self._ledger_keeper = ledger_keeper
        self._ledger = ledger_keeper.ledger
        self._gate = gate
        self._internal_requests = internal_requests
        self._observer = observer
        self._background = background
        self._giving_back = 0
        self._all_given_back = trio.Event()

    @property
    def is_giving_back(self) -> bool:
        """Whether a lock is being given back."""
        return self._giving_back > 0

    async def wait_until_given_back(self) -> None:
        """Wait until no lock is being given back."""
        while self._giving_back:
            await self._all_given_back.wait()

    def give_back_soon(self, session: SessionRef) -> None:
        """Have a lock released that did not reach its client, and then leave the gate."""
        lock = self._ledger.maybe_lock(session.key, trio.current_time())
        if lock is None:
            self._gate.leave(session.key)
            return
        self._giving_back += 1
        self._background.start_soon(self._give_back, session, lock)

    def give_back_behind_the_gate(self, session: SessionRef) -> None:
        """The same where the gate was left meanwhile: it is entered first."""
        self._background.start_soon(self._enter_and_give_back, session)

    async def _enter_and_give_back(self, session: SessionRef) -> None:
        lock = self._ledger.maybe_lock(session.key, trio.current_time())
        await self._gate.enter(session.key)
        if lock is not None and self._ledger.maybe_lock(session.key, trio.current_time()) == lock:
            self.give_back_soon(session)
        else:
            self._gate.leave(session.key)  # another request has ended it

    async def _give_back(self, session: SessionRef, lock: Lock) -> None:
        """Release a lock at its server; mark the server where it cannot be asked."""
        try:
            self._ledger.end_lock(session.key)
            member = self._roster.pool.members.get(lock.server)
            if member is None:
                return  # its server has been forgotten meanwhile
            backend_reply = await self._internal_requests.run(
                lock.server, release(session.target, lock.cookie)
            )
            if backend_reply is not None and backend_reply.status == 200:
                self._observer.ghost_lock_released(member.backend)
            elif backend_reply is None or backend_reply.status == 400:
                # Repair finds out whether the lock is still there, as soon as the server can be asked.
                self._ledger_keeper.mark(session, lock.server, is_stale=False)
                self._observer.ghost_lock_left(member.backend, "it could not be asked to release it")
        finally:
            self._gate.leave(session.key)
            self._giving_back -= 1
            if not self._giving_back:
                self._all_given_back.set()
                self._all_given_back = trio.Event()
