"""When sessions are lost whose servers are out of reach: configuration keys `lost_sessions` and `lost_after`.

A session is *lost* when the only servers that may have it cannot be asked. Its user is told then that it
does not exist, and begins a new one. That must not be said too early: a switch that is down for a minute
takes the sessions of two servers out of reach, and both servers still have all of them. So a server that is
DOWN because it timed out counts only after `lost_after`. A refused connection, a torn one or an empty
memory is proof, and counts at once (design.md 7.4).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from partitioner.membership.backend import BackendId, Intent
from partitioner.membership.health import AMBIGUOUS, Health
from partitioner.membership.pool import Member, Pool


class LostSessions(Enum):
    """How requests are met whose sessions were on an ejected server (design.md, promise P2)."""

    NEW = "new"  # their keys are served by the next of their preference list, where the users start anew
    CLOSE = "close"  # they are refused by closing the client's connection, until their server is back


class LossReason(Enum):
    """Why the servers that may have a session cannot be asked; the value is a label of metrics."""

    TIMED_OUT = "timed_out"  # for longer than `lost_after`; it may come back with all that it has
    RECOVERING = "recovering"  # it answers, and what it missed is not known
    MAINTENANCE = "maintenance"  # by the operator's word
    REMOVED = "removed"  # it has left the configuration, and was not waited for any longer
    DIED = "died"  # its port was closed, its connections were torn down, or its memory was empty


@dataclass(frozen=True, slots=True)
class LossPolicy:
    """What becomes of sessions that only silent servers may have. Times are seconds."""

    lost_sessions: LostSessions = LostSessions.NEW
    lost_after: float = 60.0


def maybe_loss(member: Member | None, now: float, lost_after: float) -> LossReason | None:
    """Why what only this server has may be declared lost; None while it may not. `member` None: forgotten.

    A server that is DOWN without a symptom was in maintenance until now: its next probe tells.
    """
    if member is None:
        return LossReason.REMOVED
    if member.backend.intent is Intent.MAINT:
        return LossReason.MAINTENANCE
    record = member.record
    if record.health is Health.RECOVERING:
        return LossReason.RECOVERING
    if record.health is not Health.DOWN or record.symptom is None:
        return None
    if record.symptom not in AMBIGUOUS:
        return LossReason.DIED
    return LossReason.TIMED_OUT if now - record.since >= lost_after else None


def main_reason(reasons: Iterable[LossReason]) -> LossReason:
    """The one of several servers' reasons, at least one, that leaves most hope to have the session back."""
    found = set(reasons)
    return next(reason for reason in LossReason if reason in found)


def lay_only_on(servers: Iterable[BackendId], key: bytes, pool: Pool) -> bool:
    """Whether the session of `key` (what placement_key returns), if any, was kept only here in some era.

    A server of which nothing was known yet in that era kept its place, as in Pool.acting_set: without that,
    the first server to answer after the router's start would have held every session alone.
    """
    silent = frozenset(servers)
    seen = [era for era in pool.eras if era.is_certain]
    unknown = {server for era in seen for server in era.places.values()}
    for era in seen:
        unknown -= era.eligible
        names = era.ranking.preference_list(key)
        held = [server for name in names if (server := era.places[name]) in era.eligible or server in unknown]
        holders = frozenset(held[: era.copies])
        if holders <= silent and holders & era.eligible:
            return True
    return False
