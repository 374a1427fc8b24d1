"""The canary of an engine: how it is noticed that an engine has lost its sessions.

An engine that was restarted without persistence, or flushed, or is another one than yesterday's, says of
every session that it is absent. Web servers would take that for the truth, and start empty sessions.
So a random token lies beside the sessions; where it is gone, so are they, and nothing that the engine says
about absent sessions is believed.

An engine that was restarted from a snapshot, or a replica that was away and became the primary before it
had what it had missed, has a canary, and old sessions: saves are lost, what was removed is there again, and
locks are given twice. So the token has a number, which is advanced twice a second, and with every change that
is answered although not all replicas have it. An engine whose number is less than one that was seen has gone
back, and has lost its sessions as well. A number is seen where a reply counts (shard.py): all replicas have
it, or a majority of Sentinels stands by the primary that has.

Another state server that has not seen the number goes on with such an engine, and advances it. So each step
is a random number, and the item has the last of them; and who finds that an engine has gone back writes LOST
in place of the item, which nobody accepts.

    TOKEN:NUMBER:STEP.STEP... FORMER ...

After the token come those that it has replaced: an operator who accepts the loss has a new one planted, and
every state server that remembers one of the others accepts it as well.
"""

from collections.abc import Callable
from enum import Enum, auto
from secrets import token_hex
from typing import NamedTuple

from partitioner.membership.losses import LostSessions

_MOST_TOKENS = 8

KEPT_EVERY = 32
"""A number is kept for the next start when it is so much more than the last one: every ten seconds or so."""


class Finding(Enum):
    """What is to be done about what was found."""

    FITS = auto()
    PLANT_FIRST = auto()  # the engine is new to us and has no canary
    PLANT_ANEW = auto()  # the sessions are lost, and that is accepted
    LOST = auto()  # they are lost, and nobody has accepted it


LOST = b"lost"
"""An item that says that the engine has gone back."""


class Mark(NamedTuple):
    """How far an engine has come: it must have the same step at this number, as far back as it knows."""

    number: int
    step: bytes


NO_MARK = Mark(0, b"")


class Item(NamedTuple):
    """What the item says."""

    token: bytes
    number: int
    steps: tuple[bytes, ...]  # the latest first
    former: tuple[bytes, ...]  # tokens

    @property
    def mark(self) -> Mark:
        return Mark(self.number, self.steps[0]) if self.steps else NO_MARK

    def has_passed(self, mark: Mark) -> bool:
        """Whether it is the item that had this mark, or comes after that."""
        ago = self.number - mark.number
        if ago < 0:
            return False
        return not mark.step or ago >= len(self.steps) or self.steps[ago] == mark.step


def read_item(value: bytes) -> Item:
    """Read an item; one that says something else has a token that nobody expects, and the number 0."""
    first, *former = value.split() or [b""]
    token, _, counted = first.partition(b":")
    number, _, steps = counted.partition(b":")
    if not number.isdigit():
        return Item(token, 0, (), tuple(former))
    return Item(token, int(number), tuple(steps.split(b".")), tuple(former))


def new_step() -> bytes:
    return token_hex(3).encode()


class Canary:
    """The token that we expect an engine to have, and the least number."""

    def __init__(
        self,
        lost_sessions: LostSessions,
        value: bytes | None = None,
        keep: Callable[[bytes], None] = lambda value: None,
        *,
        may_go_back: bool = False,
    ) -> None:
        """`value` is what the item was before a restart, and None where that is not known.

        `keep` is told what the next start must know; without it, that takes any engine as it stands. An
        engine `may_go_back` where changes are answered that its replicas need not have.
        """
        self._lost_sessions = lost_sessions
        self._keep = keep
        self._may_go_back = may_go_back
        self._is_accepted = False  # the next loss, by an operator
        self._kept = 0  # the number that was kept last
        self.value = value
        """What the item was when it was seen last; None while nothing is known."""
        self._seen = read_item(value or b"")
        self._mark = self._seen.mark

    def __repr__(self) -> str:
        return f"<Canary {self._seen.token.decode() or 'unknown'}:{self._mark.number}>"

    @property
    def mark(self) -> Mark:
        """What the engine must have passed from now on."""
        return NO_MARK if self._may_go_back else self._mark

    def accept_loss(self) -> None:
        """Take the engine as it stands when it is looked at next."""
        self._is_accepted = True

    def judge(self, found: bytes | None) -> Finding:
        """Compare the item of an engine with what is expected; None if there is none."""
        if found is not None and found != LOST and (self.value is None or self.fits(found, self.mark)):
            self.adopt(found)
            self._is_accepted = False
            return Finding.FITS
        if self.value is None and found is None:
            return Finding.PLANT_FIRST
        if self._is_accepted or self._lost_sessions is LostSessions.NEW:
            return Finding.PLANT_ANEW
        return Finding.LOST

    def fits(self, found: bytes, mark: Mark) -> bool:
        """Whether an item is the expected one and has passed this mark, or has taken its place."""
        item = read_item(found)
        if item.token == self._seen.token:
            return item.has_passed(mark)
        return self._seen.token in item.former

    def has_gone_back(self, found: bytes) -> bool:
        """Whether an item is the expected one, and has not passed what was seen; or somebody has found so."""
        item = read_item(found)
        return found == LOST or (item.token == self._seen.token and not item.has_passed(self.mark))

    def next_value(self, found: bytes | None) -> bytes:
        """An item with a new token, to be planted in place of what was found."""
        items = (self._seen, read_item(found or b""))
        former = [token for item in items for token in (item.token, *item.former) if token]
        first = b"%b:1:%b" % (token_hex(8).encode(), new_step())
        return b" ".join([first, *dict.fromkeys(former)][:_MOST_TOKENS])

    def adopt(self, value: bytes) -> None:
        """Expect the token of this item. Its number does not count yet: the next primary may not have it."""
        item = read_item(value)
        if self.value is not None and item.token == self._seen.token:
            return
        self.value, self._seen, self._mark, self._kept = value, item, NO_MARK, 0
        self._keep(b" ".join([item.token, *item.former]))

    def remember(self, value: bytes) -> None:
        """Expect this item from now on. One with a smaller number was overtaken by that of another batch."""
        self.adopt(value)
        item = read_item(value)
        if item.number < self._mark.number:
            return
        self.value, self._seen, self._mark = value, item, item.mark
        if item.number >= self._kept + KEPT_EVERY:
            self._kept = item.number
            self._keep(value)
