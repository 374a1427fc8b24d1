"""State servers whose sessions are on an engine: are users served, and is it well?"""

from tools.dashboards.layout import STORE
from tools.dashboards.model import (
    Colour,
    Dashboard,
    Meaning,
    Query,
    Section,
    bad_at_all,
    bad_below,
    bad_from,
    lines,
    stat,
)
from tools.dashboards.queries import FAILED, per_second, quantile, store, within_range
from tools.dashboards.thresholds import FULL, LATE, OUTCOMES, SLOW, YES_OR_NO

_ALL = per_second(store("requests_total"))
_FAILING = per_second(store("requests_total", FAILED))
_NONE = "no state server with a store is scraped"

AT_A_GLANCE = (
    stat(
        "Ready",
        f"min({store('ready')})",
        "Whether load balancers may send web servers to all of them, as /readyz says.",
        meanings=YES_OR_NO,
        steps=((None, Colour.RED), (0.5, Colour.GREEN)),
        when_empty=_NONE,
    ),
    stat(
        "Engine up",
        f"min({store('engine_up')})",
        "The share of the engine's primaries that carry requests out, where the fewest are seen. "
        "`partitioner status` says why one does not.",
        unit="percentunit",
        steps=bad_below(0.999, 1.0),
        when_empty=_NONE,
    ),
    stat(
        "Replicas",
        f"max({store('engine_degraded')})",
        "Whether all replicas have every change. While one is away, the next failure may lose saves.",
        meanings={0: Meaning("all there", Colour.GREEN), 1: Meaning("DEGRADED", Colour.AMBER)},
        steps=bad_at_all(Colour.AMBER),
        when_empty=_NONE,
    ),
    stat(
        "Engine's memory",
        f"max({store('engine_memory_used_ratio')})",
        "Of maxmemory. At 100 % new sessions are refused (400), and existing ones go on.",
        unit="percentunit",
        decimals=0,
        steps=FULL,
        when_empty=_NONE,
    ),
    stat(
        "Clocks apart",
        f"max(abs({store('engine_clock_offset_seconds')}))",
        "Deadlines and the age of locks are told by the engine's clock: NTP on both machines.",
        unit="s",
        steps=bad_from(0.5, 1.0),
        when_empty=_NONE,
    ),
    stat(
        "Requests",
        _ALL,
        "Requests of web servers a second, to all state servers together.",
        unit="reqps",
        sparkline=True,
        when_empty=_NONE,
    ),
    stat(
        "Failed",
        within_range(store("requests_total", FAILED)),
        "Requests that were closed or rejected in the time shown. Each one is a page that failed for a user.",
        decimals=0,
        steps=bad_from(0.5, 10),
        when_empty=_NONE,
    ),
    stat(
        "Workers",
        f"sum({store('workers_serving')})",
        "Processes that serve, of all state servers together (`workers`).",
        decimals=0,
        when_empty=_NONE,
    ),
)

SERVING = (
    lines(
        "Requests by outcome",
        "By what became of them: ok, miss (404), locked (423), rejected (400), or closed instead "
        "of an answer. Misses are normal: users without a session.",
        Query(per_second(store("requests_total"), "outcome"), "{{outcome}}"),
        unit="reqps",
        is_stacked=True,
        colours=OUTCOMES,
        when_empty=_NONE,
    ),
    lines(
        "p99",
        "How long the slowest hundredth of requests took, at each state server.",
        Query(quantile(0.99, store("request_duration_seconds_bucket"), "instance"), "{{instance}}"),
        unit="s",
        steps=SLOW,
        when_empty=_NONE,
    ),
    lines(
        "p99 of the engine",
        "Of a batch, until all replicas have acknowledged it. If this is low and p99 is high, it is the "
        "state server.",
        Query(quantile(0.99, store("engine_request_duration_seconds_bucket"), "instance"), "{{instance}}"),
        unit="s",
        steps=SLOW,
        when_empty=_NONE,
    ),
    lines(
        "Failing requests",
        "Closed or rejected, a second, at each state server.",
        Query(per_second(store("requests_total", FAILED), "instance"), "{{instance}}"),
        unit="reqps",
        when_empty=_NONE,
    ),
    lines(
        "Clients",
        "Connections that are open at each state server. A load balancer should spread them.",
        Query(f"sum by (instance) ({store('client_connections')})", "{{instance}}"),
        when_empty=_NONE,
    ),
    lines(
        "New sessions refused",
        "For want of memory at the engine. Users without a session get none.",
        Query(per_second(store("creations_refused_total"), "instance"), "{{instance}}"),
        unit="cps",
        when_empty=_NONE,
    ),
)

ENGINE = (
    lines(
        "Lost, by reason",
        "How often a state server has lost its engine: `unfit` has to be set up otherwise, `empty` has "
        "lost the sessions (`partitioner accept-loss`), the others pass.",
        Query(per_second(store("engine_reconnects_total"), "reason"), "{{reason}}"),
        unit="cps",
        when_empty=_NONE,
    ),
    lines(
        "In trouble now",
        "Why a primary does not carry requests out, while it does not.",
        Query(f"max by (instance, reason) ({store('engine_trouble')})", "{{instance}} {{reason}}"),
        when_empty=_NONE,
    ),
    lines(
        "Sent again, and late",
        "Requests that got no reply that counts and were sent again under their id, and those to which the "
        "engine came after their deadline: it stands still at times.",
        Query(per_second(store("requests_again_total"), "instance"), "again {{instance}}"),
        Query(per_second(store("requests_late_total"), "instance"), "late {{instance}}"),
        unit="cps",
        when_empty=_NONE,
    ),
    lines(
        "Answered as degraded",
        "Requests that were answered although a replica did not have their change.",
        Query(per_second(store("requests_degraded_total"), "instance"), "{{instance}}"),
        unit="cps",
        when_empty=_NONE,
    ),
    lines(
        "Memory",
        "Of the engine's maxmemory, as each state server was told.",
        Query(f"max by (instance) ({store('engine_memory_used_ratio')})", "{{instance}}"),
        unit="percentunit",
        steps=FULL,
        when_empty=_NONE,
    ),
    lines(
        "Locks given back, and left",
        "Of pages that have failed. One that is left keeps its session locked until the web server breaks "
        "it, after 110 s.",
        Query(per_second(store("locks_given_back_total"), "instance"), "given back {{instance}}"),
        Query(per_second(store("locks_left_total"), "instance"), "left {{instance}}"),
        Query(per_second(store("foreign_records_total"), "instance"), "foreign records {{instance}}"),
        unit="cps",
        when_empty=_NONE,
    ),
)

PROCESSES = (
    lines(
        "CPU",
        "Cores that each state server uses, all its workers together. One is all that a worker can use.",
        Query(per_second(store("process_cpu_seconds_total"), "instance"), "{{instance}}"),
        unit="percentunit",
        when_empty=_NONE,
    ),
    lines(
        "Event-loop lag",
        "How much later than due a process gets round to things.",
        Query(quantile(0.99, store("event_loop_lag_seconds_bucket"), "instance"), "{{instance}}"),
        unit="s",
        steps=LATE,
        when_empty=_NONE,
    ),
    lines(
        "Workers that were started again",
        "Each time its clients' connections were closed. The log says `worker ended`, and how.",
        Query(per_second(store("worker_restarts_total"), "instance"), "{{instance}}"),
        unit="cps",
        when_empty=_NONE,
    ),
)

DASHBOARD = Dashboard(
    STORE,
    "Partitioner: store",
    "State servers whose sessions are on an engine, Valkey or Redis (docs/store.md).",
    (
        Section("", AT_A_GLANCE),
        Section("How users are served", SERVING),
        Section("The engine", ENGINE),
        Section("Processes", PROCESSES),
    ),
)
