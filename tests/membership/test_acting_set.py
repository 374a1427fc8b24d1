"""Who holds a key just now: whom to read and whom to write, with copies, marks and doubt (design.md 7)."""

from collections.abc import Mapping

import pytest

from partitioner.membership.backend import Address, Backend, Intent
from partitioner.membership.health import Health, HealthRecord
from partitioner.membership.pool import ActingSet, Member, Pool
from partitioner.placement.rendezvous import Ranking
from tests.identities import A, B, C, D, identities
from tests.tables import each_case

NAMES = (A, B, C, D)
RANKING = Ranking(dict.fromkeys(NAMES, 1.0))
KEY = next(key for number in range(1000) if RANKING.preference_list(key := b"%d" % number) == NAMES)
"""A key whose preference list is a, b, c, d, so that the tables below can be read."""

RECORDS = {
    "up": HealthRecord(health=Health.UP, since=0.0, incarnation=b"1"),
    "down": HealthRecord(health=Health.DOWN, since=0.0),
    "recovering": HealthRecord(health=Health.RECOVERING, since=0.0, incarnation=b"1"),
    "unknown": HealthRecord(),
}


def pool(states: str, copies: int, intents: Mapping[str, Intent] = {}) -> Pool:
    """A pool whose servers a, b, c, d are in these states, in this order."""
    members = {
        name: Member(
            Backend(name, Address("10.0.0.1", 42424), intent=intents.get(name, Intent.READY)), record
        )
        for name, record in zip(NAMES, (RECORDS[state] for state in states.split()), strict=True)
    }
    return Pool(1, members, RANKING, copies)


# states of a, b, c, d; copies; marked; who is read, who else is written, who is written in addition
TABLE: dict[str, tuple[str, int, str, ActingSet | None]] = {
    "one copy": ("up up up up", 1, "", ActingSet(A, ())),
    "two copies": ("up up up up", 2, "", ActingSet(A, (B,))),
    "three copies": ("up up up up", 3, "", ActingSet(A, (B, C))),
    "more copies than serve": ("up down up down", 3, "", ActingSet(A, (C,))),
    "the first is down": ("down up up up", 2, "", ActingSet(B, (C,))),
    "the second is down": ("up down up up", 2, "", ActingSet(A, (C,))),
    "the first two are down": ("down down up up", 2, "", ActingSet(C, (D,))),
    "the last one alone": ("down down down up", 2, "", ActingSet(D, ())),
    "nobody": ("down down down down", 2, "", None),
    # A marked server is not read, and goes on being written: that is what puts it right.
    "the first is marked": ("up up up up", 2, "a", ActingSet(B, (A,))),
    "the second is marked": ("up up up up", 2, "b", ActingSet(A, (B,))),
    "the first two are marked": ("up up up up", 2, "ab", ActingSet(C, (A,))),
    "all are marked": ("up up up up", 2, "abcd", None),
    "marked and down": ("down up up up", 2, "a", ActingSet(B, (C,))),
    "all that serve are marked": ("down up down down", 2, "b", None),
    "with one copy and a mark": ("up up up up", 1, "a", ActingSet(B, ())),
    # RECOVERING is written to, read for nothing, and does not count as a copy.
    "the first is in doubt": ("recovering up up up", 2, "", ActingSet(B, (C,), (A,))),
    "the second is in doubt": ("up recovering up up", 2, "", ActingSet(A, (C,), (B,))),
    "both are in doubt": ("recovering recovering up up", 2, "", ActingSet(C, (D,), (A, B))),
    "in doubt, but not among the first": ("up up recovering up", 2, "", ActingSet(A, (B,))),
    "one copy, in doubt": ("recovering up up up", 1, "", ActingSet(B, (), (A,))),
    "all in doubt": ("recovering recovering recovering recovering", 2, "", None),
    # At the router's start a server of which nothing is known keeps its place: its sessions wait.
    "the first is unknown": ("unknown up up up", 2, "", ActingSet(A, (B,))),
    "the second is unknown": ("up unknown up up", 2, "", ActingSet(A, (C,))),
    "nobody is known": ("unknown unknown unknown unknown", 2, "", ActingSet(A, ())),
    "unknown and marked": ("unknown up up up", 2, "a", ActingSet(B, (C,))),
}


@each_case(("states", "copies", "marked", "expected"), TABLE.values(), ids=TABLE)
def test_acting_set(states: str, copies: int, marked: str, expected: ActingSet | None) -> None:
    """The primary is the first that serves and is not marked; copies are the first others that serve."""
    assert expected == pool(states, copies).acting_set(KEY, identities(marked))


@each_case("intent", [Intent.DRAIN, Intent.MAINT])
def test_only_ready_servers_act(intent: Intent) -> None:
    """What hands its sessions off, or is not spoken to, holds no session's place (design.md 5)."""
    assert ActingSet(B, (C,)) == pool("up up up up", 2, {"a": intent}).acting_set(KEY)


@pytest.mark.parametrize("intent", [Intent.DRAIN, Intent.MAINT])
def test_only_ready_servers_are_written_in_addition(intent: Intent) -> None:
    """Doubt about a server that is to take nothing new does not matter."""
    assert ActingSet(B, (C,)) == pool("recovering up up up", 2, {"a": intent}).acting_set(KEY)


def test_written() -> None:
    """All that are written: the primary first, then its copies, then those in doubt."""
    acting = pool("recovering up up up", 2).acting_set(KEY)

    assert acting is not None
    assert ("b", "c", "a") == acting.written


# What may be done with a member of each health, under each intent (design.md 5): written, read.
USES = {
    ("up", Intent.READY): (True, True),
    ("up", Intent.DRAIN): (True, True),
    ("up", Intent.MAINT): (False, False),
    ("recovering", Intent.READY): (True, False),
    ("recovering", Intent.DRAIN): (True, False),
    ("recovering", Intent.MAINT): (False, False),
    ("unknown", Intent.READY): (False, False),
    ("unknown", Intent.DRAIN): (False, False),
    ("unknown", Intent.MAINT): (False, False),
    ("down", Intent.READY): (False, False),
    ("down", Intent.DRAIN): (False, False),
    ("down", Intent.MAINT): (False, False),
}


@each_case(("state", "intent"), USES)
def test_what_a_member_may_be_used_for(state: str, intent: Intent) -> None:
    """Whether it can be written to, and whether it can be asked."""
    member = Member(Backend("a", Address("10.0.0.1", 42424), intent=intent), RECORDS[state])

    assert USES[state, intent] == (member.is_reachable, member.is_readable)
