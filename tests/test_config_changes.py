"""What another configuration would change in a running router, in words (design.md 7.6)."""

from collections import Counter
from pathlib import Path

from partitioner.config import parse
from partitioner.config.changes import APPLIED_AT_ONCE, backend_changes, key_changes, restarts_needed
from partitioner.membership.backend import Address, Backend, Intent
from partitioner.placement.moves import Plan
from tests.tables import each_case

POOL = """
backends:
  - {name: a, address: 10.0.0.1:42424}
  - {name: b, address: 10.0.0.2:42424}
"""

PLAN = Plan(
    sampled=100,
    before=Counter(a=60, b=40),
    after=Counter(a=45, b=30, c=25),
    moved=Counter({("a", "c"): 15, ("b", "c"): 10}),
)

RESTARTS = [
    # what the file says besides now, what it said before, path and message
    ("listen: 127.0.0.1:1", "", "listen: changed from 127.0.0.1:42424 to 127.0.0.1:1"),
    ("listen: ['a:1', 'b:1']", "", "listen: changed from 127.0.0.1:42424 to [a:1, b:1]"),
    ("admin: 127.0.0.1:1", "", "admin: changed from 127.0.0.1:9424 to 127.0.0.1:1"),
    ("admin_token_file: {new}", "admin_token_file: {old}", "admin_token_file: changed"),
    ("backend_token_file: {new}", "backend_token_file: {old}", "backend_token_file: changed"),
    ("admin_token: new", "admin_token: old", "admin_token: changed"),
    ("", "name: edge", "name: changed from edge to router-1"),
    ("hash_key: target", "", "hash_key: changed from session-id to target"),
    ("state_dir: /var/lib/x", "", "state_dir: changed from the default directory to /var/lib/x"),
    ("state_dir: none", "state_dir: /x", "state_dir: changed from /x to none"),
    ("log_format: json", "", "log_format: changed from console to json"),
    ("fast_path: off", "", "fast_path: changed from on to off"),
    ("session_timeout: 30m", "", "session_timeout: changed from 1h to 30m"),
    ("session_timeout_max: 2d", "", "session_timeout_max: changed from 1d to 2d"),
]


@each_case(("now", "before", "sentence"), RESTARTS)
def test_a_key_that_takes_a_restart(now: str, before: str, sentence: str, tmp_path: Path) -> None:
    """It is named with its old and its new value as files have them; a token is not shown."""
    for name in ("old", "new"):
        file = tmp_path / name
        file.write_text(f"the-token-that-is-{name}")
        now, before = (text.replace(f"{{{name}}}", str(file)) for text in (now, before))
    problems = restarts_needed(parse(POOL + before), parse(POOL + now))

    assert [f"{sentence}, which takes a restart of the router"] == [str(each) for each in problems]


def test_every_key_that_takes_a_restart_is_named() -> None:
    """One reload tells all reasons, in the order of the settings."""
    wanted = parse(POOL + "listen: 127.0.0.1:1\ncopies: 1\nhash_key: target\nfast_path: off")

    assert ["listen", "hash_key", "fast_path"] == [each.path for each in restarts_needed(parse(POOL), wanted)]


@each_case(("before", "now"), [("embedded: 3", "embedded: 4"), ("embedded: 3", POOL)])
def test_servers_in_the_router_itself_stay(before: str, now: str) -> None:
    """How many state servers run inside the router cannot change while it runs, nor what they take."""
    body = restarts_needed(parse("embedded: 3"), parse("embedded: 3\nlimits: {body: 1MiB, ledger: 5}"))

    assert ["limits.body"] == [each.path for each in body]
    assert ["embedded"] == [each.path for each in restarts_needed(parse(before), parse(now))]


def test_what_is_applied_at_once_takes_no_restart() -> None:
    """The pool, its copies, lost sessions, healing, health, time-outs, limits, the log, allowed networks."""
    wanted = parse("""
        copies: 1
        lost_sessions: close
        lost_after: 10s
        heal: {rate: 5}
        health: {interval: 1s, timeout: 500ms, fall: 2, rise: 1, max_down_share: 1, hold_down: 0s}
        timeouts: {connect: 2s, exchange: 9s, copy: 1s, client_idle: 1m, backend_idle: 5s, shutdown: 1s}
        limits: {connections: 9, per_client: 8, body: 1MiB, body_memory: 2MiB, ledger: 7}
        log_level: error
        allow_clients: [10.0.0.0/8]
        backends: [{name: c, address: 10.0.0.3:42424}]
    """)

    assert restarts_needed(parse(POOL), wanted) == []
    assert 25 == len(APPLIED_AT_ONCE)


KEY_CHANGES = [
    ("copies: 1", "copies 2 -> 1: those too many expire"),
    (
        "lost_sessions: close",
        "lost_sessions new -> close: users whose session is only on servers that are down are refused",
    ),
    (
        "lost_after: 5m",
        "lost_after 1m -> 5m: so long a server must have timed out before what only it has counts as lost",
    ),
    (
        "log_level: error",
        "log_level info -> error: lesser lines are not written; the status page has them",
    ),
    (
        "health: {max_down_share: 0.75}",
        "health.max_down_share 0.5 -> 0.75: servers are judged by it from the next probe on",
    ),
    ("timeouts: {copy: 1s}", "timeouts.copy 250ms -> 1s: for what begins from now on"),
    ("limits: {body: 1MiB}", "limits.body 64MiB -> 1MiB: from now on; what is open or held already stays"),
    ("heal: {rate: 50}", "heal.rate 500 -> 50: so many sessions a second are put right from now on"),
    (
        "allow_clients: [10.0.0.0/8]",
        "allow_clients [127.0.0.0/8, ::1/128] -> [10.0.0.0/8]: "
        "who connects from now on is let in by it; open connections stay",
    ),
]


@each_case(("now", "sentence"), KEY_CHANGES)
def test_a_change_of_a_key(now: str, sentence: str) -> None:
    """It is told with old and new value, and with what follows."""
    assert [sentence] == [str(each) for each in key_changes(parse(POOL), parse(POOL + now))]


def test_a_second_server_brings_a_second_copy() -> None:
    """Where `copies` is left out, it follows the pool, and that is told."""
    one = parse("backends: [{name: a, address: 10.0.0.1:42424}]")

    assert ["copies 1 -> 2: sessions get theirs as they are saved"] == [
        str(each) for each in key_changes(one, parse(POOL))
    ]


def at(host: int, name: str, weight: float = 1.0, intent: Intent = Intent.READY) -> Backend:
    return Backend(name, Address(f"10.0.0.{host}", 42424), weight, intent)


A, B, C = at(1, "a"), at(2, "b"), at(3, "c")
ADMIN = Backend("b", B.address, admin=Address("10.0.0.2", 9425))

BACKEND_CHANGES = {
    "joins": ([A, B, C], ["c joins at 10.0.0.3:42424: takes 25.0 % of the sessions, as they are used"]),
    "joins, heavy": (
        [A, B, at(3, "c", 2.5)],
        ["c joins at 10.0.0.3:42424, weight 2.5: takes 25.0 % of the sessions, as they are used"],
    ),
    "joins, draining": (
        [A, B, at(3, "c", intent=Intent.DRAIN)],
        ["c joins at 10.0.0.3:42424, drain: takes no sessions; it is asked for those that it holds"],
    ),
    "leaves": (
        [A],
        ["b leaves: its 40.0 % of the sessions move as they are used; until then leave it running"],
    ),
    "moves": (
        [A, at(9, "b")],
        [
            "b moves from 10.0.0.2:42424 to 10.0.0.9:42424: "
            "its sessions are fetched from the old address, for as long as that answers"
        ],
    ),
    "weight": (
        [A, at(2, "b", 0.5)],
        ["b weight 1 -> 0.5: its share of the sessions goes from 40.0 % to 30.0 %"],
    ),
    "drain": (
        [A, at(2, "b", intent=Intent.DRAIN)],
        [
            "b intent ready -> drain: "
            "its 40.0 % of the sessions move as they are used; until then leave it running"
        ],
    ),
    "maint": (
        [A, at(2, "b", intent=Intent.MAINT)],
        [
            "b intent ready -> maint: "
            "is not spoken to; its sessions are served by their copies, where they have any"
        ],
    ),
    "admin": ([A, ADMIN], ["b admin none -> 10.0.0.2:9425: is drained in bulk"]),
    "in another order": ([B, A], []),
    "several": (
        [at(1, "a", 2.0), C],
        [
            "a weight 1 -> 2: its share of the sessions goes from 60.0 % to 45.0 %",
            "c joins at 10.0.0.3:42424: takes 25.0 % of the sessions, as they are used",
            "b leaves: its 40.0 % of the sessions move as they are used; until then leave it running",
        ],
    ),
    "none": ([A, B], []),
}


@each_case(("after", "sentences"), BACKEND_CHANGES.values(), ids=BACKEND_CHANGES)
def test_changes_of_the_pool(after: list[Backend], sentences: list[str]) -> None:
    """Each backend that joins, leaves or changes is told with what that moves."""
    changes = backend_changes([A, B], after, parse(POOL), PLAN)

    assert sentences == [str(each) for each in changes]


KEEPS = "it is the same server and keeps what it holds"
RENAMED = f"{KEEPS}; sessions move as its new name places them"
SAME_SERVERS = {
    "name": ([A, at(2, "c")], {"c": "b"}, [f"c renamed from b: {RENAMED}"]),
    "address": ([A, at(9, "b")], {"b": "b"}, [f"b moves from 10.0.0.2:42424 to 10.0.0.9:42424: {KEEPS}"]),
    "both": (
        [A, at(9, "c")],
        {"c": "b"},
        [f"c renamed from b: {RENAMED}", f"c moves from 10.0.0.2:42424 to 10.0.0.9:42424: {KEEPS}"],
    ),
    "swapped names": (
        [at(2, "a"), at(1, "b")],
        {"a": "b", "b": "a"},
        [f"a renamed from b: {RENAMED}", f"b renamed from a: {RENAMED}"],
    ),
    "its name for another server": (
        [A, C, at(9, "b")],
        {"c": "b"},
        [
            f"c renamed from b: {RENAMED}",
            f"c moves from 10.0.0.2:42424 to 10.0.0.3:42424: {KEEPS}",
            "b joins at 10.0.0.9:42424: takes 30.0 % of the sessions, as they are used",
        ],
    ),
    "and drained": (
        [A, at(2, "c", intent=Intent.DRAIN)],
        {"c": "b"},
        [
            f"c renamed from b: {RENAMED}",
            "c intent ready -> drain: "
            "its 40.0 % of the sessions move as they are used; until then leave it running",
        ],
    ),
    "and another weight": (
        [A, at(2, "c", 0.5)],
        {"c": "b"},
        [
            f"c renamed from b: {RENAMED}",
            "c weight 1 -> 0.5: its share of the sessions goes from 40.0 % to 25.0 %",
        ],
    ),
}


@each_case(("after", "same", "sentences"), SAME_SERVERS.values(), ids=SAME_SERVERS)
def test_a_server_that_its_memory_tells(
    after: list[Backend], same: dict[str, str], sentences: list[str]
) -> None:
    """Whatever changes of its name and its address, it neither leaves nor joins."""
    changes = backend_changes([A, B], after, parse(POOL), PLAN, same)

    assert sentences == [str(each) for each in changes]


def test_one_that_leaves_without_a_share() -> None:
    """A server that was being drained takes nothing away; it may still be asked."""
    drained = at(9, "old", intent=Intent.DRAIN)

    assert [
        "old leaves: it had no share of the sessions; it is asked for what it still holds",
    ] == [str(each) for each in backend_changes([A, B, drained], [A, B], parse(POOL), PLAN)]


def test_the_file_wins_over_an_intent_that_was_set_at_run_time() -> None:
    """An intent that differs although the file has not changed was set by a command: the plan says so."""
    running = [A, at(2, "b", intent=Intent.DRAIN)]

    assert [
        "b intent drain -> ready (drain was set at run time; the file wins): "
        "takes 30.0 % of the sessions, as they are used"
    ] == [str(each) for each in backend_changes(running, [A, B], parse(POOL), PLAN)]
