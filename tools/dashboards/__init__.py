"""Grafana's dashboards, written here beside the table of metrics: `python -m tools.dashboards`.

The JSON under grafana/dashboards is made from this package and committed, so that who only wants to look
needs no Python; a test keeps the two equal. Every expression is checked against the table of metrics, and
put to a real Prometheus in healthy and in faulty times (tests/end_to_end/test_dashboards.py).
"""

from tools.dashboards import backends, overview, sessions_and_locks, store

DASHBOARDS = {
    "overview": overview.DASHBOARD,
    "backends": backends.DASHBOARD,
    "sessions-and-locks": sessions_and_locks.DASHBOARD,
    "store": store.DASHBOARD,
}
"""By the names of their files."""
