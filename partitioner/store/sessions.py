"""The sessions on an engine: carries requests of the state protocol out, as a session table does.

An exchange ends with exactly one outcome: an answer, or a StoreFailure, for which the client's connection is
closed. Both paths use it, and so it calls back: the slow path waits for that in a task.
"""

import os
from collections.abc import Callable
from itertools import count
from typing import TypeAlias

from partitioner.errors import (
    EngineLost,
    EngineTooSlow,
    EngineUnfit,
    ForeignRecord,
    OutcomeUnknown,
    StoreFailure,
)
from partitioner.protocol.messages import Answer, Operation, RequestHead
from partitioner.protocol.target import Applications, server_key
from partitioner.sessions.session import BAD_REQUEST
from partitioner.store.calls import Call, Reply, ReplyError
from partitioner.store.engine import EngineClient
from partitioner.store.giving_back import AFTER_DEADLINE, GivingBack
from partitioner.store.observer import StoreObserver
from partitioner.store.pipe import is_refusal
from partitioner.store.records import record_name
from partitioner.store.scripts import ABSENT, FOREIGN, INSERT, LATE, PRESENT, UNCLEAR, Script
from partitioner.store.translation import answer_of, insert_call, is_out_of_range, script_call

_ACQUIRE = Operation.ACQUIRE
_STATUSES = (200, 404)
_ENDS_A_LOCK = (Operation.SET, Operation.RELEASE, Operation.REMOVE)

SMALL = 64
"""Bytes of all arguments but the body, about."""

REMEMBERED = 4096
"""Names of sessions. A page makes two exchanges with one, and its user one page after the other."""

OnEnd: TypeAlias = "Callable[[Exchange], None]"


class EngineSessions:
    """Sessions by target, on an engine."""

    def __init__(
        self,
        engine: EngineClient,
        giving_back: GivingBack,
        observer: StoreObserver,
        prefix: bytes,
        key_of: Callable[[bytes], bytes] = server_key,
    ) -> None:
        """`key_of` derives a session's key from a target."""
        self.engine = engine
        self.giving_back = giving_back
        self.observer = observer
        self._prefix = prefix
        self._key_of = Applications(key_of).key_of
        self._names: dict[bytes, bytes] = {}  # by target, of those that were used last
        # No two requests may ever have one id: random where a process begins, and counting from there.
        self._ids = count(int.from_bytes(os.urandom(8), "little"))

    def name_of(self, target: bytes) -> bytes:
        """The engine's name of the session of a target."""
        name = self._names.get(target)
        if name is None:
            if len(self._names) >= REMEMBERED:
                self._names.clear()
            name = self._names[target] = record_name(self._prefix, self._key_of(target))
        return name

    def begin(
        self, head: RequestHead, body: bytes, began_at: float, deadline: float, on_end: OnEnd
    ) -> "Exchange":
        """Carry a request out. `on_end` is called once, perhaps before this returns."""
        exchange = self.exchange(head, body, began_at, deadline, on_end)
        exchange.start()
        return exchange

    def exchange(
        self,
        head: RequestHead,
        body: bytes,
        began_at: float,
        deadline: float,
        on_end: OnEnd,
        asker: object = None,
    ) -> "Exchange":
        """The same, before it is started. The exchange remembers who has asked, for `on_end`."""
        request_id = (next(self._ids) % 2**64).to_bytes(8, "little")
        return Exchange(self, head, body, request_id, began_at, deadline, on_end, asker)


class Exchange(Call):
    """One request on its way through the engine: a call, or two where the first one finds no session."""

    __slots__ = (
        "_body",
        "_id",
        "_on_end",
        "_sessions",
        "answer",
        "asker",
        "failure",
        "head",
        "locked_since",
    )

    def __init__(
        self,
        sessions: EngineSessions,
        head: RequestHead,
        body: bytes,
        request_id: bytes,
        began_at: float,
        deadline: float,
        on_end: OnEnd,
        asker: object,
    ) -> None:
        script, arguments = script_call(head, body, request_id)
        # Call.__init__, which takes a microsecond if it is called.
        self.script = script
        self.name = sessions.name_of(head.target)
        self.arguments = arguments
        self.size = len(body) + SMALL
        self.began_at = began_at
        self.deadline = deadline
        self.is_settled = self.is_again = self.by_source = self.is_asking = False
        self._sessions = sessions
        self.head = head
        self._body = body
        self._id = request_id
        self._on_end: OnEnd | None = on_end
        self.asker = asker
        self.answer: Answer | None = None
        self.locked_since = 0.0  # Unix time, where the answer is a 423
        self.failure: StoreFailure | None = None

    def __repr__(self) -> str:
        return f"<Exchange {self.head.operation.value}>"

    @property
    def takes_lock(self) -> bool:
        """Whether its answer hands a lock over."""
        return self.head.operation is _ACQUIRE and self.answer is not None and self.answer.status.code == 200

    def start(self) -> None:
        if self.head.timeout_minutes is not None and is_out_of_range(self.head):
            self._end_with(BAD_REQUEST)
        else:
            self._sessions.engine.submit(self)

    def abandon(self) -> None:
        """The client has gone, or waits no longer: whatever comes of it, no lock is to stay behind."""
        self._on_end = None
        if self.answer is not None:
            self.note_undelivered()
        elif self.failure is None:
            self._give_lock_back()

    def note_undelivered(self) -> None:
        """The answer has not reached its client: nobody knows of a lock that it was to hand over."""
        if self.takes_lock:
            self._sessions.giving_back.unlock(self.name, self._id, not_before=0.0)

    def _go_on_with(self, script: Script, arguments: tuple[bytes, ...]) -> None:
        """Another script is needed for it. If one was sent twice, this one may have been carried out, too."""
        self.script, self.arguments = script, arguments
        self.is_settled = self.by_source = False
        self._sessions.engine.submit(self)

    def take(self, reply: Reply | StoreFailure) -> None:
        """See what has come of it."""
        if isinstance(reply, list) or reply in _STATUSES:
            self.answer, self.locked_since = answer_of(self.head.operation, reply)
            self._end()
        elif isinstance(reply, StoreFailure):
            self._fail(reply)
        elif isinstance(reply, ReplyError):
            self._take_error(reply)
        else:
            self._take_code(reply)

    def _take_code(self, code: object) -> None:
        """What a script says that is no answer."""
        if self._on_end is None:
            return  # it was abandoned, and its lock is being given back
        if code == ABSENT:
            self._go_on_with(*insert_call(self.head, self._body, self._id))
        elif code == PRESENT:
            self._go_on_with(*script_call(self.head, self._body, self._id))
        elif code == LATE:
            self._sessions.observer.call_was_late()
            self._fail(EngineTooSlow("the engine came to it after its deadline"))
        elif code == UNCLEAR:
            self._fail(OutcomeUnknown("it was sent twice, and whether it was carried out is not known"))
        elif code == FOREIGN:
            self._fail_for_foreign_record()
        else:
            self._fail(EngineLost(f"the engine has replied {code!r}, which no script says"))

    def _take_error(self, error: ReplyError) -> None:
        if is_refusal(error, "OOM") and self.script is INSERT:
            self._sessions.observer.memory_is_full()
            self._end_with(BAD_REQUEST)
        elif is_refusal(error, "WRONGTYPE"):
            self._fail_for_foreign_record()
        elif is_refusal(error, "NOPERM", "NOAUTH"):
            self._fail(EngineUnfit(f"the engine does not allow it: {error}"))
        else:
            self._fail(EngineLost(f"the engine has failed: {error}"))

    def _fail_for_foreign_record(self) -> None:
        self._sessions.observer.record_is_foreign(self.name)
        self._fail(ForeignRecord(f"what lies under {self.name.decode()} is no session"))

    def _fail(self, failure: StoreFailure) -> None:
        self.failure = failure
        if not isinstance(failure, ForeignRecord):
            self._give_lock_back()
        self._end()

    def _end_with(self, answer: Answer) -> None:
        self.answer = answer
        self._end()

    def _end(self) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self)
        elif self.failure is None:
            self.note_undelivered()

    def _give_lock_back(self) -> None:
        """The page has failed: it will not ask for its lock, or end it."""
        operation, cookie = self.head.operation, self.head.lock_cookie
        giving_back = self._sessions.giving_back
        if operation is _ACQUIRE:
            giving_back.unlock(self.name, self._id, self.deadline + AFTER_DEADLINE)
        elif operation in _ENDS_A_LOCK and cookie:
            giving_back.free(self.name, cookie, self.began_at, self.deadline)
