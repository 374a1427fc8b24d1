"""The admin API of a router: reports what its parts know, and hands operators' orders to them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Protocol

import trio

from partitioner import __version__
from partitioner.errors import NoBackendLeft, Refused, UnknownBackend
from partitioner.membership.backend import Backend, Intent
from partitioner.membership.entry import Lock
from partitioner.membership.fingerprint import fingerprint_text, map_fingerprint
from partitioner.membership.tenure import Role
from partitioner.ops.admin.backend_reports import BackendReporter
from partitioner.ops.admin.event_reports import event_reports
from partitioner.ops.admin.memory_watch import Held
from partitioner.ops.admin.reports import (
    STEPS,
    BackendReport,
    ClaimReport,
    EventReport,
    HealingReport,
    HistoryReport,
    LockReport,
    Locks,
    MemoryReport,
    Status,
    TrackReport,
    VerifyReport,
)
from partitioner.ops.event_log import EventLog
from partitioner.ops.history import STEP, History, Step, Track
from partitioner.ops.rates import Sampler
from partitioner.ops.standing import (
    IS_STANDBY,
    role_of,
    why_no_server_serves,
    why_standby,
)
from partitioner.placement import location
from partitioner.placement.location import Location
from partitioner.placement.session_id import HashKey
from partitioner.routing.core import RouterCore
from partitioner.routing.verification import Findings
from partitioner.routing.withdrawal import withdrawal_of


class Reload(Protocol):
    """Reads the configuration again."""

    def __call__(self, *, force: bool) -> Awaitable[object]:
        """Returns what to report; with `force` last good copies may be taken away.

        Raises ConfigurationInvalid, Refused or WouldLose.
        """


@dataclass(frozen=True, slots=True)
class RouterAdminApi:
    """Answers operators for one router."""

    name: str
    core: RouterCore
    backend_reporter: BackendReporter
    hash_key: HashKey
    why_not_served: Callable[[], tuple[str, ...]]  # why the state port takes no clients, if so
    read_again: Reload
    event_log: EventLog
    sampler: Sampler
    past: History
    held_by: Callable[[Backend], Held | None]  # what a server of the project's own holds
    clients: Callable[[], int]  # how many are connected
    superseded: Callable[[], int]  # how often that has happened to this router
    began_at: float  # when the router started, in trio's time

    # --- reports ---

    def why_not_ready(self) -> tuple[str, ...]:
        """Why web servers should not be sent here; nothing if they should."""
        reason = why_no_server_serves(self.core)
        return (*self.why_not_served(), *(() if reason is None else (reason,)))

    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the configuration, although requests are served, a sentence each."""
        return tuple(self.backend_reporter.warnings())

    def role(self) -> str:
        """Whether this router is the active one of its farm: active, claiming or standby."""
        return role_of(self.core).value

    def status(self) -> Status:
        now, ledger, pool = trio.current_time(), self.core.ledger, self.core.roster.pool
        growth = self.sampler.growth()
        backends = self.backend_reporter.all(growth)
        not_ready, redundancy = self.why_not_ready(), self.core.roster.redundancy
        standby_because, tenure = why_standby(self.core), self.core.tenure
        is_active = standby_because is None
        redundant_since = redundancy.redundant_since(now) if is_active else None
        watch = None if is_active else tenure
        return Status(
            name=self.name,
            version=__version__,
            uptime=now - self.began_at,
            epoch=pool.epoch,
            role=self.role(),
            role_for=now - (self.began_at if tenure is None else tenure.since),
            term=self._term(),
            superseded=self.superseded(),
            standby_because=standby_because,
            watched_for=None if watch is None else watch.watched_for,
            servers_seen=None if watch is None else watch.servers_seen,
            map_fingerprint=fingerprint_text(map_fingerprint(pool, self.hash_key)),
            ready=not not_ready,
            not_ready=not_ready,
            redundant_since=None if redundant_since is None else now - redundant_since,
            not_redundant=redundancy.why_not_redundant(now) if is_active else (IS_STANDBY,),
            copies=pool.copies,
            t_max=ledger.longest_life,
            unsettled_for=self._unsettled_for(now),
            moved=self.core.handoff.moved,
            clients=self.clients(),
            requests={outcome: growth.rate(count) for outcome, count in growth.requests.items()},
            locks_held=ledger.locks_held,
            oldest_lock=next((now - lock.since for _, lock in ledger.locks()), None),
            keys_marked=ledger.keys_marked,
            serving=len(pool.eligible),
            backends=backends,
            drains=tuple(each.drain for each in backends if each.drain is not None),
            healing=self._healing(now),
            not_healed=self._not_healed(),
            healing_pending=is_active and self.core.healing.is_pending,
        )

    def backends(self) -> tuple[BackendReport, ...]:
        return self.backend_reporter.all(self.sampler.growth())

    def history(self) -> HistoryReport:
        """What the last hour was like."""
        now, members = trio.current_time(), self.core.roster.pool.members
        latest = self.past.under_way()
        memory = {identity: self.held_by(member.backend) for identity, member in members.items()}
        return HistoryReport(
            step=STEP,
            router=_track(self.past.router, None if latest is None else latest.router),
            lacking=(*self.past.lacking, *(() if latest is None else (latest.lacking,)))[-STEPS:],
            backends={
                identity: _track(
                    self.past.backends.get(identity, Track()),
                    None if latest is None else latest.backends.get(identity),
                )
                for identity in members
            },
            memory={identity: _memory(held, now) for identity, held in memory.items() if held is not None},
        )

    def locate(self, key: bytes) -> Location:
        """Find the preference list of a key. Raises ValueError if that is none."""
        return location.locate(key, self.core.roster.pool.ranking, self.hash_key)

    def locks(self, at_most: int) -> Locks:
        """The oldest locks."""
        ledger, now = self.core.ledger, trio.current_time()
        oldest = islice(ledger.locks(), at_most)
        return Locks(ledger.locks_held, tuple(self._lock(key, lock, now) for key, lock in oldest))

    def events(self) -> tuple[EventReport, ...]:
        """The last lines of the log, the youngest first."""
        return event_reports(self.event_log)

    # --- orders ---

    async def set_intent(self, name: str, intent: Intent, *, force: bool = False) -> BackendReport:
        """Have a backend drained, made ready, or put aside.

        With `force` also where that takes the last good copy of sessions away; READY then has a backend read
        again that is RECOVERING.

        Raises UnknownBackend, WouldLose, or Refused if it would do harm or this router is not the active one.
        """
        roster = self.core.roster
        self._see_that_it_is_there(name)
        if not force:
            after = roster.members_for(roster.with_intent(name, intent))
            remedy = f"`partitioner {intent.value} {name} --force` does it all the same"
            await self.core.withdrawal_guard.check(withdrawal_of(roster.pool, after), remedy)
            self._see_that_it_is_there(name)  # that may have taken a while
        roster.set_intent(name, intent, trusts=force)
        return self.backend_reporter.one(roster.pool.places[name], self.sampler.growth())

    def _see_that_it_is_there(self, name: str) -> None:
        if role_of(self.core) is not Role.ACTIVE:
            raise Refused(IS_STANDBY)
        places = self.core.roster.pool.places
        if name not in places:
            raise UnknownBackend.called(name, places)

    async def claim(self) -> ClaimReport:
        """Make this router the active one of its farm. Raises Refused, with the reason, if that cannot be."""
        tenure, began_at = self.core.tenure, trio.current_time()
        if tenure is None or tenure.is_active:
            return ClaimReport(self._term(), was_active=True, took=0.0)
        try:
            await tenure.claim("an operator or a takeover script said so")
        except NoBackendLeft as failure:
            raise Refused(f"this router could not become the active one: {failure}") from failure
        return ClaimReport(self._term(), was_active=False, took=trio.current_time() - began_at)

    def begin_verify(self) -> VerifyReport:
        """Have a verification begin. Raises Refused while one goes on, or if this router is a standby."""
        if role_of(self.core) is not Role.ACTIVE:
            raise Refused(IS_STANDBY)
        return _verified(self.core.verification.begin(), trio.current_time())

    def verify(self) -> VerifyReport | None:
        """What the verification has found that goes on, or was the last one; None if there was none."""
        findings = self.core.verification.findings
        return None if findings is None else _verified(findings, trio.current_time())

    async def reload(self, *, force: bool = False) -> object:
        """Read the configuration again, with `force` also where that takes last good copies away.

        Raises ConfigurationInvalid, Refused or WouldLose.
        """
        return await self.read_again(force=force)

    # --- one of many ---

    def _term(self) -> str | None:
        tenure = self.core.tenure
        term = None if tenure is None else tenure.authority.term
        return None if term is None or role_of(self.core) is not Role.ACTIVE else str(term.term)

    def _unsettled_for(self, now: float) -> float | None:
        """Sessions move when they are used; those that were not used by then have expired."""
        left = self.core.roster.pool.unsettled_since + self.core.ledger.longest_life - now
        return left if left > 0 else None

    def _healing(self, now: float) -> HealingReport | None:
        progress = self.core.healing.progress()
        if progress is None:
            return None
        took = now - progress.began_at
        return HealingReport(
            for_seconds=took,
            seen=progress.seen,
            told=progress.told,
            healed=progress.healed,
            left=progress.left,
            rate=progress.healed / took if took > 0 else 0.0,
            estimate=progress.estimate(now),
        )

    def _not_healed(self) -> dict[str, str]:
        members = self.core.roster.pool.members
        refused = self.core.healing.refused
        known = {members[each].backend: why for each, why in refused.items() if each in members}
        return {backend.name: why for backend, why in known.items() if backend.admin is not None}

    def _lock(self, key: bytes, lock: Lock, now: float) -> LockReport:
        member = self.core.roster.pool.members.get(lock.server)
        return LockReport(
            key=sha256(key).hexdigest()[:8],
            server=lock.server if member is None else member.backend.name,
            reachable=self.core.ledger_keeper.can_reach(lock, key),
            age=now - lock.since,
        )


def _track(track: Track, latest: Step | None) -> TrackReport:
    steps = (*track.steps, *(() if latest is None else (latest,)))[-STEPS:]
    return TrackReport(
        rates=tuple(step.rate for step in steps),
        p99=tuple(step.p99 for step in steps),
        failed=tuple(step.failed for step in steps),
        states=tuple(step.state for step in steps),
        has_flapped=track.has_flapped,
    )


def _memory(held: Held, now: float) -> MemoryReport:
    return MemoryReport(held.sessions, held.used, held.limit, ago=now - held.seen_at)


def _verified(findings: Findings, now: float) -> VerifyReport:
    took = now - findings.began_at
    is_known = 0 < findings.seen <= findings.told and not findings.is_done
    flaws = findings.lacking + findings.differing + findings.misplaced
    return VerifyReport(
        done=findings.is_done,
        took=findings.took,
        estimate=took * (findings.told - findings.seen) / findings.seen if is_known else None,
        seen=findings.seen,
        told=findings.told,
        sessions=findings.sessions,
        on_servers={str(copies): count for copies, count in sorted(findings.on_servers.items())},
        lacking=findings.lacking,
        differing=findings.differing,
        misplaced=findings.misplaced,
        refused=findings.refused,
        pool_changed=findings.has_changed,
        whole=findings.is_done and not (flaws or findings.refused or findings.has_changed),
    )
