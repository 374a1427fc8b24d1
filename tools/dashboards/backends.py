"""The dashboard of the servers behind the router: one row each, then what each of them does over time."""

from tools.dashboards.layout import BACKENDS
from tools.dashboards.model import (
    Bars,
    Colour,
    Column,
    Dashboard,
    Expected,
    Panel,
    Query,
    Section,
    bad_at_all,
    bad_below,
    bad_from,
    lines,
    stat,
    table,
    timeline,
)
from tools.dashboards.queries import (
    NOT_LEASED,
    STATES,
    backend,
    lately,
    per_second,
    quantile,
    router,
    state_of_backends,
    state_server,
    within_range,
)
from tools.dashboards.state_servers import STATE_SERVERS
from tools.dashboards.thresholds import DIRTY, FULL_OR_NOT, OUTCOMES, SLOW

_SECONDS = "backend_request_duration_seconds_bucket"
_ASKED = backend("backend_requests_total")
_TRAFFIC = f"{per_second(_ASKED, 'backend')} / scalar({per_second(router('backend_requests_total'))} > 0)"
_SHARE = f"max by (backend) ({backend('backend_share')})"
_ERRORS = per_second(backend("backend_errors_total"), "backend")

ALL = (
    timeline(
        "State over time",
        "What each backend was when, the worst that any router saw. The table below has the present.",
        Query(state_of_backends(), "{{backend}}"),
        STATES,
        width=24,
        height=6,
    ),
    table(
        "Backends now",
        "One row for each backend. UP at: the share of routers that reach it. Share is what it should hold, "
        "traffic what it is asked; far less traffic is a server whose sessions others serve.",
        "backend",
        Column("State", state_of_backends(), unit="none", meanings=STATES),
        Column(
            "UP at",
            f"avg by (backend) ({backend('backend_up')})",
            unit="percentunit",
            steps=bad_below(0.01, 1),
        ),
        Column("Share", _SHARE, unit="percentunit"),
        Column("Traffic", _TRAFFIC, unit="percentunit"),
        Column("Exchanges", per_second(_ASKED, "backend"), unit="reqps"),
        Column("Errors", _ERRORS, unit="cps", steps=bad_from(0.001, 1)),
        Column("p99", quantile(0.99, backend(_SECONDS), "backend"), unit="s", steps=SLOW),
        Column("Last probe", f"max by (backend) ({backend('backend_probe_seconds')})", unit="s", steps=SLOW),
        Column("Connections", f"sum by (backend) ({backend('backend_connections')})"),
        Column(
            "Marked",
            f"max by (backend) ({backend('keys_marked')})",
            steps=bad_at_all(Colour.AMBER),
        ),
        Column("Full", f"max by (backend) ({backend('backend_full')})", meanings=FULL_OR_NOT),
        Column("Dirty", f"max by (backend) ({backend('backend_dirty')})", meanings=DIRTY),
        Column(
            "Falls in this time",
            within_range(backend("backend_state_changes_total", state="down"), "backend"),
            steps=bad_at_all(),
            decimals=0,
        ),
        Column("Sessions", f"max by (backend) ({state_server('sessions')})"),
        Column("Memory", f"max by (backend) ({state_server('session_bytes')})", unit="bytes"),
    ),
)

LOAD = (
    Panel(
        "Share of sessions",
        "How much of all sessions each backend should hold, by its weight. Compare with its traffic.",
        (Query(_SHARE, "{{backend}}"),),
        Bars(),
        width=6,
        height=8,
        unit="percentunit",
        steps=((None, Colour.BLUE),),
    ),
    Panel(
        "Share of traffic",
        "How much of all exchanges each backend gets just now, copies included. Far from its share of "
        "sessions: a few very busy sessions, or others serve in its place.",
        (Query(_TRAFFIC, "{{backend}}"),),
        Bars(),
        width=6,
        height=8,
        unit="percentunit",
        steps=((None, Colour.BLUE),),
        when_empty="no traffic",
    ),
    lines(
        "Exchanges by backend",
        "Requests to each backend: those of clients, and the router's own (copies, touches, repair).",
        Query(per_second(_ASKED, "backend"), "{{backend}}"),
        unit="reqps",
        width=12,
        height=8,
    ),
)

HEALTH = (
    lines(
        "p50 and p99 by backend",
        "How long backends take. One that stands out is ill before it is DOWN.",
        Query(quantile(0.5, backend(_SECONDS), "backend"), "p50 {{backend}}"),
        Query(quantile(0.99, backend(_SECONDS), "backend"), "p99 {{backend}}"),
        unit="s",
        steps=SLOW,
    ),
    lines(
        "Errors by phase",
        "Failed exchanges. Connecting: no process listens there, or no route leads there. Sending: it "
        "stopped taking "
        "bytes. Reading: it took the request and does not answer, so it is frozen or overloaded.",
        Query(
            f"{per_second(backend('backend_errors_total'), 'backend', 'phase')} > 0", "{{backend}} {{phase}}"
        ),
        unit="cps",
        when_empty="none: all backends answer",
        expected=Expected.EMPTY,
    ),
    lines(
        "Last good probe",
        "How long the router's own small request took. A line that stays level while the backend is DOWN is "
        "the last probe that succeeded. Near health.timeout a server is about to be ejected.",
        Query(f"max by (backend) ({backend('backend_probe_seconds')})", "{{backend}}"),
        unit="s",
        steps=SLOW,
    ),
    lines(
        "Changes of health",
        "What each backend became, and how often. One that comes and goes is held down for longer each time; "
        "if it does not settle, take it out: `partitioner maint NAME`.",
        Query(
            f"{lately(backend('backend_state_changes_total'), 'backend', 'state')} > 0",
            "{{backend}} {{state}}",
        ),
        when_empty="none in this time",
        expected=Expected.EMPTY,
    ),
    lines(
        "Failovers",
        "Requests that others answered in place of each backend.",
        Query(f"{per_second(backend('failovers_total'), 'backend')} > 0", "instead of {{backend}}"),
        unit="reqps",
        when_empty="none: every session is served by its first choice",
        expected=Expected.EMPTY,
    ),
    lines(
        "Outcomes of exchanges",
        "What backends answered, all of them together. Failed ones were not answered.",
        Query(per_second(_ASKED, "outcome"), "{{outcome}}"),
        unit="reqps",
        is_stacked=True,
        colours=OUTCOMES,
    ),
)

CONNECTIONS = (
    lines(
        "Connections in use",
        "Connections to each backend on which an exchange is under way. At limits.per_backend_connections "
        "requests queue in the router; the overview shows how close the busiest backend is to that.",
        Query(f"sum by (backend) ({backend('backend_connections', state='leased')})", "{{backend}}"),
        width=12,
    ),
    lines(
        "Connections idle, and unanswered",
        "Idle ones wait for the next exchange. Unanswered ones are half-closed: the router waits for their "
        "end to know that the backend has worked off what lay in them.",
        Query(
            f"sum by (backend, state) ({backend('backend_connections', NOT_LEASED)})",
            "{{backend}} {{state}}",
        ),
        width=12,
    ),
)

ONE = (
    stat(
        "State",
        state_of_backends(),
        "What $backend is now.",
        unit="none",
        meanings=STATES,
        steps=((None, Colour.GREEN),),
        width=4,
        height=7,
    ),
    lines(
        "Outcomes",
        "What $backend answered.",
        Query(per_second(_ASKED, "outcome"), "{{outcome}}"),
        unit="reqps",
        is_stacked=True,
        colours=OUTCOMES,
        width=7,
    ),
    lines(
        "Seconds",
        "How long $backend took.",
        *(
            Query(quantile(share, backend(_SECONDS)), name)
            for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
        ),
        unit="s",
        steps=SLOW,
        width=7,
    ),
    lines(
        "Connections",
        "Connections of routers to $backend.",
        Query(f"sum by (state) ({backend('backend_connections')})", "{{state}}"),
        width=6,
    ),
)

DASHBOARD = Dashboard(
    BACKENDS,
    "Partitioner: backends",
    "Every state server behind the router: its state, its share, how fast it is, and what goes wrong there.",
    (
        Section("", ALL),
        Section("Does everyone get its share?", LOAD),
        Section("Who is ill?", HEALTH),
        Section("Are there enough connections?", CONNECTIONS),
        Section("State servers of this project, in their own words", STATE_SERVERS),
        Section("$backend", ONE, for_each="backend"),
    ),
)
