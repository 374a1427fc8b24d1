"""Keeps the ledger true: turns what happens to connections and backends into marks, and marks into repairs.

The ledger itself is pure and knows no connections; this is the one place where both meet.
"""

from collections.abc import Callable

import trio

from partitioner.membership.health import HealthRecord
from partitioner.membership.ledger import Ledger, Lock
from partitioner.net.lease import Lease
from partitioner.net.roster import Roster
from partitioner.placement.session_id import HashKey, placement_key
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import canonical_form, server_key

LEAVES_TRACES = frozenset(
    {
        Operation.ACQUIRE,
        Operation.RELEASE,
        Operation.SET,
        Operation.CREATE_UNINITIALIZED,
        Operation.REMOVE,
    }
)
"""Operations after which a session is not what it was: content, lock, or whether it is there."""


class Bookkeeper:
    """Hears what becomes of connections and backends, and keeps the ledger."""

    def __init__(self, ledger: Ledger, roster: Roster, hash_key: HashKey) -> None:
        self.ledger = ledger
        self._roster = roster
        self._hash_key = hash_key
        self.want_repair: Callable[[bytes], None] = lambda key: None
        roster.listeners.append(self._backend_changed)

    # --- connections: what an upstream reports ---

    def went_unanswered(self, lease: Lease) -> None:
        """A request may be carried out, now or later, and nobody will hear of it."""
        head, server = lease.request, lease.backend.identity
        if head.operation in LEAVES_TRACES and server in self._roster.pool.members:
            key = server_key(head.target)
            self.ledger.note_unanswered(key, head.target, server, trio.current_time())
            self._keep_within_bound()

    def was_worked_off(self, lease: Lease) -> None:
        """Nothing of that request lies in its connection any more."""
        head, server = lease.request, lease.backend.identity
        if head.operation not in LEAVES_TRACES or not self._is_same_life(server, lease.life):
            return
        key = server_key(head.target)
        self.ledger.note_worked_off(key, server, trio.current_time())
        self.want_repair(key)

    # --- keys: what exchanges report ---

    def mark(self, key: bytes, target: bytes, server: str, *, is_stale: bool) -> None:
        """From now on this server is not read for this key; it is put right as soon as may be."""
        self.ledger.mark(key, target, server, trio.current_time(), is_stale=is_stale)
        self.want_repair(key)
        self._keep_within_bound()

    def placement_of(self, key: bytes) -> bytes:
        """What of this key decides where its session is placed."""
        return placement_key(canonical_form(key), self._hash_key)

    def can_reach(self, lock: Lock) -> bool:
        """Whether the server of a lock can be spoken to, in the life in which it granted it."""
        member = self._roster.pool.members.get(lock.server)
        return member is not None and member.is_readable and member.record.life == lock.life

    # --- backends: what the roster reports ---

    def _backend_changed(self, server: str, before: HealthRecord, record: HealthRecord) -> None:
        if None not in (record.life, before.served_life) and record.life != before.served_life:
            self.ledger.unmark_all(server)  # an empty life: there is nothing on it that could be wrong
        if record.answers and not before.answers:
            for key in self.ledger.keys_marked_on(server):
                self.want_repair(key)

    def _is_same_life(self, server: str, life: bytes) -> bool:
        member = self._roster.pool.members.get(server)
        return member is not None and member.record.life in (life, None)

    def _keep_within_bound(self) -> None:
        """Beyond the bound a server goes without its marks, and is not read at all for a while."""
        while self.ledger.is_over_its_bound and (server := self.ledger.most_marked) is not None:
            self.ledger.unmark_all(server)
            self._roster.cast_doubt(server)
