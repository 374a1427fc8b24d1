"""The store as a responder: one request in, one answer out, over a task of its own (the slow path)."""

import time

import trio

from partitioner.protocol.messages import AnswerHead
from partitioner.protocol.writer import write_answer_head
from partitioner.store.sessions import EngineSessions, Exchange
from partitioner.transport.messages import Request, Response

_TICKS_PER_SECOND = 10_000_000
_EPOCH_TICKS = 621_355_968_000_000_000  # 1970-01-01 in 100 ns since the year 1


class StoreResponder:
    """Answers requests from the sessions on an engine."""

    def __init__(self, sessions: EngineSessions) -> None:
        self._sessions = sessions

    async def respond(self, request: Request) -> Response:
        """Carry a request out; this is a Responder.

        Raises StoreFailure where there is no answer that counts: the client's connection is to be closed.
        """
        has_ended = trio.Event()
        exchange = self._sessions.begin(
            request.head, request.body, trio.current_time(), request.deadline, lambda _: has_ended.set()
        )
        try:
            await has_ended.wait()
        except trio.Cancelled:
            exchange.abandon()
            raise
        if exchange.failure is not None:
            raise exchange.failure
        return _response(exchange)


def _response(exchange: Exchange) -> Response:
    answer = exchange.answer
    assert answer is not None

    def finish(was_delivered: bool) -> None:
        if not was_delivered:
            exchange.note_undelivered()

    head = AnswerHead(written_head(exchange), answer.status.code, len(answer.body), answer.lock_cookie)
    return Response(head, answer.body, takes_lock=exchange.takes_lock, finish=finish)


def written_head(exchange: Exchange) -> bytes:
    """The head of an exchange's answer.

    All who ask about a lock are told the same date, which is when it was taken and not how long ago.
    """
    answer = exchange.answer
    assert answer is not None
    if answer.lock_age is None:
        return write_answer_head(answer)
    taken_at = exchange.locked_since + time.localtime(exchange.locked_since).tm_gmtoff
    ticks = _EPOCH_TICKS + round(taken_at * 1000) * (_TICKS_PER_SECOND // 1000)
    return write_answer_head(answer, ticks + round(answer.lock_age * _TICKS_PER_SECOND))
