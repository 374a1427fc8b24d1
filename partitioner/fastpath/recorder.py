"""What the fast path looks up and writes down for an exchange, in the ledger, gate and expiry sync that both
paths share.

It is what routing.router does for an exchange that goes as it should, in the same order, with the same gate,
ledger and expiry sync. Whatever else there would be to do makes an exchange out of the ordinary.
"""

from partitioner.fastpath.connections import BackendConnection, Client, Route
from partitioner.membership.exchange import EFFECTS, RULES, Finish, admit, finish
from partitioner.membership.ledger import Lock
from partitioner.protocol.messages import Operation
from partitioner.protocol.ordinary import AnswerFrame
from partitioner.routing.core import RouterCore
from partitioner.transport.client_connection import SLOW

# Looking up a member of an Enum takes a quarter of a microsecond, each time.
_SET, _REMOVE, _RESET_TIMEOUT = Operation.SET, Operation.REMOVE, Operation.RESET_TIMEOUT

_ON_SUCCESS = {operation: EFFECTS[operation, 200] for operation in Operation}

_MOST_TIMEOUTS = 64


class ExchangeRecorder:
    """Gate, ledger and expiry sync, as an ordinary exchange needs them."""

    def __init__(self, core: RouterCore) -> None:
        self._core = core
        self._roster = core.roster
        self._ledger = core.ledger
        self._gate = core.gate
        self._expiry_sync = core.expiry_sync
        self._observer = core.observer
        self._beats = None if core.tenure is None else core.tenure.authority.beats
        self._timeouts: dict[bytes, int] = {}  # that have been noted, in minutes, as they are written

    def admit(self, operation: Operation, route: Route, link: BackendConnection, now: float) -> bool:
        """Begin with an exchange, if nothing that is remembered of its key speaks against it."""
        key = route.key
        if self._beats is not None and not self._is_settled_for_heirs(operation, key):
            return False
        if route.copies is None and RULES[operation].is_write:
            return False
        unchanged = route.unchanged
        if not admit(self._ledger, unchanged, operation, key, route.server, link.incarnation, now):
            return False
        return self._gate.enter_at_once(key)

    def _is_settled_for_heirs(self, operation: Operation, key: bytes) -> bool:
        """Whether neither the router before this one nor the next one makes this exchange a special one."""
        tenure = self._core.tenure
        assert tenure is not None
        if operation is _REMOVE and self._roster.pool.dirty:
            return False
        quarantine = tenure.quarantine
        if quarantine is None or operation is _SET or operation is _REMOVE or operation is _RESET_TIMEOUT:
            return True
        return quarantine.is_answered(key) or tenure.maybe_quarantine() is None

    def record(self, client: Client, link: BackendConnection, answer: AnswerFrame, now: float) -> bool:
        """Remember what a success says, if the slow path would do nothing more about it; else nothing.

        That is a lock and its end, a time-out, and that the session was touched.
        """
        _, size, cookie, minutes = answer
        operation, route, ledger = client.operation, client.route, self._ledger
        assert route is not None
        key, effects = route.key, _ON_SUCCESS[operation]
        if effects.spreads:
            if cookie is not None or not self._is_still_settled(client):
                return False
            ledger.end_lock(key)
            self._note_answered(key)
            return True
        if (cookie is None) is effects.grants_lock:
            return False
        if operation is _RESET_TIMEOUT and size:
            return False  # there is no body, whatever the head says
        timeout = None
        if effects.ends_lock:
            ledger.end_lock(key)
        if minutes is not None and effects.tells_timeout:
            timeout = self._note_timeout(key, minutes)
        if cookie is not None:
            ledger.note_lock(
                key, route.session.target, Lock(int(cookie), route.server, link.incarnation, now), timeout
            )
        if route.has_copies:
            self._expiry_sync.note_renewed(route.session, route.server, timeout)
        return True

    def _note_answered(self, key: bytes) -> None:
        """No page of the router before holds the lock of a session that was saved or removed here."""
        if self._core.tenure is not None and (quarantine := self._core.tenure.quarantine) is not None:
            quarantine.note_answered(key)

    def _is_still_settled(self, client: Client) -> bool:
        """Whether an accepted write concerns its copies alone.

        If the pool has changed since it began, others may have to be told as well. So they have if sessions
        turn out to live longer than was known, perhaps by this very write: a change of the acting set may not
        be long enough ago then.
        """
        route, pool = client.route, self._roster.pool
        assert route is not None
        if pool is not client.pool:
            return False
        if client.minutes is not None and client.minutes not in self._timeouts:
            self._note_timeout(route.key, client.minutes)
        return self._ledger.is_settled(route.key, route.unchanged, client.sent_at)

    def record_refusal(self, client: Client, status: int, now: float) -> bool:
        """Remember what a 404 or 423 says, if the slow path would do nothing more about it; else nothing."""
        route, operation = client.route, client.operation
        assert route is not None
        key, effects = route.key, EFFECTS[operation, status]
        if status == 404:
            if not effects.is_miss or not self._is_absent(route, now):
                return False
            self._ledger.end_lock(key)  # or it would be there
            return True
        if operation is _RESET_TIMEOUT:
            return False  # which takes no heed of locks
        if effects.renews and route.has_copies:
            self._expiry_sync.note_renewed(route.session, route.server, None)
        return True

    def _is_absent(self, route: Route, now: float) -> bool:
        """Whether a 404 of the acting primary says that there is no such session."""
        if not self._ledger.is_settled(route.key, route.unchanged, now):
            return False
        return not self._roster.pool.may_lack_removes(now - self._ledger.longest_life)

    def admit_touch(self, route: Route) -> bool:
        """Begin with a touch, if nothing speaks against it."""
        return not self._ledger.marks(route.key) and self._gate.enter_at_once(route.key)

    def finish_touch(self, route: Route) -> None:
        self._gate.leave(route.key)

    def record_copied(self, client: Client) -> None:
        """All copies of a write are written."""
        route = client.route
        assert route is not None
        assert route.copies is not None
        if client.operation is _SET:
            for backend_links in route.copies:
                self._observer.copy_written(backend_links.upstream.backend, True)
            minutes = None if client.minutes is None else int(client.minutes)
            self._expiry_sync.note_written(route.session, minutes)

    def _note_timeout(self, key: bytes, written: bytes) -> int:
        minutes = self._timeouts.get(written)
        if minutes is None or self._ledger.knows(key):
            minutes = int(written)
            self._ledger.note_timeout(key, minutes)
            if len(self._timeouts) < _MOST_TIMEOUTS:
                self._timeouts[written] = minutes
        return minutes

    def finish(self, client: Client, now: float) -> None:
        """The answer is on its way to its client."""
        route, finished = self._leave_route(client), self._observer.exchange_finished
        if not self._has_left_gate(client):
            self._gate.leave(route.key)
        duration = now - client.began_at
        finished(client.operation, client.status, duration, client.size)
        if duration >= SLOW:
            assert route.backend_links is not None
            backend = route.backend_links.upstream.backend.name
            self._observer.exchange_was_slow(client.peer, client.operation, duration, backend)
        if self._beats is not None and route.is_session:
            self._beats.is_used = True

    def finish_undelivered(self, client: Client) -> None:
        """The client has gone. A lock that it was to be given is given back, still behind the gate."""
        route = self._leave_route(client)
        if finish(takes_lock=client.has_been_granted, was_delivered=False) is Finish.GIVE_LOCK_BACK:
            self._core.undelivered_locks.give_back_soon(route.session)
        elif not self._has_left_gate(client):
            self._gate.leave(route.key)

    def deliver_in_part(self, client: Client) -> None:
        """Its client does not take an answer at once: only a lock that is handed over keeps the gate."""
        assert client.route is not None
        if not client.has_been_granted:
            self._gate.leave(client.route.key)

    def _has_left_gate(self, client: Client) -> bool:
        return client.rest is not None and not client.has_been_granted

    def _leave_route(self, client: Client) -> Route:
        """An exchange ends once, whatever goes wrong from now on: another one may have the key by then."""
        route = client.route
        assert route is not None
        if route.passed_over is not None:
            self._observer.failed_over(route.passed_over)
        client.route = client.pool = None
        client.request = client.answer = b""
        return route
