"""Panels of the project's own state servers, on the dashboard of backends: what they tell of themselves."""

from tools.dashboards.model import Colour, Column, Query, bad_at_all, lines, table
from tools.dashboards.queries import per_second, quantile, state_server, within_range
from tools.dashboards.thresholds import FULL, LATE, SLOW

_NO_STATE_SERVERS = "no state server of this project is scraped"
"""Stock servers tell nothing of themselves, and there is nothing wrong with that."""

STATE_SERVERS = (
    lines(
        "Sessions",
        "Sessions that each state server holds, copies included. A step to zero is a restart.",
        Query(f"max by (backend, instance) ({state_server('sessions')})", "{{backend}} {{instance}}"),
        when_empty=_NO_STATE_SERVERS,
    ),
    lines(
        "Memory of sessions",
        "What they take, as --max-memory counts it. At the limit new sessions are refused.",
        Query(f"max by (backend, instance) ({state_server('session_bytes')})", "{{backend}} {{instance}}"),
        unit="bytes",
        when_empty=_NO_STATE_SERVERS,
    ),
    lines(
        "Used of --max-memory",
        "The share of its memory that each state server has used; only those that have a limit. At 100 % "
        "users without a session get none.",
        Query(
            f"max by (backend, instance) ({state_server('session_bytes')}"
            f" / ({state_server('session_bytes_limit')} > 0))",
            "{{backend}} {{instance}}",
        ),
        unit="percentunit",
        steps=FULL,
        when_empty="no state server has a limit",
    ),
    lines(
        "Requests",
        "Requests that state servers answered, by their own count.",
        Query(per_second(state_server("requests_total"), "backend", "instance"), "{{backend}} {{instance}}"),
        unit="reqps",
        width=12,
        when_empty=_NO_STATE_SERVERS,
    ),
    lines(
        "p99, as the servers see it",
        "Without the way between router and server: if this is low and p99 by backend is high, it is the "
        "network or the router.",
        Query(
            quantile(0.99, state_server("request_duration_seconds_bucket"), "backend", "instance"),
            "{{backend}} {{instance}}",
        ),
        unit="s",
        steps=SLOW,
        width=12,
        when_empty=_NO_STATE_SERVERS,
    ),
    lines(
        "CPU of state servers",
        "Cores that each one uses. One is all that it can use.",
        Query(
            per_second(state_server("process_cpu_seconds_total"), "backend", "instance"),
            "{{backend}} {{instance}}",
        ),
        unit="percentunit",
        steps=FULL,
        when_empty=_NO_STATE_SERVERS,
    ),
    lines(
        "Event-loop lag of state servers",
        "How much later than due each one gets round to things. It is single-threaded, as the router is.",
        Query(
            quantile(0.99, state_server("event_loop_lag_seconds_bucket"), "backend", "instance"),
            "{{backend}} {{instance}}",
        ),
        unit="s",
        steps=LATE,
        when_empty=_NO_STATE_SERVERS,
    ),
    lines(
        "Resident memory",
        "What the operating system has given to each process.",
        Query(
            f"max by (backend, instance) ({state_server('process_resident_memory_bytes')})",
            "{{backend}} {{instance}}",
        ),
        unit="bytes",
        when_empty=_NO_STATE_SERVERS,
    ),
    lines(
        "Connections, and requests in progress",
        "Connections that are open at each state server, its limit, and what it is answering.",
        Query(
            f"sum by (backend, instance) ({state_server('client_connections')})",
            "connections {{backend}} {{instance}}",
        ),
        Query(
            f"sum by (backend, instance) ({state_server('requests_in_progress')})",
            "in progress {{backend}} {{instance}}",
        ),
        width=12,
        when_empty=_NO_STATE_SERVERS,
    ),
    lines(
        "Expired sessions",
        "Sessions whose users did not come back in time. A cliff long after a peak of logins is normal.",
        Query(
            per_second(state_server("sessions_expired_total"), "backend", "instance"),
            "{{backend}} {{instance}}",
        ),
        unit="cps",
        width=12,
        when_empty=_NO_STATE_SERVERS,
    ),
    table(
        "State servers now",
        "One row for each state server that is scraped: what runs there, and what it refused in the time "
        "shown. Refused sessions want more memory (--max-memory), or a further server.",
        "instance",
        Column("Sessions", f"max by (instance) ({state_server('sessions')})"),
        Column("Memory of sessions", f"max by (instance) ({state_server('session_bytes')})", unit="bytes"),
        Column(
            "Refused sessions",
            within_range(state_server("creations_refused_total"), "instance"),
            steps=bad_at_all(),
            decimals=0,
        ),
        Column(
            "Turned away",
            within_range(state_server("clients_turned_away_total"), "instance"),
            steps=bad_at_all(Colour.AMBER),
            decimals=0,
        ),
        Column(
            "Crashes", within_range(state_server("crashes_total"), "instance"), steps=bad_at_all(), decimals=0
        ),
        Column(
            "Log lines dropped",
            within_range(state_server("log_lines_dropped_total"), "instance"),
            steps=bad_at_all(Colour.AMBER),
            decimals=0,
        ),
        Column(
            "Open files",
            f"max by (instance) ({state_server('process_open_fds')} / {state_server('process_max_fds')})",
            unit="percentunit",
            steps=FULL,
        ),
        Column(
            "Runs for",
            f"time() - max by (instance) ({state_server('process_start_time_seconds')})",
            unit="dtdurations",
        ),
        Column(
            "Build",
            f"max by (instance, backend, version, python) ({state_server('build_info')})",
            unit="none",
            is_hidden=True,
        ),
        labels=("backend", "version", "python"),
        when_empty=_NO_STATE_SERVERS,
    ),
)
