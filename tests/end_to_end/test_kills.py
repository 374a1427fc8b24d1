"""Servers and the router are killed, frozen and restarted under load: no session is lost (P2 to P5)."""

from dataclasses import replace
from pathlib import Path

import pytest

from partitioner.membership.health import HealthPolicy
from tests.end_to_end.kills.faults import DRAIN_AND_KILL, FREEZE, JOIN, KILL, KILL_ROUTER, RESTART
from tests.end_to_end.kills.load import LoadPlan
from tests.end_to_end.kills.run import Plan, Run

PLAN = Plan(
    faults=(KILL, FREEZE, RESTART, JOIN, DRAIN_AND_KILL, KILL_ROUTER),
    load=LoadPlan(
        sessions=60,
        workers=8,
        pause=0.2,
        touchers=8,
        round=1.5,
        touch_saves=True,
        longest_work=0.5,
        execution_timeout=5.0,
    ),
    longest_life=8.0,
    health=HealthPolicy(interval=0.5, timeout=0.5, hold_down=0.0),
    waits_at_the_start=False,
)


@pytest.mark.slow
@pytest.mark.parametrize("fast_path", ["off", "on"])
async def test_no_session_is_lost(fast_path: str, tmp_path: Path) -> None:
    """One after the other fails, each when the pool is redundant again; the checker finds nothing wrong."""
    outcome = await Run(replace(PLAN, fast_path=fast_path), tmp_path).run()

    assert [] == [str(each) for each in outcome.violations]
    assert outcome.longest_neglect < PLAN.longest_life
    assert [] == [str(each) for each in outcome.findings() if not each.is_good]
