"""Is a session where it belongs, whole? What is held side by side, judged by the pool.

What it finds is a suspicion: the listings that it goes by were read one after the other, and the session may
have changed meanwhile. Whatever follows from it is decided behind the key gate.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from partitioner.membership.backend import BackendId, Intent
from partitioner.membership.pool import ActingSet, Pool

LACKING, DIFFERING, MISPLACED = REASONS = ("lacking", "differing", "misplaced")
"""Why a session has to be put right, the gravest first."""


@dataclass(frozen=True, slots=True)
class Flaws:
    """What is not as it should be with one session. Servers by identity."""

    lacking: tuple[BackendId, ...] = ()  # of the acting set, without it
    differing: tuple[BackendId, ...] = ()  # of the acting set, with other content than the primary has
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
    pool: Pool, acting: ActingSet, on: Mapping[BackendId, int], walked: Container[BackendId]
) -> Flaws:
    """Compare who holds a session with who should.

    `on` are the digests of those that hold it; of servers that were not `walked` nothing is known.
    A server that leaves holds what it has not handed off yet: that is a flaw only where the primary lacks it.
    """
    belongs = acting.written
    lacking = tuple(each for each in belongs if each in walked and each not in on)
    right = on.get(acting.primary)
    if right is not None:
        differing = tuple(each for each in belongs if on.get(each, right) != right)
    else:
        differing = tuple(each for each in belongs if each in on) if len(set(on.values())) > 1 else ()
    misplaced = [each for each in on if each not in belongs]
    if right is not None:
        misplaced = [each for each in misplaced if not is_leaving(pool, each)]
    return Flaws(lacking, differing, tuple(misplaced))


def is_leaving(pool: Pool, identity: BackendId) -> bool:
    """Whether a drain looks after what this server holds."""
    member = pool.members[identity]
    return member.removed_at is not None or member.backend.intent is Intent.DRAIN
