"""The router as a responder: which backend a request goes to, and what has to be done besides.

The await lane: every exchange is straight-line code, and this file is the definition of what is
right. Three ideas carry it. Behind the *key gate* there is one exchange of a key at a time. *Lives* tell
a server that has forgotten everything from one that is back. The *ledger* knows which locks are held
and which servers may not be read for a key. Decisions are pure and stand on lower floors: the pool says
who acts for a key, the failover table what to do when that fails.

    get, acquire, release, reset_timeout    to the acting primary alone; copies are touched later
    set, remove                             to the acting primary, then to everybody whom it concerns
    create_uninitialized                    the same, where the session does not exist yet

While a lock is held, every request of its key goes to the server that granted it. When that server
cannot be reached, the router itself stands for the lock (design.md 7.3).
"""

from dataclasses import dataclass

import trio

from partitioner.errors import MalformedRequest, NoBackendLeft
from partitioner.membership.items import ITEMS
from partitioner.membership.ledger import REMOVE, Lock
from partitioner.membership.pool import ActingSet, Pool
from partitioner.membership.quarantine import Quarantine
from partitioner.protocol.messages import Answer, AnswerHead, Operation, Status
from partitioner.protocol.target import canonical_form, server_key
from partitioner.protocol.writer import write_answer_head
from partitioner.routing.dispatch import Asked, Asker, Reply
from partitioner.routing.expiry_sync import Toucher
from partitioner.routing.farm_mismatch import Mixups
from partitioner.routing.internal_requests import Errand, Errands, Told, release, touch
from partitioner.routing.key_gate import KeyGate
from partitioner.routing.ledger_keeper import Bookkeeper
from partitioner.routing.lookup import Finder, LockedAway, Subject, Whereabouts
from partitioner.routing.record_keeper import RecordKeeper
from partitioner.routing.replication import Copier, Write
from partitioner.routing.roster import Roster
from partitioner.routing.tenure import Tenure
from partitioner.transport.limits import BodyMemory
from partitioner.transport.messages import Request, Response
from partitioner.transport.observer import Observer
from partitioner.transport.state_server import local_ticks

SHOW_LOCKS = frozenset({Operation.GET, Operation.ACQUIRE, Operation.SET, Operation.REMOVE})
"""Operations whose 200 says that nobody else holds a lock on the session."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the router works with; they all share one ledger and one gate."""

    roster: Roster
    bookkeeper: Bookkeeper
    gate: KeyGate
    memory: BodyMemory
    errands: Errands
    copier: Copier
    finder: Finder
    toucher: Toucher
    mixups: Mixups
    observer: Observer
    keeper: RecordKeeper | None = None  # None where no other router can come after this one
    tenure: Tenure | None = None


class Router:
    """Answers requests by asking those who hold the session."""

    def __init__(self, parts: Parts, background: trio.Nursery) -> None:
        """`background` outlives every exchange: locks that were not delivered are given back there."""
        self._roster = parts.roster
        self._bookkeeper = parts.bookkeeper
        self._ledger = parts.bookkeeper.ledger
        self._gate = parts.gate
        self._memory = parts.memory
        self._errands = parts.errands
        self._copier = parts.copier
        self._finder = parts.finder
        self._asker = Asker(parts.roster, parts.bookkeeper, parts.finder)
        self._toucher = parts.toucher
        self._mixups = parts.mixups
        self._observer = parts.observer
        self._keeper = parts.keeper
        self._tenure = parts.tenure
        self._background = background
        self._giving_back = 0
        self._all_given_back = trio.Event()

    async def respond(self, request: Request) -> Response:
        """Have the request answered; this is a Responder.

        Raises NoBackendLeft or BackendFailure: the client's connection is to be closed then; or
        MalformedRequest for a key that is none of a client's business.
        """
        head = request.head
        key = server_key(head.target)
        canonical = canonical_form(key)
        if canonical.startswith(ITEMS.encode()):
            raise MalformedRequest("a key that is kept for routers")
        session = Subject(key, head.target, self._bookkeeper.placement_of(key))
        if self._tenure is not None:
            await self._tenure.ensure_active(canonical, head.operation, request.deadline)
        self._mixups.note(canonical, session.placement)
        held = 0
        try:
            if not request.is_whole and self._is_copied(key):
                request = await self._hold(request)
                held = head.content_length
            response = await self._respond_behind_the_gate(Asked(request, session))
        finally:
            if held:
                self._memory.give_back(held)
        return response

    async def go_on(self, asked: Asked) -> Response:
        """The same for an exchange that the express lane has begun: it is behind the gate already."""
        return await self._respond_within_the_gate(asked)

    @property
    def is_giving_back(self) -> bool:
        """Whether a lock is being given back."""
        return self._giving_back > 0

    async def wait_until_given_back(self) -> None:
        """Wait until no lock is being given back."""
        while self._giving_back:
            await self._all_given_back.wait()

    # --- around every exchange ---

    def _is_copied(self, key: bytes) -> bool:
        """Whether a body may have to be written more than once."""
        pool, now = self._roster.pool, trio.current_time()
        if pool.copies > 1 or self._ledger.maybe_lock(key, now) is not None:
            return True
        return not self._ledger.is_settled(key, pool, now)

    async def _hold(self, request: Request) -> Request:
        """Take the whole body in, once there is memory for it."""
        assert request.rest is not None
        count, pieces, was_read = request.head.content_length, [request.body], False
        await self._memory.reserve(count)
        try:
            while piece := await request.rest():
                pieces.append(piece)
            was_read = True
        finally:
            if not was_read:
                self._memory.give_back(count)
        return Request(request.head, b"".join(pieces), None, request.deadline)

    async def _respond_behind_the_gate(self, asked: Asked) -> Response:
        try:
            await self._enter(asked.session.key, asked.request.deadline)
        except BaseException:
            self._note_closed(asked)
            raise
        return await self._respond_within_the_gate(asked)

    async def _respond_within_the_gate(self, asked: Asked) -> Response:
        key = asked.session.key
        try:
            self._ledger.note_alive(key, trio.current_time())
            await self._note_remove(asked)
            answer = await self._refuse_in_quarantine(asked) or await self._answer(asked)
        except BaseException:
            self._note_closed(asked)
            self._gate.leave(key)
            raise
        if isinstance(answer, Reply):
            self._note_passed_over(answer)
            answer = answer.response
        await self._write_down(asked, answer)
        if answer.head.status in (200, 423):
            self._ledger.note_served(key, trio.current_time())
        quarantine = self._quarantine()
        if quarantine is not None and answer.head.status == 200 and asked.operation in SHOW_LOCKS:
            quarantine.note_answered(key)
        return self._leave_at_the_end(asked, answer)

    # --- what the next router must know ---

    async def _note_remove(self, asked: Asked) -> None:
        """A remove may be cut off half-way: who may lack it is written down before it is sent anywhere."""
        keeper, pool = self._keeper, self._roster.pool
        if keeper is None or asked.operation is not Operation.REMOVE:
            return
        if pool.dirty or pool.unrecorded or self._ledger.marks(asked.session.key):
            lacking = {*(pool.dirty or ()), *pool.unrecorded, *self._ledger.marks(asked.session.key)}
            await keeper.ensure(dict.fromkeys(lacking, frozenset({REMOVE})))

    async def _write_down(self, asked: Asked, answer: Response) -> None:
        """Have it written down who lacks what, before the client is answered.

        Raises NoBackendLeft; nothing of this exchange reaches the client then, and a lock is given back.
        """
        keeper, key = self._keeper, asked.session.key
        if keeper is None or not (needs := keeper.needs_of(key)):
            return
        try:
            await keeper.ensure(needs)
        except BaseException:
            answer.finish(False)
            self._note_closed(asked)
            if _takes_lock(asked, answer):
                self.give_back_soon(asked.session)
            else:
                self._gate.leave(key)
            raise

    async def _refuse_in_quarantine(self, asked: Asked) -> Response | None:
        """What a server says that may hold a lock of the router before this one; None if there is none.

        Raises NoBackendLeft where such a server cannot be asked: somebody else may hold the lock.
        Source: design.md 5.2.6.
        """
        quarantine, session = self._quarantine(), asked.session
        if quarantine is None or asked.operation not in (Operation.GET, Operation.ACQUIRE):
            return None
        if quarantine.is_answered(session.key):
            return None
        pool = self._roster.pool
        acting = self._acting_set(session, pool)
        for server, token in quarantine.candidates(session.placement).items():
            member = pool.members.get(server)
            if member is None or not member.is_reachable or token != member.record.life:
                raise NoBackendLeft(f"{server} may hold a lock of the router before this one, and is away")
            if acting is not None and server == acting.primary:
                continue
            async with self._errands.fetched(server, session.target) as told:
                if told is None:
                    raise NoBackendLeft(f"{server} may hold a lock of the router before this one")
                if told.status == 423:
                    return Response(told.head, told.body)
        return None

    def _acting_set(self, session: Subject, pool: Pool) -> ActingSet | None:
        marks = self._ledger.marks(session.key)
        return self._bookkeeper.acting_set(pool, session.key, session.placement, marks)

    def _quarantine(self) -> Quarantine | None:
        return None if self._tenure is None else self._tenure.maybe_quarantine()

    async def _release_everywhere(self, asked: Asked) -> None:
        """Where nobody serves because each server may lack something, a lock keeps them from agreeing."""
        pool, session = self._roster.pool, asked.session
        if pool.placed or asked.cookie is None or self._ledger.is_agreed(session.key):
            return
        servers = [each for each, member in pool.members.items() if member.is_reachable]
        await self._errands.run_all([(each, release(session.target, asked.cookie)) for each in servers])

    async def _release_elsewhere(self, asked: Asked, server: str) -> None:
        """A lock that was granted before this router's time may lie on another server than this one."""
        quarantine, session = self._quarantine(), asked.session
        if quarantine is None or quarantine.is_answered(session.key) or asked.cookie is None:
            return
        others = [each for each in quarantine.candidates(session.placement) if each != server]
        await self._errands.run_all([(each, release(session.target, asked.cookie)) for each in others])

    async def _enter(self, key: bytes, deadline: float) -> None:
        """Pass the gate. Raises NoBackendLeft if that is not possible in time."""
        if self._gate.is_free(key):  # nearly always; a deadline costs more than all the rest of the gate
            await self._gate.enter(key)
            return
        with trio.move_on_at(deadline):
            await self._gate.enter(key)
            return
        raise NoBackendLeft("other requests of the same session took all the time")

    def _note_passed_over(self, reply: Reply) -> None:
        if reply.passed_over is not None:
            self._observer.failed_over(reply.pool.members[reply.passed_over].backend)

    async def _answer(self, asked: Asked) -> Response | Reply:
        match asked.operation:
            case Operation.GET | Operation.ACQUIRE | Operation.RESET_TIMEOUT:
                return await self._read(asked)
            case Operation.RELEASE:
                return await self._release(asked)
            case Operation.SET | Operation.REMOVE:
                return await self._write(asked)
            case Operation.CREATE_UNINITIALIZED:
                return await self._create(asked)

    def _leave_at_the_end(self, asked: Asked, response: Response) -> Response:
        """Keep the gate until the answer is delivered, and a lock that is not until it is given back."""
        takes_lock = _takes_lock(asked, response)

        def finish(was_delivered: bool) -> None:
            response.finish(was_delivered)
            if takes_lock and not was_delivered:
                self.give_back_soon(asked.session)
            else:
                self._gate.leave(asked.session.key)

        return Response(response.head, response.body, response.rest, takes_lock, finish, response.backend)

    def give_back_soon(self, session: Subject) -> None:
        """Have a lock released that did not reach its client, and then leave the gate."""
        lock = self._ledger.maybe_lock(session.key, trio.current_time())
        if lock is None:
            self._gate.leave(session.key)
            return
        self._giving_back += 1
        self._background.start_soon(self._give_back, session, lock)

    async def _give_back(self, session: Subject, lock: Lock) -> None:
        """Release a lock whose answer never reached its client, which nobody else would for 110 s."""
        try:
            self._ledger.end_lock(session.key)
            member = self._roster.pool.members.get(lock.server)
            if member is None:
                return  # its server has been forgotten meanwhile
            told = await self._errands.run(lock.server, release(session.target, lock.cookie))
            if told is not None and told.status == 200:
                self._observer.ghost_lock_released(member.backend)
            elif told is None or told.status == 400:
                # Repair finds out whether the lock is still there, as soon as the server can be asked.
                self._bookkeeper.mark(session.key, session.target, lock.server, is_stale=False)
                self._observer.ghost_lock_left(member.backend, "it could not be asked to release it")
        finally:
            self._gate.leave(session.key)
            self._giving_back -= 1
            if not self._giving_back:
                self._all_given_back.set()
                self._all_given_back = trio.Event()

    def _note_closed(self, asked: Asked) -> None:
        """The client's connection is closed. If its page held the lock, it has failed, and nobody does.

        Some server may have carried the request out all the same, and let its session live longer.
        """
        if self._roster.pool.copies > 1:
            self._note_slid(asked, None, None)
        if asked.operation not in (Operation.SET, Operation.RELEASE, Operation.REMOVE):
            return
        session = asked.session
        lock = self._ledger.maybe_lock(session.key, trio.current_time())
        if lock is not None and lock.cookie == asked.cookie:
            self._ledger.end_lock(session.key)
            self._bookkeeper.mark(session.key, session.target, lock.server, is_stale=False)

    # --- reading: get, acquire, reset_timeout ---

    async def _read(self, asked: Asked) -> Response | Reply:
        session = asked.session
        while True:
            reply = await self._asker.ask(asked)
            if isinstance(reply, Lock):
                if asked.operation is Operation.RESET_TIMEOUT:
                    self._note_slid(asked, None, None)
                    return _own(Answer(Status.OK))
                return self._refuse_for(asked, reply)
            if reply.status == 404:
                self._end_lock_of(session, reply.server)
                found = await self._look_elsewhere(asked, reply)
                if found is Whereabouts.AT_HOME:
                    continue
                if isinstance(found, LockedAway):
                    is_touched = asked.operation is Operation.RESET_TIMEOUT
                    return _own(Answer(Status.OK)) if is_touched else Response(found.told.head, b"")
                return reply
            await self._note_read(asked, reply)
            return reply

    async def _note_read(self, asked: Asked, reply: Reply) -> None:
        """Remember what an answer to a reading request says: a time-out, a lock, a flag that was consumed."""
        session, head = asked.session, reply.response.head
        minutes = head.timeout_minutes
        if minutes is not None:
            self._ledger.note_timeout(session.key, minutes)
        if _takes_lock(asked, reply.response) and head.lock_cookie is not None:
            life = reply.pool.members[reply.server].record.life
            lock = Lock(head.lock_cookie, reply.server, life, trio.current_time())
            self._ledger.note_lock(session.key, session.target, lock, minutes)
        if head.status in (200, 423):
            self._note_slid(asked, reply.server, minutes)
        if head.has_action_flags:
            marks = self._ledger.marks(session.key)
            acting = self._acting_set(session, self._roster.pool)
            copies = () if acting is None else (acting.primary, *acting.copies)
            servers = tuple(each for each in copies if each != reply.server and each not in marks)
            await self._toucher.consume_flag(session.target, servers)

    # --- releasing ---

    async def _release(self, asked: Asked) -> Response | Reply:
        session, has_let_go = asked.session, False
        await self._release_everywhere(asked)
        while True:
            reply = await self._asker.ask(asked)
            if isinstance(reply, Lock):
                if asked.cookie != reply.cookie:
                    return self._refuse_for(asked, reply)
                self._take_over(session, reply, is_stale=False)  # a release changes no content
                has_let_go = True
                continue
            if reply.status == 404 and has_let_go:
                return _own(Answer(Status.OK))  # row 10: the router was the lock, wherever the session is
            if reply.status == 404:
                self._end_lock_of(session, reply.server)
                found = await self._look_elsewhere(asked, reply)
                if found is Whereabouts.AT_HOME:
                    continue
                if isinstance(found, LockedAway):
                    return await self._asker.ask_at(found.server, asked, self._roster.pool)
                return reply
            lock = self._ledger.maybe_lock(session.key, trio.current_time())
            if reply.status == 200 and lock is not None and lock.server == reply.server:
                self._ledger.end_lock(session.key)
                self._want_repair(session)
            self._note_slid(asked, reply.server, None)
            await self._release_elsewhere(asked, reply.server)
            return reply

    # --- writing: set, remove ---

    async def _write(self, asked: Asked) -> Response | Reply:
        session = asked.session
        while True:
            reply = await self._asker.ask(asked)
            if not isinstance(reply, Lock):
                break
            if asked.cookie != reply.cookie:
                return self._refuse_for(asked, reply)
            self._take_over(session, reply, is_stale=True)
        is_done = reply.status == 200 or (reply.status == 404 and asked.operation is Operation.REMOVE)
        if not is_done:
            return reply
        self._ledger.end_lock(session.key)
        minutes = asked.request.head.timeout_minutes
        if minutes is not None:
            self._ledger.note_timeout(session.key, minutes)
        told = await self._spread(asked, reply)
        self._want_repair(session)
        found_elsewhere = [each for each in told if each.status == 200]
        if reply.status == 404 and found_elsewhere:
            return Response(found_elsewhere[0].head, b"")  # it was there, and now it is gone
        return reply

    async def _spread(self, asked: Asked, reply: Reply) -> list[Told]:
        session, request = asked.session, asked.request
        body = request.body if request.is_whole else b""
        write = Write(
            session.key,
            session.target,
            session.placement,
            Errand(request.head, body),
            reply.server,
            reply.sent_at,
            reply.pool,
            asked.begun_copies,
        )
        told = await self._copier.spread(write)
        if asked.operation is not Operation.REMOVE:
            minutes = request.head.timeout_minutes
            self._toucher.note_written(session.key, session.target, session.placement, minutes)
        return told

    # --- creating ---

    async def _create(self, asked: Asked) -> Response | Reply:
        """Create where nothing is; where the session exists, its server says so and nothing is copied."""
        session, request = asked.session, asked.request
        probe = Asked(Request(touch(session.target).head, b"", None, request.deadline), session)
        while True:
            seen = await self._asker.ask(probe)
            if isinstance(seen, Lock):
                self._note_slid(asked, None, None)
                return _own(Answer(Status.OK))  # row 15
            is_new = seen.status == 404
            if is_new:
                self._end_lock_of(session, seen.server)
                found = await self._look_elsewhere(asked, seen)
                if found is Whereabouts.AT_HOME:
                    continue
                if isinstance(found, LockedAway):
                    return _own(Answer(Status.OK))
            reply = await self._asker.ask(asked)
            if isinstance(reply, Lock):
                continue
            if is_new and reply.status == 200:
                minutes = request.head.timeout_minutes
                if minutes is not None:
                    self._ledger.note_timeout(session.key, minutes)
                await self._spread(asked, reply)
            return reply

    # --- what they have in common ---

    async def _look_elsewhere(self, asked: Asked, reply: Reply) -> Whereabouts | LockedAway:
        """A server says that the session is not there. Is that the truth?

        Raises NoBackendLeft where nobody can tell.
        """
        if self._ledger.is_settled(asked.session.key, self._roster.pool, trio.current_time()):
            return Whereabouts.ABSENT
        with trio.move_on_at(asked.request.deadline):
            return await self._finder.find(asked.session, asked.operation)
        raise NoBackendLeft("the session was not found in time")

    def _refuse_for(self, asked: Asked, lock: Lock) -> Response:
        """Say in the place of its server that the session is locked."""
        self._note_slid(asked, None, None)
        age = trio.current_time() - lock.since
        return _own(Answer(Status.LOCKED, lock_age=age, lock_cookie=lock.cookie))

    def _take_over(self, session: Subject, lock: Lock, *, is_stale: bool) -> None:
        """Its holder lets go of a lock whose server cannot be reached: what it holds may be out of date now.

        It `is_stale` where the content changes with that, and not only the lock.
        """
        self._ledger.end_lock(session.key)
        self._bookkeeper.mark(session.key, session.target, lock.server, is_stale=is_stale)
        member = self._roster.pool.members.get(lock.server)
        if member is not None:
            self._observer.lock_taken_over(member.backend)

    def _end_lock_of(self, session: Subject, server: str) -> None:
        """This server has just said that it does not have the session, and so has not locked it either."""
        lock = self._ledger.maybe_lock(session.key, trio.current_time())
        if lock is not None and lock.server == server:
            self._ledger.end_lock(session.key)

    def _note_slid(self, asked: Asked, server: str | None, minutes: int | None) -> None:
        session = asked.session
        self._toucher.note_slid(session.key, session.target, session.placement, server, minutes)

    def _want_repair(self, session: Subject) -> None:
        if self._ledger.marks(session.key):
            self._bookkeeper.want_repair(session.key)


def _takes_lock(asked: Asked, response: Response) -> bool:
    """Whether this answer hands a lock to whoever receives it."""
    head = response.head
    return asked.operation is Operation.ACQUIRE and head.status == 200 and head.lock_cookie is not None


def _own(answer: Answer) -> Response:
    """An answer in the router's own words."""
    raw = write_answer_head(answer, local_ticks() if answer.lock_age is not None else 0)
    return Response(AnswerHead(raw, answer.status.code, 0, answer.lock_cookie), b"")
