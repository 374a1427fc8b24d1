"""Reload: a new configuration for a running router, wholly or not at all.

    read the file anew ──▶ what is wrong? ──▶ what takes a restart? ──▶ what moves? ──▶ apply
                             invalid             refused                 the plan

Everything that can fail comes before the first thing that changes, and nothing waits in between: a
request sees the router as it was or as it is to be. Where a reload fails, the router goes on with
what it had, and the log and the operator who asked are told every reason.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice

import trio

from partitioner.config import Settings
from partitioner.config.changes import Change, backend_changes, key_changes, restarts_needed
from partitioner.daemon.notify import Notifier
from partitioner.daemon.policies import core_policy, downstream_policy, fitted
from partitioner.errors import ConfigurationInvalid, Problem, Refused, WouldLose
from partitioner.membership.backend import NO_IDENTITY, Address, Backend, Intent
from partitioner.membership.tenure import Role
from partitioner.ops.event_log import Level
from partitioner.ops.log import Log
from partitioner.ops.log_output import set_log_level
from partitioner.ops.standing import role_of
from partitioner.placement.moves import Plan, plan_moves, sample_keys
from partitioner.placement.rendezvous import Ranking
from partitioner.routing.core import RouterCore
from partitioner.routing.withdrawal import withdrawal_of
from partitioner.transport.listener import Downstream
from partitioner.units import format_share

SAMPLE = 10_000
"""Sessions to count: shares to within one percent, next to requests that want to be served."""

HOW_TO_FORCE = "`partitioner reload --force` applies the file all the same"

SCORES_AT_A_TIME = 4_000
"""Of single servers for single sessions, about 3 ms; then other tasks have a turn."""

ReadSettings = Callable[[], Settings]
"""Reads the configuration file; raises ConfigurationInvalid with all problems."""


class Outcome(StrEnum):
    """What came of a reload."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"  # the file says what is in force already
    REFUSED = "refused"  # it is right, and cannot be applied to a running router
    INVALID = "invalid"  # there is no right file


@dataclass(frozen=True, slots=True)
class AtStake(Problem):
    """The file takes last good copies away."""

    sessions: int | None  # at most so many; None if unknown


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a reload, and why."""

    outcome: Outcome
    problems: tuple[Problem, ...] = ()  # every reason, where nothing was applied
    changes: tuple[Change, ...] = ()  # everything that was applied
    moved_share: float = 0.0  # of all sessions, 0 to 1: those whose first server is another one now

    @property
    def is_good(self) -> bool:
        """Whether the router does what the file says."""
        return self.outcome in (Outcome.APPLIED, Outcome.UNCHANGED)

    def or_raise(self) -> "Report":
        """The report itself, where it is good.

        Raises ConfigurationInvalid, Refused with all reasons in one text, or WouldLose.
        """
        match self.outcome:
            case Outcome.INVALID:
                raise ConfigurationInvalid(self.problems)
            case Outcome.REFUSED:
                for problem in self.problems:
                    if isinstance(problem, AtStake):
                        raise WouldLose(str(problem), problem.sessions)
                raise Refused("; ".join(str(problem) for problem in self.problems))
        return self


class Reloader:
    """Reloads the configuration of one router."""

    def __init__(
        self,
        settings: Settings,
        read: ReadSettings | None,
        core: RouterCore,
        downstream: Downstream,
        log: Log,
        notifier: Notifier,
    ) -> None:
        """`settings` are in force; without `read` there is no file that could say anything else."""
        self.settings = settings
        self.last_report: Report | None = None
        self._read = read
        self._core = core
        self._downstream = downstream
        self._log = log
        self._notifier = notifier
        self._one_at_a_time = trio.Lock()

    def __repr__(self) -> str:
        last = "none yet" if self.last_report is None else f"the last one {self.last_report.outcome.value}"
        return f"<Reloader, {last}>"

    def shutdown_timeout(self) -> float:
        """How long a soft stop may take, in seconds."""
        return self.settings.timeouts.shutdown

    async def reload(self, cause: str, *, force: bool = False) -> Report:
        """Read the file anew and apply it; `cause` is who wants it, for the log.

        With `force` also where that takes the last good copy of sessions out of reach.
        """
        async with self._one_at_a_time:
            with self._notifier.reloading():
                report = await self._reload(force=force)
                self.last_report = report
                self._core.observer.reloaded(report.outcome.value)
                self._log_outcome(report, cause)
        return report

    async def _reload(self, *, force: bool) -> Report:
        if self._read is None:
            problem = "there is no file to read: the router was started without -c"
            return Report(Outcome.REFUSED, (Problem("", problem),))
        try:
            wanted = self._read()
        except ConfigurationInvalid as invalid:
            return Report(Outcome.INVALID, tuple(invalid.problems))
        problems = restarts_needed(self.settings, wanted)
        if problems:
            return Report(Outcome.REFUSED, tuple(problems))
        seen = await self._core.identify(self._backends_of(wanted))
        try:
            if not force:
                await self._see_that_nothing_is_lost(wanted, seen)
            changes, moved_share = await self._plan(wanted, seen)
            if not changes:
                return Report(Outcome.UNCHANGED)
            self._core.roster.members_for(self._backends_of(wanted), seen)
        except WouldLose as refusal:
            return Report(Outcome.REFUSED, (AtStake("backends", str(refusal), refusal.sessions),))
        except Refused as refusal:
            return Report(Outcome.REFUSED, (Problem("backends", str(refusal)),))
        for change in changes:
            self._log.note(
                "reload", subject=change.subject, change=change.what, consequence=change.consequence
            )
        self._apply(wanted, seen)
        return Report(Outcome.APPLIED, changes=tuple(changes), moved_share=moved_share)

    async def _see_that_nothing_is_lost(self, wanted: Settings, seen: Mapping[Address, bytes]) -> None:
        """See that the file takes no last good copy away. A standby leaves that to the active router.

        Raises WouldLose, or Refused as the roster does.
        """
        if role_of(self._core) is not Role.ACTIVE:
            return
        roster = self._core.roster
        after = roster.members_for(self._backends_of(wanted), seen)
        await self._core.withdrawal_guard.check(withdrawal_of(roster.pool, after), HOW_TO_FORCE)

    async def _plan(self, wanted: Settings, seen: Mapping[Address, bytes]) -> tuple[list[Change], float]:
        """Say what changes, and what share of the sessions changes its first server.

        `seen` are the canary tokens that were just read, by address.
        No time has passed since the pool was compared when this returns.
        """
        changes = key_changes(self.settings, wanted)
        while (before := self._backends()) != (after := self._backends_of(wanted)):
            plan = await _count_moves(_ready(before), _ready(after))
            if before == self._backends():
                same = self._same_servers(after, seen)
                return backend_changes(before, after, self.settings, plan, same) + changes, plan.moved_share
        return changes, 0.0

    def _same_servers(self, after: Sequence[Backend], seen: Mapping[Address, bytes]) -> dict[str, str]:
        """What the servers whose canaries were read are called in the pool, by their names in the file."""
        pool, found = self._core.roster.pool, {}
        for backend in after:
            token = seen.get(backend.address)
            identity = None if token is None else pool.maybe_holder_of(token, besides=None)
            if identity is not None and pool.members[identity].removed_at is None:
                found[backend.name] = pool.members[identity].backend.name
        return found

    def _apply(self, wanted: Settings, seen: Mapping[Address, bytes]) -> None:
        """Put the settings in force."""
        roster, backends = self._core.roster, self._backends_of(wanted)
        if (backends, wanted.copies_kept()) != (self._backends(), roster.pool.copies):
            roster.adopt(backends, wanted.copies_kept(), seen=seen)
        set_log_level(Level(wanted.log_level.value))
        self.settings = wanted
        possible = fitted(wanted, len(roster.pool.members), self._log)
        self._core.adopt(core_policy(possible))
        self._downstream.adopt(downstream_policy(possible))

    def _backends(self) -> tuple[Backend, ...]:
        """The backends of the pool as they would be configured: without their identities."""
        members = self._core.roster.pool.members.values()
        return tuple(
            replace(each.backend, identity=NO_IDENTITY) for each in members if each.removed_at is None
        )

    def _backends_of(self, wanted: Settings) -> tuple[Backend, ...]:
        """The backends that shall be in the pool. Of embedded ones no file says anything but how many."""
        return wanted.pool_backends() or tuple(
            replace(backend, intent=Intent.READY) for backend in self._backends()
        )

    def _log_outcome(self, report: Report, cause: str) -> None:
        match report.outcome:
            case Outcome.APPLIED:
                moves = f"{format_share(report.moved_share)} of the sessions have another first server now"
                self._log.note("configuration reloaded", cause=cause, consequence=moves)
            case Outcome.UNCHANGED:
                consequence = "none: the file says what is in force already"
                self._log.note("configuration reloaded", cause=cause, consequence=consequence)
            case Outcome.REFUSED | Outcome.INVALID:
                for problem in report.problems:
                    self._log.complain(
                        f"reload {report.outcome.value}",
                        cause=cause,
                        problem=str(problem),
                        consequence="nothing of the file was applied; what was in force goes on",
                    )


async def _count_moves(before: Ranking, after: Ranking) -> Plan:
    """Count over a sample, in small pieces: the router serves meanwhile."""
    keys = iter(sample_keys(SAMPLE))
    piece_size = 1 + SCORES_AT_A_TIME // (len(before.weights) + len(after.weights))
    counted = plan_moves(before, after, islice(keys, piece_size))
    while piece := tuple(islice(keys, piece_size)):
        await trio.lowlevel.checkpoint()
        counted += plan_moves(before, after, piece)
    return counted


def _ready(backends: Sequence[Backend]) -> Ranking:
    return Ranking({each.name: each.weight for each in backends if each.intent is Intent.READY})
