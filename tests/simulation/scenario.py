"""What a seed draws, before anything runs."""

from dataclasses import dataclass, replace

from partitioner.membership.losses import LostSessions
from tests.simulation.dice import Dice
from tests.simulation.faults import (
    ACTS,
    FAULTS,
    HARMLESS_ACTS,
    RESTARTS,
    Trouble,
    cut_off,
    dead_switch,
    freeze,
    lost_answers,
    resets,
    slow,
    uneven,
)
from tests.simulation.web import CHANGING, ORDINARY, READING, Mix

ENOUGH = 1_000_000
"""Keys that a ledger may remember. One that is full all the time has whole servers read for nothing."""


SWITCHES = 1_000_000
"""Seeds from here on have two servers behind a switch that dies; those below draw from everything else."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A world and what goes wrong in it. Durations are seconds."""

    seed: int
    servers: int
    copies: int
    sessions: int
    workers: int
    pause: float  # between two pages of a worker, on average
    troubles: tuple[Trouble, ...]
    overlap: bool  # troubles do not wait for each other: only P2 and P4 are promised then
    is_settled: bool  # at the start
    lost_sessions: LostSessions
    ledger: int  # keys that may be remembered
    impatience: float
    large_share: float
    timeouts: tuple[int, ...]  # minutes; pages choose among them
    mix: Mix

    @property
    def may_lose(self) -> bool:
        """Whether sessions may be lost without a fault of the router."""
        return self.overlap or self.copies == 1 or self.ledger < ENOUGH

    @property
    def may_stay_thin(self) -> bool:
        """Whether copies may be missing for ever: so small a ledger is full all the time."""
        return self.ledger < ENOUGH


def draw(seed: int) -> Scenario:
    """The scenario of a seed: some have a theme, most are all kinds of things."""
    dice = Dice(seed, "scenario")
    if seed >= SWITCHES:
        return _dead_switch(seed, dice)
    (theme,) = dice.choices((_anything, _crowd, _absence), (75, 18, 7))
    return theme(seed, dice)


def _crowd(seed: int, dice: Dice) -> Scenario:
    """Many pages of one session while one of its servers answers late, or not at all."""
    scenario = _anything(seed, dice)
    kind = dice.choice((uneven, uneven, slow, resets, lost_answers, freeze))
    duration = dice.uniform(1.0, 9.0)
    trouble = Trouble((kind,), dice.random(), dice.uniform(0.5, 3.0), duration, None, 0.0)
    return replace(
        scenario,
        sessions=1,
        workers=4,
        pause=0.4,
        troubles=(trouble, *scenario.troubles[:1]),
        impatience=0.0,
        mix=dice.choice((ORDINARY, CHANGING)),
    )


def _absence(seed: int, dice: Dice) -> Scenario:
    """One server is out of reach, and remembers what was true before, where nobody can vouch for it.

    Either there are no copies, or more has changed meanwhile than the router can remember.
    """
    scenario = _anything(seed, dice)
    kind = dice.choice((freeze, cut_off))
    trouble = Trouble((kind,), dice.random(), dice.uniform(2.0, 5.0), dice.uniform(9.0, 25.0), None, 0.0)
    return replace(
        scenario,
        copies=dice.choice((1, 2)),
        ledger=2,
        sessions=4,
        workers=4,
        pause=1.0,
        troubles=(trouble, *scenario.troubles[:1]),
        mix=ORDINARY,
    )


def _dead_switch(seed: int, dice: Dice) -> Scenario:
    """Both servers of some sessions are out of reach for a minute, and nothing of them may be given up."""
    trouble = Trouble((dead_switch,), dice.random(), dice.uniform(4.0, 8.0), 63.0, None, 0.0)
    return replace(
        _anything(seed, dice),
        servers=4,
        copies=2,
        sessions=8,
        workers=4,
        pause=1.0,
        troubles=(trouble,),
        overlap=False,
        is_settled=dice.happens(0.5),
        lost_sessions=LostSessions.NEW,
        ledger=ENOUGH,
        mix=ORDINARY,
    )


def _anything(seed: int, dice: Dice) -> Scenario:
    servers = dice.choice((2, 3, 3, 3, 4, 5))
    copies = dice.choice((1, 2, 2, 2, 2, 2, 2, 3)) if servers > 2 else dice.choice((1, 2, 2, 2))
    overlap = dice.happens(0.2)
    return Scenario(
        seed=seed,
        servers=servers,
        copies=copies,
        sessions=dice.randint(1, 4),
        workers=dice.randint(2, 5),
        pause=dice.choice((1.0, 4.0, 8.0, 20.0)),
        troubles=_troubles(dice, overlap, servers <= copies),
        overlap=overlap,
        is_settled=dice.happens(0.7),
        lost_sessions=dice.choice((LostSessions.NEW, LostSessions.NEW, LostSessions.CLOSE)),
        ledger=2 if dice.happens(0.06) else ENOUGH,
        impatience=dice.choice((0.0, 0.0, 0.05)),
        large_share=dice.choice((0.0, 0.0, 0.0, 0.1)),
        timeouts=(1, 2) if dice.happens(0.1) else (1,),
        mix=dice.choice((ORDINARY, ORDINARY, CHANGING, READING)),
    )


def _troubles(dice: Dice, overlap: bool, has_no_spare: bool) -> tuple[Trouble, ...]:
    count = dice.randint(1, 3)
    troubles = []
    for _ in range(count):
        kinds = [dice.choice(dice.choices((FAULTS, ACTS, RESTARTS), (70, 25, 0 if overlap else 5))[0])]
        while kinds[-1] in FAULTS and dice.happens(0.25):
            kinds.append(dice.choice(FAULTS))
        meanwhile = dice.choice(HARMLESS_ACTS) if kinds[0] in FAULTS and dice.happens(0.15) else None
        meanwhile = None if has_no_spare else meanwhile  # to drain one and lose another is to lose two
        duration = dice.choice((0.0, 0.0, 0.5, 3.0, 12.0, 25.0)) * dice.uniform(0.5, 1.5)
        trouble = Trouble(
            tuple(kinds), dice.random(), dice.uniform(1.0, 6.0), duration, meanwhile, dice.random()
        )
        troubles.append(trouble)
    return tuple(troubles)
