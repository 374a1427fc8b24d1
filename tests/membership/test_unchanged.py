"""Since when a key has had its acting set, against a slow literal definition of settled (design.md 7.4).

The model keeps every snapshot for ever, and for each question looks them all through: a session that was
stored under one of them may still lie where it does not belong, unless it has expired there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partitioner.membership.backend import Address, Backend, BackendId, Intent
from partitioner.membership.eras import MOST_ERAS
from partitioner.membership.health import Health, HealthPolicy, HealthRecord, newcomer
from partitioner.membership.pool import Member, Pool, ranking_of
from partitioner.membership.wholeness import shows_all_settled
from tests.identities import A, B, C, identities

T_MAX = 3_600.0
KEYS = [b"%d" % number for number in range(24)]
NAMES = "abcde"
BEGINNING = 1_000_000.0
KNOWN_SINCE = BEGINNING - 2 * T_MAX

PAUSES = [0.0, 1.0, T_MAX - 1, T_MAX, T_MAX + 1]


def up(incarnation: bytes, since: float = 0.0) -> HealthRecord:
    return HealthRecord(
        health=Health.UP, since=since, incarnation=incarnation, served_incarnation=incarnation
    )


def member(name: str) -> Member:
    return Member(Backend(name, Address(f"{name}.example", 42424)), up(name.encode()))


def pool_of(names: str, copies: int = 2) -> Pool:
    members = {each: member(each) for each in identities(names)}
    return Pool(1, members, ranking_of(members.values()), copies, KNOWN_SINCE, known_since=KNOWN_SINCE)


def acting(pool: Pool, key: bytes) -> dict[str, bytes | None]:
    found = pool.acting_set(key)
    servers = () if found is None else found.written
    return {each: pool.members[each].incarnation for each in servers}


@dataclass
class History:
    """A pool as the roster keeps it, and all that it has ever been."""

    pool: Pool
    now: float = BEGINNING
    snapshots: list[tuple[float, Pool]] = field(default_factory=list)  # each with its end
    absences: list[tuple[str, bytes | None, float, float]] = field(default_factory=list)
    incarnations: int = 0

    def wait(self, duration: float) -> None:
        self.now += duration
        self.pool = self.pool.without_eras_before(self.now - T_MAX)

    def show(self, pool: Pool) -> None:
        if pool.epoch != self.pool.epoch:
            self.snapshots.append((self.now, self.pool))
        self.pool = pool.without_eras_before(self.now - T_MAX)

    # --- what happens ---

    def fall(self, name: BackendId) -> None:
        record = self.pool.members[name].record
        if record.health is not Health.DOWN:
            self.observe(name, replace(record, health=Health.DOWN, since=self.now))

    def rise(self, name: BackendId) -> None:
        """It comes back with what it held; after T_max it is in doubt, as roster.py has it."""
        record = self.pool.members[name].record
        if record.health is Health.UNKNOWN:
            self.begin_anew(name)
        elif record.health is Health.DOWN:
            health = Health.UP if self.now - record.since <= T_MAX else Health.RECOVERING
            self.absences.append((name, self.pool.members[name].incarnation, record.since, self.now))
            self.observe(name, replace(record, health=health, since=self.now))

    def begin_anew(self, name: BackendId) -> None:
        self.fall(name)
        self.incarnations += 1
        self.observe(name, up(b"%d" % self.incarnations, self.now))

    def doubt(self, name: BackendId) -> None:
        record = self.pool.members[name].record
        if record.health is Health.UP:
            self.observe(name, replace(record, health=Health.RECOVERING, since=self.now))

    def trust(self, name: BackendId) -> None:
        record = self.pool.members[name].record
        if record.health is Health.RECOVERING:
            self.observe(name, replace(record, health=Health.UP, since=self.now))

    def drain(self, name: BackendId) -> None:
        """Or take it back."""
        former = self.pool.members[name]
        intent = Intent.READY if former.backend.intent is Intent.DRAIN else Intent.DRAIN
        self.adopt({name: replace(former, backend=replace(former.backend, intent=intent))})

    def weigh(self, name: BackendId) -> None:
        """Or weigh it as before."""
        former = self.pool.members[name]
        weight = 3.0 if former.backend.weight == 1.0 else 1.0
        self.adopt({name: replace(former, backend=replace(former.backend, weight=weight))})

    def join_or_leave(self, name: BackendId) -> None:
        former = self.pool.members[name]
        self.adopt({name: replace(former, removed_at=self.now if former.removed_at is None else None)})

    def enter(self, name: str) -> None:
        """A server of which nothing is known yet is entered into the configuration."""
        fresh = f"new {len(self.pool.members)}"
        if len(self.pool.members) < 8:
            backend = Backend(fresh, Address(f"{fresh}.example", 42424))
            self.adopt({backend.identity: Member(backend, newcomer(HealthPolicy()))})

    def copy_more_or_less(self, name: str) -> None:
        self.show(
            self.pool.succeeded_by(self.pool.members, self.pool.ranking, 3 - self.pool.copies, self.now)
        )

    def observe(self, name: BackendId, record: HealthRecord) -> None:
        self.show(self.pool.with_record(name, record, self.now))

    def adopt(self, changed: dict[BackendId, Member]) -> None:
        members = self.pool.members | changed
        kept = [each for each in members.values() if each.removed_at is None]
        if kept:
            ranking = ranking_of(members.values())
            self.show(self.pool.succeeded_by(members, ranking, self.pool.copies, self.now))

    # --- the slow definition ---

    def is_settled(self, key: bytes) -> bool:
        """Whether nothing of the key can lie elsewhere: neither of long ago, nor where an era put it."""
        held = acting(self.pool, key)
        if not held or self.now - KNOWN_SINCE <= T_MAX:
            return False
        return all(self.has_expired(end, was, held) for end, was in self.acting_sets(key) if was != held)

    def acting_sets(self, key: bytes) -> Iterator[tuple[float, dict[str, bytes | None]]]:
        for end, snapshot in self.snapshots:
            # With no server that serves it cannot be told what was where.
            yield end, acting(snapshot, key) if snapshot.eligible else {}

    def has_expired(self, end: float, was: dict[str, bytes | None], held: dict[str, bytes | None]) -> bool:
        """Whether what was stored until then has, on the servers that hold it no more."""
        if self.now - end <= T_MAX:
            return False
        return all(
            self.now - self.ages_from(each, incarnation, end) > T_MAX
            for each, incarnation in was.items()
            if each not in held
        )

    def ages_from(self, server: str, incarnation: bytes | None, end: float) -> float:
        """From when on a memory has answered all the time: while it is away, nothing on it expires."""
        since = end
        for name, memory, fell_at, back_at in self.absences:
            is_young = end <= back_at and fell_at - since <= T_MAX
            if (name, memory) == (server, incarnation) and is_young and back_at - fell_at <= T_MAX:
                since = back_at
        return since


EVENTS = st.tuples(
    st.sampled_from(PAUSES),
    st.sampled_from(
        [
            History.fall,
            History.rise,
            History.begin_anew,
            History.doubt,
            History.trust,
            History.drain,
            History.weigh,
            History.join_or_leave,
            History.enter,
            History.copy_more_or_less,
        ]
    ),
    st.sampled_from(NAMES),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(EVENTS, max_size=16), st.sampled_from(PAUSES), st.sampled_from([2, 3, 5]))
def test_a_key_is_settled_when_nothing_of_it_can_lie_elsewhere(
    events: list[tuple[float, object, str]], pause: float, servers: int
) -> None:
    """By key: its acting set was the same in every era of the last T_max, incarnations included.

    What lies on a server that was away has not expired meanwhile.
    """
    history = History(pool_of(NAMES[:servers]))
    for waited, event, name in events:
        history.wait(waited)
        if name in history.pool.members:
            event(history, name)  # type: ignore[operator]
    history.wait(pause)

    expected = {key: history.is_settled(key) for key in KEYS}

    assert expected == {key: history.now - history.pool.unchanged_since(key).moment > T_MAX for key in KEYS}


def changed_keys(before: Pool, after: Pool) -> set[bytes]:
    return {key for key in KEYS if acting(before, key) != acting(after, key)}


def unsettled(pool: Pool, now: float = BEGINNING) -> set[bytes]:
    return {key for key in KEYS if now - pool.unchanged_since(key).moment <= T_MAX}


def test_the_fall_of_one_server_unsettles_what_it_held() -> None:
    """One of five servers falls: the keys of the others stay settled."""
    before = pool_of("abcde")
    after = before.with_record(C, replace(up(b"c"), health=Health.DOWN), BEGINNING)

    assert changed_keys(before, after) == unsettled(after)
    assert 0 < len(unsettled(after)) < len(KEYS)


def test_a_join_unsettles_what_the_new_server_gets() -> None:
    """A server joins: the keys that it does not get stay settled."""
    before = pool_of("abcd")
    members = before.members | {BackendId("e"): member("e")}
    after = before.succeeded_by(members, ranking_of(members.values()), 2, BEGINNING)

    assert changed_keys(before, after) == unsettled(after)
    assert 0 < len(unsettled(after)) < len(KEYS)


def test_a_server_that_begins_anew_unsettles_what_it_held() -> None:
    """The same servers with an empty one among them are another acting set."""
    history = History(pool_of("abc"))
    history.begin_anew(A)

    assert {key for key in KEYS if "a" in acting(history.pool, key)} == unsettled(history.pool)


def test_what_a_recovering_server_was_given_lies_there() -> None:
    """It was among the first of the list, and is not any more when it is trusted: the key is not settled."""
    history = History(pool_of("abc"))
    history.doubt(A)
    given = {key for key in KEYS if A in history.pool.acting_set(key).recovering}  # type: ignore[union-attr]
    history.wait(T_MAX + 1)
    history.weigh(B)
    history.weigh(C)
    given_no_more = {key for key in given if A not in acting(history.pool, key)}
    history.trust(A)

    assert given_no_more
    assert given_no_more <= unsettled(history.pool, history.now)


def test_what_nobody_serves_is_not_settled() -> None:
    """Without a server that serves, nothing can be said of any key."""
    alone = pool_of("a", 1)
    after = alone.with_record(A, replace(up(b"a"), health=Health.DOWN), BEGINNING)

    assert set(KEYS) == unsettled(after, BEGINNING + 2 * T_MAX)


def test_a_short_absence_keeps_leftovers_alive() -> None:
    """A server that is away keeps what it held, so that is looked for until T_max after its return."""
    history = History(pool_of("ab", 1))
    moved = next(key for key in KEYS if "a" in acting(history.pool, key))
    history.drain(A)
    history.wait(10.0)
    history.fall(A)
    history.wait(T_MAX - 1)
    history.rise(A)
    history.wait(T_MAX)
    before = moved in unsettled(history.pool, history.now)
    history.wait(1.0)

    assert (True, False) == (before, moved in unsettled(history.pool, history.now))


def test_what_was_forgotten_is_not_settled() -> None:
    """A pool that changes too often to be remembered claims less, never more."""
    history = History(pool_of("abc"))
    history.begin_anew(A)
    lost = unsettled(history.pool)
    for _ in range(MOST_ERAS):
        history.wait(1.0)
        history.fall(B)
        history.rise(B)

    assert lost <= unsettled(history.pool, history.now)


@pytest.mark.parametrize("copies", [1, 2])
def test_a_change_that_changes_no_acting_set_unsettles_nothing(copies: int) -> None:
    """A reload that says the same again is a new epoch, and nothing else."""
    before = pool_of("abc", copies)
    after = before.succeeded_by(before.members, before.ranking, copies, BEGINNING)

    assert before.epoch != after.epoch
    assert set() == unsettled(after)


def test_nothing_that_is_found_out_before_the_first_exchange_matters() -> None:
    """A router sees who is there before it serves: no session was stored by what it thought meanwhile."""
    known = pool_of("abc")
    unseen = replace(known.members[A], record=replace(newcomer(HealthPolicy()), served_incarnation=b"a"))
    begun = replace(known, members=known.members | {A: unseen}, is_served=False)
    seen = replace(begun.with_record(A, up(b"a"), BEGINNING), is_served=True)

    assert (set(), ()) == (unsettled(seen), seen.eras)


def test_which_walks_settle_all_keys() -> None:
    """Those through all servers, none of which is away, or leaves: that may have something left over."""
    pool = pool_of("abc")
    pools = {intent: pool_with(pool, A, intent) for intent in Intent}
    walked = frozenset(pool.members)

    assert [Intent.READY] == [intent for intent, each in pools.items() if shows_all_settled(each, walked)]
    assert not shows_all_settled(pool, walked - {A})
    assert not shows_all_settled(pool.with_record(A, newcomer(HealthPolicy()), BEGINNING), walked)


def pool_with(pool: Pool, server: BackendId, intent: Intent) -> Pool:
    changed = pool.members[server]
    backend = replace(changed.backend, intent=intent)
    return replace(pool, members={**pool.members, server: replace(changed, backend=backend)})
