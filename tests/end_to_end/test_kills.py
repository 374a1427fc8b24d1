"""Servers and the router are killed, frozen and restarted under load: no session is lost (P2 to P5)."""

from pathlib import Path

from partitioner.membership.health import HealthPolicy
from tests.end_to_end.kills.faults import DRAIN_AND_KILL, FREEZE, JOIN, KILL, KILL_ROUTER, RESTART
from tests.end_to_end.kills.load import LoadPlan
from tests.end_to_end.kills.run import Plan, Run

PLAN = Plan(
    faults=(KILL, FREEZE, RESTART, KILL_ROUTER, JOIN, DRAIN_AND_KILL),
    load=LoadPlan(
        sessions=100,
        workers=12,
        pause=0.2,
        touchers=4,
        round=1.0,
        longest_work=0.5,
        execution_timeout=6.0,
    ),
    longest_life=8.0,
    health=HealthPolicy(interval=0.5, timeout=0.5, hold_down=0.0),
)


async def test_no_session_is_lost(tmp_path: Path) -> None:
    """One after the other fails, each when the pool is redundant again; the checker finds nothing wrong."""
    outcome = await Run(PLAN, tmp_path).run()

    assert [] == [str(each) for each in outcome.violations]
    assert outcome.longest_untouched < PLAN.longest_life
    slow = [each for each in outcome.findings() if not each.is_good]
    assert [] == [f"{each.period.fault}: {each.longest_outage:.1f} s" for each in slow]
