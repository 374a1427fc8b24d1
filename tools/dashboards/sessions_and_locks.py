"""The dashboard of what must not go wrong: locks that hang, saves that got lost, copies that are missing."""

from tools.dashboards.layout import SESSIONS_AND_LOCKS
from tools.dashboards.model import (
    Colour,
    Column,
    Dashboard,
    Expected,
    Meaning,
    Query,
    Section,
    bad_at_all,
    lines,
    stat,
    table,
    timeline,
)
from tools.dashboards.queries import (
    backend,
    lately,
    per_second,
    quantile,
    router,
    state_server,
    within_range,
)
from tools.dashboards.thresholds import LOCK_AGES, REDUNDANT

AT_A_GLANCE = (
    stat(
        "Locks held",
        f"sum({router('locks_held')})",
        "Pages that hold their session just now. It follows the number of pages under way; a level that only "
        "rises is a web server that does not let go.",
        sparkline=True,
    ),
    stat(
        "Oldest lock",
        f"max({router('oldest_lock_seconds')})",
        "How long the slowest page has held its session; other pages of that user wait. After 110 s web "
        "servers break it. `partitioner locks` tells where it is.",
        unit="s",
        steps=LOCK_AGES,
    ),
    stat(
        "Lost updates",
        within_range(router("lost_updates_total")),
        "Saves in the time shown that came with a lock that was not theirs any more: what the page changed "
        "is gone, and its user saw no error. Usually a page that ran longer than 110 s.",
        decimals=0,
        steps=bad_at_all(),
        expected=Expected.ZERO,
    ),
    stat(
        "Declared lost",
        within_range(router("sessions_lost_total")),
        "Sessions in the time shown that were said not to exist although a backend that is down may have "
        "them: their users start anew. With copies: 2 that takes two failures at a time.",
        decimals=0,
        steps=bad_at_all(),
        expected=Expected.ZERO,
    ),
    stat(
        "Degraded saves",
        within_range(router("degraded_writes_total")),
        "Saves in the time shown that were answered with a copy less. They are repaired afterwards.",
        decimals=0,
        steps=bad_at_all(Colour.AMBER),
        expected=Expected.ZERO,
    ),
    stat(
        "Marked",
        f"sum(max by (backend) ({backend('keys_marked')}))",
        "Sessions for which some backend is not read, because it missed a change. Repair brings this down; "
        "while it is above zero those sessions have a copy less.",
        steps=bad_at_all(Colour.AMBER),
        expected=Expected.ZERO,
    ),
    stat(
        "Ghost locks left",
        within_range(router("ghost_locks_left_total")),
        "Locks in the time shown whose answer reached no client and that could not be released. Their users "
        "wait until web servers break them, after 110 s.",
        decimals=0,
        steps=bad_at_all(),
    ),
    stat(
        "Mixed applications",
        within_range(router("mixed_applications_total")),
        "Session IDs in the time shown that came under two application hashes: the web servers of that farm "
        "do not share their application ID or machine key, and users lose their sessions between them.",
        decimals=0,
        steps=bad_at_all(Colour.AMBER),
        expected=Expected.ZERO,
    ),
)

LOCKS = (
    lines(
        "Locks held by router",
        "Pages that hold their session, by router.",
        Query(f"sum by (instance) ({router('locks_held')})", "{{instance}}"),
    ),
    lines(
        "Age of the oldest lock",
        "A saw-tooth up to 110 s is one page that hangs again and again. A line that never falls is a lock "
        "that no page holds any more.",
        Query(f"max by (instance) ({router('oldest_lock_seconds')})", "{{instance}}"),
        unit="s",
        steps=LOCK_AGES,
    ),
    lines(
        "Waiting for locks",
        "Requests that were answered that the session is locked: pages that wait for another page of the "
        "same user, and ask again every half second.",
        Query(per_second(router("requests_total", 'outcome="locked"'), "operation"), "{{operation}}"),
        unit="reqps",
    ),
    lines(
        "Saves that came too late",
        "Lost updates: saves that came with a lock that was not theirs any more.",
        Query(f"{lately(router('lost_updates_total'), 'instance')} > 0", "{{instance}}"),
        when_empty="none: every save counted",
        expected=Expected.EMPTY,
    ),
    lines(
        "Locks taken over",
        "Locks whose backend went away while a page held them: the router itself stood for them, no other "
        "page "
        "got in, and the page could still save.",
        Query(f"{lately(router('locks_taken_over_total'), 'instance')} > 0", "{{instance}}"),
        when_empty="none",
        expected=Expected.EMPTY,
    ),
    lines(
        "Ghost locks",
        "Locks that were granted to no client, because the answer could not be delivered. Released ones cost "
        "nothing; those left keep a user waiting for 110 s.",
        Query(f"{lately(router('ghost_locks_released_total'), 'instance')} > 0", "released {{instance}}"),
        Query(f"{lately(router('ghost_locks_left_total'), 'instance')} > 0", "left {{instance}}"),
        when_empty="none",
        expected=Expected.EMPTY,
    ),
)

COPIES = (
    timeline(
        "Redundant, by router",
        "When any one backend could have failed without the loss of a session, and when not.",
        Query(f"max by (instance) ({router('redundant')})", "{{instance}}"),
        REDUNDANT,
    ),
    lines(
        "Copies written",
        "Writes of copies, by result. Failed ones make the save degraded.",
        Query(per_second(backend("copies_written_total"), "result"), "{{result}}"),
        unit="wps",
        colours={"ok": Colour.GREEN, "failed": Colour.RED},
    ),
    lines(
        "Copies that failed, by backend",
        "Which backend did not take its copy in time (timeouts.copy).",
        Query(
            f"{per_second(backend('copies_written_total', result='failed'), 'backend')} > 0", "{{backend}}"
        ),
        unit="wps",
        when_empty="none: every copy was written",
        expected=Expected.EMPTY,
    ),
    lines(
        "Saves with a copy less",
        "Degraded saves: answered with a copy less than there should be, and repaired afterwards.",
        Query(f"{per_second(router('degraded_writes_total'), 'instance')} > 0", "{{instance}}"),
        unit="wps",
        when_empty="none: every save has all its copies",
        expected=Expected.EMPTY,
    ),
    lines(
        "Marked sessions by backend",
        "Sessions for which this backend is not read until it is put right: what it missed while it was out. "
        "It should fall soon after the backend is back.",
        Query(f"max by (backend) ({backend('keys_marked')}) > 0", "{{backend}}"),
        when_empty="none: every backend has what it should",
        expected=Expected.EMPTY,
    ),
    lines(
        "Repaired, healed, and declared lost",
        "Copies that were put right, sessions that healing has put right and that still lack a copy, whether "
        "it has still to see that all are whole, and sessions that were given up because no server that is "
        "up has them.",
        Query(f"{per_second(router('sessions_repaired_total'))} > 0", "repaired"),
        Query(f"{per_second(router('sessions_healed_total'))} > 0", "healed"),
        Query(f"sum({router('sessions_lacking')}) > 0", "lacking a copy"),
        Query(f"max({router('healing_pending')}) > 0", "healing is pending"),
        Query(f"{per_second(router('sessions_lost_total'))} > 0", "declared lost"),
        unit="cps",
        colours={"repaired": Colour.GREEN, "declared lost": Colour.RED},
        when_empty="none",
        expected=Expected.EMPTY,
    ),
)

MOVES = (
    lines(
        "Sessions moved",
        "Sessions that were put where they belong. Missed: found elsewhere when used. Saved: moved by their "
        "page's save. Drained: handed off by a backend that is to go.",
        Query(f"{per_second(router('sessions_moved_total'), 'reason')} > 0", "{{reason}}"),
        unit="cps",
        when_empty="none: every session is where it belongs",
        expected=Expected.EMPTY,
    ),
    lines(
        "Drains: sessions left",
        "What each draining backend still holds, where it can be asked. It may be stopped at zero.",
        Query(f"max by (backend) ({backend('drain_sessions_left')})", "{{backend}}"),
        when_empty="no backend drains",
        expected=Expected.EMPTY,
    ),
    table(
        "Drains",
        "Each backend that is being drained. One that stalls has sessions that cannot be moved: pages that "
        "hold them, or servers that do not take them; the router's log says which.",
        "backend",
        Column("Moved", f"max by (backend) ({backend('drain_sessions_moved')})"),
        Column("Left", f"max by (backend) ({backend('drain_sessions_left')})"),
        Column(
            "Progressing",
            f"max by (backend) ({backend('drain_stalled')})",
            meanings={0: Meaning("yes", Colour.GREEN), 1: Meaning("STALLED", Colour.RED)},
        ),
        width=8,
        height=7,
        when_empty="no backend drains",
        expected=Expected.EMPTY,
    ),
)

CONTENT = (
    lines(
        "Sizes of sessions",
        "How large the sessions are that web servers save. What grows here makes every page slower: large "
        "sessions are read and written whole, and once more for each copy.",
        *(
            Query(quantile(share, router("session_size_bytes_bucket")), name)
            for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
        ),
        unit="bytes",
        width=12,
    ),
    lines(
        "Sizes of sessions by application",
        "How large 99 of 100 sessions at most are that each application saves: which one is it that grows? "
        "`partitioner sessions --by-item` says which names of items do. The ten applications that save most "
        "have a line of their own.",
        Query(
            quantile(0.99, router("application_session_size_bytes_bucket"), "application"),
            "p99 of {{application}}",
        ),
        unit="bytes",
        width=12,
    ),
    lines(
        "Bytes saved",
        "What web servers save a second. Each byte goes to as many servers as there are copies.",
        Query(per_second(router("session_size_bytes_sum"), "instance"), "{{instance}}"),
        unit="Bps",
        width=12,
    ),
    lines(
        "Sessions on the project's own state servers",
        "Copies included: with copies: 2 each session counts twice.",
        Query(f"sum({state_server('sessions')})", "sessions"),
        when_empty="no state server of this project is scraped",
        width=12,
    ),
)

DASHBOARD = Dashboard(
    SESSIONS_AND_LOCKS,
    "Partitioner: sessions and locks",
    "Is any user's session lost, locked, or on one server only? What moves, and what is repaired?",
    (
        Section("", AT_A_GLANCE),
        Section("Who waits for whom?", LOCKS),
        Section("Are there enough copies?", COPIES),
        Section("What moves?", MOVES),
        Section("What is in the sessions?", CONTENT),
    ),
)
