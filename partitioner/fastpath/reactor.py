"""One epoll with all connections of the fast path in it, and the round in which its events are worked off.

Within a round links are reacted to first, then clients; what is to be sent is sent last (router.py). So no
request goes to a link whose close has been seen, and no lock to a client whose close has been seen.

All is received before anything is reacted to. Every system call drives this program out of the processor's
caches: one after the other for each connection costs a tenth more than all receiving, then all reacting, then
all sending.
"""

import errno
import os
import select
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from os import read
from typing import Any, TypeAlias, TypeVar

from partitioner.fastpath.connections import BackendConnection, Client, EventData
from partitioner.fastpath.states import Signal
from partitioner.transport.backend_connections import HELD_BODY

RECEIVE_SIZE = HELD_BODY + 4096
"""Bytes taken in at a time: the largest body that is relayed here, and its head, so that it comes whole."""

SHORT_SIZE = 4096
"""The same for connections over which less has come so far. Making room for more costs a twentieth of an
exchange where there are many; a read that was filled has the next one take in four times as much."""

Clock: TypeAlias = Callable[[], float]
"""trio's, but cheaper."""

Reaction = Callable[[Any, Any], None]
"""Takes a Client or a BackendConnection, and EventData."""

Table = Sequence[Sequence[Reaction]]
"""Reactions by state and signal."""

Inbox: TypeAlias = deque[tuple[Client | BackendConnection, Signal, EventData]]
"""What has come in this round and has not been reacted to, the next one first."""

# Whatever comes is told of once; after a read that was filled epoll is asked again.
_HAS_FINISHED = select.EPOLLRDHUP
_IS_URGENT = select.EPOLLPRI  # a byte of it: a read ends there, however much has come after it
_WAS_RESET = select.EPOLLERR
_RESET = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
_IN = select.EPOLLIN | _HAS_FINISHED | _IS_URGENT | select.EPOLLET
_OUT = select.EPOLLOUT
_ONLY_DATA = select.EPOLLIN  # and neither its end, nor trouble
_DATA, _END, _BROKEN, _ROOM = Signal.DATA, Signal.END, Signal.BROKEN, Signal.ROOM


class Reactor:
    """Waits for connections, and takes in what comes."""

    def __init__(self, clock: Clock) -> None:
        self.epoll = select.epoll()
        self.was_full = False  # the last round: more may have come than it has told of
        self.now = clock()
        """The time for reactions. It stands still while that goes on, and so costs nothing."""
        self.from_links: Inbox = deque()
        self.from_clients: Inbox = deque()
        self._watched: dict[int, tuple[Client | BackendConnection, int, Inbox]] = {}
        """By file descriptor: how many bytes to take in at a time, and where they belong."""
        self._clock = clock

    def register(self, connection: Client | BackendConnection) -> None:
        """From now on have this connection reacted to when something comes."""
        self.epoll.register(connection.descriptor, _IN)
        self._watched[connection.descriptor] = connection, SHORT_SIZE, self._inbox_of(connection)

    def let_go(self, connection: Client | BackendConnection) -> socket.socket:
        """Forget a connection; return its socket."""
        if self._watched.pop(connection.descriptor, None) is not None:
            self.epoll.unregister(connection.descriptor)
        return connection.socket

    def close(self, connection: Client | BackendConnection) -> None:
        """Close a connection."""
        self._watched.pop(connection.descriptor, None)
        connection.socket.close()

    def await_room(self, connection: Client | BackendConnection) -> None:
        """Have it reacted to when more can be sent, and not when something comes."""
        self.epoll.modify(connection.descriptor, _OUT)

    def await_data(self, connection: Client | BackendConnection) -> None:
        """The other way round. What has come already is told of as well."""
        self.epoll.modify(connection.descriptor, _IN)

    def tell_time(self) -> float:
        """What time it is by now."""
        clock = self._clock
        self.now = now = clock()
        return now

    def receive(self, events: Sequence[tuple[int, int]]) -> None:
        """Take in what these events of the epoll tell of."""
        clock, watched = self._clock, self._watched
        self.now = clock()
        for descriptor, what in events:
            connection, size, inbox = watched[descriptor]
            if what & _OUT:
                inbox.append((connection, _ROOM, b""))
                continue
            try:
                data = read(descriptor, size)
            except BlockingIOError:
                continue  # woken for nothing
            except OSError as error:
                inbox.append((connection, _BROKEN, error))
                continue
            if what == _ONLY_DATA and 0 < len(data) < size:
                inbox.append((connection, _DATA, data))
            else:
                self._receive_unusual(connection, data, what)

    def unread(self, connection: Client | BackendConnection) -> bytes:
        """What has come over it in this round and has not been reacted to."""
        for each, signal, event in self._inbox_of(connection):
            if each is connection and signal is _DATA and isinstance(event, bytes):
                return event
        return b""

    def _receive_unusual(self, connection: Client | BackendConnection, data: bytes, what: int) -> None:
        """A read has ended before all that has come was read, or this is the last that comes.

        A request whose client has reset the connection is not carried out: a router that dies or is
        superseded leaves such requests unread at a server that was frozen, and Linux still hands them out.
        """
        _, size, inbox = self._watched[connection.descriptor]
        if what & _WAS_RESET and inbox is self.from_clients:
            inbox.append((connection, _BROKEN, _RESET))
            return
        if data:
            inbox.append((connection, _DATA, data))
        if len(data) == size:
            self._watched[connection.descriptor] = connection, min(4 * size, RECEIVE_SIZE), inbox
            self.await_data(connection)
        elif data and what & _IS_URGENT:
            self.await_data(connection)
        elif not data or what & _HAS_FINISHED:
            # Known before the next request is given to a link over which that would get lost.
            inbox.append((connection, _END, b""))

    def _inbox_of(self, connection: Client | BackendConnection) -> Inbox:
        return self.from_links if isinstance(connection, BackendConnection) else self.from_clients


class EventDispatch:
    """Has the reactions called that the tables name."""

    def __init__(
        self,
        reactor: Reactor,
        client_reactions: Table,
        link_reactions: Table,
        crashed: Callable[[Client | BackendConnection, Exception], None],
        look: Callable[[], bool] = lambda: False,
    ) -> None:
        """Where there are no links, theirs is empty. `crashed` hears of faults of ours in reactions.

        `look` returns whether everything was closed just now, and is asked after each wait
        (transport.standstill).
        """
        self._reactor = reactor
        self._client_reactions = client_reactions
        self._link_reactions = link_reactions
        self._crashed = crashed
        self._look = look

    def work_off(self, timeout: float, most_events: int) -> bool:
        """One round: wait so long for so many events, and react; return whether there were any."""
        reactor = self._reactor
        events = reactor.epoll.poll(timeout, most_events)
        if self._look():
            return True
        reactor.was_full = len(events) == most_events
        reactor.receive(events)
        self._react(reactor.from_links, self._link_reactions)
        self._react(reactor.from_clients, self._client_reactions)
        return bool(events)

    def signal(self, connection: Client | BackendConnection, signal: Signal) -> None:
        """Have it reacted to a signal that does not come over the network."""
        reactions = (
            self._link_reactions if isinstance(connection, BackendConnection) else self._client_reactions
        )
        self._reactor.tell_time()
        try:
            reactions[connection.state][signal](connection, b"")
        except Exception as error:  # noqa: BLE001 - as below
            self._crashed(connection, error)

    def _react(self, inbox: Inbox, reactions: Table) -> None:
        while inbox:
            connection, signal, event = inbox.popleft()
            try:
                reactions[connection.state][signal](connection, event)
            except Exception as error:  # noqa: BLE001 - one connection's fault must not end all others
                self._crashed(connection, error)


StateT = TypeVar("StateT", bound=IntEnum)


def dispatch_table(
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
