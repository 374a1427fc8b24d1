"""The last hour of a router, in steps."""

from dataclasses import dataclass, field

import trio

from partitioner.membership.backend import BackendId
from partitioner.ops.admin.reports import STEPS
from partitioner.ops.history import STEP, History, Moment
from partitioner.ops.rates import EVERY, Exchanges, Sample
from partitioner.transport.traffic import DURATIONS
from tests.identities import STATE_1, STATE_2
from tests.tables import each_case


def answered(count: int, bucket: int = 0) -> Exchanges:
    """So many exchanges, all of them as long as this bucket's."""
    counts = [0] * (len(DURATIONS) + 1)
    counts[bucket] = count
    return Exchanges(count, 0, tuple(counts))


@dataclass
class Router:
    """What a router would tell, at a time that a test says."""

    now: float = 0.0
    clients: Exchanges = field(default_factory=lambda: answered(0))
    role: str = "active"
    states: dict[BackendId, str] = field(default_factory=lambda: {STATE_1: "up"})
    lacking: int = 0

    def look(self) -> Moment:
        backends = dict.fromkeys(self.states, self.clients)
        sample = Sample(self.now, {}, backends)
        return Moment(sample, self.clients, self.role, dict(self.states), self.lacking)

    def pass_on(self, history: History, seconds: float) -> None:
        """Let time pass, looking as often as a router does."""
        until = self.now + seconds
        while self.now < until:
            self.now += EVERY
            history.note(self.look())


def test_a_step_is_what_was_added_in_it() -> None:
    """Rates and durations are those of the step; one that is under way, those until now."""
    router = Router()
    history = History(router.look)
    router.clients = answered(60, bucket=3)
    router.pass_on(history, STEP - EVERY)
    before, until_now = len(history.router.steps), history.under_way()
    router.pass_on(history, EVERY)
    just_begun = history.under_way()
    router.pass_on(history, STEP)
    busy, idle = history.router.steps

    assert (0, None) == (before, just_begun)
    assert until_now is not None
    assert (2.4, "up") == (until_now.router.rate, until_now.backends[STATE_1].state)
    assert (2.0, 0, "active") == (busy.rate, busy.failed, busy.state)
    assert DURATIONS[2] < (busy.p99 or 0.0) <= DURATIONS[3]
    assert (0.0, None) == (idle.rate, idle.p99)


def test_a_step_shows_the_worst_state() -> None:
    """A server that was down for five seconds was down in that half minute; lacking sessions likewise."""
    router = Router()
    history = History(router.look)
    router.states, router.lacking = {STATE_1: "down"}, 12
    router.pass_on(history, EVERY)
    router.states, router.lacking = {STATE_1: "up"}, 0
    until_now = history.under_way()
    router.pass_on(history, 2 * STEP)

    assert until_now is not None
    assert (0, "down") == (until_now.lacking, until_now.backends[STATE_1].state)  # how many lack one now
    assert ["down", "up"] == [step.state for step in history.backends[STATE_1].steps][:2]
    assert [12, 0] == list(history.lacking)[:2]


@each_case(
    ("states", "has_flapped"),
    [
        (["up"], False),
        (["up", "down", "up"], False),
        (["up", "down", "up", "down"], True),
        (["up", "down", "up", "recovering", "up"], True),
    ],
)
def test_who_came_and_went(states: list[str], has_flapped: bool) -> None:
    """A restart is down and up once; more than that is to be looked into."""
    router = Router()
    history = History(router.look)
    for state in states:
        router.states = {STATE_1: state}
        router.pass_on(history, STEP)

    assert has_flapped == history.backends[STATE_1].has_flapped


def test_it_is_an_hour() -> None:
    """Older steps are forgotten, and so is a server that nothing is asked of any more."""
    router = Router(states={STATE_1: "up", STATE_2: "up"})
    history = History(router.look)
    router.pass_on(history, STEP * (STEPS + 10))
    router.states = {STATE_1: "up"}
    router.pass_on(history, STEP)

    assert STEPS == len(history.router.steps) == len(history.lacking)
    assert {STATE_1} == history.backends.keys()


async def test_it_looks_by_itself(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    """For as long as the router runs."""
    router = Router()

    def look() -> Moment:
        router.now = trio.current_time()
        return router.look()

    history = History(look)
    nursery.start_soon(history.run)
    await trio.sleep(2 * STEP + 1)

    assert 2 == len(history.router.steps)
