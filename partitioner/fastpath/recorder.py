"""What the fast path looks up and writes down for an exchange, in the ledger, gate and expiry sync that both
paths share.

It is what routing.router does for an exchange that goes as it should, in the same order, with the same gate,
ledger and expiry sync. Whatever else there would be to do makes an exchange out of the ordinary.
"""

from partitioner.fastpath.connections import BackendConnection, Client, FormerHolders, Route, Step
from partitioner.fastpath.routes import Routes
from partitioner.membership.entry import Lock
from partitioner.membership.exchange import EFFECTS, RULES, Finish, admit, finish, is_nowhere
from partitioner.placement.application import spelling_of
from partitioner.protocol.messages import Operation
from partitioner.protocol.ordinary import AnswerFrame
from partitioner.routing.core import RouterCore
from partitioner.transport.client_connection import SLOW

# Looking up a member of an Enum takes a quarter of a microsecond, each time.
_SET, _REMOVE, _RESET_TIMEOUT = Operation.SET, Operation.REMOVE, Operation.RESET_TIMEOUT

_REMOVING = Step.REMOVING

_ON_SUCCESS = {operation: EFFECTS[operation, 200] for operation in Operation}

_MOST_TIMEOUTS = 64


class ExchangeRecorder:
    """Gate, ledger and expiry sync, as an ordinary exchange needs them."""

    def __init__(self, core: RouterCore, routes: Routes) -> None:
        self._core = core
        self._routes = routes
        self._roster = core.roster
        self._ledger = core.ledger
        self._gate = core.gate
        self._expiry_sync = core.expiry_sync
        self._observer = core.observer
        self._keeper = core.keeper
        self._beats = None if core.tenure is None else core.tenure.authority.beats
        self._timeouts: dict[bytes, int] = {}  # that have been noted, in minutes, as they are written

    def admit(self, operation: Operation, route: Route, link: BackendConnection, now: float) -> bool:
        """Begin with an exchange, if nothing that is remembered of its key speaks against it."""
        key = route.key
        if self._beats is not None and not self._is_settled_for_heirs(operation, key):
            return False
        if RULES[operation].is_write and not self._can_be_spread(operation, route, now):
            return False
        if not admit(self._ledger, key, route.server, link.incarnation, now, self._roster.pool.away):
            return False
        return self._gate.enter_at_once(key)

    def _can_be_spread(self, operation: Operation, route: Route, now: float) -> bool:
        """Whether all can be told whom a write concerns besides its first server, or are away for a save.

        A remove that some server misses has to be written down before it is sent.
        """
        if route.copies is None:
            return False
        if self._ledger.is_settled(route.key, route.unchanged, now):
            return True
        former = self._routes.former_holders(route)
        if former.cleared is None:
            return False
        return operation is not _REMOVE or not (former.missed or self._ledger.marks(route.key))

    def _may_be_answered(self, key: bytes) -> bool:
        """Whether those who are marked do not matter to an answer about this key, and it is written down."""
        marks = self._ledger.marks(key)
        if not marks:
            return True
        return marks.keys() <= self._roster.pool.away and (
            self._keeper is None or self._keeper.is_written_down(key)
        )

    def _is_settled_for_heirs(self, operation: Operation, key: bytes) -> bool:
        """Whether neither the router before this one nor the next one makes this exchange a special one."""
        tenure = self._core.tenure
        assert tenure is not None
        if operation is _REMOVE and self._roster.pool.dirty:
            return False
        quarantine = tenure.quarantine
        if quarantine is None or operation is _RESET_TIMEOUT:
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
        if not self._may_be_answered(key):
            return False
        if effects.spreads:
            if cookie is not None or not self._is_still_spread(client):
                return False
            ledger.end_lock(key)
            ledger.note_served(key, now)
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
        ledger.note_served(key, now)
        return True

    def _note_answered(self, key: bytes) -> None:
        """No page of the router before holds the lock of a session that was saved or removed here."""
        if self._core.tenure is not None and (quarantine := self._core.tenure.quarantine) is not None:
            quarantine.note_answered(key)

    def _is_still_spread(self, client: Client) -> bool:
        """Whether all can be told whom an accepted write concerns, and who that is.

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
        if self._ledger.is_settled(route.key, route.unchanged, client.sent_at):
            client.leftovers = None
            return True
        client.leftovers = self._routes.former_holders(route).cleared
        return client.leftovers is not None

    def record_refusal(self, client: Client, status: int, now: float) -> bool:
        """Remember what a 404 or 423 says, if the slow path would do nothing more about it; else nothing."""
        route, operation = client.route, client.operation
        assert route is not None
        key, effects = route.key, EFFECTS[operation, status]
        if not self._may_be_answered(key):
            return False
        if status == 404:
            if not effects.is_miss or not self._is_absent(route, now):
                return False
            self._ledger.end_lock(key)  # or it would be there
            return True
        if operation is _RESET_TIMEOUT:
            return False  # which takes no heed of locks
        if effects.renews and route.has_copies:
            self._expiry_sync.note_renewed(route.session, route.server, None)
        if effects.is_served:
            self._ledger.note_served(key, now)
        return True

    def _is_absent(self, route: Route, now: float) -> bool:
        """Whether a 404 of the acting primary says that there is no such session."""
        if not self._ledger.is_settled(route.key, route.unchanged, now):
            return False
        return not self._roster.pool.may_lack_removes(now - self._ledger.longest_life)

    def admit_touch(self, route: Route) -> bool:
        """Begin with a touch, if nothing speaks against it."""
        return self._ledger.marks(route.key).keys() <= self._roster.pool.away and self._gate.enter_at_once(
            route.key
        )

    def record_touched(self, route: Route, now: float) -> None:
        """All copies have said that the session is there."""
        self._ledger.note_served(route.key, now)
        self.finish_touch(route)

    def finish_touch(self, route: Route) -> None:
        self._gate.leave(route.key)

    def record_spread(self, client: Client, now: float) -> bool:
        """All whom a write concerns have it; false, and nothing is noted, if that may be others by now."""
        route, pool = client.route, self._roster.pool
        assert route is not None
        assert route.copies is not None
        if client.leftovers is not None:
            if pool is not client.pool or not self._note_missed(client):
                return False
            if not self._ledger.marks(route.key):
                self._ledger.note_settled(route.key, pool.epoch, route.unchanged, now)
        if client.operation is _SET:
            for backend_links in route.copies:
                self._observer.copy_written(backend_links.upstream.backend, True)
            minutes = None if client.minutes is None else int(client.minutes)
            self._expiry_sync.note_written(route.session, minutes)
            self._note_moved(client)
        else:
            self._expiry_sync.note_removed(route.session)
        return True

    def _note_missed(self, client: Client) -> bool:
        """Mark former holders that are away: a save has passed them by. False if that is not all there is."""
        route, ledger = client.route, self._ledger
        assert route is not None
        marks = ledger.marks(route.key)
        for server in self._routes.former_holders(route).missed:
            if server not in marks or not marks[server].is_stale:
                self._core.ledger_keeper.mark(route.session, server, is_stale=True)
        if ledger.marks(route.key):
            reached = {route.server, *(each.server for each in client.confirmed)}
            ledger.note_saved(route.key, reached, client.request[-client.size :])
        return self._may_be_answered(route.key)

    def _note_moved(self, client: Client) -> None:
        """What a former holder still had has moved with its save."""
        for step, server, _, answer in client.confirmed:
            if step is _REMOVING and answer.startswith(b"200"):
                self._core.replicator.note_moved(server, "saved")

    # --- a session that is missed ---

    def is_to_be_searched(self, client: Client, now: float) -> bool:
        """Whether others may have what the acting primary misses, and all of them can be asked."""
        route = client.route
        assert route is not None
        if not EFFECTS[client.operation, 404].is_miss or self._roster.pool is not client.pool:
            return False
        if self._ledger.is_settled(route.key, route.unchanged, now):
            return False
        former, marks = self._routes.former_holders(route), self._ledger.marks(route.key)
        if not marks.keys() <= self._roster.pool.away:
            return False
        silent = [each for each in former.silent if each not in marks or not marks[each].is_stale]
        return not silent or self._is_trusted(route, former, now)

    def _is_trusted(self, route: Route, former: FormerHolders, now: float) -> bool:
        """Whether what one of those does not have who are asked is nowhere, whoever else cannot be asked."""
        pool, since = self._roster.pool, now - self._ledger.longest_life
        asked = (route.server, *(each.upstream.backend.identity for each in former.asked))
        return any(pool.has_always_held(each, route.session.placement, since) for each in asked)

    def record_absent(self, client: Client) -> bool:
        """Nobody has the session; false, and nothing is noted, if there are others by now who might."""
        route, pool, ledger = client.route, self._roster.pool, self._ledger
        assert route is not None
        if pool is not client.pool or not self._may_be_answered(route.key):
            return False
        ledger.end_lock(route.key)
        if is_nowhere(self._routes.former_holders(route).silent, ledger.marks(route.key)):
            ledger.note_absent(route.key, pool.epoch)
        return True

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
        if client.operation is _SET and client.status == 200:
            self._observer.session_saved(spelling_of(route.session.target), client.size)
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
        if client.confirmed:
            client.confirmed = []
        return route
