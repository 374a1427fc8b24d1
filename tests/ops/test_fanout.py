"""One observer in front of several."""

from partitioner.membership.backend import Address, Backend
from partitioner.ops.fanout import FACTS, Fanout
from partitioner.protocol.messages import Operation
from partitioner.transport.observer import Observer
from tests.doubles.observers import FACT_NAMES, RecordingObserver

BACKEND = Backend("state-1", Address("10.0.0.1", 42424))


class Counting(Observer):
    """Cares for one fact only."""

    def __init__(self) -> None:
        self.failovers = 0

    def failed_over(self, backend: Backend) -> None:
        self.failovers += 1


def test_everybody_hears_what_they_listen_for() -> None:
    """A fact goes to all who override it, in their order, with all that was said."""
    first, second, counting = RecordingObserver(), RecordingObserver(), Counting()
    front = Fanout(first, counting, second)
    front.failed_over(BACKEND)
    front.exchange_finished(Operation.GET, 200, 0.25, 7)

    assert [("failed_over", BACKEND), ("exchange_finished", Operation.GET, 200, 0.25, 7)] == first.facts
    assert first.facts == second.facts
    assert 1 == counting.failovers


def test_a_fact_of_one_listener_is_a_direct_call() -> None:
    """In front of one that listens there is nothing."""
    counting = Counting()

    assert counting.failed_over == Fanout(Observer(), counting).failed_over


def test_nobody_listens() -> None:
    """A fact that no observer overrides stays the empty call that it is."""
    front = Fanout(Counting())
    front.copy_written(BACKEND, True)

    assert ["failed_over"] == list(vars(front))


def test_it_hands_on_all_facts() -> None:
    """Those that an observer can hear."""
    assert FACT_NAMES == FACTS
