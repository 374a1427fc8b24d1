"""The ledger: what the router has to remember of single sessions, and only while there is need to.

State servers know nothing of each other, so the router has to know two things that none of them can:

- A **lock** was granted, by this server in this incarnation of it. While that server can be reached, every
  request of the key goes there. When it cannot, the router itself is the lock, until the holder's
  page ends or the session's time-out has passed.
- A server is **marked** for a key: it may hold something other than the last acknowledged content or
  lock. It is not read for that key any more until it has been put right.

A mark says two more things. Connections may still be *open* on which something of the key lies that
the server has not worked off; nothing that is sent before the last of them has ended puts it right.
And it is *stale* once an acknowledged change has passed the server by; until then it holds either the
last acknowledged content or what came after it and was never acknowledged, and if no other server has the
session, that is as good as the session.

A server may take an acknowledged save while something older still lies in another connection to it. Its
mark stays, because the older request may be carried out last; but it is not stale any more, and the mark
remembers what was saved. When the connections have ended, the content of the server tells which of the
two came last.

A session may also be declared *lost*, because it can only be on servers that are out of reach. These are
marked, so that it does not come back after its user was told that it does not exist. Nothing is removed
for that, only after the next acknowledged change.

A key with a mark is *unsettled*: it may lie in places where it does not belong. So is a key whose acting set
was another one within T_max, until a write has put it where it belongs (design.md 7.3, 7.4).

In settled times, between two pages of a user, the ledger holds nothing of a session.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace

from xxhash import xxh3_64_intdigest

from partitioner.membership.backend import BackendId
from partitioner.membership.entry import LESSER_REASONS, LONGEST_PAGE, REMOVE, WRITE, Entry, Lock, Mark
from partitioner.membership.eras import UnchangedSince
from partitioner.membership.mark_index import MarkIndex
from partitioner.membership.pool import Pool
from partitioner.membership.settled_keys import SettledKeys

SWEEP_BATCH = 500
"""Keys that are looked at in one go, a fraction of a millisecond."""

_NO_MARKS: Mapping[BackendId, Mark] = {}


@dataclass(frozen=True, slots=True)
class LedgerPolicy:
    """How long sessions may live, and how many keys are remembered. Times are seconds."""

    session_timeout: float = 3600.0  # the shortest T_max
    session_timeout_max: float = 86_400.0  # the longest one
    keys: int = 1_000_000


class Ledger:
    """Locks and marks by key, as protocol.md 4.2 derives it."""

    def __init__(self, policy: LedgerPolicy) -> None:
        self._policy = policy
        self._entries: dict[bytes, Entry] = {}
        self._marked = MarkIndex()
        self._settled = SettledKeys(policy.keys)
        self._agreed: set[bytes] = set()
        self.longest_life = 0.0
        """T_max: how long a session may live untouched, in seconds (design.md 5)."""
        self.note_longest_life(policy.session_timeout)
        self.marks_made = 0  # since the start
        self._locked: dict[bytes, None] = {}  # keys, the oldest lock first

    def __len__(self) -> int:
        return len(self._entries)

    def bound(self, keys: int) -> None:
        """From now on remember something of so many sessions at most."""
        self._policy = replace(self._policy, keys=keys)

    def __repr__(self) -> str:
        return f"<Ledger, {self.locks_held} locks, {self.keys_marked} keys marked>"

    # --- beginning and ending ---

    def clear(self) -> None:
        """Forget all locks and marks: another router knows them now, or none does."""
        self._entries.clear()
        self._marked.clear()
        self._settled.clear()
        self._agreed.clear()
        self._locked.clear()

    def entries(self) -> Iterator[tuple[bytes, Entry]]:
        """All that is remembered, by key: for the next router (membership.legacy)."""
        return iter(self._entries.items())

    def put_back(self, key: bytes, entry: Entry) -> None:
        """Take in what the router before this one has remembered of a key."""
        self._entries[key] = entry
        if entry.lock is not None:
            self._locked[key] = None
        for server, mark in entry.marks.items():
            self._marked.add(server, key)
            self._marked.add_reason(server, mark.reason)
            self._marked.add_lost(server, mark.is_lost)

    def knows(self, key: bytes) -> bool:
        """Whether anything is remembered of this key."""
        return key in self._entries

    def tells_of_a_session(self, key: bytes) -> bool:
        """Whether what is remembered of this key says that its session existed."""
        entry = self._entries.get(key)
        return entry is not None and entry.tells_of_a_session

    # --- time-outs ---

    def note_timeout(self, key: bytes, minutes: int) -> None:
        """A session has this time-out; 0 stands for one that never passes."""
        timeout = _seconds(minutes) or self._policy.session_timeout_max
        if timeout > self.longest_life:
            self.note_longest_life(timeout)
        entry = self._entries.get(key)
        if entry is not None:
            entry.timeout = max(entry.timeout, timeout)

    def note_longest_life(self, timeout: float) -> None:
        """There are sessions that may live so long, in seconds."""
        self.longest_life = min(max(self.longest_life, timeout), self._policy.session_timeout_max)

    # --- settled or not ---

    def is_settled(self, key: bytes, unchanged: UnchangedSince, now: float) -> bool:
        """Whether the key lies where it belongs, and nowhere else.

        `unchanged` is what the pool says of it: for T_max, or since an epoch in which the key was settled,
        its acting set must have been what it is.
        """
        entry = self._entries.get(key)
        if entry is not None and (entry.marks or entry.is_unsettled):
            return False
        if now - unchanged.moment > self.longest_life:
            return True
        return self._settled.is_settled_since(unchanged.epoch, key)

    def note_alive_at(
        self,
        key: bytes,
        server: BackendId,
        incarnation: bytes,
        now: float,
        away: Set[BackendId] = frozenset(),
    ) -> bool:
        """`note_alive`, if this server is to be asked, whatever is remembered of this key.

        So it is where that is a lock on this server in this incarnation of it, or marks of servers that are
        `away` and would not be read anyway; nothing at all is fine as well, where there is room for a lock.
        Returns whether it is so; else nothing was noted.
        """
        entry = self._entries.get(key)
        if entry is None:
            return len(self._locked) < self._policy.keys
        lock = entry.lock
        if entry.marks and not entry.marks.keys() <= away:
            return False
        if lock is None and len(self._locked) >= self._policy.keys:
            return False
        if lock is not None and entry.lock_expires_at < now:
            return False
        if lock is not None and (lock.server != server or lock.incarnation != incarnation):
            return False
        entry.alive_at = now
        entry.lock_expires_at = now + entry.timeout
        return True

    def is_unsettled_time(self, pool: Pool, now: float) -> bool:
        """Whether the acting set of any key was another one within the last T_max."""
        return now - pool.unsettled_since <= self.longest_life

    def note_settled(self, key: bytes, epoch: int, unchanged: UnchangedSince, now: float) -> None:
        """A write or remove that began and ended in this epoch has put the key where it belongs."""
        self.note_repaired(key)
        if not self.is_settled(key, unchanged, now):
            self._settled.note_written(key, epoch)

    def note_absent(self, key: bytes, epoch: int) -> None:
        """A search that began and ended in this epoch has found the session of this key nowhere."""
        self.note_repaired(key)
        self._settled.note_absent(key, epoch)

    def note_whole(self, epoch: int, in_use: Iterable[bytes]) -> None:
        """A walk that began and ended in this epoch has found every session whole, and nothing left over.

        It says nothing of keys that were in use when it began, nor of those that are unsettled at its end.
        """
        unsettled = (key for key, entry in self._entries.items() if entry.is_unsettled)
        self._settled.note_whole(epoch, (*in_use, *unsettled))

    def forget_settled(self, pool: Pool, now: float) -> None:
        """In settled times it need not be remembered which keys were settled before."""
        if self._settled and not self.is_unsettled_time(pool, now):
            self._settled.clear()

    def note_agreed(self, key: bytes) -> None:
        """All servers have agreed about this key, though each of them may lack something."""
        for server, mark in tuple(self.marks(key).items()):
            if mark.is_doubtful:
                self.unmark(key, server)
        self.note_repaired(key)
        if len(self._agreed) < self._policy.keys:
            self._agreed.add(key)

    def is_agreed(self, key: bytes) -> bool:
        """Whether they have, since this router is the active one."""
        return key in self._agreed

    # --- locks ---

    def maybe_lock(self, key: bytes, now: float) -> Lock | None:
        """The lock that is held on this key, if any."""
        entry = self._entries.get(key)
        if entry is None or entry.lock is None:
            return None
        if entry.lock_expires_at < now:
            self.end_lock(key)
            return None
        return entry.lock

    def note_lock(self, key: bytes, target: bytes, lock: Lock, timeout_minutes: int | None) -> None:
        """A lock was granted on a session of this time-out; whatever lock was known before is over."""
        entry = self._entries.get(key)
        if entry is None:
            # Where it is not known how long this session lives, it is taken to live as long as any.
            timeout = _seconds(timeout_minutes) or self.longest_life
            entry = self._entries[key] = Entry(target, timeout)
        elif entry.lock is not None:
            del self._locked[key]  # it has its place by the new one
        entry.lock = lock
        self._locked[key] = None
        entry.lock_expires_at = lock.since + entry.timeout

    def make_room_for_lock(self, key: bytes, now: float) -> bool:
        """Whether a lock of this key could be remembered.

        At the bound the oldest lock is forgotten if web servers would break it by now; it is still held at
        its server.
        """
        if key in self._locked:
            return True
        while len(self._locked) >= self._policy.keys:
            oldest = next(iter(self._locked))
            lock = self._entries[oldest].lock
            assert lock is not None
            if now - lock.since < LONGEST_PAGE:
                return False
            self.end_lock(oldest)
        return True

    def note_alive(self, key: bytes, now: float) -> None:
        """The session was touched, so its time-out begins anew; a lock whose time is over stays so."""
        self.maybe_lock(key, now)
        entry = self._entries.get(key)
        if entry is not None:
            entry.alive_at = now
            entry.lock_expires_at = now + entry.timeout

    def note_served(self, key: bytes, now: float) -> None:
        """A client or a touch was told that the session exists: some server that may be read has it."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.served_at = now

    def end_lock(self, key: bytes) -> None:
        """No page holds the lock of this key any more, as far as is known."""
        entry = self._entries.get(key)
        if entry is not None and entry.lock is not None:
            entry.lock = None
            del self._locked[key]
            if not entry.marks and not entry.is_unsettled:
                del self._entries[key]

    @property
    def locks_held(self) -> int:
        return len(self._locked)

    def locks(self) -> Iterator[tuple[bytes, Lock]]:
        """All locks that are held, by key, the oldest first."""
        for key in self._locked:
            lock = self._entries[key].lock
            assert lock is not None
            yield key, lock

    # --- marks ---

    def marks(self, key: bytes) -> Mapping[BackendId, Mark]:
        """The marks of a key by server."""
        entry = self._entries.get(key)
        return _NO_MARKS if entry is None else entry.marks

    def mark(
        self, key: bytes, target: bytes, server: BackendId, now: float, *, is_stale: bool, reason: str = WRITE
    ) -> Mark:
        """From now on this server is not read for this key; `reason` says what it may lack."""
        entry = self._entry(key, target)
        entry.is_unsettled = True
        entry.alive_at = now
        self._settled.discard(key)
        mark = entry.marks.get(server)
        if mark is None:
            mark = entry.marks[server] = Mark(since=now, reason=reason)
            self.marks_made += 1
            self._marked.add(server, key)
        mark.is_stale = mark.is_stale or is_stale
        mark.is_doubtful = False
        self._note_reason(server, mark, reason)
        return mark

    def _note_passed_by(self, server: BackendId, mark: Mark, reason: str) -> None:
        """A change was acknowledged that a server lacks; one that had nothing has nothing stale now."""
        had_nothing = mark.had_nothing
        mark.is_stale, mark.taken = True, None
        if not had_nothing:
            self._note_reason(server, mark, reason)

    def _note_reason(self, server: BackendId, mark: Mark, reason: str) -> None:
        if mark.reason in LESSER_REASONS:
            mark.reason = reason
        self._marked.add_reason(server, reason)

    def note_read_in_doubt(self, key: bytes, target: bytes, server: BackendId, now: float) -> None:
        """A server in doubt was asked for a session, and has it: its time begins anew there, stale or not.

        When the server is trusted again because time has passed, it is still not read for this key.
        """
        if server not in self.marks(key):
            self.mark(key, target, server, now, is_stale=False).is_doubtful = True
        mark = self.marks(key)[server]
        mark.since = max(mark.since, now)

    def note_unanswered(
        self, key: bytes, target: bytes, server: BackendId, now: float, *, reason: str = WRITE
    ) -> None:
        """A request of this key went unanswered, and its connection has not ended yet."""
        self.mark(key, target, server, now, is_stale=False, reason=reason).open += 1

    def note_worked_off(self, key: bytes, server: BackendId, now: float) -> None:
        """A connection on which a request of this key went unanswered has ended."""
        mark = self.marks(key).get(server)
        if mark is not None and mark.open:
            mark.open -= 1
            mark.since = now

    def note_put_right(self, key: bytes, server: BackendId, sent_at: float) -> bool:
        """A write or remove that was sent then was answered by this server; return whether its mark is gone.

        Only what is sent after the last connection has ended comes after all that lay in them.
        """
        mark = self.marks(key).get(server)
        if mark is None:
            return True
        if mark.open or sent_at < mark.since:
            return False
        self.unmark(key, server)
        return True

    def note_repaired(self, key: bytes) -> None:
        """Repair has put the session where it belongs; without marks it is as settled as any other key."""
        entry = self._entries.get(key)
        if entry is not None and not entry.marks:
            entry.is_unsettled = False
            self._tidy(key, entry)

    def note_saved(self, key: bytes, reached: Iterable[BackendId], content: bytes | None) -> None:
        """A save was acknowledged that reached these servers: what the marked others hold is stale.

        One of these may still be marked, because something older may be carried out there after the save.
        `content` is what was saved, if it is known: it tells later whether that has happened.
        """
        fingerprint = None if content is None else xxh3_64_intdigest(content)
        for server, mark in self.marks(key).items():
            self._note_found_again(server, mark)
            mark.is_doubtful = False
            if server not in reached:
                self._note_passed_by(server, mark, WRITE)
            elif fingerprint is not None:
                mark.is_stale, mark.taken = False, fingerprint

    def note_removed(self, key: bytes) -> None:
        """A remove was acknowledged: whatever the marked servers hold, or come to hold late, is stale."""
        for server, mark in self.marks(key).items():
            self._note_found_again(server, mark)
            mark.is_doubtful = False
            self._note_passed_by(server, mark, REMOVE)

    # --- losses ---

    def note_lost(self, key: bytes, servers: Iterable[BackendId]) -> None:
        """The session of this key was declared lost with these servers, which are marked for it."""
        marks = self.marks(key)
        for server in servers:
            if server in marks and not marks[server].is_lost:
                marks[server].is_lost = True
                self._marked.add_lost(server, 1)

    def is_lost(self, key: bytes) -> bool:
        """Whether the session was declared lost, and nothing was acknowledged since."""
        return any(mark.is_lost for mark in self.marks(key).values())

    def lost_on(self, server: BackendId) -> int:
        """How many keys are marked on this server because their sessions were declared lost."""
        return self._marked.lost_on(server)

    @property
    def keys_lost(self) -> int:
        """How many marks there are of sessions that were declared lost, on all servers together."""
        return self._marked.lost

    def _note_found_again(self, server: BackendId, mark: Mark) -> None:
        if mark.is_lost:
            mark.is_lost = False
            self._marked.add_lost(server, -1)

    def unmark(self, key: bytes, server: BackendId) -> None:
        """The server may be read again for this key."""
        entry = self._entries.get(key)
        if entry is None or server not in entry.marks:
            return
        self._note_found_again(server, entry.marks.pop(server))
        self._marked.discard(server, key)
        self._tidy(key, entry)

    def target(self, key: bytes) -> bytes:
        """How the target of a remembered key is spelt."""
        return self._entries[key].target

    def unmark_all(self, server: BackendId) -> None:
        """Drop all marks of a server that is empty or not read at all.

        Either way the acting sets change of all keys that it held, and these are unsettled by that.
        """
        for key in self.keys_marked_on(server):
            self.unmark(key, server)
            self.note_repaired(key)

    def note_answers_again(self, server: BackendId, now: float) -> None:
        """A server answers that was away. Its clock may have stood still, so its marks' time begins anew."""
        for key in self._marked.keys_on(server):
            mark = self._entries[key].marks[server]
            mark.since = max(mark.since, now)

    def move_marks(self, server: BackendId, other: BackendId, now: float) -> tuple[bytes, ...]:
        """A server has turned out to be another one, which lacks what this one lacks; return the keys."""
        keys = self.keys_marked_on(server)
        for key in keys:
            entry = self._entries[key]
            mark = entry.marks[server]
            self.mark(key, entry.target, other, now, is_stale=mark.is_stale, reason=mark.reason)
            if mark.is_lost:
                self.note_lost(key, [other])
            self.unmark(key, server)
        return keys

    def keys_marked_on(self, server: BackendId) -> tuple[bytes, ...]:
        return tuple(self._marked.keys_on(server))

    def marks_of(self, server: BackendId) -> int:
        """How many keys are marked on this server."""
        return len(self._marked.keys_on(server))

    def reasons(self) -> dict[BackendId, frozenset[str]]:
        """What the servers with marks may lack, by server."""
        return self._marked.reasons()

    @property
    def keys_marked(self) -> int:
        """How many marks there are, on all servers together."""
        return len(self._marked)

    @property
    def most_marked(self) -> BackendId | None:
        """The server with the most marks."""
        return self._marked.most_marked

    @property
    def is_over_its_bound(self) -> bool:
        """Whether more keys are remembered than there may be; then one server has to go without its marks.

        Those with locks are counted apart (`make_room_for_lock`).
        """
        return len(self._entries) - len(self._locked) > self._policy.keys and len(self._marked) > 0

    # --- time passes ---

    def sweep(self, now: float, answering: Container[BackendId]) -> Iterator[None]:
        """Forget locks and marks whose sessions have expired by now; pauses between every few keys.

        Marks of servers that are not `answering` stay: what they hold may not expire meanwhile.
        """
        for index, key in enumerate(tuple(self._entries)):
            if index % SWEEP_BATCH == SWEEP_BATCH - 1:
                yield
            entry = self._entries.get(key)
            if entry is None:
                continue
            if entry.lock is not None and entry.lock_expires_at < now:
                self.end_lock(key)
            for server, mark in tuple(entry.marks.items()):
                if server in answering and entry.mark_has_expired(mark, now):
                    self.unmark(key, server)
            if entry.is_unsettled and not entry.marks and entry.alive_at + entry.timeout < now:
                entry.is_unsettled = False
                self._tidy(key, entry)

    def _entry(self, key: bytes, target: bytes) -> Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry(target, self.longest_life)  # see note_lock
        return entry

    def _tidy(self, key: bytes, entry: Entry) -> None:
        if entry.is_empty:
            self._entries.pop(key, None)


def _seconds(timeout_minutes: int | None) -> float:
    return 60.0 * (timeout_minutes or 0)
