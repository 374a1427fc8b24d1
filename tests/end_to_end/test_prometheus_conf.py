"""A real promtool reads the Prometheus configuration that is shipped."""

import subprocess
from pathlib import Path

from tests.end_to_end.real_parts import need

CONF = Path(__file__).parents[2] / "conf" / "prometheus"


def test_the_prometheus_configuration_is_valid() -> None:
    """It can be laid into /etc/prometheus as it stands, with the alert rules that it names beside it."""
    checked = subprocess.run(
        [need("promtool"), "check", "config", str(CONF / "prometheus.yml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (0, "") == (checked.returncode, checked.stderr)
