"""Random histories of the ledger against a naive model: one flat list of what happened to each key.

The model remembers everything for ever and looks it all through for each question, so it needs neither
counters nor indexes nor tidying up; the ledger has to answer the same, and to forget what it may.
"""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from partitioner.membership.backend import Address, Backend, BackendId
from partitioner.membership.entry import Lock
from partitioner.membership.health import Health, HealthPolicy, HealthRecord
from partitioner.membership.ledger import Ledger, LedgerPolicy
from partitioner.membership.pool import Pool, first_pool
from tests.identities import A, B
from tests.membership.ledgers import EVERYBODY

KEYS = (b"x", b"y")
SERVERS = (A, B)
MINUTES = 60
TIMEOUT = MINUTES * 60.0
"""Of all sessions, and also T_max: the tests of single rules vary them."""

keys, servers = st.sampled_from(KEYS), st.sampled_from(SERVERS)


@dataclass
class ModelMark:
    """A mark, with all that has happened on the way."""

    events: list[float]
    open: int = 0
    is_stale: bool = False


@dataclass
class ModelKey:
    """All that is to be known of a key."""

    lock: Lock | None = None
    touched_at: float = 0.0  # since the lock was granted
    marks: dict[str, ModelMark] = field(default_factory=dict)
    settled_in: int | None = None  # the epoch of the last write that left no mark
    is_unsettled: bool = False
    alive_at: float = 0.0  # when it was last marked or touched
    served_at: float = float("-inf")


class LedgerAndModel(RuleBasedStateMachine):
    """Does the same to both, and compares what they answer."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(LedgerPolicy(TIMEOUT, TIMEOUT))
        self.model = {key: ModelKey() for key in KEYS}
        self.now = 0.0
        self.pool: Pool = first_pool([Backend("a", Address("10.0.0.1", 1))], HealthPolicy(), 1, self.now)

    @initialize(is_settled=st.booleans())
    def begin(self, is_settled: bool) -> None:
        self.now = 2 * TIMEOUT if is_settled else 1.0

    # --- time and the pool ---

    @rule(seconds=st.sampled_from([1.0, 60.0, TIMEOUT - 60.0, TIMEOUT + 1.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def the_pool_changes(self) -> None:
        """The only server begins anew, so the acting set of each key is another one."""
        record = HealthRecord(health=Health.UP, incarnation=b"%d" % self.pool.epoch)
        self.pool = self.pool.with_record(A, record, self.now)

    # --- locks ---

    @rule(key=keys, server=servers, cookie=st.integers(2, 9))
    def a_lock_is_granted(self, key: bytes, server: BackendId, cookie: int) -> None:
        lock = Lock(cookie, server, b"incarnation", self.now)
        self.ledger.note_lock(key, key, lock, MINUTES)
        self.model[key].lock, self.model[key].touched_at = lock, self.now

    @rule(key=keys)
    def a_lock_ends(self, key: bytes) -> None:
        self.ledger.end_lock(key)
        self.model[key].lock = None

    @rule(key=keys)
    def a_session_is_touched(self, key: bytes) -> None:
        self.ledger.note_alive(key, self.now)
        self.model[key].touched_at = self.model[key].alive_at = self.now

    # --- marks ---

    @rule(key=keys)
    def it_is_served(self, key: bytes) -> None:
        self.ledger.note_served(key, self.now)
        if self.is_remembered(key):
            self.model[key].served_at = self.now

    @rule(key=keys, server=servers, is_stale=st.booleans())
    def a_server_is_marked(self, key: bytes, server: BackendId, is_stale: bool) -> None:
        self.ledger.mark(key, key, server, self.now, is_stale=is_stale)
        self.mark_model(key, server).is_stale |= is_stale

    @rule(key=keys, server=servers)
    def a_request_goes_unanswered(self, key: bytes, server: BackendId) -> None:
        self.ledger.note_unanswered(key, key, server, self.now)
        self.mark_model(key, server).open += 1

    @rule(key=keys, server=servers)
    def a_connection_ends(self, key: bytes, server: BackendId) -> None:
        self.ledger.note_worked_off(key, server, self.now)
        mark = self.model[key].marks.get(server)
        if mark is not None and mark.open:
            mark.open -= 1
            mark.events.append(self.now)

    @rule(key=keys, server=servers, sent_before=st.sampled_from([0.0, 1.0, 60.0]))
    def a_write_is_answered(self, key: bytes, server: BackendId, sent_before: float) -> None:
        is_right = self.ledger.note_put_right(key, server, self.now - sent_before)
        mark = self.model[key].marks.get(server)
        if mark is not None and not mark.open and all(self.now - sent_before >= at for at in mark.events):
            del self.model[key].marks[server]

        assert is_right is (server not in self.model[key].marks)

    @rule(key=keys, reached=st.sets(servers))
    def a_change_passes_by(self, key: bytes, reached: set[BackendId]) -> None:
        self.ledger.note_saved(key, reached, None)
        for server, mark in self.model[key].marks.items():
            mark.is_stale |= server not in reached

    @rule(server=servers)
    def an_empty_incarnation_begins(self, server: BackendId) -> None:
        self.ledger.unmark_all(server)
        for model in self.model.values():
            if model.marks.pop(server, None) is not None and not model.marks:
                model.is_unsettled = False
        self.the_pool_changes()

    # --- settling ---

    @rule(key=keys)
    def a_write_has_spread(self, key: bytes) -> None:
        if not self.model[key].marks:  # else it has not put the key where it belongs
            self.ledger.note_settled(key, self.pool.epoch, self.pool.unchanged_since(key), self.now)
            self.model[key].settled_in, self.model[key].is_unsettled = self.pool.epoch, False

    @rule(key=keys)
    def a_repair_is_done(self, key: bytes) -> None:
        self.ledger.note_repaired(key)
        model = self.model[key]
        if not model.marks:
            model.is_unsettled = False

    @rule()
    def what_has_expired_is_swept(self) -> None:
        for _ in self.ledger.sweep(self.now, EVERYBODY):
            pass
        for key, model in self.model.items():
            for server, mark in tuple(model.marks.items()):
                since = max(mark.events[-1], model.served_at)
                if not mark.open and since + TIMEOUT < self.now:
                    del model.marks[server]
            if not model.marks and not self.unexpired(key):
                model.is_unsettled = False

    # --- what must be the same ---

    @invariant()
    def locks_agree(self) -> None:
        assert [self.lock_of(key) for key in KEYS] == [self.ledger.maybe_lock(key, self.now) for key in KEYS]
        assert sum(self.lock_of(key) is not None for key in KEYS) == self.ledger.locks_held

    @invariant()
    def marks_agree(self) -> None:
        for key, model in self.model.items():
            expected = {name: (mark.open, mark.is_stale) for name, mark in model.marks.items()}

            assert expected == {
                name: (mark.open, mark.is_stale) for name, mark in self.ledger.marks(key).items()
            }

    @invariant()
    def indexes_agree(self) -> None:
        for server in SERVERS:
            expected = {key for key in KEYS if server in self.model[key].marks}

            assert expected == set(self.ledger.keys_marked_on(server))

    @invariant()
    def settled_keys_agree(self) -> None:
        for key, model in self.model.items():
            is_unsettled = bool(model.marks) or model.is_unsettled
            expected = not is_unsettled and (self.is_settled_time or model.settled_in == self.pool.epoch)

            assert expected is self.ledger.is_settled(key, self.pool.unchanged_since(key), self.now)

    @invariant()
    def nothing_is_kept_without_need(self) -> None:
        needed = sum(self.is_remembered(key) for key in KEYS)

        assert needed == len(self.ledger)

    # --- the model's answers ---

    @property
    def is_settled_time(self) -> bool:
        return self.now - self.pool.changed_at > TIMEOUT

    def lock_of(self, key: bytes) -> Lock | None:
        model = self.model[key]
        if model.lock is not None and model.touched_at + TIMEOUT < self.now:
            model.lock = None
        return model.lock

    def is_remembered(self, key: bytes) -> bool:
        model = self.model[key]
        return self.lock_of(key) is not None or bool(model.marks) or model.is_unsettled

    def mark_model(self, key: bytes, server: str) -> ModelMark:
        model = self.model[key]
        model.is_unsettled, model.settled_in = True, None
        model.alive_at = self.now
        return model.marks.setdefault(server, ModelMark([self.now]))

    def unexpired(self, key: bytes) -> bool:
        return self.model[key].alive_at + TIMEOUT >= self.now


LedgerAndModel.TestCase.settings = settings(max_examples=200, stateful_step_count=50)
TestLedgerAgainstTheModel = LedgerAndModel.TestCase
