"""The roster: who is in the pool now, and the one place where that changes.

Probes and exchanges report what they saw; the roster keeps the health machine's record of each
backend, publishes a new pool when a record concludes something, and lets the observer know. When a
backend goes DOWN its connections are cut before the new pool is published: nothing that an ejected
backend says is relayed.

Operators change intents, weights, and who belongs to the pool. A backend that is removed is still asked
for what it holds until that has expired; a memory that comes back after that is in doubt.

All that is known of a server is known of its memory, which shows its canary's token wherever it turns up
(design.md 5.1). A probe that finds a known token at another name or address has the member with that memory
take over name and address; whatever lies in the ledger under its identity goes on being true.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace

import trio

from partitioner.errors import (
    BackendEjected,
    BackendFailure,
    BackendHungUp,
    BackendIsAlias,
    BackendMalformed,
    BackendNotAtFault,
    BackendRefused,
    BackendReset,
    BackendRestarted,
    BackendTooSlow,
    BackendUnreachable,
)
from partitioner.membership.backend import NO_IDENTITY, Address, Backend, BackendId, Intent
from partitioner.membership.health import (
    Health,
    HealthPolicy,
    HealthRecord,
    Symptom,
    newcomer,
    observe_success,
    observe_symptom,
    suspect,
    trust,
)
from partitioner.membership.identification import members_for, taken_over
from partitioner.membership.inheritance import Inheritance
from partitioner.membership.memories import Memories
from partitioner.membership.pool import Member, Pool, first_pool, ranking_of
from partitioner.membership.redundancy import Redundancy, RedundancyGap
from partitioner.transport.backend_connections import Upstream
from partitioner.transport.observer import Observer

# What a failed exchange says about the backend's health. A clean close does not count: a stock server
# hangs up on a bad request. Nor does an odd answer: one poisoned session must not take a server down.
# Both have the backend probed at once (design.md 5).
SYMPTOMS: dict[type[BackendFailure], Symptom | None] = {
    BackendRefused: Symptom.REFUSED,
    BackendUnreachable: Symptom.UNREACHABLE,
    BackendTooSlow: Symptom.TIMED_OUT,
    BackendReset: Symptom.BROKEN,
    BackendRestarted: Symptom.RESTARTED,
    BackendIsAlias: Symptom.ALIAS,
    BackendHungUp: None,
    BackendMalformed: None,
    BackendEjected: None,
    BackendNotAtFault: None,
}


DOWN_FOR_GOOD = 60.0
"""Seconds after which a backend that was removed and is DOWN is not waited for any more (design.md 5)."""

HOUR = 3600.0

BY_FILE = "the configuration says so"
BY_ORDER = "an order, by a verb or over the admin port"
"""Why an intent changes. An order lasts until the next reload."""

_NOTHING_SEEN: Mapping[Address, bytes] = {}

Listener = Callable[[BackendId, HealthRecord, HealthRecord], None]
"""Is told the identity of a backend, and its record before and after."""

Mover = Callable[[BackendId, BackendId | None], None]
"""Is told the identity of an entry of which nothing was known, and whose memory it has: that of a server that
was away or renamed, or, with None, of one that goes on by its own entry."""


class Roster:
    """The current pool, and the upstreams of its backends."""

    def __init__(
        self,
        pool: Pool,
        policy: HealthPolicy,
        observer: Observer,
        redundancy: Redundancy,
        open_upstream: Callable[[Backend], Upstream] | None = None,
        longest_life: Callable[[], float] = lambda: HOUR,
    ) -> None:
        """`longest_life` returns T_max in seconds: for how long the past matters."""
        self.pool = pool
        self.redundancy = redundancy
        self.upstreams: dict[BackendId, Upstream] = {}  # by identity; filled in before anything is observed
        self.aliases: dict[BackendId, str] = {}  # which server a backend is that was entered twice
        self.memories = Memories()
        self.unknown_locks_before = float(
            "-inf"
        )  # locks that are older may be those of another router's pages
        self.needs_majority_until = float("-inf")  # another router may go on where this one reaches no server
        self.listeners: list[Listener] = []  # told before the new pool is published
        self.movers: list[Mover] = []
        self.end_listeners: list[Callable[[bytes], None]] = []  # of memories whose process may have ended
        self.policy = policy  # when backends are taken for down and up
        self._observer = observer
        self._open_upstream = open_upstream
        self._longest_life = longest_life
        self._has_changed = trio.Event()
        self._wanted_probes: dict[BackendId, trio.Event] = {each: trio.Event() for each in pool.members}

    def open_upstreams(self) -> None:
        """Open the upstreams of all members: once, before anything is observed."""
        assert self._open_upstream is not None
        for identity, member in self.pool.members.items():
            self.upstreams[identity] = self._open_upstream(member.backend)

    def __repr__(self) -> str:
        return (
            f"<Roster epoch {self.pool.epoch}, {len(self.pool.eligible)} of {len(self.pool.members)} serve>"
        )

    async def wait_for_change(self) -> None:
        """Wait for the next pool."""
        await self._has_changed.wait()

    async def wait_for_wanted_probe(self, identity: BackendId) -> None:
        """Wait until this backend is to be probed at once."""
        await self._wanted_probes[identity].wait()
        self._wanted_probes[identity] = trio.Event()

    # --- beginning and ending ---

    @property
    def is_cut_off(self) -> bool:
        """Whether another router may be serving with the servers that this one does not reach.

        That is so for T_max after another router, where there are three servers or more and fewer than half
        of them answer. Source: design.md 5.5.12.
        """
        if trio.current_time() >= self.needs_majority_until:
            return False
        asked = [
            each
            for each in self.pool.members.values()
            if each.removed_at is None and each.backend.intent is not Intent.MAINT
        ]
        return len(asked) >= 3 and 2 * sum(each.is_reachable for each in asked) < len(asked)

    def configured_pool(self) -> Pool:
        """The pool of those that are configured, of which nothing is known."""
        kept = [each.backend for each in self.pool.members.values() if each.removed_at is None]
        anew = [replace(backend, identity=NO_IDENTITY) for backend in kept]
        return first_pool(anew, self.policy, self.pool.copies, trio.current_time())

    def start_over(self, inheritance: Inheritance, *, knows_locks: bool) -> None:
        """Begin with what the router before this one has left, or with nothing."""
        self.unknown_locks_before = float("-inf") if knows_locks else trio.current_time()
        self.memories.start_over(inheritance)
        begun = replace(inheritance.pool, epoch=self.pool.epoch + 1, dirty=self.pool.dirty, is_served=False)
        self._begin(begun, inheritance.gaps)

    def find_out_first(self) -> None:
        """Nothing is served yet: who is there is found out first."""
        self.pool = replace(self.pool, is_served=False)

    def note_empty(self) -> None:
        """No server held anything when this router came to it: nothing can lie elsewhere, or lack a copy."""
        self.pool = replace(self.pool, known_since=float("-inf"))
        self.redundancy.begin(self.pool)

    def begin_to_serve(self) -> None:
        """From now on sessions are stored as the pool says, and what it says is remembered."""
        self.pool = replace(self.pool, is_served=True)

    def stand_by(self) -> None:
        """Another router is the active one: cut all connections, and know nothing."""
        self.memories.departed = {}
        self._begin(replace(self.configured_pool(), epoch=self.pool.epoch + 1, dirty=self.pool.dirty))

    def _begin(self, pool: Pool, gaps: Iterable[RedundancyGap] = ()) -> None:
        for identity in tuple(self.upstreams):
            self._close_upstream(identity)
        self.pool = pool
        for identity in pool.members:
            self._wanted_probes.setdefault(identity, trio.Event())
        self.open_upstreams()
        self.redundancy.begin(pool, gaps)
        self._wake_all()

    def note_seen(self, answering: Container[BackendId]) -> None:
        """As a standby: these servers answer just now, and nothing else is known of any."""
        now, members = trio.current_time(), {}
        for identity, member in self.pool.members.items():
            health = Health.UP if identity in answering else Health.DOWN
            record = member.record
            if record.health is not health:
                record = replace(newcomer(self.policy), health=health, since=now)
            members[identity] = replace(member, record=record)
        if any(members[each].record is not member.record for each, member in self.pool.members.items()):
            self.pool = replace(self.pool, epoch=self.pool.epoch + 1, members=members)
            self._wake_all()

    def note_recorded(self, dirty: Mapping[BackendId, frozenset[str]]) -> None:
        """It is written down what these servers may lack: requests may go by that."""
        self.pool = replace(self.pool, dirty=dirty)

    def want_all_probed(self) -> None:
        """Have every backend probed at once."""
        for wanted in self._wanted_probes.values():
            wanted.set()

    def known_backends(self) -> tuple[Backend, ...]:
        """All of the pool, and those that were removed and are still asked."""
        return tuple(member.backend for member in self.pool.members.values())

    # --- what is observed ---

    def note_full(self, server: BackendId) -> None:
        """A server has refused a session for want of memory."""
        member = self.pool.members.get(server)
        if member is not None:
            self._observer.backend_full(member.backend)

    def exchange_failed(self, failure: BackendFailure) -> None:
        """An exchange failed; its backend may not be well, and is probed at once."""
        identity = BackendId(failure.backend)
        failure.name = self.pool.name_of(identity)
        self._observer.backend_troubled(failure)
        if isinstance(failure, BackendEjected) or identity not in self.pool.members:
            return
        self._note_end(identity, failure)
        symptom = SYMPTOMS[type(failure)]
        if symptom is not None:
            self._observe_symptom(identity, symptom, failure.detail)
        self._wanted_probes[identity].set()

    def probe_failed(self, failure: BackendFailure) -> None:
        """A probe failed: unlike in an exchange, whatever went wrong counts, unless it was our own fault."""
        identity = BackendId(failure.backend)
        if identity not in self.pool.members:
            return  # it was forgotten while it was probed
        failure.name = self.pool.name_of(identity)
        if isinstance(failure, BackendNotAtFault):
            self._observer.backend_troubled(failure)
            return
        self._note_end(identity, failure)
        symptom = SYMPTOMS[type(failure)] or Symptom.BROKEN
        if symptom is Symptom.ALIAS:
            self.aliases[identity] = failure.detail
        self.upstreams[identity].half_closed.note_answering(symptom is Symptom.RESTARTED)
        self._observe_symptom(identity, symptom, failure.detail)

    def _note_end(self, identity: BackendId, failure: BackendFailure) -> None:
        """A process that refuses or resets a connection has likely ended."""
        incarnation = self.pool.members[identity].incarnation
        if incarnation is not None and isinstance(failure, BackendRefused | BackendReset):
            for listener in self.end_listeners:
                listener(incarnation)

    def probe_succeeded(self, identity: BackendId, incarnation: bytes) -> None:
        """A probe found, or planted, the canary and read it back."""
        if identity not in self.pool.members:
            return
        known = self.pool.maybe_holder_of(incarnation, besides=identity)
        if known is not None:
            if self.pool.members[identity].removed_at is not None:
                self._forget_if_alias(identity)
                return
            self._take_over(identity, known)
            identity = known
        self.upstreams[identity].half_closed.note_answering(True)
        before, now = self._record(identity), trio.current_time()
        if before.is_up and before.failures >= self.policy.fall:
            self._observer.backend_answers_again(self.pool.members[identity].backend)
        doubted = self.memories.doubted(before, incarnation, now, self._longest_life())
        record = observe_success(doubted, incarnation, now, self.policy)
        if before.served_incarnation is not None and before.served_incarnation != incarnation:
            self._note_departed(before.served_incarnation)
        if record.answers:
            self.memories.empty.discard(incarnation)  # it is a member's memory now, and comes back as that
        self._publish(identity, record, "has another canary")

    def memory_went_back(self, identity: BackendId, former: bytes, incarnation: bytes) -> None:
        """A memory shows less than it has taken: an old one was put back, and is in doubt from now on.

        It is to have this token, in place of the `former` one.
        """
        self._note_departed(former, incarnation)
        if self._record(identity).answers:
            self._observe_symptom(identity, Symptom.RESTARTED, "has gone back in time")

    def _forget_if_alias(self, identity: BackendId) -> None:
        """Another entry leads to the memory that was found here, and this one was removed.

        One that has had a memory is still asked for that.
        """
        if self.pool.members[identity].incarnation is not None:
            return
        members = {each: member for each, member in self.pool.members.items() if each != identity}
        self._replace_members(members, self.pool.copies, trio.current_time())
        self._close_upstream(identity)
        for mover in self.movers:
            mover(identity, None)

    def maybe_twin(self, identity: BackendId, incarnation: bytes) -> Backend | None:
        """The other backend that answers just now and shows this token, too, if there is one."""
        holder = self.pool.maybe_holder_of(incarnation, besides=identity)
        if holder is None or identity not in self.pool.members:
            return None
        member = self.pool.members[holder]
        is_entry = member.removed_at is None and self.pool.members[identity].removed_at is None
        return member.backend if is_entry and member.record.answers else None

    def memory_was_copied(self, identity: BackendId, incarnation: bytes, original: Backend) -> None:
        """A backend began as a copy of another one's memory, and has this token now: it is in doubt."""
        self._note_departed(incarnation)
        self.memories.copied[incarnation] = original.name
        self._observer.memory_was_copied(self.pool.members[identity].backend, original)

    def _note_departed(self, *tokens: bytes) -> None:
        """Memories are out, and in doubt should they come back while sessions from before may live."""
        self.memories.note_departed(tokens, trio.current_time() + self._longest_life())

    def _take_over(self, entry: BackendId, known: BackendId) -> None:
        """The server at this entry has the memory of another identity: it has moved, or was renamed."""
        now, former = trio.current_time(), self.pool.members
        members = taken_over(former, entry, known, self.policy, now)
        self._replace_members(members, self.pool.copies, now)
        if entry not in members:
            self._close_upstream(entry)
            for mover in self.movers:
                mover(entry, known)
        self._observer.backend_moved(members[known].backend, former[known].backend)

    def _close_upstream(self, identity: BackendId) -> None:
        self.upstreams[identity].cut()
        # It is not probed any more: its unanswered connections get the patience of one that answers.
        self.upstreams[identity].half_closed.note_answering(True)
        del self.upstreams[identity]

    def _observe_symptom(self, identity: BackendId, symptom: Symptom, detail: str) -> None:
        may_fall = self.pool.may_fall(identity, symptom, self.policy)
        before = self._record(identity)
        record = observe_symptom(before, symptom, trio.current_time(), self.policy, may_fall=may_fall)
        has_been_spared = record.health is before.health is not Health.DOWN
        if has_been_spared and before.failures < self.policy.fall <= record.failures:
            self._observer.ejection_withheld(self.pool.members[identity].backend, detail)
        self._publish(identity, record, detail)

    def _publish(self, identity: BackendId, record: HealthRecord, detail: str) -> None:
        """Put the record in force: cut first, then show the new pool, then tell."""
        before = self._record(identity)
        if before is record:
            return
        if before.answers and not record.answers:
            self.upstreams[identity].cut()
        for listener in self.listeners:
            listener(identity, before, record)
        if record.answers and not before.answers:
            self.memories.note_in(record.incarnation)
            assert record.incarnation is not None  # a success brought it up, and carried its incarnation
            self.upstreams[identity].reinstate(record.incarnation)
        now = trio.current_time()
        self._show(self.pool.with_record(identity, record, now), now)
        if before.health is not record.health:
            self._announce(identity, before, record, detail)

    def _announce(self, identity: BackendId, before: HealthRecord, record: HealthRecord, detail: str) -> None:
        backend, eligible = self.pool.members[identity].backend, len(self.pool.eligible)
        if record.health is Health.RECOVERING:
            self._observer.backend_doubted(backend, record.doubted_until - trio.current_time(), eligible)
        elif record.is_up and before.health is Health.RECOVERING:
            self._observer.backend_trusted(backend, eligible)
        elif record.is_up:
            has_new_incarnation = (
                None if before.served_incarnation is None else before.served_incarnation != record.incarnation
            )
            self._observer.backend_came_up(backend, before.symptom, has_new_incarnation, eligible)
        elif before.health is Health.UNKNOWN and record.symptom is Symptom.ALIAS:
            self._observer.backend_entered_twice(backend, detail, eligible)
        elif before.health is Health.UNKNOWN:
            self._observer.backend_missing(backend, detail, eligible)
        else:
            self._observer.backend_ejected(backend, record, detail, eligible)

    def _show(self, pool: Pool, now: float) -> None:
        """Have this pool in force."""
        has_changed = pool.epoch != self.pool.epoch
        self.pool = pool.without_eras_before(now - self._longest_life())
        self.redundancy.note_change(self.pool, now)
        if has_changed:
            self._wake_all()

    def _wake_all(self) -> None:
        changed, self._has_changed = self._has_changed, trio.Event()
        changed.set()

    def _record(self, identity: BackendId) -> HealthRecord:
        return self.pool.members[identity].record

    # --- what operators want ---

    def set_intent(self, name: str, intent: Intent, *, trusts: bool = True) -> None:
        """Have a backend of the configuration serve, hand its sessions off, or not be spoken to.

        Where the operator `trusts` it, READY also has a backend read again that is RECOVERING.

        Raises Refused if no server would serve any more.
        """
        identity = self.pool.places[name]
        member = self.pool.members[identity]
        if trusts and intent is Intent.READY and member.record.health is Health.RECOVERING:
            self._publish(identity, trust(member.record, trio.current_time()), "trusted")
        if member.backend.intent is not intent:
            self.adopt(self.with_intent(name, intent), cause=BY_ORDER)

    def with_intent(self, name: str, intent: Intent) -> list[Backend]:
        """The backends of the configuration, with another intent for one of them."""
        kept = [member.backend for member in self.pool.members.values() if member.removed_at is None]
        return [replace(each, intent=intent) if each.name == name else each for each in kept]

    def unseen(self, backends: Iterable[Backend]) -> list[Backend]:
        """Those of these backends whose name and address are not in the pool together."""
        known = {(each.backend.name, each.backend.address) for each in self.pool.members.values()}
        return [each for each in backends if (each.name, each.address) not in known]

    def adopt(
        self,
        backends: Sequence[Backend],
        copies: int | None = None,
        cause: str = BY_FILE,
        seen: Mapping[Address, bytes] = _NOTHING_SEEN,
    ) -> None:
        """Have the pool consist of these backends, all at once. Their identities are found here.

        `seen` says which canary tokens were just read at which addresses: a memory that is known keeps its
        identity, whatever its name and address were before. Who it is that was not seen shows with its first
        probe.

        Raises Refused if no server would serve any more, or if two of them are one server; nothing has
        changed then.
        """
        members, now = self.members_for(backends, seen), trio.current_time()
        for identity, member in self.pool.members.items():
            if identity not in members:
                members[identity] = replace(member, removed_at=member.removed_at or now)
        former = self.pool
        self._replace_members(members, self.pool.copies if copies is None else copies, now)
        for identity, member in members.items():
            if identity in former.members:
                self._announce_intent(former.members[identity], member, cause)

    def members_for(
        self, backends: Sequence[Backend], seen: Mapping[Address, bytes] = _NOTHING_SEEN
    ) -> dict[BackendId, Member]:
        """The members that `adopt` would make of these backends, by identity. Raises Refused as that does."""
        return members_for(self.pool, backends, seen, self.policy, trio.current_time())

    def suspect(self, identity: BackendId) -> None:
        """What this backend missed is not known any more: it is RECOVERING for the longest life."""
        now = trio.current_time()
        record = self._record(identity)
        doubted = suspect(
            record, now + self._longest_life(), record.incarnation or record.served_incarnation, now
        )
        self._publish(identity, doubted, "it has missed more changes than can be remembered")

    def note_healed(self, identity: BackendId) -> None:
        """Whatever this backend may have missed was put right, or is marked: it is read again."""
        record = self._record(identity)
        if record.health is Health.RECOVERING:
            self._publish(identity, trust(record, trio.current_time()), "was healed")

    def forget_the_gone(self) -> list[BackendId]:
        """Forget removed backends when whatever they hold has expired, or they have been DOWN for long.

        Returns whom: no exchange will ask them any more, so nothing need be remembered of what is on them.
        """
        now = trio.current_time()
        self.redundancy.look(now)
        self.memories.forget(now, {each.incarnation for each in self.pool.members.values()})
        gone = [
            identity
            for identity, member in self.pool.members.items()
            if member.removed_at is not None and self._is_gone(member, now)
        ]
        if not gone:
            return []
        for identity in gone:
            incarnation = self.pool.members[identity].incarnation
            if incarnation is not None:
                self._note_departed(incarnation)
        members = {each: member for each, member in self.pool.members.items() if each not in gone}
        self._replace_members(members, self.pool.copies, now)
        for identity in gone:
            self._close_upstream(identity)
        return gone

    def _is_gone(self, member: Member, now: float) -> bool:
        assert member.removed_at is not None
        is_down = member.record.health is Health.DOWN and now - member.record.since >= DOWN_FOR_GOOD
        return is_down or now - member.removed_at > self._longest_life()

    def _replace_members(self, members: dict[BackendId, Member], copies: int, now: float) -> None:
        """Cut who is not to be spoken to any more, take on who is new, then show the new pool."""
        for identity, member in members.items():
            before = self.pool.members.get(identity)
            if before is None:
                self._wanted_probes[identity] = trio.Event()
                assert self._open_upstream is not None
                self.upstreams[identity] = self._open_upstream(member.backend)
                continue
            self.upstreams[identity].backend = member.backend  # it may have moved
            if before.record is not member.record and before.record.answers and not member.record.answers:
                self.upstreams[identity].cut()
        ranking = ranking_of(members.values())
        if ranking.weights == self.pool.ranking.weights:
            ranking = self.pool.ranking
        self._show(self.pool.succeeded_by(members, ranking, copies, now), now)

    def _announce_intent(self, before: Member, member: Member, cause: str) -> None:
        if before.record.health is not member.record.health:
            self._observer.backend_put_aside(member.backend)
        if before.backend.intent is not member.backend.intent:
            eligible = len(self.pool.eligible)
            self._observer.intent_changed(member.backend, before.backend.intent, eligible, cause)
