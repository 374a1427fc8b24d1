"""The canary of an engine: how it is noticed that an engine has lost its sessions.

An engine that was restarted without persistence, or flushed, or is another one than yesterday's, says of
every session that it is absent. Web servers would take that for the truth, and start empty sessions.
So a random token lies beside the sessions; where it is gone, so are they, and nothing that the engine says
about absent sessions is believed.

The token is the first word of the item, and after it come those that it has replaced: an operator who
accepts the loss has a new one planted, and every state server that remembers one of the others accepts it as
well.
"""

from collections.abc import Callable
from enum import Enum, auto
from secrets import token_hex

from partitioner.membership.losses import LostSessions

_MOST_TOKENS = 8


class Finding(Enum):
    """What is to be done about what was found."""

    FITS = auto()
    PLANT_FIRST = auto()  # the engine is new to us and has no canary
    PLANT_ANEW = auto()  # the sessions are lost, and that is accepted
    LOST = auto()  # they are lost, and nobody has accepted it


class Canary:
    """The token that we expect an engine to have."""

    def __init__(
        self,
        lost_sessions: LostSessions,
        value: bytes | None = None,
        keep: Callable[[bytes], None] = lambda value: None,
    ) -> None:
        """`value` is what the item was before a restart, and None where that is not known.

        `keep` is told what the next start must know; without it, that takes any engine as it stands.
        """
        self._lost_sessions = lost_sessions
        self._keep = keep
        self._is_accepted = False  # the next loss, by an operator
        self.value = value
        """What the item must be; None while nothing is known."""

    def __repr__(self) -> str:
        return f"<Canary {self._token.decode() or 'unknown'}>"

    @property
    def _token(self) -> bytes:
        return self.value.split()[0] if self.value else b""

    def accept_loss(self) -> None:
        """Take the engine as it stands when it is looked at next."""
        self._is_accepted = True

    def judge(self, found: bytes | None) -> Finding:
        """Compare the item of an engine with what is expected; None if there is none."""
        if found is not None and (self.value is None or self._token in found.split()):
            self.remember(found)
            self._is_accepted = False
            return Finding.FITS
        if self.value is None:
            return Finding.PLANT_FIRST
        if self._is_accepted or self._lost_sessions is LostSessions.NEW:
            return Finding.PLANT_ANEW
        return Finding.LOST

    def next_value(self, found: bytes | None) -> bytes:
        """An item with a new token, to be planted in place of what was found."""
        former = (self.value or b"").split() + (found or b"").split()
        return b" ".join([token_hex(8).encode(), *dict.fromkeys(former)][:_MOST_TOKENS])

    def remember(self, value: bytes) -> None:
        """Expect this item from now on."""
        if value != self.value:
            self.value = value
            self._keep(value)
