"""May the next server fail, and may this one be stopped? (design.md 1, P3; 9.1, `--safe-to-stop`)"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from partitioner.membership.backend import Address, Backend, BackendId, Intent
from partitioner.membership.health import (
    HealthPolicy,
    Symptom,
    newcomer,
    observe_success,
    observe_symptom,
    suspect,
    trust,
)
from partitioner.membership.ledger import Ledger, LedgerPolicy
from partitioner.membership.pool import Member, first_pool, ranking_of
from partitioner.membership.redundancy import Redundancy, RedundancyGap
from tests.identities import A, B, C, identities
from tests.tables import each_case

T_MAX = 3600.0
POLICY = HealthPolicy(fall=1, rise=1, hold_down=0.0)


def backend(name: str, intent: Intent = Intent.READY, weight: float = 1.0) -> Backend:
    return Backend(name, Address("10.0.0.1", 42424), weight, intent)


class World:
    """A pool whose changes redundancy is told of, a second apart."""

    def __init__(self, servers: str = "abc", copies: int = 2) -> None:
        self.now = 1_000.0
        self.ledger = Ledger(LedgerPolicy(session_timeout=T_MAX))
        self.pool = first_pool([backend(name) for name in servers], POLICY, copies, self.now)
        self.redundancy = Redundancy(self.pool, self.ledger, lambda moment: f"{moment:g}")

    def wait(self, duration: float) -> None:
        self.now += duration

    def up(self, name: BackendId, incarnation: bytes | None = None) -> None:
        """A probe succeeds, in the incarnation that the server had, or in this one."""
        record = self.pool.members[name].record
        incarnation = incarnation or record.served_incarnation or name.encode()
        self._observe(name, observe_success(record, incarnation, self.now, POLICY))

    def fell(self, name: BackendId, symptom: Symptom = Symptom.REFUSED) -> None:
        record = self.pool.members[name].record
        self._observe(name, observe_symptom(record, symptom, self.now, POLICY, may_fall=True))

    def restarted(self, name: BackendId) -> None:
        """The server is seen to be another one, and that one is taken in."""
        self.fell(name, Symptom.RESTARTED)
        self.up(name, b"the incarnation of %f" % self.now)

    def doubted(self, name: BackendId) -> None:
        record = self.pool.members[name].record
        self._observe(name, suspect(record, self.now + T_MAX, record.incarnation, self.now))

    def trusted(self, name: BackendId) -> None:
        self._observe(name, trust(self.pool.members[name].record, self.now))

    def intend(self, name: BackendId, intent: Intent) -> None:
        """As the roster does it: MAINT puts the record aside."""
        member = self.pool.members[name]
        record = member.record
        if Intent.MAINT in (intent, member.backend.intent):
            record = replace(newcomer(POLICY), served_incarnation=record.served_incarnation)
        self._adopt({name: Member(replace(member.backend, intent=intent), record)})

    def join(self, name: BackendId) -> None:
        self._adopt({name: Member(backend(name), newcomer(POLICY))})

    def remove(self, name: BackendId) -> None:
        self._adopt({name: replace(self.pool.members[name], removed_at=self.now)})

    def forget(self, name: str) -> None:
        members = {each: member for each, member in self.pool.members.items() if each != name}
        self._change(
            self.pool.succeeded_by(members, ranking_of(members.values()), self.pool.copies, self.now)
        )

    def weigh(self, name: BackendId) -> None:
        member = self.pool.members[name]
        self._adopt({name: replace(member, backend=replace(member.backend, weight=2.0))})

    def keep(self, copies: int) -> None:
        members = self.pool.members
        self._change(self.pool.succeeded_by(members, self.pool.ranking, copies, self.now))

    def mark(self, names: str) -> None:
        for name in identities(names):
            self.ledger.mark(b"/key", b"/key", name, self.now, is_stale=True)

    def unmark(self, name: BackendId) -> None:
        self.ledger.unmark(b"/key", name)

    @property
    def is_redundant(self) -> bool:
        return not self.redundancy.why_not_redundant(self.now)

    def why_not(self) -> str:
        return "; ".join(self.redundancy.why_not_redundant(self.now))

    def may_stop(self, name: BackendId) -> bool:
        return not self.redundancy.why_not_safe_to_stop((name,), self.now)

    def _observe(self, name: str, record: object) -> None:
        self._change(self.pool.with_record(name, record, self.now))  # type: ignore[arg-type]

    def _adopt(self, changed: dict[BackendId, Member]) -> None:
        members = self.pool.members | changed
        self._change(
            self.pool.succeeded_by(members, ranking_of(members.values()), self.pool.copies, self.now)
        )

    def _change(self, pool: object) -> None:
        self.pool = pool  # type: ignore[assignment]
        self.redundancy.note_change(self.pool, self.now)
        self.wait(1.0)


Step = Callable[[World], None]


def settled(servers: str = "abc", copies: int = 2) -> World:
    """A pool that has long been up."""
    world = World(servers, copies)
    for name in identities(servers):
        world.up(name)
    world.wait(2 * T_MAX)
    return world


def after(*steps: Step, servers: str = "abc", copies: int = 2) -> World:
    world = settled(servers, copies)
    for step in steps:
        step(world)
    return world


def do(method: Callable[..., None], *arguments: object) -> Step:
    return lambda world: method(world, *arguments)


UP = do(World.up, "b")
FELL = do(World.fell, "b")
RESTARTED = do(World.restarted, "b")
DOUBTED = do(World.doubted, "b")
TRUSTED = do(World.trusted, "b")
DRAINED = do(World.intend, "b", Intent.DRAIN)
READY = do(World.intend, "b", Intent.READY)
MAINTAINED = do(World.intend, "b", Intent.MAINT)
REMOVED = do(World.remove, "b")
FORGOTTEN = do(World.forget, "b")
JOINED = do(World.join, "d")
D_UP = do(World.up, "d")
WEIGHED = do(World.weigh, "b")
MARKED = do(World.mark, "b")
UNMARKED = do(World.unmark, "b")
LESS, MORE = do(World.wait, T_MAX - 10), do(World.wait, T_MAX + 10)
TOUCHED = do(World.wait, T_MAX / 20)

THREE_SERVERS: list[tuple[str, list[Step], bool]] = [
    ("nothing has happened", [], True),
    ("one fell", [FELL], False),
    ("one fell, long ago", [FELL, MORE], True),
    ("one fell, not so long ago", [FELL, LESS], False),
    ("one fell and is back as it was", [FELL, UP], True),
    ("one fell and is back as it was, but what it missed is not put right", [FELL, MARKED, UP], False),
    ("one was restarted", [RESTARTED], False),
    ("one was restarted, not so long ago", [RESTARTED, LESS], False),
    ("one was restarted, long ago", [RESTARTED, MORE], True),
    ("one was restarted, and fell, and is back in its new incarnation", [RESTARTED, FELL, UP], False),
    ("one was restarted twice, once long ago", [RESTARTED, MORE, RESTARTED], False),
    ("one is in doubt", [DOUBTED], False),
    ("one is in doubt, and somebody trusts it", [DOUBTED, TRUSTED], False),
    ("one is in doubt, and somebody trusted it long ago", [DOUBTED, TRUSTED, MORE], True),
    (
        "one was in doubt until just now",
        [DOUBTED, MORE, TRUSTED],
        False,
    ),
    ("one was in doubt, and its last touches have come", [DOUBTED, MORE, TRUSTED, TOUCHED], True),
    (
        "too few served until one was not in doubt any more: it is no key's copy before the other one",
        [DOUBTED, do(World.doubted, "c"), MORE, TOUCHED, TRUSTED],
        False,
    ),
    (
        "too few served long ago",
        [DOUBTED, do(World.doubted, "c"), MORE, TOUCHED, TRUSTED, MORE],
        True,
    ),
    ("one is drained", [DRAINED], True),
    ("one is drained, and fell", [DRAINED, FELL], False),
    ("one is drained, and ready again", [DRAINED, READY], True),
    ("one is in maintenance", [MAINTAINED], False),
    ("one is in maintenance, for long", [MAINTAINED, MORE], True),
    ("one was in maintenance, and is not back yet", [MAINTAINED, READY], False),
    ("one was in maintenance, and is back as it was", [MAINTAINED, READY, UP], True),
    ("one joins", [JOINED], True),
    ("one has joined", [JOINED, D_UP], True),
    ("one has joined, and fell", [JOINED, D_UP, do(World.fell, "d")], False),
    ("one has joined that never answered, and is removed", [JOINED, do(World.remove, "d")], True),
    ("one has another weight", [WEIGHED], True),
    ("one is removed", [REMOVED], True),
    ("one is removed, and fell", [REMOVED, FELL], False),
    ("one is removed, fell, and is forgotten", [REMOVED, FELL, FORGOTTEN], False),
    ("one is removed, fell, and was forgotten long ago", [REMOVED, FELL, FORGOTTEN, MORE], True),
    ("one is removed, and forgotten when its time was over", [REMOVED, MORE, FORGOTTEN], True),
    ("a key is marked", [MARKED], False),
    ("a key was marked", [MARKED, UNMARKED], True),
    ("copies were raised", [do(World.keep, 3)], False),
    ("copies were raised, long ago", [do(World.keep, 3), MORE], True),
    ("copies were lowered", [do(World.keep, 1), do(World.keep, 2), MORE], True),
    ("there are no copies", [do(World.keep, 1)], False),
]


@each_case(("case", "steps", "expected"), THREE_SERVERS, ids=[case for case, _, _ in THREE_SERVERS])
def test_three_servers(case: str, steps: list[Step], expected: bool) -> None:
    """Enough servers, no marks, and nothing that took copies away: then every session has its copies."""
    assert expected is after(*steps).is_redundant


# While one of two is out, what is written has one copy only. A server that was out of reach is marked
# for it, as long as times are unsettled; one that was not meant to have it is not.
TWO_SERVERS: list[tuple[str, list[Step], bool]] = [
    ("one fell, long ago", [FELL, MORE], False),
    ("one fell and is back as it was", [FELL, UP], True),
    ("one fell and is back as it was, after long", [FELL, MORE, UP], False),
    ("one fell and was back as it was, after long, long ago", [FELL, MORE, UP, MORE], True),
    (
        "one was restarted, after half the time",
        [FELL, do(World.wait, T_MAX / 2), RESTARTED, do(World.wait, T_MAX / 2 + 9)],
        False,
    ),
    ("one was restarted, long ago", [FELL, do(World.wait, T_MAX / 2), RESTARTED, MORE], True),
    ("one is drained", [DRAINED], False),
    ("one was drained and is ready again", [DRAINED, READY], False),
    ("one was drained and is ready again, for long", [DRAINED, READY, MORE], True),
    ("one was drained once, and fell later", [DRAINED, READY, MORE, FELL, UP], True),
    ("one was drained, in maintenance, and is back", [DRAINED, MAINTAINED, READY, UP], False),
    ("one was in maintenance, and is back as it was", [MAINTAINED, READY, UP], True),
    ("one fell, and another one joined", [FELL, JOINED, D_UP, UP], False),
    ("another one joined before one fell", [JOINED, D_UP, FELL, UP], True),
    ("another one had joined, and came up after one fell", [JOINED, FELL, D_UP, UP], True),
]


@each_case(("case", "steps", "expected"), TWO_SERVERS, ids=[case for case, _, _ in TWO_SERVERS])
def test_two_servers(case: str, steps: list[Step], expected: bool) -> None:
    """A time with fewer servers than copies is over when it is marked who missed what, or has expired."""
    assert expected is after(*steps, servers="ab").is_redundant


@each_case(
    ("servers", "waited", "expected"),
    [("abc", 60.0, False), ("abc", T_MAX + 1, True), ("a", T_MAX + 1, False)],
    ids=["just now", "long ago", "long ago, with one server"],
)
def test_a_router_that_has_started(servers: str, waited: float, expected: bool) -> None:
    """The router does not know what went before its start (design.md 7.4)."""
    world = World(servers)
    for name in identities(servers):
        world.up(name)
    world.wait(waited)

    assert expected is world.is_redundant


def test_longer_sessions_keep_gaps_open() -> None:
    """The longest time-out that was seen says when whatever was untouched has expired (design.md 5)."""
    world = after(FELL)
    world.ledger.note_timeout(b"/key", 120)
    MORE(world)

    assert not world.is_redundant


# --- Since when -------------------------------------------------------------------------------------


def test_since_a_server_is_back() -> None:
    """The pool is redundant since the last thing that kept it from being so."""
    world = after(FELL, do(World.wait, 10.0))
    back_at = world.now
    UP(world)
    world.wait(100.0)

    assert back_at == world.redundancy.redundant_since(world.now)


def test_since_a_mark_that_nobody_saw() -> None:
    """A mark that came and went between two looks begins the time anew."""
    world = after(FELL, UP, MARKED, do(World.wait, 10.0), UNMARKED, do(World.wait, 10.0))

    assert world.now == world.redundancy.redundant_since(world.now)


def test_since_never() -> None:
    """A pool that is not redundant is so since no time."""
    assert after(FELL).redundancy.redundant_since(10_000.0) is None


def test_since_goes_on() -> None:
    """What takes no copy away does not begin the time anew."""
    world = after(FELL, UP)
    since = world.redundancy.redundant_since(world.now)
    for step in (JOINED, WEIGHED, DRAINED, do(World.wait, 1000.0)):
        step(world)

    assert since == world.redundancy.redundant_since(world.now)


# --- Why not ----------------------------------------------------------------------------------------


def all_but_one_fall(world: World) -> None:
    world.fell(B)
    world.fell(C)


WHY_NOT: list[tuple[Step, str]] = [
    (FELL, "b went down 40s ago; sessions untouched since then may lack a copy; redundant by"),
    (RESTARTED, "b was restarted 40s ago"),
    (MAINTAINED, "b was put to maint 40s ago"),
    (DOUBTED, "b turned out to have missed more than can be remembered 40s ago"),
    (do(World.keep, 3), "the number of copies was raised 40s ago"),
    (do(World.keep, 4), "3 servers serve; expected 4, one for each copy"),
    (all_but_one_fall, "1 server serves; expected 2, one for each copy"),
    (do(World.keep, 1), "sessions are kept on one server only: copies is 1"),
    (MARKED, "1 session lacks a current copy on a server; it is repaired when that answers"),
    (do(World.mark, "bc"), "2 sessions lack a current copy on a server; they are repaired when it answers"),
]


@each_case(("step", "sentence"), WHY_NOT, ids=[sentence for _, sentence in WHY_NOT])
def test_why_not(step: Step, sentence: str) -> None:
    """An operator reads what happened, when, and until when it matters."""
    world = settled()
    now = world.now
    step(world)
    world.now = now + 40.0

    assert sentence in world.why_not()


def test_all_reasons_are_told() -> None:
    """An operator who waits for one of them wants to know of the others."""
    world = after(FELL, MARKED)

    assert 2 == len(world.redundancy.why_not_redundant(world.now))


def test_all_that_takes_copies_away_is_told_in_one_sentence() -> None:
    """Each server once, by the last that became of it, the latest first; and when all of that is over."""
    world = after(RESTARTED, do(World.restarted, "c"), FELL)
    (sentence,) = world.redundancy.why_not_redundant(world.now)
    ends = f"{world.redundancy.gaps[-1].opened_at + T_MAX:g}"

    assert sentence == (
        f"{BOTH}; sessions untouched since then may lack a copy; redundant by {ends} at the latest "
        "(a and c lack an `admin` address, so only time tells)"
    )


BOTH = "b went down 1s ago, c was restarted 3s ago"


def test_many_events_are_counted() -> None:
    """A cell of a table does not become a page: the last three are told, and how many more there are."""
    world = settled("abcdef")
    for name in identities("bcdef"):
        world.restarted(name)

    assert ", 2 more before; sessions" in world.why_not()


# --- from one router to the next ---


def begun(world: World, *gaps: RedundancyGap, known_since: float = float("-inf")) -> World:
    """The next router has begun with what this one has left."""
    world.pool = replace(world.pool, known_since=known_since)
    world.redundancy.begin(world.pool, gaps)
    return world


def test_a_router_that_knows_all_begins_redundant() -> None:
    """Nothing was left to it that would keep the pool from being redundant (design.md 5.2.5)."""
    assert begun(after(FELL, do(World.up, "b"))).is_redundant


def test_a_router_that_does_not_know_what_was_before_waits() -> None:
    """Whatever is not touched for T_max has expired, known or not."""
    world = settled()
    begun(world, known_since=world.now)
    before = world.why_not()
    world.wait(T_MAX)

    assert before.startswith("the router was started ")
    assert world.is_redundant


def test_gaps_are_inherited() -> None:
    """A restart of the router brings no copy back; the return of the server does."""
    world = after(FELL)
    begun(world, *world.redundancy.gaps)
    before = world.is_redundant
    world.up(B)

    assert (False, True) == (before, world.is_redundant)


# --- Safe to stop -----------------------------------------------------------------------------------

SAFE: list[tuple[str, list[Step], str]] = [
    ("all are well", [], "abc"),
    ("one fell", [FELL], "b"),  # the others may hold what only they have now; what it had, they have too
    ("one fell, long ago", [FELL, MORE], "abc"),
    ("one was restarted", [RESTARTED], "b"),
    ("two were restarted", [RESTARTED, do(World.restarted, "c")], ""),
    ("a key is marked", [MARKED], "b"),
    ("one is drained", [DRAINED], "abc"),
    ("one is in maintenance", [MAINTAINED], "b"),
    ("one is in doubt", [DOUBTED], "b"),
    ("one serves, and two are out for long", [FELL, do(World.fell, "c"), MORE], "bc"),
    ("copies were raised", [do(World.keep, 3)], ""),
    ("there are no copies", [do(World.keep, 1)], ""),
    ("there are no copies, and one fell", [do(World.keep, 1), FELL], ""),
    ("there are no copies, and one fell, long ago", [do(World.keep, 1), FELL, MORE], "b"),
]


@each_case(("case", "steps", "safe"), SAFE, ids=[case for case, _, _ in SAFE])
def test_safe_to_stop(case: str, steps: list[Step], safe: str) -> None:
    """A server may be stopped if each of its sessions has a good copy on another one."""
    world = after(*steps)

    assert list(safe) == [name for name in identities("abc") if world.may_stop(name)]


def test_stopping_one_of_two() -> None:
    """With two servers and two copies, one is enough for every session."""
    world = after(servers="ab")

    assert ["a", "b"] == [name for name in identities("ab") if world.may_stop(name)]


def test_stopping_the_drained_one_of_two() -> None:
    """Whatever is on a drained server is on the other one, which has to stay."""
    world = after(DRAINED, servers="ab")

    assert ["b"] == [name for name in identities("ab") if world.may_stop(name)]


def test_stopping_right_after_the_start() -> None:
    """The router does not know yet which copies are there."""
    world = World()
    for name in identities("ab"):
        world.up(name)

    assert [] == [name for name in identities("abc") if world.may_stop(name)]


@pytest.mark.parametrize("copies", [1, 2])
def test_stopping_what_was_handed_off(copies: int) -> None:
    """A server that was drained to the end holds nothing, whatever became of the others."""
    world = after(DRAINED, do(World.fell, "c"), copies=copies)

    assert not world.may_stop(B)
    assert () == world.redundancy.why_not_safe_to_stop((B,), world.now, {B})


@each_case(
    ("steps", "copies", "reason"),
    [
        ([FELL, do(World.fell, "c")], 2, "no other server than a serves"),
        ([], 1, "the sessions on a have no copies: copies is 1; drain it first"),
        ([MARKED], 2, "1 session lacks a current copy on a server; it is repaired when that answers"),
        (
            [RESTARTED],
            2,
            "b was restarted 2s ago; sessions untouched since then may lack a copy; redundant",
        ),
    ],
)
def test_why_not_safe_to_stop(steps: list[Step], copies: int, reason: str) -> None:
    """The operator reads what has to come first."""
    world = after(*steps, copies=copies)

    assert reason in world.redundancy.why_not_safe_to_stop((A,), world.now)[0]


@each_case(
    ("steps", "copies", "stopped", "reason"),
    [
        ([], 2, "a", None),
        ([], 2, "ab", "sessions may have all their copies on a and b; stop them one after the other"),
        ([], 3, "ab", None),
        ([RESTARTED], 3, "ac", "b was restarted 2s ago; sessions untouched since then may lack a copy"),
        ([RESTARTED], 2, "b", None),
        ([], 2, "abc", "no other server than a, b and c serves"),
        ([], 1, "ab", "the sessions on a and b have no copies: copies is 1; drain them first"),
        ([DRAINED], 2, "bc", "sessions may have all their copies on b and c"),
    ],
)
def test_stopping_several_at_once(steps: list[Step], copies: int, stopped: str, reason: str | None) -> None:
    """As many servers as there are copies may hold all copies of a session."""
    world = after(*steps, copies=copies)
    told = world.redundancy.why_not_safe_to_stop(identities(stopped), world.now)

    assert (reason or "") in "; ".join(told)
    assert bool(reason) is bool(told)


def test_one_that_was_handed_off_goes_with_another() -> None:
    """What was drained to the end holds nothing."""
    world = after(DRAINED)

    assert () == world.redundancy.why_not_safe_to_stop((B, C), world.now, {B})


@each_case(
    ("steps", "copies", "taken", "expected"),
    [
        ([], 2, "a", None),
        ([], 3, "a", "2 servers would be left to take sessions, and copies is 3"),
        ([], 2, "ab", "1 server would be left to take sessions, and copies is 2"),
        ([], 1, "abc", "no servers would be left to take sessions, and copies is 1"),
        ([FELL], 2, "b", None),
        ([FELL], 2, "a", "1 server would be left to take sessions, and copies is 2"),
    ],
)
def test_whether_enough_are_left(steps: list[Step], copies: int, taken: str, expected: str | None) -> None:
    """A drain leaves as many servers as there are copies, unless its server serves none anyway."""
    world = after(*steps, copies=copies)

    assert expected == world.redundancy.why_not_enough_are_left(identities(taken))
