"""The dashboard to open first: are clients served, which server hurts, what did the router do about it?"""

from tools.dashboards.layout import OVERVIEW
from tools.dashboards.model import (
    Colour,
    Dashboard,
    Expected,
    Meaning,
    Query,
    Section,
    bad_at_all,
    bad_below,
    bad_from,
    lines,
    stat,
    timeline,
)
from tools.dashboards.queries import (
    FAILED,
    SCRAPED,
    STATES,
    backend,
    per_second,
    quantile,
    router,
    state_of_backends,
    within_range,
)
from tools.dashboards.routers import LIMITS, ROUTERS
from tools.dashboards.thresholds import LOCK_AGES, OUTCOMES, REDUNDANT, RELOADED, SLOW

_ALL = per_second(router("requests_total"))
_FAILING = per_second(router("requests_total", FAILED))

AT_A_GLANCE = (
    stat(
        "Answered",
        f"1 - {_FAILING} / ({_ALL} > 0)",
        "The share of requests that web servers got an answer to. The rest was closed (no server that may "
        "have the session could be asked) or rejected (malformed); their pages failed. See Failures below.",
        unit="percentunit",
        decimals=2,
        steps=bad_below(0.99, 0.9999),
        when_empty="no traffic",
    ),
    stat(
        "Requests",
        _ALL,
        "Requests of web servers a second. If this drops to nothing at an hour when people work, look at the "
        "web servers, and at the address at which they look for the router.",
        unit="reqps",
        sparkline=True,
    ),
    stat(
        "Failed, last 5 min",
        f"sum(increase({router('requests_total', FAILED)}[5m]))",
        "Requests that were closed or rejected. Each one is a page that failed for a user.",
        decimals=0,
        steps=bad_from(0.5, 10),
        expected=Expected.ZERO,
    ),
    stat(
        "p99",
        quantile(0.99, router("request_duration_seconds_bucket")),
        "99 of 100 answers took no longer. Above a second users notice; the latency of each backend below "
        "tells which server it is.",
        unit="s",
        steps=SLOW,
        when_empty="no traffic",
    ),
    stat(
        "Backends DOWN",
        f"sum(max by (backend) ({backend('backend_state', state='down')}))",
        "Backends that at least one router has ejected. Their sessions are served by their copies. The "
        "timeline below says which and since when; the router's log says why.",
        steps=bad_at_all(),
        expected=Expected.ZERO,
    ),
    stat(
        "READY and UP",
        f"min({router('backends_serving')})",
        "Backends that serve, as the router sees it that sees fewest. With one left nothing is redundant; "
        "with none every request is closed.",
        steps=bad_below(1, 2),
    ),
    stat(
        "Redundant",
        f"min({router('redundant')})",
        "Whether any one backend may fail now without the loss of a session. If not: stop and restart "
        "nothing; the log says why. A router that was just started takes session_timeout to be sure.",
        meanings=REDUNDANT,
        steps=bad_below(0, 1),
    ),
    stat(
        "Lost for good",
        f"{within_range(router('lost_updates_total'))} + {within_range(router('sessions_lost_total'))}",
        "Saves that came too late for their lock, and sessions that were declared lost, in the time shown. "
        "This cannot be undone; Sessions and locks tells the two apart.",
        decimals=0,
        steps=bad_at_all(),
        expected=Expected.ZERO,
    ),
    stat(
        "Routers ready",
        f"(sum({router('ready')}) or vector(0)) / count({router(SCRAPED)})",
        "The share of routers to which web servers should be sent, as their /readyz says. A router that "
        "Prometheus cannot scrape counts as not ready. A standby is ready, too.",
        unit="percentunit",
        meanings={1: Meaning("all", Colour.GREEN), 0: Meaning("NONE", Colour.RED)},
        steps=bad_below(0.01, 1),
        height=3,
    ),
    stat(
        "Maps",
        f'count(count_values("map", {router("map_fingerprint")}))',
        "How many different maps of the pool the routers have. More than one: they look for the same session "
        "on different servers. Give all routers the same backends, weights and hash_key, and reload.",
        meanings={1: Meaning("all alike", Colour.GREEN)},
        steps=((None, Colour.GREEN), (2, Colour.RED)),
        height=3,
    ),
    stat(
        "Last reload",
        f"min({router('config_last_reload_successful')})",
        "Whether each router took its configuration file when it read it last. If not, what was in force "
        "before still is; the router's log names the keys that are wrong.",
        meanings=RELOADED,
        steps=bad_below(0, 1),
        height=3,
    ),
    stat(
        "Configuration read",
        f"max({router('config_last_reload_timestamp_seconds')}) * 1000",
        "When a router last read its configuration. If trouble began then, the change is the first suspect.",
        unit="dateTimeFromNow",
        height=3,
    ),
    stat(
        "Redundant for",
        f"min({router('redundant_for_seconds')})",
        "For how long any one backend might have failed. Zero while it is not so.",
        unit="dtdurations",
        decimals=0,
        height=3,
    ),
    stat(
        "Degraded saves",
        within_range(router("degraded_writes_total")),
        "Saves in the time shown that were answered with a copy less than there should be, because a server "
        "was late or gone. They are repaired afterwards; until then they have one copy.",
        decimals=0,
        steps=bad_at_all(Colour.AMBER),
        height=3,
        expected=Expected.ZERO,
    ),
    stat(
        "Failovers",
        within_range(router("failovers_total")),
        "Requests in the time shown that another backend answered, because the first choice was out. These "
        "are the users who would have lost their sessions.",
        decimals=0,
        steps=bad_at_all(Colour.AMBER),
        height=3,
        expected=Expected.ZERO,
    ),
    stat(
        "Oldest lock",
        f"max({router('oldest_lock_seconds')})",
        "How long the slowest page has held its session. Above 110 s web servers take the lock for abandoned "
        "and break it. `partitioner locks` lists the oldest ones.",
        unit="s",
        steps=LOCK_AGES,
        height=3,
    ),
)

CLIENTS = (
    lines(
        "Requests by outcome",
        "What became of requests. Locked is a page that waits for another page of the same user; miss is a "
        "user without a session. Only rejected and closed are failures.",
        Query(per_second(router("requests_total"), "outcome"), "{{outcome}}"),
        unit="reqps",
        is_stacked=True,
        colours=OUTCOMES,
    ),
    lines(
        "Failures",
        "Requests that were closed or rejected, by operation. Closed: a server that may have the session "
        "could not be asked; see which one hurts below. Rejected: somebody sends what is not a request.",
        Query(
            f"{per_second(router('requests_total', FAILED), 'operation', 'outcome')} > 0",
            "{{operation}} {{outcome}}",
        ),
        unit="reqps",
        when_empty="none: every request was answered",
        expected=Expected.EMPTY,
    ),
    lines(
        "Seconds for a request",
        "How long answers take over all operations, from the first byte of the request to the last one of "
        "the answer. A p99 far above the p50 is one server of several, or a few very large sessions.",
        *(
            Query(quantile(share, router("request_duration_seconds_bucket")), name)
            for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
        ),
        unit="s",
        steps=SLOW,
    ),
)

SERVERS = (
    timeline(
        "State of backends",
        "What each backend was when, the worst that any router saw. DOWN: ejected, its copies serve. "
        "RECOVERING: written to, not read. Drains and maint are orders of operators.",
        Query(state_of_backends(), "{{backend}}"),
        STATES,
    ),
    lines(
        "Errors by backend",
        "Exchanges with backends that failed, by how far they had come. Connecting: the server or the way to "
        "it is gone. Reading: it has taken the request and does not answer, so it is frozen or overloaded.",
        Query(
            f"{per_second(backend('backend_errors_total'), 'backend', 'phase')} > 0", "{{backend}} {{phase}}"
        ),
        unit="cps",
        when_empty="none: all backends answer",
        expected=Expected.EMPTY,
    ),
    lines(
        "Failovers: answered by another backend",
        "What the router did about it: requests whose first choice was out, and which its copies answered.",
        Query(f"{per_second(backend('failovers_total'), 'backend')} > 0", "instead of {{backend}}"),
        unit="reqps",
        when_empty="none: every session is served by its first choice",
        expected=Expected.EMPTY,
    ),
    lines(
        "p99 by backend",
        "How long each backend takes for an exchange. One line above the others is a server that is ill "
        "before it is DOWN: a garbage collection, a full disk, a neighbour on the same machine.",
        Query(quantile(0.99, backend("backend_request_duration_seconds_bucket"), "backend"), "{{backend}}"),
        unit="s",
        steps=SLOW,
        width=12,
    ),
    timeline(
        "Redundant, by router",
        "When any one backend could have failed without the loss of a session, and when not.",
        Query(f"max by (instance) ({router('redundant')})", "{{instance}}"),
        REDUNDANT,
        width=12,
    ),
)

SECONDS = tuple(
    lines(
        f"{name} by operation",
        f"{of_100} of 100 answers took no longer. Acquire and set are the two ends of a page; a set that is "
        "slower than an acquire waits for its copy.",
        Query(quantile(share, router("request_duration_seconds_bucket"), "operation"), "{{operation}}"),
        unit="s",
        steps=SLOW,
    )
    for share, name, of_100 in ((0.5, "p50", "50"), (0.95, "p95", "95"), (0.99, "p99", "99"))
)


DASHBOARD = Dashboard(
    OVERVIEW,
    "Partitioner: overview",
    "Are clients served? Which server hurts whom, and what did the router do about it?",
    (
        Section("", AT_A_GLANCE),
        Section("Are clients served?", CLIENTS),
        Section("Which server hurts, and what does the router do about it?", SERVERS),
        Section("Seconds", SECONDS),
        Section("How close to its limits is the router?", LIMITS),
        Section("Which routers are there?", ROUTERS),
    ),
)
