"""Makes a run the same every time: trio's order of tasks comes from the seed as well.

trio shuffles the tasks that are ready in each round, with a random generator of its own. It has a
switch, meant for Hypothesis, that sorts each batch before it is shuffled; with the generator seeded the
order is then the same in every run. Both are private names of trio, so they are touched here only,
and a test fails when they have moved.
"""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar

import trio
import trio.testing

T = TypeVar("T")


def run_seeded(seed: int, main: Callable[[], Awaitable[T]]) -> T:
    """Run an async function in virtual time, with all of trio's own choices drawn from the seed."""
    run: Any = trio._core._run
    run._ALLOW_DETERMINISTIC_SCHEDULING = True
    run._r.seed(seed)
    try:
        return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        run._ALLOW_DETERMINISTIC_SCHEDULING = False


class ActorRandom(Random):
    """One actor's own generator, so that what one of them draws does not depend on the others."""

    def __init__(self, seed: int, actor: str) -> None:
        super().__init__(f"{seed} {actor}")

    def happens(self, probability: float) -> bool:
        return self.random() < probability
