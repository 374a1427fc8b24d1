"""Which connections to a state server are those of a superseded router (design.md 5.3).

A router that claims writes its term to every server. From then on the former one must not write there any
more, not even with bytes that were sent before it learned of the claim. It writes only over connections on
which it has read the canary first. So a state server remembers, for each connection over which the canary of
a farm was read, the latest term of that farm that was read or stored over it.

When a higher term is stored, connections that have seen only a lower one, or none, are closed. A connection
over which nothing but canaries and terms was asked for is left open: its router may be the one that has
claimed, and be about to read the term, or to store it here as well. It is closed at its first other request
if it has not seen the stored term by then.
"""

from collections.abc import Callable

from partitioner.errors import MalformedAnswer
from partitioner.membership.items import Term, read_term


class RouterConnection:
    """A connection over which the canary of a farm was read."""

    __slots__ = ("_break_off", "_fence", "is_closed", "may_write", "seen")

    def __init__(self, fence: "Fence", break_off: Callable[[str], None]) -> None:
        """`break_off` closes the connection at once; its argument is the reason."""
        self._break_off = break_off
        self.seen: dict[bytes, Term | None] = {}  # by farm; None: there was none
        self.may_write = False  # whether it has passed the check of its first request other than for a term
        self.is_closed = False
        self._fence = fence

    def hand_over(self, break_off: Callable[[str], None]) -> None:
        """Another part of the program serves the connection from now on, and closes it so."""
        self._break_off = break_off

    def cut(self, reason: str) -> None:
        """Close it: its router has been superseded. A request that has been received is not carried out."""
        break_off = self._break_off
        self.forget()
        break_off(reason)

    def forget(self) -> None:
        """It is closed, and nothing more comes over it."""
        self.is_closed = True
        self.may_write = False
        self._break_off = _do_nothing
        self._fence.forget(self)


class Fence:
    """The connections of routers to one state server."""

    def __init__(self) -> None:
        self._connections: dict[RouterConnection, None] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def canary_read(self, connection: RouterConnection, farm: bytes, stored: Term | None) -> None:
        """The canary of this farm was read over a connection, while this term was stored."""
        self._connections[connection] = None
        connection.seen[farm] = stored

    def term_seen(self, connection: RouterConnection, farm: bytes, term: Term | None) -> None:
        """This term was read over a connection, or sent over it to be stored."""
        if farm in connection.seen:
            connection.seen[farm] = term

    def term_stored(self, farm: bytes, term: Term) -> list[RouterConnection]:
        """This term is stored now. Returns the connections that are to be closed for it."""
        return [
            each
            for each in self._connections
            if each.may_write and farm in each.seen and is_lower(each.seen[farm], term)
        ]

    def forget(self, connection: RouterConnection) -> None:
        """This connection is closed."""
        self._connections.pop(connection, None)


def is_lower(term: Term | None, stored: Term | None) -> bool:
    """Whether a router that has seen this term last has been superseded by the stored one."""
    return stored is not None and (term is None or term < stored)


def maybe_term(content: bytes | None) -> Term | None:
    """The term that an item says; None if it says none."""
    if content is None:
        return None
    try:
        return read_term(content).term
    except MalformedAnswer:
        return None


def _do_nothing(reason: str) -> None:
    """A connection that is closed is not closed again."""
