"""Says what a change of the pool would move, before it is made.

Only READY servers count, because only they hold sessions: taking a server out of the file that has
been in maintenance for long moves nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from partitioner.cli.configuration import settings_of
from partitioner.cli.options import Refused
from partitioner.cli.output import percent, print_json
from partitioner.cli.tables import print_rich, table
from partitioner.config import Settings
from partitioner.config.values import read_name, read_weight
from partitioner.placement.moves import Plan, plan_moves, sample_keys
from partitioner.placement.rendezvous import Ranking

SAMPLE = 100_000
"""Sessions to count: shares to within a third of a percent, in about a second."""

MOST_HASHES = 10_000_000
"""Of one session for one server: two seconds. The shares of many servers are small, and a smaller sample
tells them as well."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be changed in the pool."""

    add: tuple[tuple[str, float], ...]  # names and weights
    remove: tuple[str, ...]
    weight: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class ServerMoves:
    """What a change means for one server, in shares of all sessions, 0 to 1."""

    name: str
    share_now: float
    share_then: float
    leaves: float
    arrives: float


def print_plan(
    config: Path | None,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    weight: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Print what a change moves; `add` and `weight` are written `NAME=WEIGHT`.

    Raises Refused where it cannot be made.
    """
    settings = settings_of(config)
    if settings.store is not None:
        raise Refused("sessions are on the engine of a store: there is no pool, and nothing moves")
    change = Change(
        add=tuple(_name_and_weight("--add", each, default=1.0) for each in add),
        remove=remove,
        weight=tuple(_name_and_weight("--weight", each) for each in weight),
    )
    ready_then = _ready_weights_then(settings, change)
    moves = plan_moves(
        Ranking(settings.ready_weights()), Ranking(ready_then), _sample(sample_size(len(ready_then)))
    )
    rows = server_moves(moves, names=[*settings.weights(), *(name for name, _ in change.add)])
    if as_json:
        print_json(
            {
                "sampled": moves.sampled,
                "copies": settings.copies_kept(),
                "moved": moves.moved_share,
                "backends": [asdict(row) for row in rows],
            }
        )
    else:
        print_rich(_moves_table(rows), *_summary(moves, settings.copies_kept()))


def sample_size(servers: int) -> int:
    """How many sessions are counted for a pool of so many servers."""
    return min(SAMPLE, MOST_HASHES // max(1, servers))


def weights_then(weights: dict[str, float], change: Change) -> dict[str, float]:
    """The weights of the pool after a change.

    Raises Refused if the change names a server that is not there, or adds one that is.
    """
    then = dict(weights)
    for name in change.remove:
        _refuse_unknown("--remove", name, then)
        del then[name]
    for name, weight in change.weight:
        _refuse_unknown("--weight", name, then)
        then[name] = weight
    for name, weight in change.add:
        if name in weights:
            raise Refused(f"--add {name}: it is in the pool already; `--weight {name}=W` changes its weight")
        if name in then:
            raise Refused(f"--add {name}: given twice")
        then[name] = weight
    return then


def server_moves(moves: Plan, names: Sequence[str]) -> list[ServerMoves]:
    """What a plan means for each of these servers."""
    return [
        ServerMoves(
            name=name,
            share_now=moves.before[name] / moves.sampled,
            share_then=moves.after[name] / moves.sampled,
            leaves=moves.leaving(name),
            arrives=moves.arriving(name),
        )
        for name in names
    ]


def _ready_weights_then(settings: Settings, change: Change) -> dict[str, float]:
    now = settings.weights()
    idle = now.keys() - settings.ready_weights().keys()
    ready = {name: weight for name, weight in weights_then(now, change).items() if name not in idle}
    if not ready:
        raise Refused("no ready server would be left; expected at least one")
    return ready


def _name_and_weight(option: str, text: str, default: float | None = None) -> tuple[str, float]:
    """Read `NAME=WEIGHT`, or NAME alone where there is a default weight."""
    name, equals, weight = text.partition("=")
    try:
        read_name(name)
        if equals:
            return name, read_weight(_maybe_float(weight))
        if default is None:
            raise ValueError("expected NAME=WEIGHT")
        return name, default
    except ValueError as error:
        raise Refused(f"{option} {text}: {error}") from error


def _maybe_float(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _refuse_unknown(option: str, name: str, weights: dict[str, float]) -> None:
    if name in weights:
        return
    near = get_close_matches(name, weights, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(weights)}"
    raise Refused(f"{option} {name}: no server of this name is in the pool; {hint}")


def _sample(size: int) -> Iterable[bytes]:
    """The sample, with a progress bar on stderr on a terminal: large pools take a while."""
    progress = Console(stderr=True)
    return track(
        sample_keys(size),
        description="counting",
        total=size,
        console=progress,
        transient=True,
        disable=not progress.is_terminal,
    )


def _moves_table(rows: Sequence[ServerMoves]) -> Table:
    numbers = ("share now", "share then", "leaves", "arrives")
    made = table("server", *numbers, numbers=numbers)
    for row in rows:
        shares = (row.share_now, row.share_then, row.leaves, row.arrives)
        made.add_row(row.name, *(percent(each) for each in shares))
    return made


def _summary(moves: Plan, copies: int) -> list[str]:
    if not moves.moved:
        return ["No session moves."]
    moved = percent(moves.moved_share)
    how = "They move as they are used, and none is lost"
    if copies == 1:
        return [
            f"{moved} of all sessions move to another server; the others stay.",
            f"{how} while the servers that they leave keep running: there is one copy of each.",
        ]
    return [
        f"{moved} of all sessions get another first choice; the others stay.",
        f"{how}: {copies} servers hold each, and one of them may fail meanwhile.",
    ]
