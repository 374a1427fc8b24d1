"""What a seed draws, before anything runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from partitioner.membership.losses import LostSessions
from tests.simulation.faults import (
    ACTS,
    FAULTS,
    HARMLESS_ACTS,
    RESTARTS,
    Kind,
    Trouble,
    all_full,
    cut_off,
    dead_switch,
    drain_and_kill,
    drain_and_return,
    drain_two,
    freeze,
    full,
    join,
    kill,
    leave,
    lost_answers,
    resets,
    slow,
    uneven,
    weigh,
)
from tests.simulation.reloads import (
    alias,
    change_copies,
    edit_several,
    move,
    remove_and_add,
    rename,
    respell,
    return_empty,
    swap,
)
from tests.simulation.restarts import (
    MEMORIES,
    OLD_FILES,
    crash_router,
    crash_router_while_one_is_away,
    pause_router,
    stop_router,
    stop_router_while_one_is_away,
    take_over,
    take_over_from_the_living,
    take_over_while_one_is_away,
)
from tests.simulation.seeded import ActorRandom
from tests.simulation.web import CHANGING, ORDINARY, READING, Mix

ENOUGH = 1_000_000
"""Keys that a ledger may remember. One that is full all the time has whole servers read for nothing."""

Theme = Callable[[int, ActorRandom], "Scenario"]


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
    has_disk: bool = False  # a router leaves what it knows to the next one
    is_listed: bool = False  # servers tell on an admin port what they hold
    is_healed: bool = False  # and the router heals by that
    body_memory: int = 256 * 1024 * 1024  # bytes
    is_short: bool = False  # it ends soon after the last trouble, redundant or not

    @property
    def may_lose(self) -> bool:
        """Whether sessions may be lost without a fault of the router, at any time."""
        return self.overlap or self.ledger < ENOUGH

    @property
    def may_stay_thin(self) -> bool:
        """Whether copies may be missing for ever: so small a ledger is full all the time."""
        return self.ledger < ENOUGH


def draw(seed: int, theme: str | None = None) -> Scenario:
    """The scenario of a seed: some have a theme, most are all kinds of things."""
    if theme is not None:
        return THEMES[theme](seed, ActorRandom(seed, f"{theme} scenario"))
    rng = ActorRandom(seed, "scenario")
    if seed >= SWITCHES:
        return _dead_switch(seed, rng)
    (kind,) = rng.choices((_anything, _crowd, _absence), (75, 18, 7))
    return kind(seed, rng)


def _crowd(seed: int, rng: ActorRandom) -> Scenario:
    """Many pages of one session while one of its servers answers late, or not at all."""
    scenario = _anything(seed, rng)
    kind = rng.choice((uneven, uneven, slow, resets, lost_answers, freeze))
    duration = rng.uniform(1.0, 9.0)
    trouble = Trouble((kind,), rng.random(), rng.uniform(0.5, 3.0), duration, None, 0.0)
    return replace(
        scenario,
        sessions=1,
        workers=4,
        pause=0.4,
        troubles=(trouble, *scenario.troubles[:1]),
        impatience=0.0,
        mix=rng.choice((ORDINARY, CHANGING)),
    )


def _absence(seed: int, rng: ActorRandom) -> Scenario:
    """One server is out of reach, and remembers what was true before, where nobody can trust it.

    Either there are no copies, or more has changed meanwhile than the router can remember.
    """
    scenario = _anything(seed, rng)
    kind = rng.choice((freeze, cut_off))
    trouble = Trouble((kind,), rng.random(), rng.uniform(2.0, 5.0), rng.uniform(9.0, 25.0), None, 0.0)
    return replace(
        scenario,
        copies=rng.choice((1, 2)),
        ledger=2,
        sessions=4,
        workers=4,
        pause=1.0,
        troubles=(trouble, *scenario.troubles[:1]),
        mix=ORDINARY,
    )


def _dead_switch(seed: int, rng: ActorRandom) -> Scenario:
    """Both servers of some sessions are out of reach for a minute, and nothing of them may be given up."""
    trouble = Trouble((dead_switch,), rng.random(), rng.uniform(4.0, 8.0), 63.0, None, 0.0)
    return replace(
        _anything(seed, rng),
        servers=4,
        copies=2,
        sessions=8,
        workers=4,
        pause=1.0,
        troubles=(trouble,),
        overlap=False,
        is_settled=rng.happens(0.5),
        lost_sessions=LostSessions.NEW,
        ledger=ENOUGH,
        mix=ORDINARY,
    )


def _anything(seed: int, rng: ActorRandom) -> Scenario:
    servers = rng.choice((2, 3, 3, 3, 4, 5))
    copies = rng.choice((1, 2, 2, 2, 2, 2, 2, 3)) if servers > 2 else rng.choice((1, 2, 2, 2))
    overlap = rng.happens(0.2)
    return Scenario(
        seed=seed,
        servers=servers,
        copies=copies,
        sessions=rng.randint(1, 4),
        workers=rng.randint(2, 5),
        pause=rng.choice((1.0, 4.0, 8.0, 20.0)),
        troubles=_troubles(rng, overlap, servers <= copies),
        overlap=overlap,
        is_settled=rng.happens(0.7),
        lost_sessions=rng.choice((LostSessions.NEW, LostSessions.NEW, LostSessions.CLOSE)),
        ledger=2 if rng.happens(0.06) else ENOUGH,
        impatience=rng.choice((0.0, 0.0, 0.05)),
        large_share=rng.choice((0.0, 0.0, 0.0, 0.1)),
        timeouts=(1, 2) if rng.happens(0.1) else (1,),
        mix=rng.choice((ORDINARY, ORDINARY, CHANGING, READING)),
    )


def _troubles(rng: ActorRandom, overlap: bool, has_no_spare: bool) -> tuple[Trouble, ...]:
    count = rng.randint(1, 3)
    troubles = []
    for _ in range(count):
        kinds = [rng.choice(rng.choices((FAULTS, ACTS, RESTARTS), (70, 25, 0 if overlap else 5))[0])]
        while kinds[-1] in FAULTS and rng.happens(0.25):
            kinds.append(rng.choice(FAULTS))
        meanwhile = rng.choice(HARMLESS_ACTS) if kinds[0] in FAULTS and rng.happens(0.15) else None
        meanwhile = None if has_no_spare else meanwhile  # to drain one and lose another is to lose two
        duration = rng.choice((0.0, 0.0, 0.5, 3.0, 12.0, 25.0)) * rng.uniform(0.5, 1.5)
        trouble = Trouble(
            tuple(kinds), rng.random(), rng.uniform(1.0, 6.0), duration, meanwhile, rng.random()
        )
        troubles.append(trouble)
    return tuple(troubles)


# --- themes that are asked for by name ---


def _themed(seed: int, rng: ActorRandom, kinds: Sequence[Kind], most: int = 2) -> Scenario:
    """A few sessions, and troubles of these kinds alone, one after the other."""
    servers = rng.choice((2, 3, 3, 4))
    troubles = []
    for _ in range(rng.randint(1, most)):
        duration = rng.choice((0.0, 0.5, 3.0, 12.0)) * rng.uniform(0.5, 1.5)
        trouble = Trouble(
            (rng.choice(kinds),), rng.random(), rng.uniform(1.0, 6.0), duration, None, rng.random()
        )
        troubles.append(trouble)
    return Scenario(
        seed=seed,
        servers=servers,
        copies=rng.choice((1, 2, 2, 2)),
        sessions=rng.randint(1, 3),
        workers=rng.randint(2, 4),
        pause=rng.choice((1.0, 2.0, 8.0)),
        troubles=tuple(troubles),
        overlap=False,
        is_settled=rng.happens(0.7),
        lost_sessions=LostSessions.NEW,
        ledger=ENOUGH,
        impatience=rng.choice((0.0, 0.0, 0.05)),
        large_share=0.0,
        timeouts=(1,),
        mix=rng.choice((ORDINARY, ORDINARY, CHANGING)),
        has_disk=rng.happens(0.6),
    )


def _of(*kinds: Kind) -> Theme:
    return lambda seed, rng: _themed(seed, rng, kinds)


def _drains(seed: int, rng: ActorRandom) -> Scenario:
    """Two drains at once, in bulk where servers list what they hold, while bounds are reached."""
    scenario = _themed(seed, rng, (drain_two, drain_and_return, drain_and_kill, leave))
    return replace(
        scenario,
        servers=rng.choice((4, 5)),
        sessions=rng.choice((2, 6)),
        is_listed=rng.happens(0.7),
        large_share=rng.choice((0.0, 0.3)),
        body_memory=rng.choice((200_000, 256 * 1024 * 1024)),
    )


def _healing(seed: int, rng: ActorRandom) -> Scenario:
    """Servers list what they hold and copies are restored from that, whatever has taken them away."""
    kinds = (
        *(kill, freeze, cut_off, lost_answers, return_empty, join, leave, weigh, change_copies, rename, move),
        *(drain_and_return, remove_and_add, crash_router_while_one_is_away, take_over_while_one_is_away),
        *MEMORIES,
    )
    scenario = _themed(seed, rng, kinds, most=3)
    return replace(
        scenario,
        servers=rng.choice((3, 3, 4)),
        copies=rng.choice((1, 2, 2, 2, 2, 3)),
        sessions=rng.choice((2, 4, 8)),
        pause=rng.choice((0.5, 2.0, 8.0, 20.0)),
        ledger=2 if rng.happens(0.15) else ENOUGH,
        timeouts=rng.choice(((1,), (1, 2))),
        mix=rng.choice((ORDINARY, CHANGING)),
        is_listed=True,
        is_healed=True,
    )


def _old_files(seed: int, rng: ActorRandom) -> Scenario:
    """An old file is put back while the router cannot be sure of that, with and without healing."""
    scenario = _themed(seed, rng, OLD_FILES)
    is_listed = rng.happens(0.5)
    return replace(
        scenario,
        sessions=rng.choice((2, 4)),
        pause=rng.choice((0.5, 1.0, 2.0)),
        mix=rng.choice((ORDINARY, CHANGING)),
        is_listed=is_listed,
        is_healed=is_listed,
    )


def _bounds(seed: int, rng: ActorRandom) -> Scenario:
    """A ledger and a memory for bodies that are too small."""
    scenario = _themed(seed, rng, (freeze, slow, lost_answers, uneven, kill))
    return replace(
        scenario,
        sessions=rng.choice((3, 6)),
        ledger=rng.choice((1, 2, 4, ENOUGH)),
        large_share=0.3,
        body_memory=rng.choice((80_000, 200_000)),
    )


def _large(seed: int, rng: ActorRandom) -> Scenario:
    """Sessions larger than all the memory for bodies: they are carried from server to server in pieces."""
    kinds = (freeze, slow, lost_answers, kill, return_empty, join, leave, weigh, change_copies)
    return replace(_themed(seed, rng, kinds), large_share=0.5, body_memory=50_000)


def _pools(seed: int, rng: ActorRandom) -> Scenario:
    """Pools of one to seven servers, with one to three copies."""
    servers = rng.randint(1, 7)
    kinds = FAULTS if servers == 1 else (*FAULTS, *HARMLESS_ACTS)
    return replace(
        _themed(seed, rng, kinds),
        servers=servers,
        copies=rng.randint(1, min(3, servers)),
        lost_sessions=rng.choice((LostSessions.NEW, LostSessions.CLOSE)),
    )


def _short(seed: int, rng: ActorRandom) -> Scenario:
    """One session and one trouble, and an end soon after it: cheap, so that there may be many."""
    scenario = _themed(seed, rng, (*FAULTS, *HARMLESS_ACTS), most=1)
    (trouble,) = scenario.troubles
    return replace(
        scenario,
        copies=2,
        sessions=1,
        workers=3,
        pause=rng.choice((0.5, 1.0)),
        troubles=(replace(trouble, duration=min(trouble.duration, 6.0)),),
        is_short=True,
    )


def _crowd_over_a_crash(seed: int, rng: ActorRandom) -> Scenario:
    """Many pages of one session while the router dies, and begins again at once, with one server away.

    The session outlives lock quarantine: what is wrong after a crash is seen before it has expired.
    """
    scenario = _themed(seed, rng, (crash_router_while_one_is_away,), most=1)
    return replace(
        scenario,
        servers=rng.choice((3, 3, 4)),
        copies=2,
        sessions=1,
        workers=4,
        pause=rng.choice((0.3, 1.0)),
        timeouts=(2,),
        mix=rng.choice((ORDINARY, CHANGING)),
        has_disk=True,
        is_short=True,
    )


THEMES: dict[str, Theme] = {
    "addresses": _of(rename, respell, swap, edit_several),
    "aliases": _of(alias),
    "bounds": _bounds,
    "copies": _of(change_copies, weigh, join),
    "crowd over a crash": _crowd_over_a_crash,
    "drains": _drains,
    "full": _of(full, full, all_full),
    "healing": _healing,
    "large": _large,
    "memories": _of(*MEMORIES),
    "moves": _of(move, remove_and_add),
    "old files": _old_files,
    "pools": _pools,
    "return empty": _of(return_empty),
    "router": _of(crash_router, stop_router),
    "router, one away": _of(crash_router_while_one_is_away, stop_router_while_one_is_away),
    "short": _short,
    "takeover": _of(take_over, take_over_while_one_is_away),
    "two routers": _of(take_over_from_the_living, pause_router),
}
"""Each draws scenarios of one kind."""
