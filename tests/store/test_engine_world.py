"""Engines fail, in virtual time: web servers see nothing that they should not, and miss each rule."""

import pytest

from tests.store.engine_rules import PROOFS, RULES
from tests.store.engine_world import STORIES, live_through
from tests.tables import each_case


@each_case("name", STORIES)
@each_case("seed", [0])
def test_engines_may_fail(name: str, seed: int) -> None:
    """No session is lost, stale or back again, no lock is given twice, and none stays."""
    assert () == live_through(STORIES[name], seed)


@pytest.mark.slow
@each_case("name", STORIES)
@each_case("seed", range(1, 9))
def test_engines_may_fail_in_many_ways(name: str, seed: int) -> None:
    """The same for more seeds."""
    assert () == live_through(STORIES[name], seed)


@each_case("rule", RULES)
def test_each_rule_is_missed(rule: str) -> None:
    """Without it the same story breaks something, the same thing each time."""
    story, seed = PROOFS[rule]

    assert () != live_through(STORIES[story], seed, rule)
