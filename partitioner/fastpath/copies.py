"""Writes copies, and touches them: reactions to what happens to the links over which that goes.

A write goes to its first server like any request. Once that has accepted it, the same bytes go to all other
holders at the same time, and its client waits until each of them has confirmed it. A touch begins here; it
has no client, and is behind the gate on its own account. Either is confirmed by a success that says nothing
else. Whatever else there may be is handed over, with all that is under way.
"""

from typing import TYPE_CHECKING

from partitioner.fastpath.connections import Client, Link, Touch
from partitioner.fastpath.recorder import Books
from partitioner.fastpath.routes import Route, Siding
from partitioner.fastpath.states import LinkState
from partitioner.protocol.messages import Operation
from partitioner.protocol.writer import write_request

if TYPE_CHECKING:
    from partitioner.fastpath.backends import LinkReactions
    from partitioner.fastpath.router import Relay

_READING_COPY = LinkState.READING_COPY
_RESET_TIMEOUT = Operation.RESET_TIMEOUT


class Copies:
    """What goes to the copies of a session."""

    def __init__(self, relay: "Relay", books: Books, links: "LinkReactions") -> None:
        self._relay = relay
        self._books = books
        self._links = links

    def write(self, client: Client, sidings: tuple[Siding, ...], answer: bytes, now: float) -> None:
        """The first server has accepted a write: send it to the others before the client gets its answer."""
        client.answer = answer
        if not self._have_room(sidings):
            self._relay.hand_over.after(client)
            return
        for siding in sidings:
            link = _take_idle(siding, now)
            link.client = client
            client.copying.append(link)
            self._links.send(link, client.request, _READING_COPY)
            if not client.copying:
                return  # that link was broken, and all have been handed over

    def touch(self, route: Route, now: float) -> bool:
        """Touch the copies of a session, if that is ordinary; answer whether it is under way."""
        sidings = route.copies
        if not sidings or not self._have_room(sidings) or not self._books.open_touch(route):
            return False
        touch = Touch(route, write_request(_RESET_TIMEOUT, route.target))
        for siding in sidings:
            link = _take_idle(siding, now)
            link.touch = touch
            touch.copying.append(link)
            self._links.send(link, touch.request, _READING_COPY)
            if not touch.copying:
                break  # as above
        return True

    def give_up(self, touch: Touch) -> None:
        """The lane ends: nobody will hear how this touch has gone."""
        if touch.copying:
            touch.copying = []
            self._books.close_touch(touch.route)

    def take_confirmation(self, link: Link, data: bytes) -> None:
        """A server has answered a copy or a touch."""
        if not self._links.is_empty_success(data):
            self._links.hand_over(link, data)
            return
        now, client, touch = self._relay.reactor.now, link.client, link.touch
        self._links.free(link, now)
        if client is not None:
            client.copying.remove(link)
            if not client.copying:
                self._books.note_copied(client)
                # Not delivered at once: what this client has said in this round must find it waiting.
                self._relay.answers.append((client, client.answer))
        elif touch is not None:
            touch.copying.remove(link)
            if not touch.copying:
                self._books.close_touch(touch.route)

    def _have_room(self, sidings: tuple[Siding, ...]) -> bool:
        """Whether each of these backends can be asked at once."""
        for siding in sidings:
            if not siding.places.free or not (siding.idle_links or self._links.adopt(siding)):
                return False
        return True


def _take_idle(siding: Siding, now: float) -> Link:
    link = siding.idle_links.pop()
    siding.places.free -= 1
    link.since = now
    return link
