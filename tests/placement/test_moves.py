"""What a change of the map moves: shares, and who hands over to whom."""

from collections import Counter

import pytest

from partitioner.errors import EmptyPool
from partitioner.placement.moves import Plan, plan_moves, sample_keys
from partitioner.placement.rendezvous import Ranking
from tests.tables import each_case

KEYS = list(sample_keys(2_000))

THREE = Ranking({"a": 1.0, "b": 1.0, "c": 1.0})
TWO = Ranking({"a": 1.0, "b": 1.0})

PLAN = Plan(
    sampled=100,
    before=Counter(a=60, b=40),
    after=Counter(a=50, b=30, c=20),
    moved=Counter({("a", "c"): 15, ("b", "c"): 10, ("a", "b"): 5, ("b", "a"): 10}),
)


def test_moved_share() -> None:
    """The moved share counts every session that changes its first choice."""
    assert PLAN.moved_share == 0.40


def test_shares() -> None:
    """The share of a server is that of the sessions whose first choice it is; a stranger has none."""
    assert [0.60, 0.40, 0.0, 0.0] == [PLAN.share_before(name) for name in ("a", "b", "c", "stranger")]
    assert [0.50, 0.30, 0.20, 0.0] == [PLAN.share_after(name) for name in ("a", "b", "c", "stranger")]


def test_plans_of_pieces_add_up() -> None:
    """What is counted in pieces is what is counted at once."""
    pieces = plan_moves(TWO, THREE, KEYS[:700]) + plan_moves(TWO, THREE, KEYS[700:])

    assert plan_moves(TWO, THREE, KEYS) == pieces


@each_case(("name", "share"), [("a", 0.20), ("b", 0.20), ("c", 0.0), ("stranger", 0.0)])
def test_leaving(name: str, share: float) -> None:
    """What leaves a server, wherever it goes, as a share of all sessions."""
    assert share == PLAN.leaving(name)


@each_case(("name", "share"), [("a", 0.10), ("b", 0.05), ("c", 0.25), ("stranger", 0.0)])
def test_arriving(name: str, share: float) -> None:
    """What arrives at a server, wherever it comes from, as a share of all sessions."""
    assert share == PLAN.arriving(name)


def test_plan_counts_first_choices() -> None:
    """Before and after are the first choices under either map."""
    plan = plan_moves(TWO, THREE, KEYS)
    first_choices = [Counter(ranking.preference_list(key, 1)[0] for key in KEYS) for ranking in (TWO, THREE)]

    assert (len(KEYS), *first_choices) == (plan.sampled, plan.before, plan.after)


def test_plan_of_the_same_map_moves_nothing() -> None:
    """Without a change nothing moves."""
    plan = plan_moves(THREE, Ranking({"c": 1.0, "b": 1.0, "a": 1.0}), KEYS)

    assert (0.0, Counter()) == (plan.moved_share, plan.moved)


def test_plan_of_an_addition_moves_only_to_the_newcomer() -> None:
    """A server that joins takes from all others, and they take nothing from each other (design.md 1, P6)."""
    plan = plan_moves(TWO, THREE, KEYS)

    assert {("a", "c"), ("b", "c")} == set(plan.moved)
    assert plan.after["c"] == plan.moved.total()


def test_plan_of_a_removal_moves_only_from_the_removed() -> None:
    """A server that leaves hands over all that it had, and no other does (design.md 1, P6)."""
    plan = plan_moves(THREE, TWO, KEYS)

    assert {("c", "a"), ("c", "b")} == set(plan.moved)
    assert plan.before["c"] == plan.moved.total()


def test_what_leaves_here_arrives_there() -> None:
    """Every move has two ends."""
    plan = plan_moves(TWO, Ranking({"b": 3.0, "c": 1.0}), KEYS)

    assert plan.moved_share == pytest.approx(sum(plan.leaving(name) for name in "abc"))
    assert plan.moved_share == pytest.approx(sum(plan.arriving(name) for name in "abc"))


@pytest.mark.parametrize(("before", "after"), [(Ranking({}), TWO), (TWO, Ranking({}))])
def test_plan_needs_servers_on_both_maps(before: Ranking, after: Ranking) -> None:
    """A map without servers cannot be planned with."""
    with pytest.raises(EmptyPool):
        plan_moves(before, after, KEYS)


def test_sample_is_the_same_in_every_run() -> None:
    """A plan that is made twice says the same twice."""
    assert list(sample_keys(100)) == list(sample_keys(100))


def test_sample_keys_are_distinct() -> None:
    """A sample of so many is so many sessions."""
    assert len(KEYS) == len(set(KEYS))
