"""What is reported of each backend: how it fares, what it holds, and whether it may be stopped."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import trio

from partitioner.membership.backend import BackendId
from partitioner.membership.health import Health, HealthRecord, Symptom
from partitioner.membership.pool import Member
from partitioner.membership.tenure import Role
from partitioner.ops.admin.reports import BackendReport, DrainReport, TrafficReport
from partitioner.ops.out_of_service import IS_FULL, Situation, why_out
from partitioner.ops.rates import Exchanges, Growth, quantile
from partitioner.ops.standing import IS_STANDBY, dirty_of, role_of
from partitioner.routing.core import RouterCore
from partitioner.routing.drain import Drain
from partitioner.transport.traffic import DURATIONS


@dataclass(frozen=True, slots=True)
class BackendReporter:
    """Reports on the backends of one router."""

    core: RouterCore
    is_full: Callable[[BackendId], bool]  # whether a server has refused a session for memory just now

    def all(self, growth: Growth) -> tuple[BackendReport, ...]:
        drains = self.core.handoff.drains()
        members = self.core.roster.pool.members
        return tuple(self._report(identity, drains.get(identity), growth) for identity in members)

    def one(self, identity: BackendId, growth: Growth) -> BackendReport:
        return self._report(identity, self.core.handoff.drains().get(identity), growth)

    def warnings(self) -> Iterator[str]:
        """What is wrong with the backends of the configuration, although requests are served."""
        members = [each for each in self.core.roster.pool.members.values() if each.removed_at is None]
        for each in members:
            if each.record.symptom is Symptom.ALIAS:
                yield f"{each.backend.name} {self._trouble(each.backend.identity, each.record)}"
        for each in members:
            for seen in self._shortcomings(each.backend.identity):
                yield f"{each.backend.name} {seen}"
        for each in members:
            if self.is_full(each.backend.identity):
                yield f"{each.backend.name} {IS_FULL}"

    def _report(self, identity: BackendId, drain: Drain | None, growth: Growth) -> BackendReport:
        now, pool = trio.current_time(), self.core.roster.pool
        member = pool.members[identity]
        backend, record = member.backend, member.record
        why_not_safe = self._why_not_safe_to_stop(identity, drain, now)
        is_concluded = record.health is not Health.UNKNOWN
        recovering_for = record.doubted_until - now if record.health is Health.RECOVERING else None
        return BackendReport(
            name=backend.name,
            identity=identity,
            address=str(backend.address),
            weight=backend.weight,
            intent=backend.intent.value,
            health=record.health.value,
            health_for=now - record.since if is_concluded else None,
            trouble=self._trouble(identity, record),
            serves=member.is_eligible,
            removed=member.removed_at is not None,
            share=self._share(identity, member),
            traffic=_traffic(growth, identity),
            probe=self._probe(identity, record),
            keys_marked=self.core.ledger.marks_of(identity),
            dirty=tuple(sorted(dirty_of(self.core, identity))),
            recovering_for=None if recovering_for is None else max(0.0, recovering_for),
            safe_to_stop=not why_not_safe,
            not_safe_to_stop=why_not_safe,
            drain=None if drain is None else _drain(backend.name, drain, now),
            shortcomings=self._shortcomings(identity),
            why_out=self._why_out(identity, member, drain, now),
        )

    def _why_out(self, identity: BackendId, member: Member, drain: Drain | None, now: float) -> str | None:
        core, record = self.core, member.record
        if role_of(core) is not Role.ACTIVE:
            return None  # a standby knows who answers, and nothing else
        situation = Situation(
            member,
            self._trouble(identity, record),
            drain,
            self.is_full(identity),
            core.roster.memories.copied.get(record.incarnation or b""),
            core.healing.refused.get(identity),
        )
        return why_out(situation, now, core.ledger.longest_life, core.time_of_day)

    def _trouble(self, identity: BackendId, record: HealthRecord) -> str | None:
        """What is wrong with a backend; of one that was entered twice, which server it is.

        A standby tells why one did not answer when it looked last. What is over is no trouble; nor is
        that a server does not answer which was removed, and may be switched off.
        """
        tenure = self.core.tenure
        if tenure is not None and not tenure.is_active:
            return tenure.failures.get(identity)
        is_removed = self.core.roster.pool.members[identity].removed_at is not None
        is_over = record.answers and record.failures == 0
        if record.symptom is None or is_over or is_removed:
            return None
        trouble: str = record.symptom.value
        return self.core.roster.aliases.get(identity, trouble) if record.symptom is Symptom.ALIAS else trouble

    def _shortcomings(self, identity: BackendId) -> tuple[str, ...]:
        upstream = self.core.roster.upstreams.get(identity)
        return () if upstream is None else tuple(each.value for each in upstream.shortcomings.seen)

    def _why_not_safe_to_stop(self, identity: BackendId, drain: Drain | None, now: float) -> tuple[str, ...]:
        """A server that has handed everything off holds nothing that could be lost."""
        if role_of(self.core) is not Role.ACTIVE:
            return (IS_STANDBY,)
        handed_off = (identity,) if drain is not None and drain.is_done else ()
        return self.core.roster.redundancy.why_not_safe_to_stop((identity,), now, handed_off)

    def _share(self, identity: BackendId, member: Member) -> float:
        pool = self.core.roster.pool
        if identity not in pool.ready:
            return 0.0
        return member.backend.weight / sum(pool.members[each].backend.weight for each in pool.ready)

    def _probe(self, identity: BackendId, record: HealthRecord) -> float | None:
        """How long the last probe took, unless it failed: what it took in better times says nothing."""
        is_well = record.answers and record.failures == 0
        return self.core.roster.upstreams[identity].traffic.last_probe if is_well else None


def _drain(name: str, drain: Drain, now: float) -> DrainReport:
    return DrainReport(
        backend=name,
        for_seconds=now - drain.began_at,
        moved=drain.moved,
        left=drain.left,
        rate=drain.rate,
        estimate=drain.estimate,
        done=drain.is_done,
        stalled=drain.stalled,
    )


def _traffic(growth: Growth, identity: BackendId) -> TrafficReport:
    own = growth.backends.get(identity, Exchanges())
    return TrafficReport(
        rate=growth.rate(own.count),
        share=own.count / growth.exchanges if growth.exchanges else 0.0,
        failed=own.failed,
        p50=quantile(0.5, own.durations, DURATIONS),
        p99=quantile(0.99, own.durations, DURATIONS),
    )
