"""What a state server tells of single sessions: that they are there, their locks, and what is in them.

Nothing changes by it, time-outs included. Of items names, types and sizes are told, and no value.
"""

from collections.abc import Callable

import trio

from partitioner.ops.admin.key_pages import canaries_of
from partitioner.payload import Outline
from partitioner.placement.session_id import session_id
from partitioner.protocol.target import canonical_form, target_of
from partitioner.routing.item_weights import (
    ApplicationNames,
    Kind,
    WeighedKind,
    WeighedPage,
    Weight,
    bounded,
)
from partitioner.routing.session_looks import Look, SeenLock, SeenSession, outlined
from partitioner.sessions.session import Session
from partitioner.sessions.table import SessionTable

KEYS_AT_A_TIME = 2000
"""That are searched for an ID in one go, in less than a millisecond."""

MOST_FOUND = 16
"""Sessions with one ID: a farm has a few applications."""

_one_body_at_a_time = trio.CapacityLimiter(1)


def look_at(table: SessionTable, key: bytes, now: float) -> Look:
    """What a table tells of the session with this key."""
    session = table.maybe_session(key, now)
    canaries = {farm: content.decode("ascii", "replace") for farm, content in canaries_of(table, now).items()}
    return Look(None if session is None else _seen(session, now), canaries)


def _seen(session: Session, now: float) -> SeenSession:
    minutes, locked_since = session.timeout_minutes, session.locked_since
    left = session.expires_at - now if minutes else None
    return SeenSession(
        minutes=minutes,
        size=session.size,
        digest=f"{session.digest:016x}",
        idle=None if left is None else max(0.0, minutes * 60.0 - left),
        left=left,
        is_new=session.is_uninitialized,
        lock=None if locked_since is None else SeenLock(session.lock_cookie, max(0.0, now - locked_since)),
    )


async def find_in(table: SessionTable, wanted: bytes) -> tuple[str, ...]:
    """The targets of the sessions with this ID, of all applications; 0.1 s for a million keys."""
    found: list[str] = []
    cursor: int | None = 0
    while cursor is not None and len(found) < MOST_FOUND:
        keys, cursor = table.page(cursor, KEYS_AT_A_TIME)
        for key in keys:
            if key.endswith(wanted) and session_id(canonical_form(key)) == wanted:
                found.append(target_of(key).decode())
        await trio.lowlevel.checkpoint()
    return tuple(dict.fromkeys(found))


async def outline_in(table: SessionTable, key: bytes, clock: Callable[[], float]) -> Outline | None:
    """What kind of items is in a session; None if there is none. One body at a time is looked into."""
    async with _one_body_at_a_time:
        body = table.maybe_content(key, clock())
        return None if body is None else await outlined(body)


# --- what items take the memory ---

LONGEST_PART = 1.0
"""Seconds that a part of what a server holds takes at most, but for the last body of it."""

SESSIONS_IN_A_PART = 1000
KINDS_IN_A_PART = 1000
"""Items by application, name and type: some hundred kilobytes of JSON."""


async def weigh(table: SessionTable, first: bytes, clock: Callable[[], float]) -> WeighedPage:
    """Add up the items of a part of the sessions, from this key on; one body at a time is looked into."""
    began_at, names = clock(), ApplicationNames()
    kinds: dict[Kind, Weight] = {}
    sessions, unread = Weight(), 0
    listed, following = table.inventory(first, SESSIONS_IN_A_PART, began_at)
    for each in listed:
        if clock() - began_at >= LONGEST_PART and sessions.count:
            following = each.key
            break
        outline = await outline_in(table, each.key, clock)
        if outline is None:
            continue  # it has gone meanwhile
        sessions.add(1, each.size)
        unread += outline.unread is not None
        application = names.of(each.key)
        for item in outline.items:
            kind = bounded(Kind(application, item.name, item.type), kinds, KINDS_IN_A_PART)
            kinds.setdefault(kind, Weight()).add(1, item.size or 0)
    canaries = {farm: told.decode("ascii", "replace") for farm, told in canaries_of(table, began_at).items()}
    weighed = tuple(WeighedKind(kind, weight.count, weight.size) for kind, weight in kinds.items())
    following_target = None if following is None else target_of(following).decode()
    return WeighedPage(weighed, sessions.count, sessions.size, unread, following_target, canaries)
