"""The state server as a responder: a session table, a clock, and a broom."""

import time
from collections.abc import Callable

import trio

from partitioner.net.localtime import local_ticks
from partitioner.net.observer import Observer
from partitioner.net.responder import Request, Response
from partitioner.protocol.messages import Answer, AnswerHead, RequestHead
from partitioner.protocol.target import Applications, server_key
from partitioner.protocol.writer import write_answer, write_answer_head
from partitioner.sessions.session import OK
from partitioner.sessions.table import SessionTable

SWEEP_INTERVAL = 1.0
SWEEP_BATCH = 500
"""Sessions looked at in one go, about half a millisecond; between two goes everybody else has a turn."""

_OK_CODE, _WRITTEN_OK = OK.status.code, write_answer(OK)


class StateServer:
    """Answers requests from a session table."""

    def __init__(
        self,
        table: SessionTable,
        observer: Observer,
        key_of: Callable[[bytes], bytes] = server_key,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`key_of` derives a session's key from a target; `clock` is monotonic seconds."""
        self._table = table
        self._observer = observer
        self._key_of = Applications(key_of).key_of
        self._clock = clock

    @property
    def table(self) -> SessionTable:
        return self._table

    async def respond(self, request: Request) -> Response:
        """Carry out a request; this is a Responder."""
        answer = self._carry_out(request.head, request.body)
        code = answer.status.code
        head = AnswerHead(_written_head(answer), code, len(answer.body), answer.lock_cookie)
        return Response(head, answer.body)

    def answer(self, head: RequestHead, body: bytes) -> tuple[int, bytes]:
        """The same without a task: the status of the answer, and all its bytes."""
        answer = self._carry_out(head, body)
        if answer is OK:
            return _OK_CODE, _WRITTEN_OK
        return answer.status.code, _written_head(answer) + answer.body

    def _carry_out(self, head: RequestHead, body: bytes) -> Answer:
        refused_before = self._table.refused_creations
        answer = self._table.apply(head, self._key_of(head.target), body, self._clock())
        if self._table.refused_creations != refused_before:
            self._observer.creation_refused(len(self._table), self._table.used_memory)
        return answer

    async def sweep_forever(self) -> None:
        """Forget expired sessions, a few at a time."""
        while True:
            await trio.sleep(SWEEP_INTERVAL)
            while self._table.sweep(self._clock(), SWEEP_BATCH) == SWEEP_BATCH:
                await trio.lowlevel.checkpoint()


def _written_head(answer: Answer) -> bytes:
    return write_answer_head(answer, local_ticks() if answer.lock_age is not None else 0)
