"""Declares sessions lost that can only be on servers that are out of reach.

Where only servers that are out of reach can have a session, its client is told after a while that it does
not exist. Whether it ever did is not known: an ID that was never stored looks the same. So that is
reported as a *loss* only where something says that there was a session: the ledger, or an era in which it
was kept on none but the silent servers. A loss marks them, and nothing else happens to what servers hold:
leftovers are removed after the next write, never on a suspicion.
"""

import trio

from partitioner.errors import NoBackendLeft
from partitioner.membership.backend import BackendId
from partitioner.membership.losses import (
    LossPolicy,
    LossReason,
    LostSessions,
    lay_only_on,
    main_reason,
    maybe_loss,
)
from partitioner.placement.session_id import SessionRef
from partitioner.protocol.messages import Operation
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.roster import Roster
from partitioner.transport.observer import Observer

DECLARE_LOSSES = frozenset({Operation.GET, Operation.ACQUIRE, Operation.CREATE_UNINITIALIZED})
"""Operations upon which a session may be declared lost: their clients begin a new one then."""


class Losses:
    """Says whether a session that cannot be asked for counts as lost."""

    def __init__(
        self, policy: LossPolicy, roster: Roster, ledger_keeper: LedgerKeeper, observer: Observer
    ) -> None:
        self.policy = policy
        self._roster = roster
        self._ledger_keeper = ledger_keeper
        self._observer = observer

    def give_up(self, missed: SessionRef, silent: tuple[BackendId, ...], operation: Operation | None) -> None:
        """Take a session that only these servers may have for one that does not exist.

        Reads their state and does not wait, so nothing changes between this and the answer.

        If there was a session, it is lost: these servers are marked, so that it never comes back, and the
        loss is reported. Else nothing is known that could come back: in every era in which the router saw the
        session's servers, one of them was asked just now. Should a silent server hold the session all the
        same (it was saved there alone before the router's start), then it comes back only as long as nothing
        newer exists. The next save, create or remove of an unsettled key goes to all possible holders and
        marks those that are out of reach (Replicator.spread). To mark them now would let clients fill the
        ledger with IDs that they have made up.

        Raises NoBackendLeft where it may not be said that the session does not exist.
        """
        reason = self._reason_of_loss(missed.key, silent, operation)
        ledger = self._ledger_keeper.ledger
        existed = ledger.tells_of_a_session(missed.key)
        if not existed and not lay_only_on(silent, missed.placement, self._roster.pool):
            return
        for server in silent:
            self._ledger_keeper.mark(missed, server, is_stale=True)
        ledger.note_lost(missed.key, silent)
        assert operation is not None
        self._observer.loss_declared(operation, self._names(silent), reason)

    def _reason_of_loss(
        self, key: bytes, silent: tuple[BackendId, ...], operation: Operation | None
    ) -> LossReason:
        """Why what only these servers have may be declared lost.

        Raises NoBackendLeft while that may not be done.
        """
        who = ", ".join(self._names(silent))
        if operation not in DECLARE_LOSSES:
            raise NoBackendLeft(f"{who} cannot be asked for the session")
        if self.policy.lost_sessions is LostSessions.CLOSE:
            raise NoBackendLeft(f"{who} cannot be asked, and lost_sessions is 'close'")
        members, now = self._roster.pool.members, trio.current_time()
        reasons: list[LossReason] = []
        for each in silent:
            reason = maybe_loss(members.get(each), now, self.policy.lost_after)
            mark = self._ledger_keeper.ledger.marks(key).get(each)
            if mark is not None and mark.is_doubtful and now - mark.since >= self.policy.lost_after:
                reason = reason or LossReason.RECOVERING
            if reason is None:
                name = self._roster.pool.name_of(each)
                raise NoBackendLeft(f"{name} cannot be asked for the session just now")
            reasons.append(reason)
        return main_reason(reasons)

    def _names(self, servers: tuple[BackendId, ...]) -> tuple[str, ...]:
        """How the configuration calls these servers."""
        return tuple(self._roster.pool.name_of(each) for each in servers)
