"""How an exchange gets from the relay to the await lane when some of it was sent: with a lease.

The await lane goes on exactly where this lane has got to. It is told which bytes have come, which phase the
exchange with the backend is in, and what trouble there was; what that means is decided there, by the code
that decides it for exchanges of its own.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from partitioner.errors import ConnectionBroken, ConnectionEnded, Phase
from partitioner.net.asking import Asked, Begun
from partitioner.net.channel import socket_channel
from partitioner.net.conversation import ANSWER_MARGIN, ConversationPolicy, Opening
from partitioner.net.express.connections import Client, Link
from partitioner.net.express.states import LinkState
from partitioner.net.lease import Lease
from partitioner.net.responder import Request, Response
from partitioner.net.upstream import HELD_BODY
from partitioner.protocol.grammar import Dialect, parse_request_head

if TYPE_CHECKING:
    from partitioner.net.express.relay import Relay

Trouble = ConnectionBroken | ConnectionEnded


class GoOn(Protocol):
    """What of the router goes on with exchanges that have begun."""

    async def go_on(self, asked: Asked) -> Response: ...


class HandOver:
    """Hands clients over together with their links."""

    def __init__(self, router: GoOn, policy: ConversationPolicy, relay: "Relay") -> None:
        self._router = router
        self._policy = policy
        self._relay = relay

    def after(
        self, link: Link, received: bytes, trouble: Trouble | None = None, *, is_cut: bool = False
    ) -> None:
        """Some of the request was sent, and this much of an answer has come."""
        client = link.client
        assert client is not None
        assert client.route is not None
        assert client.pool is not None
        request = self._request(client)
        lease = self._lease(link, request, client.sent_at, received)
        if is_cut:
            lease.cut()
        begun = Begun(client.route.server, client.pool, client.sent_at, _finish(lease, trouble))
        asked = Asked(request, client.route.subject(), begun)
        opening = Opening(client.began_at, client.ahead or b"", request.head, self._respond(asked))
        self._relay.give_away(client, opening)

    def _request(self, client: Client) -> Request:
        end = client.request.index(b"\r\n\r\n") + 4
        head = parse_request_head(client.request[:end], Dialect.GUARDED)
        deadline = client.began_at + self._policy.exchange - ANSWER_MARGIN
        return Request(head, client.request[end:], None, deadline)

    def _lease(self, link: Link, request: Request, sent_at: float, received: bytes) -> Lease:
        phase = Phase.SENDING if link.state is LinkState.SENDING else Phase.READING
        upstream = link.siding.upstream
        channel = socket_channel(self._relay.let_go(link), str(upstream.backend.address))
        lease = upstream.take_up(channel, link.life, request)
        lease.take_up(phase, sent_at, received)
        return lease

    def _respond(self, asked: Asked) -> Callable[[], Awaitable[Response]]:
        return lambda: self._router.go_on(asked)


def _finish(lease: Lease, trouble: Trouble | None) -> Callable[[], Awaitable[Response]]:
    return lambda: lease.go_on(HELD_BODY, trouble)
