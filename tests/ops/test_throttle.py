"""Saying the same thing at most once in a while."""

from partitioner.ops.throttle import MOST_SUBJECTS, Throttle


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_first_time() -> None:
    """What was never said is let through."""
    assert Throttle(60, Clock()).admit("a")


def test_again_too_soon() -> None:
    """Within the interval the same subject is held back."""
    clock = Clock()
    throttle = Throttle(60, clock)
    throttle.admit("a")
    clock.now += 59.9

    assert not throttle.admit("a")


def test_again_after_the_interval() -> None:
    """The interval runs from what was let through last, not from what was held back."""
    clock = Clock()
    throttle = Throttle(60, clock)
    throttle.admit("a")
    clock.now += 59
    throttle.admit("a")
    clock.now += 1

    assert throttle.admit("a")


def test_what_is_held_back_is_counted_once() -> None:
    """Each subject with how often it was held back since that was last asked."""
    throttle = Throttle(60, Clock())
    for subject in "abbccc":
        throttle.admit(subject)

    assert throttle.take_held_back() == {"b": 1, "c": 2}
    assert throttle.take_held_back() == {}


def test_subjects_are_independent() -> None:
    """One subject does not hold back another."""
    throttle = Throttle(60, Clock())
    throttle.admit("a")

    assert throttle.admit("b")


def test_storm_of_subjects_is_bounded() -> None:
    """Of more subjects than may be let through in an interval the later ones are held back."""
    throttle = Throttle(60, Clock())
    admitted = [throttle.admit(f"stranger {number}") for number in range(3 * MOST_SUBJECTS)]

    assert admitted == [True] * MOST_SUBJECTS + [False] * 2 * MOST_SUBJECTS


def test_room_is_made_when_an_interval_is_over() -> None:
    """A subject whose interval is over makes room for a new one, and is a new one itself then."""
    clock = Clock()
    throttle = Throttle(60, clock)
    for number in range(MOST_SUBJECTS):
        throttle.admit(f"stranger {number}")
    clock.now += 60

    assert throttle.admit("a new one")
    assert throttle.admit("stranger 1")
