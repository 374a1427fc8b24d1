"""The machines of an exchange with a backend: every cell of their tables."""

from partitioner.errors import (
    BackendEjected,
    BackendFailure,
    BackendHungUp,
    BackendMalformed,
    BackendNotAtFault,
    BackendReset,
    BackendTooSlow,
    Phase,
)
from partitioner.transport.exchange_states import (
    ANSWERED,
    OUTCOMES,
    PHASES,
    PROGRESS,
    Ending,
    Order,
    Stage,
    Step,
    Trouble,
)
from tests.tables import each_case

NEW, SENDING, AWAITING_CLIENT = Stage.NEW, Stage.SENDING, Stage.AWAITING_CLIENT
EARLY, READING, ANSWERING = Stage.ANSWERED_EARLY, Stage.READING, Stage.ANSWERING
NEVER = None

STEPS = {
    #                 BEGIN    ASK_CLIENT       HEAR_CLIENT  SENT       HEAR
    NEW:             (SENDING, NEVER,           NEVER,       NEVER,     NEVER),
    SENDING:         (NEVER,   AWAITING_CLIENT, NEVER,       READING,   EARLY),
    AWAITING_CLIENT: (NEVER,   NEVER,           SENDING,     NEVER,     NEVER),
    EARLY:           (NEVER,   NEVER,           NEVER,       ANSWERING, NEVER),
    READING:         (NEVER,   NEVER,           NEVER,       NEVER,     ANSWERING),
    ANSWERING:       (NEVER,   NEVER,           NEVER,       NEVER,     ANSWERING),
}  # fmt: skip
STEP_CELLS = [
    (stage, step, following)
    for stage, row in STEPS.items()
    for step, following in zip(Step, row, strict=True)
]


@each_case(("stage", "step", "following"), STEP_CELLS)
def test_progress(stage: Stage, step: Step, following: Stage | None) -> None:
    """Where each step leads from each stage; None: it cannot happen there, and is an error of ours."""
    assert following is PROGRESS.get((stage, step))


@each_case("stage", list(Stage))
def test_phases_only_go_forward(stage: Stage) -> None:
    """No step leads back to a phase in which more could be sent again (design.md 6)."""
    order = [Phase.CONNECTING, Phase.SENDING, Phase.READING]
    for (before, _), after in PROGRESS.items():
        if before is stage:
            assert order.index(PHASES[before]) <= order.index(PHASES[after])


@each_case(("stage", "phase"), zip(Stage, PHASES.values(), strict=True))
def test_phase_says_what_was_written(stage: Stage, phase: Phase) -> None:
    """Nothing is written where an exchange connects; all of it is where only the answer is to come."""
    written = {NEW: Phase.CONNECTING, READING: Phase.READING, ANSWERING: Phase.READING}

    assert phase is written.get(stage, Phase.SENDING) is PHASES[stage]


def test_answered() -> None:
    """A connection has shown that it is alive once a byte has come, and not before."""
    reached = {after for (_, step), after in PROGRESS.items() if step is Step.HEAR}

    assert reached == set(ANSWERED)


USELESS, STALE, UNANSWERED = Ending.USELESS, Ending.STALE, Ending.UNANSWERED
CLOSED, FOUND, LEFT = (USELESS, BackendHungUp), (STALE, BackendHungUp), (UNANSWERED, BackendNotAtFault)
RESET, ODD, GONE = (USELESS, BackendReset), (USELESS, BackendMalformed), (UNANSWERED, None)

ENDS: dict[Trouble, tuple[tuple[Ending, type[BackendFailure] | None] | None, ...]] = {
    #                         GO_ON                         CUT                           BROKEN_OFF
    Trouble.CLOSED:          (CLOSED,                       CLOSED,                       CLOSED),
    Trouble.BROKEN:          (RESET,                        RESET,                        LEFT),
    Trouble.FOUND_CLOSED:    (FOUND,                        FOUND,                        FOUND),
    Trouble.FOUND_BROKEN:    (FOUND,                        FOUND,                        LEFT),
    Trouble.MALFORMED:       (ODD,                          ODD,                          ODD),
    Trouble.CLIENT_GONE:     (GONE,                         GONE,                         GONE),
    Trouble.ABANDONED:       (GONE,                         GONE,                         GONE),
    Trouble.STOPPED:         (NEVER,                        (UNANSWERED, BackendEjected), LEFT),
    Trouble.LATE:            ((UNANSWERED, BackendTooSlow), NEVER,                        NEVER),
    Trouble.LATE_FOR_OTHERS: (LEFT,                         NEVER,                        NEVER),
}  # fmt: skip
END_CELLS = [
    (trouble, order, end) for trouble, row in ENDS.items() for order, end in zip(Order, row, strict=True)
]


@each_case(("trouble", "order", "end"), END_CELLS)
def test_outcomes(
    trouble: Trouble, order: Order, end: tuple[Ending, type[BackendFailure] | None] | None
) -> None:
    """What becomes of the connection, and whose fault it was; None: it cannot happen."""
    outcome = OUTCOMES.get((trouble, order))

    assert end == (outcome and (outcome.ending, outcome.failure))


def test_nothing_is_missing() -> None:
    """The tables above are about all stages and troubles that there are."""
    assert (set(Stage), set(Stage), set(Trouble)) == (set(STEPS), set(PHASES), set(ENDS))
