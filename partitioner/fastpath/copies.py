"""What an exchange asks of other servers than the acting primary: reactions to what happens to those links.

    a write     goes to its first server like any request. Once that has accepted it, the same bytes go to all
                other holders; where the key is not settled, a remove goes then to all who held it formerly
    a miss      of a key that is not settled: all who can have the session are asked whether they have it
    a touch     begins here; it has no client, and is behind the gate on its own account

Those of one step are asked at the same time, and a client waits until each of them has confirmed what it was
expected to: that a copy is written, that there is nothing left, that the session is not there. Whatever else
there may be is handed over, with all that is under way and all that was confirmed.
"""

from partitioner.fastpath.connections import (
    BackendConnection,
    BackendLinks,
    Client,
    Confirmation,
    Route,
    Step,
    Touch,
)
from partitioner.fastpath.handover import HandOver
from partitioner.fastpath.links import Links
from partitioner.fastpath.recorder import ExchangeRecorder
from partitioner.fastpath.round import Round
from partitioner.fastpath.routes import Routes
from partitioner.fastpath.states import LinkState
from partitioner.protocol.messages import Operation
from partitioner.protocol.ordinary import AnswerRecogniser
from partitioner.protocol.writer import write_request

_READING_COPY = LinkState.READING_COPY
_COPYING, _REMOVING, _SEARCHING = Step.COPYING, Step.REMOVING, Step.SEARCHING
_REMOVE, _RESET_TIMEOUT = Operation.REMOVE, Operation.RESET_TIMEOUT

_CONFIRMS = ((200,), (200, 404), (404,))
"""What is expected in each step: a whole answer of such a status that says nothing more."""


class Copies:
    """What goes to the copies of a session, and to whoever may have had it."""

    def __init__(
        self,
        round_: Round,
        recorder: ExchangeRecorder,
        routes: Routes,
        links: Links,
        hand_over: HandOver,
        recogniser: AnswerRecogniser,
    ) -> None:
        self._round = round_
        self._recorder = recorder
        self._routes = routes
        self._links = links
        self._hand_over = hand_over
        self._recogniser = recogniser

    # --- what follows the answer of the acting primary ---

    def spread(self, client: Client, answer: bytes) -> None:
        """The first server has accepted a write: have all others follow before the client gets its answer."""
        client.answer = answer
        self._begin(client, _COPYING)

    def search(self, client: Client, answer: bytes) -> None:
        """The acting primary misses a session: see whether it is elsewhere before the client hears that."""
        client.answer = answer
        self._begin(client, _SEARCHING)

    def _begin(self, client: Client, step: Step) -> None:
        client.step = step
        asked, request = self._whom_and_what(client)
        if not self._have_room(asked):
            self._hand_over.after(client)
            return
        now = self._round.reactor.now
        for backend_links in asked:
            link = _take_idle(backend_links, now)
            link.client = client
            client.follow_ups.append(link)
            self._links.send(link, request, _READING_COPY)
            if not client.follow_ups:
                return  # that link was broken, and all have been handed over
        if not asked:
            self._go_on(client)

    def _whom_and_what(self, client: Client) -> tuple[tuple[BackendLinks, ...], bytes]:
        route = client.route
        assert route is not None
        if client.step is _COPYING:
            return route.copies or (), client.request
        target, former = route.session.target, self._routes.former_holders(route)
        if client.step is _REMOVING:
            return former.cleared or (), write_request(_REMOVE, target, lock_cookie=int(client.cookie or 0))
        return former.asked or (), write_request(_RESET_TIMEOUT, target)

    def _go_on(self, client: Client) -> None:
        """All have confirmed a step."""
        if client.step is _COPYING and client.leftovers:
            self._begin(client, _REMOVING)
            return
        is_searching, now = client.step is _SEARCHING, self._round.reactor.now
        recorder = self._recorder
        if recorder.record_absent(client) if is_searching else recorder.record_spread(client, now):
            # Not delivered at once: what this client has said in this round must find it waiting.
            self._round.answers.append((client, client.answer))
        else:
            self._hand_over.after(client)

    def take_confirmation(self, link: BackendConnection, data: bytes) -> None:
        """One of them has answered."""
        client = link.client
        if client is None:
            self._take_confirmation_of_touch(link, data)
            return
        status = self._recogniser.recognise_empty(data)
        if status is None or status not in _CONFIRMS[client.step]:
            self._hand_over.link(link, data)
            return
        client.confirmed.append(Confirmation(client.step, link.identity, link.since, data))
        self._links.free(link, self._round.reactor.now, status)
        client.follow_ups.remove(link)
        if not client.follow_ups:
            self._go_on(client)

    # --- touches ---

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

    def _take_confirmation_of_touch(self, link: BackendConnection, data: bytes) -> None:
        touch = link.touch
        if not self._recogniser.is_empty_success(data):
            self._hand_over.link(link, data)
            return
        self._links.free(link, self._round.reactor.now)
        if touch is not None:
            touch.copying.remove(link)
            if not touch.copying:
                self._recorder.record_touched(touch.route, self._round.reactor.now)

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
