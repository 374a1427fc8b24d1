"""The pool: an immutable snapshot of who is there and how they fare.

A request takes one pool at its start and keeps it; a second try takes a fresh one. Every change makes
a new pool with the next epoch, so nothing is ever seen half changed.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from partitioner.errors import EmptyPool
from partitioner.membership.backend import Backend, Intent
from partitioner.membership.health import (
    AMBIGUOUS,
    Health,
    HealthPolicy,
    HealthRecord,
    Symptom,
    looks_cut_off,
    newcomer,
)
from partitioner.placement.rendezvous import Ranking


@dataclass(frozen=True, slots=True)
class Member:
    """A backend of a pool, with what is observed of it."""

    backend: Backend
    record: HealthRecord

    @property
    def is_eligible(self) -> bool:
        """Whether it serves."""
        return self.backend.intent is Intent.READY and self.record.is_up

    @property
    def holds_its_place(self) -> bool:
        """Whether its sessions are its own: it serves, or nobody knows yet that it does not."""
        return self.backend.intent is Intent.READY and self.record.health is not Health.DOWN


@dataclass(frozen=True, slots=True)
class Pool:
    """Every backend by name, in the order of the configuration, and the ranking that places sessions."""

    epoch: int
    members: dict[str, Member]  # never changed in place
    ranking: Ranking
    ready: frozenset[str] = field(init=False)  # by intent
    eligible: frozenset[str] = field(init=False)  # by intent and health: these serve
    placed: frozenset[str] = field(init=False)  # by intent and health: these hold their places

    def __post_init__(self) -> None:
        ready = frozenset(
            name for name, member in self.members.items() if member.backend.intent is Intent.READY
        )
        object.__setattr__(self, "ready", ready)
        eligible = frozenset(name for name, member in self.members.items() if member.is_eligible)
        object.__setattr__(self, "eligible", eligible)
        placed = frozenset(name for name, member in self.members.items() if member.holds_its_place)
        object.__setattr__(self, "placed", placed)

    def acting_primary(self, key: bytes) -> Backend | None:
        """The first backend of the preference list of `key` (what placement_key answers) that is not out.

        It serves if it is eligible; otherwise nothing is known of it yet.
        """
        name = self.ranking.first_choice(key, self.placed)
        return None if name is None else self.members[name].backend

    def first_choice(self, key: bytes) -> Backend:
        """The first READY backend of the preference list, in whatever health.

        Raises EmptyPool if there is none.
        """
        name = self.ranking.first_choice(key, self.ready)
        if name is None:
            raise EmptyPool("no backend of the pool is ready")
        return self.members[name].backend

    def with_record(self, name: str, record: HealthRecord) -> "Pool":
        """The snapshot in which one backend has another record; the next epoch if health or life differ."""
        before = self.members[name].record
        is_news = (before.health, before.life) != (record.health, record.life)
        members = self.members | {name: replace(self.members[name], record=record)}
        return Pool(self.epoch + is_news, members, self.ranking)

    def may_fall(self, name: str, symptom: Symptom, policy: HealthPolicy) -> bool:
        """Whether this backend may be ejected for this symptom.

        When more than `max_down_share` of the READY servers cannot be reached, likelier it is the router's
        own network, and ejecting them all would help nobody. A refused connection is always proof.
        Source: design.md 5.
        """
        if symptom not in AMBIGUOUS:
            return True
        cut_off = sum(each == name or looks_cut_off(self.members[each].record, policy) for each in self.ready)
        return cut_off <= policy.max_down_share * len(self.ready)


def first_pool(backends: Iterable[Backend], policy: HealthPolicy) -> Pool:
    """The snapshot at the start: nothing is known of anybody yet."""
    members = {backend.name: Member(backend, newcomer(policy)) for backend in backends}
    return Pool(0, members, Ranking({name: member.backend.weight for name, member in members.items()}))
