"""Is a session where it belongs, whole? What is held side by side, judged by the pool.

What it finds is a suspicion: the listings that it goes by were read one after the other, and the session may
have changed meanwhile. Whatever follows from it is decided behind the key gate.
"""

from collections.abc import Container, Mapping, Set
from dataclasses import dataclass

from partitioner.membership.backend import BackendId, Intent
from partitioner.membership.pool import ActingSet, Pool

LACKING, DIFFERING, MISPLACED = REASONS = ("lacking", "differing", "misplaced")
"""Why a session has to be put right, the gravest first."""


WINDOW_SHARE = 1 / 20
SHORTEST_WINDOW = 3.0
"""Seconds: the window of the shortest time-out there is, a minute, and of one that is not known."""

LONGEST_WINDOW = 300.0
"""Seconds: so long a key is remembered after its last use, whatever time-out a client has told. A session
that may live for a year is touched every five minutes while it is used."""

SKEW = 5.0
"""Seconds by which listings that were read side by side may be told apart in time."""


def touch_window(timeout_minutes: int | None) -> float:
    """For how long copies need not be touched again; where the time-out is not known, the shortest."""
    share = (timeout_minutes or 0) * 60.0 * WINDOW_SHARE
    return min(max(SHORTEST_WINDOW, share), LONGEST_WINDOW)


@dataclass(frozen=True, slots=True)
class Holding:
    """What the listing of a server says of one session."""

    digest: int
    expires_at: float | None = None  # monotonic seconds; None: never
    listed_at: float = 0.0  # when that was read
    timeout_minutes: int = 0
    is_locked: bool = False

    def outlives(self, copy: "Holding") -> bool:
        """Whether this copy expires so much earlier that no touch can be on its way to it."""
        if self.expires_at is None or copy.expires_at is None:
            return False
        listed_later = max(0.0, self.listed_at - copy.listed_at)
        return copy.expires_at < self.expires_at - touch_window(self.timeout_minutes) - listed_later - SKEW


@dataclass(frozen=True, slots=True)
class Flaws:
    """What is not as it should be with one session. Servers by identity."""

    lacking: tuple[BackendId, ...] = ()  # of the acting set, without it
    differing: tuple[BackendId, ...] = ()  # of the acting set, with other content, a shorter life or a lock
    misplaced: tuple[BackendId, ...] = ()  # outside the acting set, with it

    def __bool__(self) -> bool:
        return bool(self.lacking or self.differing or self.misplaced)

    @property
    def servers(self) -> tuple[BackendId, ...]:
        return (*self.lacking, *self.differing, *self.misplaced)

    @property
    def reason(self) -> str:
        """The gravest flaw."""
        return LACKING if self.lacking else DIFFERING if self.differing else MISPLACED


def flaws_of(
    pool: Pool, acting: ActingSet, on: Mapping[BackendId, Holding], walked: Container[BackendId]
) -> Flaws:
    """Compare who holds a session with who should.

    `on` is what those have that hold it; of servers that were not `walked` nothing is known. A copy that was
    written and then never touched, because its server was RECOVERING, expires before its primary. Such a
    server grants no lock on the session: one that it shows was granted before, and its page has released it
    elsewhere or not at all.
    A server that leaves holds what it has not handed off yet: that is a flaw only where the primary lacks it.
    """
    belongs = acting.written
    lacking = tuple(each for each in belongs if each in walked and each not in on)
    right = on.get(acting.primary)
    if right is not None:
        held = ((each, on[each]) for each in belongs if each in on)
        differing = tuple(
            each
            for each, copy in held
            if copy.digest != right.digest
            or right.outlives(copy)
            or (copy.is_locked and each in acting.recovering)
        )
    else:
        contents = {each.digest for each in on.values()}
        differing = tuple(each for each in belongs if each in on) if len(contents) > 1 else ()
    misplaced = [each for each in on if each not in belongs]
    if right is not None:
        misplaced = [each for each in misplaced if not is_leaving(pool, each)]
    return Flaws(lacking, differing, tuple(misplaced))


def shows_all_settled(pool: Pool, walked: Set[BackendId]) -> bool:
    """Whether a walk that has found every session whole has shown that nothing is left over anywhere.

    It must have been through all servers, and each must serve: what one that leaves still holds is no flaw.
    """
    return pool.eligible == walked == pool.members.keys()


def is_leaving(pool: Pool, identity: BackendId) -> bool:
    """Whether a drain looks after what this server holds."""
    member = pool.members[identity]
    return member.removed_at is not None or member.backend.intent is Intent.DRAIN
