"""The status page at / (design.md 9.3): what it shows, and what hostile strings cannot do to it."""

from base64 import b64encode
from dataclasses import replace
from functools import cache
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import trio
from hypothesis import given
from hypothesis import strategies as st

from partitioner.ops.admin import page
from partitioner.ops.admin.guard import AccessPolicy
from partitioner.ops.admin.headline import headline
from partitioner.ops.admin.page import MOST_OLD_LOCKS, read_refresh, view
from partitioner.ops.admin.reports import (
    EventReport,
    HealingReport,
    HistoryReport,
    LockReport,
    Locks,
    MemoryReport,
    Status,
    TrackReport,
)
from partitioner.ops.admin.router_app import router_app
from partitioner.ops.printable import printable
from tests.ops.admin.asking import Operator
from tests.ops.admin.pages import (
    NOTHING_YET,
    FakeAdminApi,
    StatusPage,
    backend_report,
    drain_report,
    ill,
    lock_report,
    status_of,
)
from tests.tables import each_case

WELL = status_of(backend_report("state-1"), backend_report("state-2"), backend_report("state-3"))
EVENT = EventReport(
    at="2026-07-02T22:15:00.000+00:00",
    ago=61.0,
    level="error",
    event="backend is down",
    cause="refused the connection",
    consequence="its sessions are served by their copies; 2 of 3 serve",
    facts={"backend": "state-2", "stays_out_at_least": "10s"},
)


def operator_of(status: Status = WELL, *, token: str | None = None) -> Operator:
    return Operator(router_app(FakeAdminApi(status), AccessPolicy(token is None, token)))


async def shown(
    status: Status = WELL, locks: tuple[LockReport, ...] = (), events: tuple[EventReport, ...] = ()
) -> StatusPage:
    """The page of a router that reports this."""
    admin_api = FakeAdminApi(status, locks, events)
    answer = await Operator(router_app(admin_api, AccessPolicy(is_loopback=True))).get("/")
    assert (200, "text/html; charset=utf-8") == (answer.status_code, answer.headers["content-type"])
    return StatusPage(answer.text)


# --- what it shows ---


async def test_each_backend_has_a_row() -> None:
    """Its name, its state in words, why, since when, its shares, its traffic, and what is to be put right."""
    out = replace(ill(backend_report("state-2"), "copies is 1"), keys_marked=12, weight=2.5)
    found = await shown(status_of(backend_report("state-1"), out))

    assert (
        "state-1 10.0.0.1:42424 UP for 1h 1m 1 50.0 % 50.0 % 12.5 0.40ms 12.0ms 0 0.50ms – 0 yes"
        == found.row_of("state-1")
    )
    assert (
        "state-2 10.0.0.1:42424 DOWN for 6s · timed out 2.5 50.0 % 50.0 % 12.5 0.40ms 12.0ms 0 – – 12 no 1"
        == found.row_of("state-2")
    )


INTENTS = [
    ({"intent": "drain", "serves": False}, "DRAIN UP"),
    ({"intent": "maint", "serves": False, "health": "down"}, "MAINT"),
    ({"removed": True, "serves": False}, "removed UP"),
    ({"health": "recovering", "serves": False}, "RECOVERING"),
    ({"health": "unknown", "serves": False, "health_for": None}, "UNKNOWN"),
]


@each_case(("changed", "expected"), INTENTS)
async def test_what_is_wanted_and_what_is_seen_are_told_apart(
    changed: dict[str, object], expected: str
) -> None:
    """A server that is put aside is not ill, and of one that is not spoken to nothing is seen."""
    found = await shown(status_of(backend_report("state-1"), replace(backend_report("state-2"), **changed)))  # type: ignore[arg-type]

    since = "not known yet" if expected == "UNKNOWN" else "for 1h 1m"
    assert found.row_of("state-2").startswith(f"state-2 10.0.0.1:42424 {expected} {since} ")


async def test_the_router_itself() -> None:
    """Who it is, since when, whether web servers may come, what they ask, and what map it has."""
    found = await shown()

    for expected in (
        "router-1 partitioner 1.2.3 up 1d 2h",
        "Role active active for 1d 2h, term 3-c0ffee",
        "Ready yes",
        "Redundant yes for 1h",
        "Requests 1 203/s ok 1 200 · miss 3.00",
        "Clients 64",
        "Locks 0 none held",
        "Pool change 7 placement 0123456789ab",
        "Nothing yet: the first 30s are under way.",
        "every session is in its place",
    ):
        assert expected in found.text


def track(*states: str) -> TrackReport:
    """An hour in which the last steps were like this."""
    steps = len(states)
    return TrackReport((2.0,) * steps, (None,) * steps, (0,) * (steps - 1) + (3,), states, has_flapped=False)


PAST = HistoryReport(
    step=30.0,
    router=track("standby", "active", "active"),
    lacking=(40, 10, 0),
    backends={"state-1": track("up", "up", "down"), "state-2": replace(track("up"), has_flapped=True)},
    memory={"state-2": MemoryReport(7, 2**30, 2**31, 4.0)},
)


async def test_the_last_hour() -> None:
    """Curves and strips, and the same in words; who came and went is named, and how full a server is."""
    admin_api = FakeAdminApi(WELL, past=PAST)
    html = (await Operator(router_app(admin_api, AccessPolicy(is_loopback=True))).get("/")).text
    found = StatusPage(html)

    for expected in ("Requests 2.00/s most 2.00/s", "Closed instead of answered 3 most 3", "copy 0 most 40"):
        assert expected in found.text
    assert "came and went" in found.row_of("state-2")
    assert "1GiB of 2GiB" in found.row_of("state-2")
    assert 'aria-label="in the last 1m 30s: up 1m, down 30s"' in html
    assert "standby, 1m 30s ago to 1m ago" in html
    assert " style=" not in html


async def test_the_last_hour_for_programs() -> None:
    """The same as JSON."""
    operator = Operator(router_app(FakeAdminApi(WELL, past=PAST), AccessPolicy(is_loopback=True)))
    told = (await operator.get("/api/v1/history")).json()

    assert ["standby", "active", "active"] == told["router"]["states"]
    assert {"sessions": 7, "used": 2**30, "limit": 2**31, "ago": 4.0} == told["memory"]["state-2"]


async def test_what_a_server_may_lack() -> None:
    """Below a server that does not serve, or is dirty, stands why, and the command that helps."""
    operator = operator_of(
        status_of(
            backend_report("state-1"),
            replace(backend_report("state-2"), dirty=("write",)),
            replace(backend_report("state-3"), health="down", serves=False, why_out="is down: `do this`"),
        )
    )
    html = (await operator.get("/")).text
    found = StatusPage(html)

    assert found.row_of("state-2").startswith("state-2 10.0.0.1:42424 UP DIRTY for ")
    beside = [found.rows[found.rows.index(found.row_of(name)) + 1] for name in ("state-2", "state-3")]
    assert beside[0].startswith("It is written down as dirty: it may lack saves, and after a crash of this")
    assert "It is down: do this." == beside[1]
    assert "<code>do this</code>" in html


@each_case(
    ("facts", "expected"),
    [
        ({}, "Healing Every session has its copies."),
        (
            {"redundant_since": None, "healing_pending": True},
            "Healing The pool has changed: a walk through all sessions begins soon.",
        ),
        (
            {"redundant_since": None, "healing": HealingReport(8.0, 400, 1000, 40, 3, 5.0, 12.0)},
            "Healing 400 of 1 000 copies looked at, 40 sessions put right, 5.00/s, 3 to be retried, "
            "about 12s to go · began 8s ago",
        ),
        (
            {"redundant_since": None, "not_healed": {"state-1": "it wants <a> token"}},
            "Healing No walk through the sessions goes on. state-1 cannot be looked at: it wants <a> token",
        ),
    ],
)
async def test_healing(facts: dict[str, Any], expected: str) -> None:
    """How far it has come, or that it is due, and why a server cannot be looked at."""
    found = await shown(replace(status_of(backend_report()), **facts))

    assert expected in found.text


async def test_why_not() -> None:
    """Each reason is told once, and rows refer to it by its number."""
    reasons = ("7 keys are still marked", "state-2 went down 6s ago")
    first = replace(
        backend_report("state-1"), safe_to_stop=False, not_safe_to_stop=(reasons[1], "it is alone")
    )
    status = replace(
        status_of(first, ill(backend_report("state-2"), reasons[0])),
        redundant_since=None,
        not_redundant=reasons,
        ready=False,
        not_ready=("it is stopping",),
    )
    found = await shown(status)

    assert [1, 1, 1] == [found.text.count(each) for each in (*reasons, "it is alone")]
    assert found.row_of("state-1").endswith(" no 2 3")
    assert found.row_of("state-2").endswith(" no 1")
    assert "Ready no it is stopping" in found.text
    assert [("li id", f"note-{number}") for number in (1, 2, 3)] == [
        each for each in found.attributes if each[0] == "li id"
    ]


async def test_a_standby_claims_no_knowledge_of_sessions() -> None:
    """It knows who answers it. What it does not know is not told as no, nor as nothing."""
    reason = ("this router is a standby; ask the active one",)
    listed = replace(backend_report("state-1"), safe_to_stop=False, not_safe_to_stop=reason)
    found = await shown(
        replace(
            status_of(listed),
            role="standby",
            standby_because="its beats have not been watched for 5 s yet",
            watched_for=3.0,
            redundant_since=None,
            not_redundant=reason,
        )
    )

    assert "Redundant – the active router knows" in found.text
    assert "Locks, repairs, moves – the active router knows" in found.text
    assert found.row_of("state-1").endswith(" –")
    assert not [each for each in (*reason, "Healing", "Drains", "Locks older") if each in found.text]
    assert "which has been watched" not in found.text


async def test_a_drain_shows_its_progress() -> None:
    """As a bar and in words; where the number left is unknown there is no bar."""
    listed = replace(backend_report("state-1"), drain=drain_report("state-1", 30, 90))
    found = await shown(status_of(listed))
    stock = replace(backend_report("state-1"), drain=drain_report("state-1", 30, None))
    without_bar = await shown(status_of(stock))

    assert "state-1 30 sessions moved, 90 left, 5.00/s, at most 1m to go · began 20s ago" in found.text
    assert ("30", "120") == (found.attribute("progress value"), found.attribute("progress max"))
    assert "the number left is unknown" in without_bar.text
    assert "progress" not in [tag for tag, _ in without_bar.elements]


async def test_a_drain_that_is_done_and_one_that_is_stalled() -> None:
    """The bar of the first is full; the second says what keeps it."""
    done = replace(backend_report("state-1"), drain=drain_report("state-1", 30, 0))
    stuck = replace(drain_report("state-2", 30, None), stalled="what is left is locked by pages")
    found = await shown(status_of(done, replace(backend_report("state-2"), drain=stuck)))

    assert "state-1 done, 30 sessions moved" in found.text
    assert ("1", "1") == (found.attribute("progress value"), found.attribute("progress max"))
    assert "stalled: what is left is locked by pages" in found.text


async def test_old_locks() -> None:
    """Those that no page needs for so long, by a hash of the session's key."""
    away = replace(lock_report(75.0), reachable=False, key="aaaaaaaa")
    found = await shown(locks=(away, lock_report(10.0), replace(lock_report(9.9), key="bbbbbbbb")))

    assert "aaaaaaaa state-1, which is away: the router stands for it 1m 15s" == found.row_of("aaaaaaaa")
    assert "d1e8a70b state-1 10s" == found.row_of("d1e8a70b")
    assert "bbbbbbbb" not in found.text


async def test_very_many_old_locks() -> None:
    """The page stays a page: it says where the others are told."""
    found = await shown(locks=tuple(lock_report(100.0) for _ in range(MOST_OLD_LOCKS + 1)))

    assert MOST_OLD_LOCKS == sum(row.startswith("d1e8a70b") for row in found.rows)
    assert "These are the oldest" in found.text


async def test_events() -> None:
    """In the words of the log, with what it calls cause and consequence."""
    found = await shown(events=(EVENT, replace(EVENT, event="backend is up", cause=None, facts={})))
    row = found.rows[-2]

    assert row.endswith(
        "1m 1s ago backend is down backend state-2 stays out at least 10s "
        "refused the connection its sessions are served by their copies; 2 of 3 serve"
    )
    assert "backend is up its sessions" in found.rows[-1]


DRAINING = replace(backend_report("state-2"), intent="drain", serves=False)
HEADLINES = [
    (WELL, "good", "All 3 state servers serve, and any one of them may fail"),
    (
        replace(WELL, redundant_since=None),
        "caution",
        "All 3 state servers serve; should one fail now, sessions may be lost",
    ),
    (
        replace(status_of(backend_report()), copies=1, redundant_since=None),
        "good",
        "The only state server serves; sessions are kept once",
    ),
    (
        status_of(backend_report(), DRAINING),
        "good",
        "1 of 2 state servers serve, as is wanted, and any one of them may fail",
    ),
    (status_of(backend_report(), ill(backend_report("b"))), "bad", "b does not serve; 1 of 2 do"),
    (
        replace(WELL, requests={"ok": 9.0, "closed": 1.0}),
        "bad",
        "All 3 state servers serve; 1.00 of 10.0 requests a second are closed instead of answered",
    ),
    (
        replace(status_of(backend_report(), ill(backend_report("b"))), requests={"closed": 0.1}),
        "bad",
        "b does not serve; 1 of 2 do; 0.10 of 0.10 requests a second are closed instead of answered",
    ),
    (
        replace(WELL, requests={"ok": 100.0, "closed": 0.9}),
        "good",
        "All 3 state servers serve, and any one of them may fail",
    ),
    (
        status_of(backend_report(), *(ill(backend_report(f"b{number}")) for number in range(5))),
        "bad",
        "b0, b1, b2 and 2 more do not serve; 1 of 6 do",
    ),
    (
        replace(WELL, role="standby", standby_because="another router is active and used"),
        "good",
        "Standby: another router is active and used; 3 of 3 state servers answer",
    ),
    (
        replace(WELL, role="standby", standby_because="another router is active and used", serving=2),
        "caution",
        "Standby: another router is active and used; 2 of 3 state servers answer",
    ),
    (
        replace(status_of(ill(backend_report())), ready=False, not_ready=("no backend is up",)),
        "bad",
        "Not ready: no backend is up",
    ),
]


@each_case(("status", "level", "sentence"), HEADLINES)
def test_the_headline(status: Status, level: str, sentence: str) -> None:
    """The worst comes first; what is as an operator wants it is no cause for alarm."""
    found = headline(status)

    assert (level, sentence) == (found.level, found.sentence)


# --- how it behaves in a browser ---


@each_case(("path", "expected"), [("/", ["5"]), ("/?refresh=60", ["60"]), ("/?refresh=0", [])])
async def test_it_refreshes_itself(path: str, expected: list[str]) -> None:
    """Without a script, as often as is wanted, or not at all."""
    found = StatusPage((await operator_of().get(path)).text)

    is_refreshed = ("meta http-equiv", "refresh") in found.attributes
    assert expected == [
        value for name, value in found.attributes if name == "meta content" and value.isdigit()
    ]
    assert is_refreshed == bool(expected)


@each_case("text", ["", "-1", "1.5", "3601", "00000", "5;url=https://example.org", "\u0663", "x"])
async def test_a_refresh_that_is_none_is_refused(text: str) -> None:
    """In a sentence; nothing of it gets into the page."""
    answer = await operator_of().get(f"/?refresh={quote(text)}")

    assert 400 == answer.status_code
    assert answer.json()["error"].startswith(f"refresh={text!r} is not a whole number of seconds")


def test_the_longest_refresh() -> None:
    """An hour; without a word it is five seconds."""
    assert (3600, 5) == (read_refresh("3600"), read_refresh(None))


async def test_the_browser_may_load_and_run_nothing() -> None:
    """But the one style sheet that is in the page, known by its hash."""
    answer = await operator_of().get("/")
    found = StatusPage(answer.text)

    style_hash = b64encode(sha256(found.style.encode()).digest()).decode()
    assert (
        f"default-src 'none'; style-src 'sha256-{style_hash}'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ) == answer.headers["content-security-policy"]
    assert ("nosniff", "no-store", "no-referrer") == tuple(
        answer.headers[name] for name in ("x-content-type-options", "cache-control", "referrer-policy")
    )


async def test_there_is_nothing_to_load_or_run() -> None:
    """No script, no handler, no style beside the sheet, and nothing from elsewhere."""
    found = await shown(events=(EVENT,))

    assert {"script", "img", "iframe", "form", "object"}.isdisjoint(tag for tag, _ in found.elements)
    names = {name.partition(" ")[2] for name, _ in found.attributes}
    assert "style" not in names
    assert [] == [name for name in names if name.startswith("on")]
    addresses = [value for name, value in found.attributes if name.endswith((" href", " src"))]
    assert [] == [each for each in addresses if not each.startswith(("/", "#", "data:image/svg+xml,"))]
    assert "url(" not in found.style
    assert "@import" not in found.style


async def test_the_page_is_guarded() -> None:
    """Where others reach the port it is shown to those who know the token, by bearer or by password."""
    operator = operator_of(token="secret")
    by_password = {"authorization": f"Basic {b64encode(b'me:secret').decode()}"}
    statuses = [
        (await operator.get("/")).status_code,
        (await operator.get("/", **by_password)).status_code,
        (await operator.ask("HEAD", "/", **by_password)).status_code,
        (await operator.get("/", authorization="Bearer secret")).status_code,
        (await operator.get("/", authorization="Bearer guessed")).status_code,
        (await operator.post("/", **by_password)).status_code,
    ]

    assert [401, 200, 200, 200, 401, 401] == statuses


async def test_the_page_cannot_be_posted_to() -> None:
    """It only shows."""
    assert 405 == (await operator_of().post("/")).status_code


async def test_others_have_their_turn_while_a_page_is_written() -> None:
    """A page of 50 servers and 100 events takes milliseconds, and is written in pieces."""
    status = status_of(*(backend_report(f"state-{number}") for number in range(50)))
    written = view(status, Locks(0, ()), (EVENT,) * 100, NOTHING_YET, refresh=5)
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        await page.render(written)
        nursery.cancel_scope.cancel()

    assert turns >= 10


# --- hostile strings ---

NASTY = (
    "<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' onmouseover='alert(1)",
    "{{ view }}{% raw %}",
    "<!--",
    "]]>",
    "&lt;b&gt;&#0;",
    "two\nlines\r\n\ttabs",
    "\u202eno-etats\u2066",
    "\ud800\udfff",
    "\0",
    "\u2028",
)

texts = st.sampled_from(NASTY) | st.text(st.characters(codec=None), min_size=1)


def hostile_page(text: str) -> FakeAdminApi:
    """Everything that others can have had a hand in says this."""
    reasons = (text,)
    drain = replace(drain_report(text, 1, 2), stalled=text)
    backend = replace(ill(backend_report(text), text), address=text, trouble=text, identity=text, drain=drain)
    status = replace(
        status_of(backend),
        name=text,
        map_fingerprint=text,
        ready=False,
        not_ready=reasons,
        not_redundant=reasons,
        redundant_since=None,
    )
    lock = replace(lock_report(60.0), key=text, server=text)
    event = replace(EVENT, event=text, cause=text, consequence=text, facts={"fact": text})
    past = replace(PAST, backends={text: track(text)}, router=track(text), memory={})
    return FakeAdminApi(status, (lock,), (event,), past)


async def elements_and_text(text: str) -> StatusPage:
    admin_api = hostile_page(text)
    written = await page.render(
        view(admin_api.status(), admin_api.locks(1000), admin_api.events(), admin_api.history(), refresh=5)
    )
    written.encode("utf-8")  # it can be sent
    return StatusPage(written)


@cache
def harmless_page() -> StatusPage:
    return trio.run(elements_and_text, "harmless")


@given(texts)
def test_hostile_strings_are_text(text: str) -> None:
    """The page has the elements that it always has, and shows the string, all of it visible."""
    told = trio.run(elements_and_text, text)
    harmless = harmless_page()

    assert harmless.elements == told.elements
    assert told.text.isprintable()
    shown_as = " ".join(printable(text).split())
    assert told.text.count(shown_as) >= harmless.text.count("harmless")


# --- JSON ---


async def test_events_as_json() -> None:
    """Programs get the same."""
    admin_api = FakeAdminApi(WELL, event_log=(EVENT,))
    answer = await Operator(router_app(admin_api, AccessPolicy(is_loopback=True))).get("/api/v1/events")

    assert {
        "events": [
            {
                "at": "2026-07-02T22:15:00.000+00:00",
                "ago": 61.0,
                "level": "error",
                "event": "backend is down",
                "cause": "refused the connection",
                "consequence": "its sessions are served by their copies; 2 of 3 serve",
                "facts": {"backend": "state-2", "stays_out_at_least": "10s"},
            }
        ]
    } == answer.json()
