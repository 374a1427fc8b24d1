"""Keeps copies alive: a copy must never expire before its primary.

Every answer that renews the expiry on the primary has to renew it on the copies as well. One HEAD for
each answer would double the traffic, so they are collected: one at once when the last was longer ago
than a twentieth of the session's time-out, otherwise one at the end of that window. A session may
live 5 % longer after a failover than it should, and never shorter (design.md 7.2).

A copy that answers 404 is not there: it is marked, and repair writes it. That is what restores the
number of copies after a failure. A copy that could not be touched is marked as well, and so is, where
there are too few servers for all copies, each of the others: what one that is away has would expire too
early, and so would what one that is recovering has, which is written to and never touched.
"""

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import trio

from partitioner.membership.backend import NO_IDENTITY, BackendId
from partitioner.membership.entry import MISSING
from partitioner.membership.wholeness import touch_window
from partitioner.placement.session_id import SessionRef
from partitioner.routing.internal_requests import InternalRequests, release, side_by_side, touch
from partitioner.routing.key_gate import KeyGate
from partitioner.routing.ledger_keeper import LedgerKeeper
from partitioner.routing.roster import Roster
from partitioner.transport.messages import BegunExchange

AT_ONCE = 16
"""Keys that are touched side by side; others that are due wait, and not each in a task of its own."""


TOGETHER = 0.01
"""Seconds for which touches are collected where they are cheap: waking up for each one would cost more."""

NEXT_LOOK = 0.1
"""Seconds after which to look again at a key that is busy. It may be with a write, which touches as well."""

FEW = 64
"""Looks at keys that are gone which are not worth being swept out."""

PAGE = 1.0
"""Seconds that a page has that has just locked a session, before its copies are touched on its account. Most
pages end before, and with a save; one that is about to come would find its key busy with the touch."""

Shortcut = Callable[[bytes, BackendId], bool]
"""Touches the copies of a target that this server has renewed, if that is an ordinary thing to do."""


@dataclass(slots=True)
class _Key:
    """A key whose copies were touched not long ago."""

    session: SessionRef
    window: float
    touched_at: float  # the copies
    renewed_by: BackendId | None = None  # the server that has been asked since
    look_at: float = 0.0  # when it is looked at again


class ExpirySync:
    """Sends the HEADs that keep copies alive."""

    def __init__(
        self, roster: Roster, ledger_keeper: LedgerKeeper, gate: KeyGate, internal_requests: InternalRequests
    ) -> None:
        self._roster = roster
        self._ledger_keeper = ledger_keeper
        self._gate = gate
        self._internal_requests = internal_requests
        self._keys: dict[bytes, _Key] = {}
        self._due: list[tuple[float, bytes]] = []  # a heap: when to look at which key, if it is still so
        self._is_wanted = trio.Event()
        self._under_way = 0  # touches
        self._touching: trio.Nursery | None = None  # while it runs
        self.shortcuts: list[Shortcut] = []  # of fast paths; the first that takes a touch on has it

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._keys)

    def note_renewed(
        self, session: SessionRef, server: BackendId | None, timeout_minutes: int | None
    ) -> None:
        """An answer has renewed the expiry of a session on this server (None: the router's own answer)."""
        if self._roster.pool.copies < 2 and server is not None:
            return
        known = self._keys.get(session.key)
        if known is None:
            window = touch_window(timeout_minutes)
            self._keys[session.key] = _Key(session, window, float("-inf"), server or NO_IDENTITY)
            self._look_at(session.key, trio.current_time())
        else:
            known.renewed_by = server or NO_IDENTITY
            if timeout_minutes is not None:
                known.window = touch_window(timeout_minutes)

    def note_written(self, session: SessionRef, timeout_minutes: int | None) -> None:
        """A write has reached the copies, and so has renewed their expiry as well."""
        if self._roster.pool.copies < 2:
            return
        now = trio.current_time()
        known = self._keys.get(session.key)
        if known is None:
            window = touch_window(timeout_minutes)
            self._keys[session.key] = _Key(session, window, now)
            self._look_at(session.key, now + window)
        else:
            known.touched_at = now
            known.renewed_by = None

    def note_removed(self, session: SessionRef) -> None:
        """The session is gone, and with it what is remembered of it."""
        self._keys.pop(session.key, None)

    async def consume_flag(self, session: SessionRef, consumed_by: BackendId) -> None:
        """One server has handed out the one-shot flag of a new session: consume it on the others too.

        A copy is told by a release (protocol.md 6, row 9). One that does not answer is marked, and so is one
        of the session's servers that is in doubt or away: repair writes the session there again, without it.
        """
        pool, marks = self._roster.pool, self._ledger_keeper.ledger.marks(session.key)
        acting = self._ledger_keeper.acting_set(pool, session, marks)
        if acting is None:
            return
        told = dict.fromkeys((acting.primary, *acting.copies))
        others = dict.fromkeys((*told, *pool.homes(session.placement)))
        due = [each for each in others if each != consumed_by and each not in marks]
        asked = [each for each in due if each in told]
        replies = await self._internal_requests.run_all(
            [(each, release(session.target, 0)) for each in asked]
        )
        has_answered = {each for each, reply in zip(asked, replies, strict=True) if reply is not None}
        self._mark_flagged(session, [each for each in due if each not in has_answered])

    def _mark_flagged(self, session: SessionRef, servers: Iterable[BackendId]) -> None:
        """What these have of the session is current, but for the flag that they may still have."""
        for server in servers:
            self._mark(session, server, is_missing=False)

    async def run(self) -> None:
        """Touch what is due, for as long as the router runs."""
        async with trio.open_nursery() as self._touching:
            while True:
                now = trio.current_time()
                while self._due and self._due[0][0] <= now and self._under_way < AT_ONCE:
                    when, key = heapq.heappop(self._due)
                    if key in self._keys and self._keys[key].look_at == when:
                        self._take_up(key, now, self._touching)
                is_waiting_for_time = self._due and self._under_way < AT_ONCE
                wake_at = self._due[0][0] if is_waiting_for_time else float("inf")
                with trio.move_on_at(wake_at):
                    await self._is_wanted.wait()
                self._is_wanted = trio.Event()
                if self.shortcuts:
                    await trio.sleep(TOGETHER)

    def _take_up(self, key: bytes, now: float, touching: trio.Nursery) -> None:
        known = self._keys[key]
        if known.renewed_by is not None:
            if self.shortcuts and (again_at := self._maybe_later(key, now)) is not None:
                self._look_at(key, again_at)
                return
            renewed_by, known.renewed_by, known.touched_at = known.renewed_by, None, now
            self._look_at(key, now + known.window)
            if any(shortcut(known.session.target, renewed_by) for shortcut in self.shortcuts):
                return
            self._under_way += 1
            touching.start_soon(self._touch, known.session, renewed_by)
        elif now < known.touched_at + known.window:
            self._look_at(key, known.touched_at + known.window)
        else:
            del self._keys[key]

    def _maybe_later(self, key: bytes, now: float) -> float | None:
        """When to look again at a key that is just being worked at; None if it is not."""
        lock = self._ledger_keeper.ledger.maybe_lock(key, now)
        if lock is not None and now < lock.since + PAGE:
            return lock.since + PAGE
        return None if self._gate.is_free(key) else now + NEXT_LOOK

    def _look_at(self, key: bytes, when: float) -> None:
        self._keys[key].look_at = when
        if len(self._due) > 2 * len(self._keys) + FEW:  # most are of keys that have been removed since
            self._due = [(known.look_at, each) for each, known in self._keys.items()]
            heapq.heapify(self._due)
            self._is_wanted.set()
            return
        heapq.heappush(self._due, (when, key))
        if self._due[0][1] is key:
            self._is_wanted.set()

    def go_on(
        self, session: SessionRef, renewed_by: BackendId, begun: Mapping[BackendId, BegunExchange]
    ) -> None:
        """The fast path has begun with a touch of these servers, and is behind the gate."""
        assert self._touching is not None  # or the fast path would not have begun
        self._touching.start_soon(self._finish, session, renewed_by, begun)

    async def _touch(self, session: SessionRef, renewed_by: BackendId) -> None:
        try:
            await self._gate.enter(session.key)
            await self._finish(session, renewed_by, {})
        finally:
            if self._under_way == AT_ONCE:
                self._is_wanted.set()  # what is due has waited for this place
            self._under_way -= 1

    async def _finish(
        self, session: SessionRef, renewed_by: BackendId, begun: Mapping[BackendId, BegunExchange]
    ) -> None:
        """The rest of a touch, behind the gate."""
        try:
            await self._touch_copies(session, renewed_by, begun)
        finally:
            self._gate.leave(session.key)

    async def _touch_copies(
        self, session: SessionRef, renewed_by: BackendId, begun: Mapping[BackendId, BegunExchange]
    ) -> None:
        """Touch every holder of a key but the one that the clients' own requests have touched."""
        key, internal_request = session.key, touch(session.target)
        pool, marks = self._roster.pool, self._ledger_keeper.ledger.marks(key)
        acting = self._ledger_keeper.acting_set(pool, session, marks)
        holders = () if acting is None else (acting.primary, *acting.copies)
        due = [each for each in holders if each != renewed_by and each not in marks]
        servers = tuple(dict.fromkeys((*begun, *due)))
        answers = await side_by_side(
            lambda each: self._internal_requests.run(each, internal_request, begun=begun.get(each)), servers
        )
        if acting is None:
            return
        backend_reply = dict(zip(servers, answers, strict=True))
        # Only who is read now can say that the session exists; it may have been removed since it was renewed.
        is_known_there = renewed_by in holders and renewed_by not in marks
        was_found = any(each is not None and each.status == 200 for each in backend_reply.values())
        is_there = is_known_there or was_found
        if was_found:
            # A copy that lacks it stays marked, even if no client is told of it for longer than it lives.
            self._ledger_keeper.ledger.note_served(key, trio.current_time())
        for server in due:
            answer = backend_reply[server]
            if answer is not None and answer.status == 404 and is_there:
                self._mark(session, server, is_missing=True)
            elif answer is None and server != acting.primary:
                self._mark(session, server, is_missing=False)
        if len(acting.copies) < pool.copies - 1:
            for server in pool.members:
                if server not in pool.ready or server in marks or server in holders:
                    continue
                self._mark(session, server, is_missing=False)

    def _mark(self, session: SessionRef, server: BackendId, *, is_missing: bool) -> None:
        """A copy is missing, or will expire too early: have it written again, time-out and all."""
        self._ledger_keeper.mark(session, server, is_stale=is_missing, reason=MISSING)
