"""One epoll with all connections of the express lane in it, and the round in which its events are worked off.

Within a round links come first, then clients; what is to be sent is sent last (relay.py). So a link that
its backend has closed is not given a request, and a client that has left is not given a lock, where either
was to be known.

All is received before anything is reacted to. Every system call drives this program out of the processor's
caches: one after the other for each connection costs a tenth more than all receiving, then all reacting, then
all sending.
"""

import select
import socket
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, TypeAlias, TypeVar

from partitioner.net.express.connections import Client, Link, News
from partitioner.net.express.states import Signal
from partitioner.net.upstream import HELD_BODY

RECEIVE_SIZE = HELD_BODY + 4096
"""Bytes taken in at a time: the largest body that is relayed here, and its head, so that it comes whole."""

SHORT_SIZE = 4096
"""The same for connections over which less has come so far. Making room for more costs a twentieth of an
exchange where there are many; a read that was filled has the next one take in four times as much."""

Reaction = Callable[[Any, Any], None]
"""Takes a Client or a Link, and News."""

Table = Sequence[Sequence[Reaction]]
"""Reactions by state and signal."""

Ready: TypeAlias = tuple[Client | Link, int]
"""A connection, and what epoll says of it."""

_OUT, _HAS_FINISHED = select.EPOLLOUT, select.EPOLLRDHUP
_IN = select.EPOLLIN | _HAS_FINISHED
_DATA, _END, _BROKEN, _ROOM = Signal.DATA, Signal.END, Signal.BROKEN, Signal.ROOM


class Reactor:
    """Waits for connections, and has them reacted to as the tables say."""

    def __init__(
        self,
        client_reactions: Table,
        link_reactions: Table,
        crashed: Callable[[Client | Link, Exception], None],
    ) -> None:
        """Where there are no links, theirs is empty. `crashed` hears of faults of ours in reactions."""
        self.epoll = select.epoll()
        self.connections: dict[int, Client | Link] = {}  # by file descriptor
        self.was_full = False  # the last round: more may have come than it has told of
        self._received: list[tuple[Client | Link, Signal, News]] = []  # in this round, the next one last
        self._crashed = crashed
        self._client_reactions = client_reactions
        self._link_reactions = link_reactions

    def register(self, connection: Client | Link) -> None:
        """From now on have this connection reacted to when something comes."""
        self.epoll.register(connection.descriptor, _IN)
        connection.receive_size = SHORT_SIZE
        self.connections[connection.descriptor] = connection

    def let_go(self, connection: Client | Link) -> socket.socket:
        """Forget a connection; answer its socket."""
        if self.connections.pop(connection.descriptor, None) is not None:
            self.epoll.unregister(connection.descriptor)
        return connection.socket

    def close(self, connection: Client | Link) -> None:
        """Close a connection."""
        self.connections.pop(connection.descriptor, None)
        connection.socket.close()

    def await_room(self, connection: Client | Link) -> None:
        """Have it reacted to when more can be sent, and not when something comes."""
        self.epoll.modify(connection.descriptor, _OUT)

    def await_data(self, connection: Client | Link) -> None:
        """The other way round."""
        self.epoll.modify(connection.descriptor, _IN)

    def signal(self, connection: Client | Link, signal: Signal) -> None:
        """Have it reacted to a signal that does not come over the network."""
        reactions = self._link_reactions if isinstance(connection, Link) else self._client_reactions
        try:
            reactions[connection.state][signal](connection, b"")
        except Exception as error:  # noqa: BLE001 - as below
            self._crashed(connection, error)

    def work_off(self, timeout: float, most_events: int) -> bool:
        """One round: wait so long for so many events, and react; answer whether there were any."""
        events = self.epoll.poll(timeout, most_events)
        self.was_full = len(events) == most_events
        links: list[Ready] = []
        clients: list[Ready] = []
        for descriptor, what in events:
            connection = self.connections[descriptor]
            (links if connection.is_link else clients).append((connection, what))
        self._react(links, self._link_reactions)
        self._react(clients, self._client_reactions)
        return bool(events)

    def unread(self, connection: Client | Link) -> bytes:
        """What has come over it in this round and has not been reacted to."""
        for each, signal, news in self._received:
            if each is connection and signal is _DATA and isinstance(news, bytes):
                return news
        return b""

    def _react(self, ready: list[Ready], reactions: Table) -> None:
        connections, received = self.connections, self._received
        self._receive(ready)
        while received:
            connection, signal, news = received.pop()
            if connections.get(connection.descriptor) is not connection:
                continue  # it was handed over with another link's exchange, and what is unread as well
            try:
                reactions[connection.state][signal](connection, news)
            except Exception as error:  # noqa: BLE001 - one connection's trouble must not become everybody's
                self._crashed(connection, error)

    def _receive(self, ready: list[Ready]) -> None:
        """Take in what has come over these connections, the first last."""
        connections, received = self.connections, self._received
        for connection, what in reversed(ready):
            if connections.get(connection.descriptor) is not connection:
                continue  # its exchange was handed over in this round, and the client with it
            if what & _OUT:
                received.append((connection, _ROOM, b""))
                continue
            try:
                data = connection.recv(connection.receive_size)
            except BlockingIOError:
                continue  # woken for nothing
            except OSError as error:
                received.append((connection, _BROKEN, error))
                continue
            if not data or (what & _HAS_FINISHED and len(data) < connection.receive_size):
                # Known before the next request is given to a link over which that would get lost.
                received.append((connection, _END, b""))
            if data:
                received.append((connection, _DATA, data))
            if len(data) == connection.receive_size:
                connection.receive_size = min(4 * len(data), RECEIVE_SIZE)


StateT = TypeVar("StateT", bound=IntEnum)


def compiled(
    table: Mapping[tuple[StateT, Signal], str], states: type[StateT], reactions: object
) -> list[list[Reaction]]:
    """The table as lists, because looking up a pair costs more than what is done then.

    It may leave states out that no connection is ever in; all that it has, it has whole.
    """
    used = {state for state, _ in table}
    return [
        [getattr(reactions, table[state, signal]) for signal in Signal] if state in used else []
        for state in states
    ]
