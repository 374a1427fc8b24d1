"""The roster: who is in the pool now, and the one place where that changes.

Probes and exchanges report what they saw; the roster keeps the health machine's record of each
backend, publishes a new pool when a record concludes something, and lets the observer know. When a
backend goes DOWN its connections are cut before the new pool is published: nothing that an ejected
backend says is relayed.
"""

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
)
from partitioner.membership.health import (
    Health,
    HealthPolicy,
    HealthRecord,
    Symptom,
    observe_success,
    observe_symptom,
)
from partitioner.membership.pool import Pool
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


class Roster:
    """The current pool, and the upstreams of its backends."""

    def __init__(self, pool: Pool, policy: HealthPolicy, observer: Observer) -> None:
        self.pool = pool
        self.upstreams: dict[str, Upstream] = {}  # by name; filled in before anything is observed
        self._policy = policy
        self._observer = observer
        self._has_changed = trio.Event()
        self._wanted_probes: dict[str, trio.Event] = {name: trio.Event() for name in pool.members}

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

    def exchange_failed(self, failure: BackendFailure) -> None:
        """An exchange failed; its backend may not be well, and is probed at once."""
        self._observer.backend_troubled(failure)
        if isinstance(failure, BackendEjected):
            return
        symptom = SYMPTOMS[type(failure)]
        if symptom is not None:
            self._observe_symptom(failure.backend, symptom, failure.detail)
        self._wanted_probes[failure.backend].set()

    def probe_failed(self, failure: BackendFailure) -> None:
        """A probe failed: unlike in an exchange, whatever went wrong counts, unless it was our own fault."""
        if isinstance(failure, BackendNotAtFault):
            self._observer.backend_troubled(failure)
            return
        symptom = SYMPTOMS[type(failure)] or Symptom.BROKEN
        self.upstreams[failure.backend].vigil.note_answering(symptom is Symptom.RESTARTED)
        self._observe_symptom(failure.backend, symptom, failure.detail)

    def probe_succeeded(self, name: str, life: bytes) -> None:
        """A probe found, or planted, the canary and read it back."""
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
        if before.is_up and not record.is_up:
            self.upstreams[name].cut()
        if record.is_up and not before.is_up:
            assert record.life is not None  # a success brought it up, and carried its life
            self.upstreams[name].reinstate(record.life)
        self.pool = self.pool.with_record(name, record)
        if before.health is not record.health:
            self._announce(name, before, record, detail)

    def _announce(self, name: str, before: HealthRecord, record: HealthRecord, detail: str) -> None:
        changed, self._has_changed = self._has_changed, trio.Event()
        changed.set()
        backend, eligible = self.pool.members[name].backend, len(self.pool.eligible)
        if record.is_up:
            has_new_life = None if before.served_life is None else before.served_life != record.life
            self._observer.backend_came_up(backend, before.symptom, has_new_life, eligible)
        elif before.health is Health.UNKNOWN:
            self._observer.backend_missing(backend, detail, eligible)
        else:
            self._observer.backend_ejected(backend, record, detail, eligible)

    def _record(self, name: str) -> HealthRecord:
        return self.pool.members[name].record
