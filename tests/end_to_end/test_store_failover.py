"""Engines are killed, frozen and restarted under load: what was saved is read back, and locks are kept.

How long that takes, and whether a page fails meanwhile, depends on the machine as well:
`python -m tests.store.failovers` judges that, too.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.end_to_end.store_load import LoadPlan
from tests.store.failovers import OTHERS, REPLACED, SWITCHED_OFF, Row, run_rows

PARALLEL = 4


def offences(rows: Sequence[Row], directory: Path) -> list[str]:
    """What is wrong with any of these rows, which run side by side."""
    unhurried = [replace(row, pages_may_fail=True) for row in rows]
    outcomes = run_rows(unhurried, directory, LoadPlan(), PARALLEL)
    return [f"{outcome.row.name}: {fault}" for outcome in outcomes for fault in outcome.faults]


@pytest.mark.slow
def test_a_primary_is_replaced(tmp_path: Path) -> None:
    """No session is lost or stale, and no lock is given twice or left behind."""
    assert [] == offences(REPLACED, tmp_path)


@pytest.mark.slow
def test_an_engine_is_away_for_a_while(tmp_path: Path) -> None:
    """The same for one that nothing takes the place of, for a Cluster, and for pages that wait too long."""
    assert [] == offences(OTHERS, tmp_path)


@pytest.mark.slow
def test_without_a_rule_the_judge_finds_something(tmp_path: Path) -> None:
    """Each rule, switched off, is missed."""
    assert [] == offences(SWITCHED_OFF, tmp_path)
