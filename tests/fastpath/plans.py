"""What happens in a run of test_both_paths.py: actions of clients, faults of backends, turns between them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from random import Random

from partitioner.protocol.messages import Operation
from partitioner.transport.backend_connections import HELD_BODY


class Fault(Enum):
    """What a backend does about one request."""

    NONE = "none"
    SPLIT = "answers in pieces"
    LATE = "answers late"
    ODD = "spells a field in its own way"
    PREFIXED = "answers like an HTTP server"
    CLOSE_AFTER = "answers, and hangs up"
    # From here on a session is not what it was, or it is not known what; it is not asked for again.
    EXTRA = "says more than it was asked"
    ERROR = "answers 503"
    HANG_UP = "hangs up"
    HANG_UP_LATER = "carries it out, and hangs up"
    HALF_HEAD = "hangs up in the middle of a head"
    HALF_BODY = "hangs up in the middle of an answer"
    RESET = "resets the connection"
    STALL = "does not answer"


ANSWERS = (Fault.NONE, Fault.SPLIT, Fault.ODD, Fault.PREFIXED)
HARMLESS = (*ANSWERS, Fault.LATE, Fault.CLOSE_AFTER)
MARKING = (Fault.ERROR, Fault.HANG_UP_LATER, Fault.HALF_BODY, Fault.RESET, Fault.STALL)


class Turn(Enum):
    """What happens between two actions, and is over before the next one begins."""

    GOES = "one backend dies"
    RETURNS = "it comes back in the incarnation that is known"
    RETURNS_EMPTY = "it comes back in a new incarnation"
    RESTARTS = "it dies and is back in a new incarnation"
    PROBED = "all backends are probed"  # until then only exchanges notice the above
    TWO_COPIES = "a reload says `copies: 2`"
    ONE_COPY = "a reload says `copies: 1`"
    TRUSTED = "an operator trusts all backends that are in doubt"
    TENDED = "copies are touched, and keys repaired"


INCARNATIONS = (
    Turn.GOES,
    Turn.RETURNS,
    Turn.RETURNS_EMPTY,
    Turn.RESTARTS,
    Turn.PROBED,
    Turn.PROBED,
    Turn.TENDED,
)
RELOADS = (Turn.TWO_COPIES, Turn.ONE_COPY, Turn.TENDED)
DOUBTS = (Turn.TRUSTED, Turn.PROBED, Turn.TENDED)
DOUBTS_AND_INCARNATIONS = (Turn.RESTARTS, Turn.PROBED, Turn.PROBED, Turn.TENDED)

_IMPOSSIBLE = {
    Turn.GOES: {Turn.GOES, Turn.RESTARTS},
    Turn.RETURNS: {Turn.RETURNS, Turn.RETURNS_EMPTY},
    Turn.RETURNS_EMPTY: {Turn.RETURNS, Turn.RETURNS_EMPTY},
}
"""After these: a backend that is away does not go, and one that is there does not come back."""


_OFTEN = (Operation.SET, Operation.SET, Operation.SET, Operation.ACQUIRE, Operation.ACQUIRE)
"""Where there are turns: copies that they concern are to be written, and locks held that they break."""


@dataclass(frozen=True)
class Action:
    """What one client does."""

    client: int
    session: int
    operation: Operation
    has_cookie: bool  # the one that it was given last, else a wrong one
    size: int
    cuts: tuple[int, ...]  # where the request is cut into pieces
    leaves: bool  # before the answer
    finishes: bool  # sending, before the answer
    repeats: bool  # sends it twice at once
    garbles: bool  # its head
    fault: Fault
    at: int  # the backend that fails, where but one does


@dataclass(frozen=True)
class Farm:
    """A router and its backends, and what happens to them."""

    backends: int
    copies: int
    faults: tuple[Fault, ...] = tuple(Fault)
    is_settled: bool = True
    all_fail: bool = True  # at once, where one is to fail; or else one of them
    turns: tuple[Turn, ...] = ()
    keys: int = 1_000_000  # that the ledger may remember
    fall: int = 10**6  # failures after which a backend is ejected
    length: int = 20  # of its plans, in actions

    @property
    def keeps_saves(self) -> bool:
        """Whether every save that was acknowledged is read back.

        One backend alone begins new incarnations, so two copies are enough. Where times are settled at once,
        all sessions have expired by the next action, as far as the router knows; it need not look for them.
        """
        has_new_lives = Turn.RETURNS_EMPTY in self.turns
        if self.is_settled or Turn.TRUSTED in self.turns:  # which is not true: it is not known what it missed
            return False
        return not (has_new_lives and Turn.ONE_COPY in self.turns)


def plan(seed: int, farm: Farm) -> list[Action | Turn]:
    """What happens. Where there are turns, one backend alone has all the faults: the first."""
    actions = _actions(seed, farm.length, farm.faults, _OFTEN if farm.turns else ())
    if not farm.turns:
        return [*actions]
    rng, steps, impossible = Random(f"turns {seed}"), list[Action | Turn](), _IMPOSSIBLE[Turn.RETURNS]
    chance = (
        0.4 if farm.is_settled else 0.2
    )  # writes are ordinary again when their keys have been written once
    for action in actions:
        steps.append(replace(action, at=0))
        if rng.random() < chance:
            turn = rng.choice([each for each in farm.turns if each not in impossible])
            impossible = _IMPOSSIBLE.get(turn, impossible)
            steps.append(turn)
            if turn in (Turn.RETURNS_EMPTY, Turn.RESTARTS) and rng.random() < 0.5:
                steps.append(Turn.PROBED)  # or its new incarnation is noticed by an exchange
    return steps


def _actions(seed: int, length: int, faults: Sequence[Fault], often: tuple[Operation, ...]) -> list[Action]:
    """Some actions. Creates take two requests, between which a fault would be a race; they go well."""
    rng = Random(seed)
    sessions, actions = [1, 2, 3], []
    operations = [*Operation, *often]
    for number in range(length):
        place = rng.randrange(len(sessions))
        operation = rng.choice(operations)
        goes_well = operation is Operation.CREATE_UNINITIALIZED or rng.random() < 0.6
        fault = Fault.NONE if goes_well else rng.choice(faults)
        is_odd = rng.random() < 0.15
        leaves = not goes_well and rng.random() < 0.3
        action = Action(
            client=rng.randrange(3),
            session=sessions[place],
            operation=operation,
            has_cookie=rng.random() < 0.8,
            size=rng.choice([7, 7, 2000, HELD_BODY, HELD_BODY + 1]),
            cuts=tuple(sorted(rng.randrange(400) for _ in range(rng.choice([0, 0, 1, 2])))),
            leaves=leaves,
            finishes=not goes_well and rng.random() < 0.1,
            repeats=not leaves and rng.random() < 0.05,  # or whether the second is answered were a race
            garbles=is_odd and rng.random() < 0.3,
            fault=fault,
            at=rng.randrange(2),
        )
        if action.leaves or action.finishes:
            action = replace(action, fault=Fault.LATE)  # or whether it has left before the answer were a race
        actions.append(action)
        if action.fault not in HARMLESS or action.leaves or action.finishes:
            sessions[place] = 10 + number
    return actions
