"""May a request be retried? Every cell of the table (protocol.md 10.1.9, design.md 6)."""

from itertools import product

from partitioner.errors import Phase
from partitioner.membership.retry import MOST_SENDINGS, RETRIES, Verdict, verdict
from partitioner.protocol.messages import Operation
from tests.tables import each_case

RETRY, GIVE_UP = Verdict.RETRY, Verdict.GIVE_UP

CELLS: dict[Operation, tuple[Verdict, Verdict, Verdict]] = {
    #                               connecting  sending  reading
    Operation.GET: (RETRY, RETRY, RETRY),
    Operation.ACQUIRE: (RETRY, GIVE_UP, GIVE_UP),
    Operation.RELEASE: (RETRY, RETRY, RETRY),
    Operation.SET: (RETRY, GIVE_UP, GIVE_UP),
    Operation.CREATE_UNINITIALIZED: (RETRY, RETRY, RETRY),
    Operation.REMOVE: (RETRY, RETRY, RETRY),
    Operation.RESET_TIMEOUT: (RETRY, RETRY, RETRY),
}

PHASES = (Phase.CONNECTING, Phase.SENDING, Phase.READING)


@each_case("operation", Operation)
def test_cells_of(operation: Operation) -> None:
    """Only what may run twice is sent twice; what was never written may always be sent (design.md 6)."""
    sent_before = [0, 1, 1]

    assert CELLS[operation] == tuple(
        verdict(operation, phase, sendings) for phase, sendings in zip(PHASES, sent_before, strict=True)
    )


def test_table_is_complete() -> None:
    """Every operation has its verdict in every phase."""
    assert set(product(Operation, Phase)) == set(RETRIES)


@each_case("phase", [Phase.SENDING, Phase.READING])
@each_case("operation", Operation)
def test_second_sending_is_the_last(operation: Operation, phase: Phase) -> None:
    """A request is written at most twice: "once more on a fresh one" (design.md 6)."""
    assert verdict(operation, phase, sendings=2) is GIVE_UP


@each_case("sendings", [0, 1, 2, 3, 100])
@each_case("operation", Operation)
def test_connecting_may_fail_until_the_deadline(operation: Operation, sendings: int) -> None:
    """Where nothing was written, another server may always be tried (protocol.md 10.1.9)."""
    assert verdict(operation, Phase.CONNECTING, sendings) is RETRY


def test_most_sendings() -> None:
    """Once, and once more (design.md 6)."""
    assert MOST_SENDINGS == 2
