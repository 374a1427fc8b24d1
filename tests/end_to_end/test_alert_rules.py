"""Prometheus's own tool tries the alert rules out, on series that are written down beside them."""

import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.real_parts import need

PROMETHEUS = Path(__file__).parents[2] / "conf" / "prometheus"
TIMEOUT = 300.0

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")],
    ids=["well formed", "fire when they should"],
)
def test_the_alert_rules_hold(arguments: tuple[str, ...]) -> None:
    """Each alert fires with its labels and words in the case that is meant, and in no other."""
    promtool = need("promtool")

    run = subprocess.run(
        [promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )

    assert 0 == run.returncode, run.stdout + run.stderr
    assert "SUCCESS" in run.stdout
