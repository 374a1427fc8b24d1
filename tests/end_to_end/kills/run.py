"""One run: a site under load, and one fault after the other, each when the pool is redundant again."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import trio

from partitioner.membership.entry import LONGEST_PAGE
from partitioner.membership.health import HealthPolicy
from tests.end_to_end.kills.faults import TAKEOVERS, Fault
from tests.end_to_end.kills.figures import Outage, claims, longest_neglect, outages, puts_in_place, touches
from tests.end_to_end.kills.load import Load, LoadPlan
from tests.end_to_end.kills.site import Site
from tests.simulation.checker import NEVER, Violation, judge
from tests.simulation.history import History

LONGEST_WAIT = 120.0
"""Seconds, beyond T_max, until the pool must be redundant again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is. Times are seconds."""

    faults: Sequence[Fault]
    load: LoadPlan
    longest_life: float  # T_max, as the router is told
    health: HealthPolicy
    servers: int = 3
    waits_at_the_start: bool = True  # until the router knows what is known here: that all sessions are new
    seed: int = 0
    fast_path: str = "on"  # how the router serves
    state_dirs: bool = False  # whether each router is given one

    @property
    def needs_standby(self) -> bool:
        return any(fault in TAKEOVERS for fault in self.faults)

    @property
    def longest_time(self) -> float:
        """Seconds after which a run hangs, whatever it waits for."""
        return (1 + len(self.faults)) * (self.longest_life + LONGEST_WAIT + 180.0)

    @property
    def settings(self) -> str:
        """The router's configuration, without its servers."""
        health = self.health
        return (
            f"fast_path: {self.fast_path}\n"
            f"session_timeout: {self.longest_life:g}s\nsession_timeout_max: {self.longest_life:g}s\n"
            f"health: {{interval: {health.interval * 1000:g}ms, timeout: {health.timeout * 1000:g}ms, "
            f"fall: {health.fall}, hold_down: {health.hold_down:g}s}}\n"
        )


@dataclass(frozen=True, slots=True)
class Period:
    """A fault, and all that follows until the next one. Times are those of the history."""

    fault: Fault
    server: str
    began_at: float
    redundant_at: float
    ended_at: float
    lateness: float  # seconds by which the machine has let a process wait that wanted to run, at most


@dataclass(frozen=True, slots=True)
class Findings:
    """What a period was like for the users."""

    period: Period
    longest_outage: float
    closed: int  # exchanges
    violations: tuple[Violation, ...]
    allowed: float | None  # seconds for which one session may be out of reach, on a machine that is free

    @property
    def is_good(self) -> bool:
        return not self.violations and (
            self.allowed is None or self.longest_outage < self.allowed + self.period.lateness
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run has come to."""

    plan: Plan
    history: History
    violations: tuple[Violation, ...]
    periods: tuple[Period, ...]
    router_starts: tuple[float, ...]
    router_crashes: tuple[float, ...]
    log: str  # of all routers and state servers, one after the other
    stopped_by: str | None  # what kept the run from being finished

    @property
    def longest_neglect(self) -> float:
        """Seconds for which a session was not looked after, from the first fault on.

        They have to be less than T_max, or what the router was told of that was not true. Who was locked
        when the router died does not count: it is left alone until the lock is too old.
        """
        crashed = {each.session for each in self.history.exchanges if each.page in self.history.crashed_pages}
        begin, end = self.periods[0].began_at, self.periods[-1].ended_at
        exchanges = (
            each
            for each in self.history.exchanges
            if each.session not in crashed and begin <= each.began_at < end
        )
        settles = puts_in_place if self.plan.load.touch_saves else touches
        return longest_neglect(exchanges, settles, self.router_starts)

    def findings(self) -> list[Findings]:
        """Fault by fault."""
        found = outages(self.history.exchanges)
        return [self._findings_of(period, found) for period in self.periods]

    def _findings_of(self, period: Period, found: list[Outage]) -> Findings:
        def is_of_it(at: float) -> bool:
            return period.began_at <= at < period.ended_at

        exchanges = [each for each in self.history.exchanges if is_of_it(each.began_at)]
        return Findings(
            period,
            # What was under way when the fault came is part of what it has done.
            longest_outage=max((each.duration for each in found if is_of_it(each.ended_at)), default=0.0),
            closed=sum(each.status is None for each in exchanges),
            violations=tuple(each for each in self.violations if is_of_it(each.exchange.began_at)),
            allowed=None if self._is_in_quarantine(period) else period.fault.longest_outage(self.plan.health),
        )

    def _is_in_quarantine(self, period: Period) -> bool:
        """Whether a router had crashed just before: a session that may be locked on a server that fails then
        is closed to everyone (design.md 7.7)."""
        return any(each <= period.began_at < each + LONGEST_PAGE for each in self.router_crashes)


@dataclass
class Run:
    """Carries a plan out. What it is at can be looked at while it runs."""

    plan: Plan
    directory: Path
    stage: str = "starting"
    load: Load | None = None
    _stopped_by: str | None = None
    _periods: list[tuple[Fault, str, float, float]] = field(default_factory=list)

    async def run(self) -> Outcome:
        """Go through all of it; nothing is left running.

        Raises trio.TooSlowError if it hangs.
        """
        with (
            trio.fail_after(self.plan.longest_time),
            self._site() as site,
            closing(Load(self.plan.load, site, self.plan.seed)) as load,
        ):
            await site.start()
            self.load = load
            self.stage = "creating sessions"
            await load.create()
            async with trio.open_nursery() as nursery:
                await nursery.start(load.run)
                await self._go_through_faults(site, load)
                self.stage = "finishing pages"
                load.end()
            self.stage = "looking at every session"
            ended_at = trio.current_time()
            await load.look_at_all()
            ahead = time.time() - trio.current_time()
            load.history.claims += [each - ahead for each in claims(site.log)]
        self.stage = "judging"
        return await trio.to_thread.run_sync(self._outcome, site, load, ended_at)

    def _site(self) -> Site:
        plan = self.plan
        return Site(
            self.directory,
            plan.settings,
            plan.servers,
            state_dirs=plan.state_dirs,
            standby=plan.needs_standby,
        )

    async def _go_through_faults(self, site: Site, load: Load) -> None:
        if self.plan.waits_at_the_start:
            await self._wait_until_redundant(site, load, "at the start")
        for number, fault in enumerate(self.plan.faults):
            name = list(site.intents)[number % self.plan.servers]
            title = f"fault {number + 1} of {len(self.plan.faults)}: {fault}, {name}"
            self.stage = title
            began_at = trio.current_time()
            load.history.note(began_at, f"{name}: {fault}")
            if not await self._happens(fault, site, load, name):
                return
            load.history.note(trio.current_time(), f"{name}: over")
            # The flag of a session that was there may be repeated from now on; that of a later one may not.
            load.history.failures.append((began_at, trio.current_time()))
            since = await self._wait_until_redundant(site, load, title)
            self._periods.append((fault, name, began_at, max(began_at, since)))

    async def _happens(self, fault: Fault, site: Site, load: Load, name: str) -> bool:
        """Have a fault happen. Where it does not take its course, the run ends, and is judged."""
        try:
            await fault.happen(site, load, name)
        except AssertionError as error:
            self._stopped_by = f"{self.stage}: {str(error).splitlines()[0]}"
            return False
        return True

    async def _wait_until_redundant(self, site: Site, load: Load, title: str) -> float:
        """Wait until the next server may fail; return since when. If that does not come, it is judged."""
        self.stage = f"{title}: until redundant again"
        give_up_at = trio.current_time() + self.plan.longest_life + LONGEST_WAIT
        while (since := await site.redundant_since()) is None:
            await trio.sleep(0.2)
            if trio.current_time() > give_up_at:
                load.history.note(trio.current_time(), NEVER)
                return float("inf")
        load.history.note(trio.current_time(), "redundant again")
        return since

    def _outcome(self, site: Site, load: Load, ended_at: float) -> Outcome:
        ends = [began_at for _, _, began_at, _ in self._periods[1:]] + [ended_at]
        periods = []
        for (fault, name, began_at, redundant_at), end in zip(self._periods, ends, strict=True):
            late = max((late for at, late in load.lateness if began_at <= at < end), default=0.0)
            periods.append(Period(fault, name, began_at, redundant_at, end, late))
        violations = judge(Expected(), load.history, self.plan.load.execution_timeout)
        return Outcome(
            self.plan,
            load.history,
            violations,
            tuple(periods),
            tuple(site.router_starts),
            tuple(site.router_crashes),
            site.log,
            self._stopped_by,
        )


@dataclass(frozen=True, slots=True)
class Expected:
    """What the checker may expect: nothing is lost. A lie cannot be told from a loss here; it is one."""

    may_lose: bool = False
    may_stay_thin: bool = False
