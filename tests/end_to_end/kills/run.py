"""One run: a site under load, and one fault after the other, each when the pool is redundant again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from partitioner.membership.health import HealthPolicy
from tests.end_to_end.kills.faults import Fault
from tests.end_to_end.kills.figures import Outage, longest_untouched, outages
from tests.end_to_end.kills.load import Load, LoadPlan
from tests.end_to_end.kills.site import Site
from tests.simulation.checker import NEVER, Violation, judge
from tests.simulation.history import History

TOLD_WITHIN = 4.5
"""Seconds after which the router has said that the pool is not redundant, if it is not."""

LONGEST_WAIT = 120.0
"""Seconds, beyond T_max, until the pool must be redundant again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is. Times are seconds."""

    faults: Sequence[Fault]
    load: LoadPlan
    longest_life: float  # T_max, as the router is told: every session is touched within it
    health: HealthPolicy
    servers: int = 3
    seed: int = 0

    @property
    def settings(self) -> str:
        """The router's configuration, without its servers."""
        health = self.health
        return (
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


@dataclass(frozen=True, slots=True)
class Findings:
    """What a period was like for the users."""

    period: Period
    longest_outage: float
    closed: int  # exchanges
    violations: tuple[Violation, ...]
    allowed: float | None  # seconds for which one session may be out of reach

    @property
    def is_good(self) -> bool:
        return not self.violations and (self.allowed is None or self.longest_outage < self.allowed)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run has come to."""

    plan: Plan
    history: History
    violations: tuple[Violation, ...]
    periods: tuple[Period, ...]
    log: str  # the router's, of its last process

    @property
    def longest_untouched(self) -> float:
        """Seconds. If they are not less than T_max, the run proves nothing."""
        return longest_untouched(self.history.exchanges)

    def findings(self) -> list[Findings]:
        """Fault by fault."""
        found = outages(self.history.exchanges)
        return [self._findings_of(period, found) for period in self.periods]

    def _findings_of(self, period: Period, found: list[Outage]) -> Findings:
        def is_of_it(began_at: float) -> bool:
            return period.began_at <= began_at < period.ended_at

        exchanges = [each for each in self.history.exchanges if is_of_it(each.began_at)]
        return Findings(
            period,
            longest_outage=max((each.duration for each in found if _overlap(each, period)), default=0.0),
            closed=sum(each.status is None for each in exchanges),
            violations=tuple(each for each in self.violations if is_of_it(each.exchange.began_at)),
            allowed=period.fault.longest_outage(self.plan.health),
        )


def _overlap(outage: Outage, period: Period) -> bool:
    return outage.began_at < period.ended_at and outage.ended_at > period.began_at


@dataclass
class Run:
    """Carries a plan out. What it is at can be looked at while it runs."""

    plan: Plan
    directory: Path
    stage: str = "starting"
    load: Load | None = None
    log: str = ""
    _periods: list[tuple[Fault, str, float, float]] = field(default_factory=list)

    async def run(self) -> Outcome:
        """Go through all of it; nothing is left running."""
        with Site(self.directory, self.plan.settings, self.plan.servers) as site:
            await site.start()
            load = self.load = Load(self.plan.load, site, self.plan.seed)
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
            load.close()
            self.log = site.router.output
        self.stage = "judging"
        return await trio.to_thread.run_sync(self._outcome, load.history, ended_at)

    async def _go_through_faults(self, site: Site, load: Load) -> None:
        await self._wait_until_redundant(site, load, "at the start")
        for number, fault in enumerate(self.plan.faults):
            name = list(site.intents)[number % self.plan.servers]
            title = f"fault {number + 1} of {len(self.plan.faults)}: {fault}, {name}"
            self.stage = title
            began_at = trio.current_time()
            load.history.note(began_at, f"{name}: {fault}")
            await fault.happen(site, name, self.plan.longest_life)
            load.history.note(trio.current_time(), f"{name}: over")
            redundant_at = await self._wait_until_redundant(site, load, title)
            self._periods.append((fault, name, began_at, redundant_at))

    async def _wait_until_redundant(self, site: Site, load: Load, title: str) -> float:
        """Wait until the next server may fail; answer when that was. If it does not come, it is judged."""
        self.stage = f"{title}: until redundant again"
        began_at = trio.current_time()
        redundant_at: float | None = None
        while redundant_at is None or trio.current_time() < began_at + TOLD_WITHIN:
            await trio.sleep(0.1)
            if not site.is_redundant:
                redundant_at = None
            elif redundant_at is None:
                redundant_at = trio.current_time()
            if trio.current_time() > began_at + self.plan.longest_life + LONGEST_WAIT:
                load.history.note(trio.current_time(), NEVER)
                break
        load.history.note(trio.current_time(), "redundant again")
        return redundant_at or float("inf")

    def _outcome(self, history: History, ended_at: float) -> Outcome:
        ends = [began_at for _, _, began_at, _ in self._periods[1:]] + [ended_at]
        periods = [Period(*each, end) for each, end in zip(self._periods, ends, strict=True)]
        violations = judge(Expected(), history, self.plan.load.execution_timeout)
        return Outcome(self.plan, history, violations, tuple(periods), self.log)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the checker may expect: nothing is lost. A lie cannot be told from a loss here; it is one."""

    may_lose: bool = False
    may_stay_thin: bool = False
