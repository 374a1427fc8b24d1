"""What a state server of our own tells of a single session.

Apart from those who ask, because a state server needs nothing of a router.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import trio

from partitioner.payload import Outline, is_quick, outline_of

MOST_ITEMS_TOLD = 1000
"""Of one session, the largest ones; as JSON they take some hundred kilobytes."""


@dataclass(frozen=True, slots=True)
class SeenLock:
    """A lock, as a server tells it."""

    cookie: int
    age: float  # seconds


@dataclass(frozen=True, slots=True)
class SeenSession:
    """A session, as a server tells it. What it does not tell is None."""

    minutes: int | None  # its time-out
    size: int | None  # bytes of its body
    digest: str | None  # Session.digest, in 16 hex digits
    idle: float | None  # seconds since it was last used
    left: float | None  # seconds until it expires unless it is used; None also where it never does
    is_new: bool  # no page has read it since a page without cookies has made it
    lock: SeenLock | None


@dataclass(frozen=True, slots=True)
class Look:
    """What the admin port of a state server tells of one session."""

    session: SeenSession | None  # None: it does not have it
    canaries: Mapping[str, str]  # what routers have planted there, by their farms' names


async def outlined(body: bytes) -> Outline:
    """The outline of a body; of one that may take a while in a thread. Callers have one body at a time."""
    if is_quick(body):
        await trio.lowlevel.checkpoint()
        return outline_of(body).largest(MOST_ITEMS_TOLD)
    outline = await trio.to_thread.run_sync(outline_of, body)
    return outline.largest(MOST_ITEMS_TOLD)
