"""How an exchange gets from the fast path to the slow path when some of it was sent: with a lease.

The slow path goes on exactly where this path has got to. It is told which bytes have come, which phase the
exchange with the backend is in, and what trouble there was; what that means is decided there, by the code
that decides it for exchanges of its own.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from partitioner.errors import ConnectionBroken, ConnectionEnded
from partitioner.fastpath.connections import BackendConnection, Client, Step, Touch
from partitioner.fastpath.round import Round
from partitioner.membership.backend import BackendId
from partitioner.protocol.grammar import Dialect, parse_answer_head, parse_request_head
from partitioner.routing import internal_requests
from partitioner.routing.core import RouterCore
from partitioner.routing.dispatch import Begun, FollowUps, RoutedRequest
from partitioner.transport.backend_connections import HELD_BODY
from partitioner.transport.channel import socket_channel
from partitioner.transport.client_connection import ANSWER_MARGIN, ConversationPolicy, Opening
from partitioner.transport.messages import BegunExchange, Request, Response

FailureCause = ConnectionBroken | ConnectionEnded

_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class LinkFailure:
    """What is out of the ordinary on a link."""

    link: BackendConnection
    cause: FailureCause | None = None
    is_cut: bool = False  # its backend is being ejected


class HandOver:
    """Hands clients over together with their links."""

    def __init__(self, core: RouterCore, policy: ConversationPolicy, round_: Round) -> None:
        self._router = core.router
        self._expiry_sync = core.expiry_sync
        self._policy = policy
        self._round = round_

    def after(self, client: Client, failure: LinkFailure | None = None) -> None:
        """Something of the request was sent; perhaps something has happened on one of its links."""
        assert client.route is not None
        assert client.pool is not None
        request = self._request(client)
        if client.link is not None:
            first = self._begun(client.link, request, failure)
        else:
            first = BegunExchange(client.sent_at, _answered(client.answer))
        begun = Begun(client.route.server, client.pool, first)
        follow_ups = self._follow_ups(client, request, failure)
        routed = RoutedRequest(request, client.route.session, begun, follow_ups)
        opening = Opening(client.began_at, client.ahead or b"", request.head, self._respond(routed))
        self._round.clients.give_away(client, opening)

    def _follow_ups(self, client: Client, request: Request, failure: LinkFailure | None) -> FollowUps:
        """What was confirmed, and what is under way."""
        begun: dict[Step, dict[BackendId, BegunExchange]] = {step: {} for step in Step}
        for step, server, sent_at, answer in client.confirmed:
            begun[step][server] = BegunExchange(sent_at, _answered(answer))
        links, client.follow_ups = client.follow_ups, []
        client.confirmed = []
        for link in links:
            asked = _asked(client.step, request)
            begun[client.step][link.identity] = self._begun(link, asked, failure)
        return FollowUps(begun[Step.COPYING], begun[Step.REMOVING], begun[Step.SEARCHING])

    def touch(self, touch: Touch, failure: LinkFailure | None = None) -> None:
        """Something has happened on a link over which copies are touched."""
        request = _internal(internal_requests.touch(touch.route.session.target))
        begun = {link.identity: self._begun(link, request, failure) for link in touch.copying}
        touch.copying = []
        self._expiry_sync.go_on(touch.route.session, touch.route.server, begun)

    def link(
        self,
        link: BackendConnection,
        data: bytes = b"",
        cause: FailureCause | None = None,
        *,
        is_cut: bool = False,
    ) -> None:
        """Whatever is under way on this link; this has come of the answer, last of all."""
        link.pieces = [*link.pieces, data]
        failure = LinkFailure(link, cause, is_cut)
        if link.client is not None:
            self.after(link.client, failure)
        elif link.touch is not None:
            self.touch(link.touch, failure)

    def _request(self, client: Client) -> Request:
        end = client.request.index(_HEAD_END) + len(_HEAD_END)
        head = parse_request_head(client.request[:end], Dialect.GUARDED)
        deadline = client.began_at + self._policy.exchange - ANSWER_MARGIN
        return Request(head, client.request[end:], None, deadline)

    def _begun(self, link: BackendConnection, request: Request, failure: LinkFailure | None) -> BegunExchange:
        upstream = link.backend_links.upstream
        received = b"".join((*link.pieces, self._round.reactor.unread(link)))
        channel = socket_channel(self._round.let_go(link), str(upstream.backend.address))
        link.client = link.touch = None  # whatever still comes for this link today finds nothing to do
        lease = upstream.take_up(channel, link.incarnation, request)
        lease.take_up(link.since, link.rest or b"", received)
        cause = None
        if failure is not None and failure.link is link:
            cause = failure.cause
            if failure.is_cut:
                lease.cut()
        return BegunExchange(link.since, lambda: lease.go_on(HELD_BODY, cause))

    def _respond(self, routed: RoutedRequest) -> Callable[[], Awaitable[Response]]:
        return lambda: self._router.go_on(routed)


def _asked(step: Step, request: Request) -> Request:
    """What was asked in a step on behalf of this request."""
    if step is Step.COPYING:
        return request
    target = request.head.target
    if step is Step.REMOVING:
        return _internal(internal_requests.remove(target, request.head.lock_cookie or 0))
    return _internal(internal_requests.touch(target))


def _internal(internal_request: internal_requests.InternalRequest) -> Request:
    return Request(internal_request.head, b"", None, float("inf"))


def _answered(answer: bytes) -> Callable[[], Awaitable[Response]]:
    """A server has answered already."""
    end = answer.index(_HEAD_END) + len(_HEAD_END)

    async def finish() -> Response:
        return Response(parse_answer_head(answer[:end]), answer[end:])

    return finish
