"""Writes copies, and touches them: reactions to what happens to the links over which that goes.

A write goes to its first server like any request. Once that has accepted it, the same bytes go to all other
holders at the same time, and its client waits until each of them has confirmed it. A touch begins here; it
has no client, and is behind the gate on its own account. Either is confirmed by a success that says nothing
else. Whatever else there may be is handed over, with all that is under way.
"""

from partitioner.fastpath.connections import BackendConnection, BackendLinks, Client, Route, Touch
from partitioner.fastpath.handover import HandOver
from partitioner.fastpath.links import Links
from partitioner.fastpath.recorder import ExchangeRecorder
from partitioner.fastpath.round import Round
from partitioner.fastpath.states import LinkState
from partitioner.protocol.messages import Operation
from partitioner.protocol.ordinary import AnswerRecogniser
from partitioner.protocol.writer import write_request

_READING_COPY = LinkState.READING_COPY
_RESET_TIMEOUT = Operation.RESET_TIMEOUT


class Copies:
    """What goes to the copies of a session."""

    def __init__(
        self,
        round_: Round,
        recorder: ExchangeRecorder,
        links: Links,
        hand_over: HandOver,
        recogniser: AnswerRecogniser,
    ) -> None:
        self._round = round_
        self._recorder = recorder
        self._links = links
        self._hand_over = hand_over
        self._recogniser = recogniser

    def write(
        self, client: Client, links_of_backends: tuple[BackendLinks, ...], answer: bytes, now: float
    ) -> None:
        """The first server has accepted a write: send it to the others before the client gets its answer."""
        client.answer = answer
        if not self._have_room(links_of_backends):
            self._hand_over.after(client)
            return
        for backend_links in links_of_backends:
            link = _take_idle(backend_links, now)
            link.client = client
            client.copying.append(link)
            self._links.send(link, client.request, _READING_COPY)
            if not client.copying:
                return  # that link was broken, and all have been handed over

    def touch(self, route: Route, now: float) -> bool:
        """Touch the copies of a session, if that is ordinary; return whether it is under way."""
        links_of_backends = route.copies
        if (
            not links_of_backends
            or not self._have_room(links_of_backends)
            or not self._recorder.admit_touch(route)
        ):
            return False
        touch = Touch(route, write_request(_RESET_TIMEOUT, route.session.target))
        for backend_links in links_of_backends:
            link = _take_idle(backend_links, now)
            link.touch = touch
            touch.copying.append(link)
            self._links.send(link, touch.request, _READING_COPY)
            if not touch.copying:
                break  # as above
        return True

    def give_up(self, touch: Touch) -> None:
        """The fast path ends: the outcome of this touch is not reported."""
        if touch.copying:
            touch.copying = []
            self._recorder.finish_touch(touch.route)

    def take_confirmation(self, link: BackendConnection, data: bytes) -> None:
        """A server has answered a copy or a touch."""
        if not self._recogniser.is_empty_success(data):
            self._hand_over.link(link, data)
            return
        now, client, touch = self._round.reactor.now, link.client, link.touch
        self._links.free(link, now)
        if client is not None:
            client.copying.remove(link)
            if not client.copying:
                self._recorder.record_copied(client)
                # Not delivered at once: what this client has said in this round must find it waiting.
                self._round.answers.append((client, client.answer))
        elif touch is not None:
            touch.copying.remove(link)
            if not touch.copying:
                self._recorder.finish_touch(touch.route)

    def _have_room(self, links_of_backends: tuple[BackendLinks, ...]) -> bool:
        """Whether each of these backends can be asked at once."""
        for backend_links in links_of_backends:
            if not backend_links.limit.free or not (
                backend_links.idle_links or self._links.adopt(backend_links)
            ):
                return False
        return True


def _take_idle(backend_links: BackendLinks, now: float) -> BackendConnection:
    link = backend_links.idle_links.pop()
    backend_links.limit.free -= 1
    link.since = now
    return link
