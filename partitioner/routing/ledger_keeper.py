"""Keeps the ledger true: turns what happens to connections and backends into marks, and marks into repairs.

The ledger itself is pure and knows no connections; this is the one place where both meet.
"""

import heapq
import re
from collections.abc import Container

import trio

from partitioner.membership.backend import BackendId
from partitioner.membership.entry import LONGEST_PAGE, WRITE, Lock
from partitioner.membership.exchange import RULES
from partitioner.membership.health import HealthRecord
from partitioner.membership.ledger import Ledger
from partitioner.membership.pool import ActingSet, Pool
from partitioner.placement.session_id import HashKey, SessionRef, SessionRefs, placement_key
from partitioner.protocol.messages import AnswerHead
from partitioner.protocol.target import canonical_form, server_key
from partitioner.routing.internal_requests import BackendReply
from partitioner.routing.roster import Roster
from partitioner.transport.backend_exchange import Lease

LOCK_AGE = re.compile(rb"\r\nLockAge: ?([0-9]+)\r\n")


FIRST_RETRY_PAUSE, LONGEST_RETRY_PAUSE = 1.0, 30.0
"""Seconds until a repair is retried; then twice as long each time, up to the longest."""


class RepairQueue:
    """The keys that wait for repair, and when each is due."""

    def __init__(self) -> None:
        self._wanted: dict[bytes, tuple[float, float]] = {}  # when to try, and the pause after that
        self._due: list[tuple[float, bytes]] = []  # a heap; what is not in `_wanted` at that time is old
        self._is_wanted = trio.Event()

    def __len__(self) -> int:
        return len(self._wanted)

    def want(self, key: bytes) -> None:
        """Have a key repaired soon."""
        self._schedule(key, trio.current_time(), FIRST_RETRY_PAUSE)

    def retry_later(self, key: bytes, pause: float) -> None:
        """Retry a repair after this pause, unless its key is wanted sooner."""
        if key not in self._wanted:
            self._schedule(key, trio.current_time() + pause, min(2 * pause, LONGEST_RETRY_PAUSE))

    def maybe_next(self) -> tuple[bytes, float] | None:
        """Take a key that is due out of the queue, with the pause before its retry."""
        while self._due and self._due[0][0] <= trio.current_time():
            when, key = heapq.heappop(self._due)
            if key in self._wanted and self._wanted[key][0] == when:
                return key, self._wanted.pop(key)[1]
        return None

    async def wait(self) -> None:
        """Wait until a key may be due."""
        with trio.move_on_at(self._due[0][0] if self._due else float("inf")):
            await self._is_wanted.wait()
        self._is_wanted = trio.Event()

    def _schedule(self, key: bytes, when: float, pause: float) -> None:
        known = self._wanted.get(key)
        if known is not None and known[0] <= when:
            return
        self._wanted[key] = (when, pause)
        heapq.heappush(self._due, (when, key))
        self._is_wanted.set()


class LedgerKeeper:
    """Hears what becomes of connections and backends, and keeps the ledger."""

    def __init__(self, ledger: Ledger, roster: Roster, hash_key: HashKey) -> None:
        self.ledger = ledger
        self._roster = roster
        self._hash_key = hash_key
        self._sessions = SessionRefs(hash_key)
        self.repairs = RepairQueue()
        roster.listeners.append(self._backend_changed)
        roster.movers.append(self._backend_moved)

    # --- connections: what an upstream reports ---

    def went_unanswered(self, lease: Lease) -> None:
        """A request may be carried out, now or later, without an answer."""
        head, server = lease.request, lease.backend.identity
        reason = RULES[head.operation].leaves
        if reason is not None and server in self._roster.pool.members:
            key = server_key(head.target)
            self.ledger.note_unanswered(key, head.target, server, trio.current_time(), reason=reason)
            self._keep_within_bound()

    def was_worked_off(self, lease: Lease) -> None:
        """Nothing of that request lies in its connection any more."""
        head, server = lease.request, lease.backend.identity
        if RULES[head.operation].leaves is None or not self._is_same_incarnation(server, lease.incarnation):
            return
        key = server_key(head.target)
        self.ledger.note_worked_off(key, server, trio.current_time())
        self.want_repair(key)

    # --- keys: what exchanges report ---

    def mark(self, session: SessionRef, server: BackendId, *, is_stale: bool, reason: str = WRITE) -> None:
        """From now on this server is not read for this key; it is put right as soon as may be.

        One that was forgotten meanwhile is in doubt as a whole, should it ever come back.
        """
        if server not in self._roster.pool.members:
            return
        key, now = session.key, trio.current_time()
        self.ledger.mark(key, session.target, server, now, is_stale=is_stale, reason=reason)
        self.want_repair(key)
        self._keep_within_bound()

    def note_read_in_doubt(self, session: SessionRef, server: BackendId, reply: BackendReply | None) -> None:
        """A server was asked for a session that it may have to serve although it may lack a change of it.

        Where that was so and it has the session, the time-out of what may be stale begins anew there. It does
        as well where the server is marked for the session, and in doubt no more.
        """
        member = self._roster.pool.members.get(server)
        is_in_doubt = member is not None and member.is_recovering and not self.ledger.is_agreed(session.key)
        if not is_in_doubt and server not in self.ledger.marks(session.key):
            return
        if reply is None or reply.status not in (200, 423):
            return
        self.ledger.note_read_in_doubt(session.key, session.target, server, trio.current_time())
        if reply.status == 200:  # nothing can be repaired under a lock
            self.want_repair(session.key)
        self._keep_within_bound()

    def want_repair(self, key: bytes) -> None:
        """Have a key repaired soon."""
        self.repairs.want(key)

    def session_of(self, target: bytes) -> SessionRef:
        """The session that a request for this target is about."""
        return self._sessions.of(target)

    def placement_of(self, key: bytes) -> bytes:
        """What of this key decides where its session is placed."""
        return placement_key(canonical_form(key), self._hash_key)

    def is_settled(self, session: SessionRef) -> bool:
        """Whether a session lies where it belongs, and nowhere else."""
        unchanged = self._roster.pool.unchanged_since(session.placement)
        return self.ledger.is_settled(session.key, unchanged, trio.current_time())

    def can_reach(self, lock: Lock, key: bytes) -> bool:
        """Whether the server of a lock can be spoken to, in the incarnation in which it granted it."""
        member = self._roster.pool.members.get(lock.server)
        if member is None or member.record.incarnation != lock.incarnation:
            return False
        return member.is_readable or (member.is_recovering and self.ledger.is_agreed(key))

    def acting_set(
        self, pool: Pool, session: SessionRef, marks: Container[BackendId] = ()
    ) -> ActingSet | None:
        """Who acts for a key in this pool, those that are marked apart; None if no server can."""
        return pool.acting_set(session.placement, marks, is_agreed=self.ledger.is_agreed(session.key))

    def may_be_anothers(self, lock: AnswerHead, sent_at: float) -> bool:
        """Whether a lock that a server shows may be held by a page that a router before this one has served.

        Within the time that a page may run after a claim, no lock is released unless it is
        younger than the request that met it (design.md 5.5.10). `sent_at` is when that was sent.
        """
        now, before = trio.current_time(), self._roster.unknown_locks_before
        if now >= before + LONGEST_PAGE:
            return False
        age = LOCK_AGE.search(lock.raw)
        return age is None or int(age[1]) > now - sent_at

    # --- backends: what the roster reports ---

    def _backend_changed(self, server: BackendId, before: HealthRecord, record: HealthRecord) -> None:
        if (
            None not in (record.incarnation, before.served_incarnation)
            and record.incarnation != before.served_incarnation
        ):
            self.ledger.unmark_all(server)  # an empty incarnation: there is nothing on it that could be wrong
        if record.answers and not before.answers:
            self.ledger.note_answers_again(server, trio.current_time())
            for key in self.ledger.keys_marked_on(server):
                self.want_repair(key)

    def _backend_moved(self, entry: BackendId, known: BackendId | None) -> None:
        """What an entry lacked its memory lacks, unless that was reached all the time."""
        if known is None:
            self.ledger.unmark_all(entry)
            return
        for key in self.ledger.move_marks(entry, known, trio.current_time()):
            self.want_repair(key)

    def _is_same_incarnation(self, server: BackendId, incarnation: bytes) -> bool:
        member = self._roster.pool.members.get(server)
        return member is not None and member.record.incarnation in (incarnation, None)

    def _keep_within_bound(self) -> None:
        """Beyond the bound a server goes without its marks, and is not read at all for a while."""
        while self.ledger.is_over_its_bound and (server := self.ledger.most_marked) is not None:
            self.ledger.unmark_all(server)
            self._roster.suspect(server)
