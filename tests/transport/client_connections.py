"""A client in conversation with a responder over a connection in memory."""

from collections.abc import Awaitable, Callable

import trio

from partitioner.protocol.grammar import Dialect, parse_answer_head
from partitioner.transport.client_connection import Conversation, ConversationPolicy
from partitioner.transport.messages import Request, Response
from tests.doubles.backends import ok
from tests.doubles.clients import Client
from tests.doubles.network import connection
from tests.doubles.observers import RecordingObserver
from tests.doubles.sessions import CONTENT

PEER = "192.0.2.1"
POLICY = ConversationPolicy(Dialect.GUARDED, exchange=8.0, client_idle=60.0, max_body=1000, held_body=100)
ANSWER = ok(CONTENT)

Respond = Callable[[Request], Awaitable[Response]]


def response(answer: bytes = ANSWER) -> Response:
    """An answer that is here whole."""
    end = answer.index(b"\r\n\r\n") + 4
    return Response(parse_answer_head(answer[:end]), answer[end:])


class Setting:
    """A client in conversation with a responder that remembers what it was asked, and when."""

    def __init__(self, nursery: trio.Nursery, respond: Respond | None = None) -> None:
        self.observer = RecordingObserver()
        self.asked: list[tuple[float, bytes]] = []
        self._respond = respond
        near, far = connection()
        self.near = near
        self.client = Client(near)
        self.conversation = Conversation(far.channel(PEER), self._remember, POLICY, self.observer)
        nursery.start_soon(self.conversation.run)

    async def _remember(self, request: Request) -> Response:
        self.asked.append((trio.current_time(), request.head.raw + request.body))
        return await self._respond(request) if self._respond is not None else response()
