"""Panels of the routers themselves, on the overview: how close to their limits, and what runs there."""

from tools.dashboards.model import (
    Colour,
    Column,
    Expected,
    Query,
    bad_at_all,
    bad_below,
    bad_from,
    lines,
    stat,
    table,
)
from tools.dashboards.queries import (
    NOT_IDLE,
    SCRAPED,
    lately,
    per_second,
    quantile,
    router,
    within_range,
)
from tools.dashboards.thresholds import FULL, LATE, REDUNDANT, RELOADED, ROLES, YES_OR_NO


def _used(what: str, limit: str) -> str:
    """The share of a limit that is used, of the router that uses most."""
    return f"max({what} / {limit})"


LIMITS = (
    lines(
        "How full the router is",
        "The share of each limit that is used. At 100 %: connections wait to be accepted; held bodies stop "
        "reading from clients; ledger puts whole backends in doubt; files refuse connections.",
        Query(
            _used(router("client_connections"), router("client_connections_limit")), "connections of clients"
        ),
        Query(_used(router("held_body_bytes"), router("held_body_bytes_limit")), "held bodies"),
        Query(_used(router("ledger_keys"), router("ledger_keys_limit")), "ledger"),
        Query(_used(router("process_open_fds"), router("process_max_fds")), "open files"),
        Query(
            f"max(max by (instance) (sum by (instance, backend) ({router('backend_connections', NOT_IDLE)}))"
            f" / on (instance) max by (instance) ({router('backend_connections_limit')}))",
            "connections to the busiest backend",
        ),
        unit="percentunit",
        steps=FULL,
        width=12,
    ),
    lines(
        "Event-loop lag",
        "How much later than due the router gets round to things. It is single-threaded: what delays a timer "
        "delays every request. Above 50 ms look at CPU.",
        Query(quantile(0.99, router("event_loop_lag_seconds_bucket"), "instance"), "{{instance}}"),
        unit="s",
        steps=LATE,
        width=6,
    ),
    lines(
        "CPU",
        "Cores that each router uses. One is all that it can use: near 100 % it is the bottleneck.",
        Query(per_second(router("process_cpu_seconds_total"), "instance"), "{{instance}}"),
        unit="percentunit",
        steps=bad_from(0.7, 0.9),
        width=6,
    ),
    lines(
        "Connections of clients, and requests in progress",
        "Connections that web servers hold open, and requests that are being answered. Requests that pile up "
        "wait for a backend.",
        Query(f"sum by (instance) ({router('client_connections')})", "connections {{instance}}"),
        Query(f"sum by (instance) ({router('requests_in_progress')})", "in progress {{instance}}"),
        width=6,
    ),
    lines(
        "Memory",
        "Resident memory of each router. It holds no sessions, only bodies that are being copied.",
        Query(f"max by (instance) ({router('process_resident_memory_bytes')})", "{{instance}}"),
        unit="bytes",
        width=6,
    ),
    lines(
        "Held bodies",
        "Bodies that are in memory until their copies are written. It goes up while a backend is slow.",
        Query(f"sum by (instance) ({router('held_body_bytes')})", "{{instance}}"),
        unit="bytes",
        width=6,
    ),
    stat(
        "Turned away",
        within_range(router("clients_turned_away_total")),
        "Connections in the time shown from addresses outside allow_clients. A new web server that is not in "
        "that list looks like this.",
        decimals=0,
        steps=bad_at_all(Colour.AMBER),
        height=7,
        expected=Expected.ZERO,
    ),
    stat(
        "Crashes",
        within_range(router("crashes_total")),
        "Conversations in the time shown that ended in a fault of the router itself. The log has the "
        "traceback; please report it.",
        decimals=0,
        steps=bad_at_all(),
        height=7,
    ),
)

ROUTERS = (
    table(
        "Routers",
        "Each router that is scraped: what runs there, whether it serves, and which pool it believes in. "
        "One is active; a standby has no term, and does not know what is redundant. Different fingerprints "
        "mean different maps. A failed scrape is a dead router, or a wrong token. T_max is how long sessions "
        "live: so long it may take after a failure until all are redundant. Stood still: how often in the "
        "time shown it was stopped, paused or asleep for more than 2 s.",
        "instance",
        Column("Scraped", f"max by (instance) ({router(SCRAPED)})", meanings=YES_OR_NO),
        Column("Ready", f"max by (instance) ({router('ready')})", meanings=YES_OR_NO),
        Column("Role", f"max by (instance) ({router('active')})", meanings=ROLES),
        Column("Term", f"max by (instance) ({router('term')} > 0)", unit="none"),
        Column("Redundant", f"max by (instance) ({router('redundant')})", meanings=REDUNDANT),
        Column("T_max", f"max by (instance) ({router('t_max_seconds')})", unit="dtdurations"),
        Column("Copies", f"max by (instance) ({router('copies')})"),
        Column("READY and UP", f"max by (instance) ({router('backends_serving')})", steps=bad_below(1, 2)),
        Column("Epoch of the pool", f"max by (instance) ({router('pool_epoch')})", unit="none"),
        Column("Fingerprint of the map", f"max by (instance) ({router('map_fingerprint')})", unit="none"),
        Column(
            "Last reload",
            f"max by (instance) ({router('config_last_reload_successful')})",
            meanings=RELOADED,
        ),
        Column(
            "Configuration read",
            f"max by (instance) ({router('config_last_reload_timestamp_seconds')}) * 1000",
            unit="dateTimeAsIso",
        ),
        Column(
            "Stood still",
            within_range(router("loop_stalls_total"), "instance"),
            unit="none",
        ),
        Column(
            "Log lines dropped",
            within_range(router("log_lines_dropped_total"), "instance"),
            steps=bad_at_all(Colour.AMBER),
            decimals=0,
        ),
        Column(
            "Runs for",
            f"time() - max by (instance) ({router('process_start_time_seconds')})",
            unit="dtdurations",
        ),
        Column(
            "Build",
            f"max by (instance, version, python) ({router('build_info')})",
            unit="none",
            is_hidden=True,
        ),
        labels=("version", "python"),
        width=18,
    ),
    lines(
        "Reloads",
        "Readings of the configuration file. Refused and invalid ones changed nothing: what was in force "
        "goes on, and the log names each key that is wrong.",
        Query(
            f"{lately(router('config_reloads_total'), 'instance', 'outcome')} > 0",
            "{{outcome}} {{instance}}",
        ),
        width=6,
        height=8,
        when_empty="none in this time",
        expected=Expected.EMPTY,
    ),
    lines(
        "Active routers",
        "How many routers are the active one. One is right. None: web servers are closed until a standby "
        "claims (`partitioner claim`). Two: they do not see each other, and sessions are at risk.",
        Query(f"sum({router('active')})", "active"),
        width=12,
    ),
    lines(
        "Takeovers, and records for the next router",
        "Routers in whose stead another one became active, and writes of what the next router must know. "
        "Failed ones have to be rare: some state server that answers does not take the record.",
        Query(lately(router("superseded_total"), "instance"), "superseded {{instance}}"),
        Query(lately(router("record_written_total"), "result"), "record {{result}}"),
        width=12,
    ),
)
