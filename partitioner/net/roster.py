"""The roster: who is in the pool now, and the one place where that changes.

Probes and exchanges report what they saw; the roster keeps the health machine's record of each
backend, publishes a new pool when a record concludes something, and lets the observer know. When a
backend goes DOWN its connections are cut before the new pool is published: nothing that an ejected
backend says is relayed.

Operators change intents, weights, and who belongs to the pool. A backend that is removed is still asked
for what it holds until that has expired; one that comes back after that is in doubt.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import trio

from partitioner.errors import (
    BackendEjected,
    BackendFailure,
    BackendHungUp,
    BackendMalformed,
    BackendNotAtFault,
    BackendRefused,
    BackendReset,
    BackendRestarted,
    BackendTooSlow,
    BackendUnreachable,
    Refused,
)
from partitioner.membership.backend import Backend, Intent
from partitioner.membership.health import (
    Health,
    HealthPolicy,
    HealthRecord,
    Symptom,
    cast_doubt,
    dispel_doubt,
    newcomer,
    observe_success,
    observe_symptom,
    put_aside,
)
from partitioner.membership.pool import Member, Pool, ranking_of
from partitioner.membership.redundancy import Redundancy
from partitioner.net.observer import Observer
from partitioner.net.upstream import Upstream

# What a failed exchange says about the backend's health. A clean close does not count: a stock server
# hangs up on a bad request. Nor does an odd answer: one poisoned session must not take a server down.
# Both have the backend probed at once (design.md 5).
SYMPTOMS: dict[type[BackendFailure], Symptom | None] = {
    BackendRefused: Symptom.REFUSED,
    BackendUnreachable: Symptom.UNREACHABLE,
    BackendTooSlow: Symptom.TIMED_OUT,
    BackendReset: Symptom.BROKEN,
    BackendRestarted: Symptom.RESTARTED,
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

Listener = Callable[[str, HealthRecord, HealthRecord], None]
"""Is told the identity of a backend, and its record before and after."""


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
        """`longest_life` answers T_max in seconds: for how long the past matters."""
        self.pool = pool
        self.redundancy = redundancy
        self.upstreams: dict[str, Upstream] = {}  # by identity; filled in before anything is observed
        self.departed: dict[
            tuple[str, str], float
        ] = {}  # name and address of who left; until when it matters
        self.listeners: list[Listener] = []  # told before the new pool is published
        self._policy = policy
        self._observer = observer
        self._open_upstream = open_upstream
        self._longest_life = longest_life
        self._has_changed = trio.Event()
        self._wanted_probes: dict[str, trio.Event] = {name: trio.Event() for name in pool.members}

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

    async def wait_for_wanted_probe(self, name: str) -> None:
        """Wait until somebody wants this backend probed at once."""
        await self._wanted_probes[name].wait()
        self._wanted_probes[name] = trio.Event()

    def want_all_probed(self) -> None:
        """Have every backend probed at once."""
        for wanted in self._wanted_probes.values():
            wanted.set()

    # --- what is observed ---

    def exchange_failed(self, failure: BackendFailure) -> None:
        """An exchange failed; its backend may not be well, and is probed at once."""
        self._observer.backend_troubled(failure)
        if isinstance(failure, BackendEjected) or failure.backend not in self.pool.members:
            return
        symptom = SYMPTOMS[type(failure)]
        if symptom is not None:
            self._observe_symptom(failure.backend, symptom, failure.detail)
        self._wanted_probes[failure.backend].set()

    def probe_failed(self, failure: BackendFailure) -> None:
        """A probe failed: unlike in an exchange, whatever went wrong counts, unless it was our own fault."""
        if failure.backend not in self.pool.members:
            return  # it was forgotten while it was probed
        if isinstance(failure, BackendNotAtFault):
            self._observer.backend_troubled(failure)
            return
        symptom = SYMPTOMS[type(failure)] or Symptom.BROKEN
        self.upstreams[failure.backend].vigil.note_answering(symptom is Symptom.RESTARTED)
        self._observe_symptom(failure.backend, symptom, failure.detail)

    def probe_succeeded(self, name: str, life: bytes) -> None:
        """A probe found, or planted, the canary and read it back."""
        if name not in self.pool.members:
            return
        self.upstreams[name].vigil.note_answering(True)
        before = self._record(name)
        if before.is_up and before.failures >= self._policy.fall:
            self._observer.backend_answers_again(self.pool.members[name].backend)
        record = observe_success(before, life, trio.current_time(), self._policy)
        self._publish(name, record, "has another canary")

    def _observe_symptom(self, name: str, symptom: Symptom, detail: str) -> None:
        may_fall = self.pool.may_fall(name, symptom, self._policy)
        before = self._record(name)
        record = observe_symptom(before, symptom, trio.current_time(), self._policy, may_fall=may_fall)
        has_been_spared = record.health is before.health is not Health.DOWN
        if has_been_spared and before.failures < self._policy.fall <= record.failures:
            self._observer.ejection_withheld(self.pool.members[name].backend, detail)
        self._publish(name, record, detail)

    def _publish(self, name: str, record: HealthRecord, detail: str) -> None:
        """Put the record in force: cut first, then show the new pool, then tell."""
        before = self._record(name)
        if before is record:
            return
        if before.answers and not record.answers:
            self.upstreams[name].cut()
        for listener in self.listeners:
            listener(name, before, record)
        if record.answers and not before.answers:
            assert record.life is not None  # a success brought it up, and carried its life
            self.upstreams[name].reinstate(record.life)
        now = trio.current_time()
        self._show(self.pool.with_record(name, record, now), now)
        if before.health is not record.health:
            self._announce(name, before, record, detail)

    def _announce(self, name: str, before: HealthRecord, record: HealthRecord, detail: str) -> None:
        backend, eligible = self.pool.members[name].backend, len(self.pool.eligible)
        if record.health is Health.RECOVERING:
            self._observer.backend_doubted(backend, record.doubted_until - trio.current_time(), eligible)
        elif record.is_up and before.health is Health.RECOVERING:
            self._observer.backend_trusted(backend, eligible)
        elif record.is_up:
            has_new_life = None if before.served_life is None else before.served_life != record.life
            self._observer.backend_came_up(backend, before.symptom, has_new_life, eligible)
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

    def _record(self, name: str) -> HealthRecord:
        return self.pool.members[name].record

    # --- what operators want ---

    def set_intent(self, name: str, intent: Intent) -> None:
        """Have a backend of the configuration serve, hand its sessions off, or not be spoken to.

        READY also vouches for a backend that is RECOVERING: it is read again.

        Raises Refused if nobody would serve any more.
        """
        identity = self.pool.places[name]
        member = self.pool.members[identity]
        if intent is Intent.READY and member.record.health is Health.RECOVERING:
            self._publish(identity, dispel_doubt(member.record, trio.current_time()), "vouched for")
        if member.backend.intent is not intent:
            kept = [member.backend for member in self.pool.members.values() if member.removed_at is None]
            wanted = [replace(each, intent=intent) if each.name == name else each for each in kept]
            self.adopt(wanted, cause=BY_ORDER)

    def adopt(self, backends: Sequence[Backend], copies: int | None = None, cause: str = BY_FILE) -> None:
        """Have the pool consist of these backends, all at once. Their identities are found here.

        Raises Refused if nobody would serve any more; nothing has changed then.
        """
        if all(each.intent is not Intent.READY for each in backends):
            raise Refused("no backend would be ready any more; expected at least one to serve the sessions")
        now = trio.current_time()
        members: dict[str, Member] = {}
        for backend in backends:
            member = self._member_for(backend, now)
            members[member.backend.identity] = member
        for identity, member in self.pool.members.items():
            if identity not in members:
                members[identity] = replace(member, removed_at=member.removed_at or now)
        former = self.pool
        self._replace_members(members, self.pool.copies if copies is None else copies, now)
        for identity, member in members.items():
            if identity in former.members:
                self._announce_intent(former.members[identity], member, cause)

    def cast_doubt(self, identity: str) -> None:
        """What this backend missed is not known any more: it is RECOVERING for the longest life."""
        now = trio.current_time()
        record = self._record(identity)
        doubted = cast_doubt(record, now + self._longest_life(), record.life or record.served_life, now)
        self._publish(identity, doubted, "more keys were marked on it than can be remembered")

    def forget_the_gone(self) -> list[str]:
        """Forget removed backends when whatever they hold has expired, or they have been DOWN for long.

        Answers whom: nobody will ask them any more, so nothing need be remembered of what is on them.
        """
        now = trio.current_time()
        self.redundancy.look(now)
        gone = [
            identity
            for identity, member in self.pool.members.items()
            if member.removed_at is not None and self._is_gone(member, now)
        ]
        if not gone:
            return []
        for identity in gone:
            backend = self.pool.members[identity].backend
            self.departed[backend.name, str(backend.address)] = now + self._longest_life()
            self.upstreams[identity].cut()
            # Nobody probes it any more: its unanswered connections get the patience of one that answers.
            self.upstreams[identity].vigil.note_answering(True)
        members = {each: member for each, member in self.pool.members.items() if each not in gone}
        self._replace_members(members, self.pool.copies, now)
        for identity in gone:
            del self.upstreams[identity]
        return gone

    def _is_gone(self, member: Member, now: float) -> bool:
        assert member.removed_at is not None
        is_down = member.record.health is Health.DOWN and now - member.record.since >= DOWN_FOR_GOOD
        return is_down or now - member.removed_at > self._longest_life()

    def _member_for(self, backend: Backend, now: float) -> Member:
        """The member that this backend is: one that we know, or a new one."""
        for identity, known in self.pool.members.items():
            if (known.backend.name, known.backend.address) == (backend.name, backend.address):
                record = known.record
                is_put_aside = backend.intent is Intent.MAINT or known.backend.intent is Intent.MAINT
                if is_put_aside and backend.intent is not known.backend.intent:
                    record = put_aside(record, now, self._policy)
                return Member(replace(backend, identity=identity), record)
        identity = backend.name
        if identity in self.pool.members:  # it has moved house, and the old one is still remembered
            identity = f"{backend.name}@{backend.address}"
        record = newcomer(self._policy)
        if self.departed.get((backend.name, str(backend.address)), float("-inf")) > now:
            record = cast_doubt(record, now + self._longest_life(), None, now)
        return Member(replace(backend, identity=identity), record)

    def _replace_members(self, members: dict[str, Member], copies: int, now: float) -> None:
        """Cut who is not to be spoken to any more, take on who is new, then show the new pool."""
        for identity, member in members.items():
            before = self.pool.members.get(identity)
            if before is None:
                self._wanted_probes[identity] = trio.Event()
                assert self._open_upstream is not None
                self.upstreams[identity] = self._open_upstream(member.backend)
            elif before.record is not member.record and before.record.answers:
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
