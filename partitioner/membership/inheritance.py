"""What a router begins with: a pool, and what is known of memories that are out, dirty or empty."""

from dataclasses import dataclass, field

from partitioner.membership.pool import Pool
from partitioner.membership.redundancy import RedundancyGap


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a router begins with."""

    pool: Pool
    departed: dict[bytes, float] = field(default_factory=dict)
    dirty: dict[str, frozenset[str]] = field(default_factory=dict)  # by identity
    empty: frozenset[bytes] = frozenset()
    trusts_unknown: bool = True  # no record was found, so memories are taken as they stand
    longest_life: float = 0.0  # T_max in seconds; 0: not known
    gaps: tuple[RedundancyGap, ...] = ()  # why sessions may lack copies
