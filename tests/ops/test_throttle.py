"""Saying the same thing at most once in a while."""

from partitioner.ops.throttle import MOST_SUBJECTS, Throttle


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_first_time() -> None:
    """What was never said is let through, and nothing was held back."""
    assert Throttle(60, Clock()).admit("a") == 0


def test_again_too_soon() -> None:
    """Within the interval the same subject is held back."""
    clock = Clock()
    throttle = Throttle(60, clock)
    throttle.admit("a")
    clock.now += 59.9

    assert throttle.admit("a") is None


def test_again_after_the_interval() -> None:
    """After the interval a subject is let through, with how often it was held back since."""
    clock = Clock()
    throttle = Throttle(60, clock)
    for _ in range(4):
        throttle.admit("a")
    clock.now += 60

    assert throttle.admit("a") == 3


def test_count_begins_anew() -> None:
    """What was held back is counted once."""
    clock = Clock()
    throttle = Throttle(60, clock)
    said = []
    for _ in range(3):
        said.append(throttle.admit("a"))
        throttle.admit("a")
        clock.now += 60

    assert said == [0, 1, 1]


def test_held_back_does_not_prolong() -> None:
    """The interval runs from what was said last, not from what was held back."""
    clock = Clock()
    throttle = Throttle(60, clock)
    throttle.admit("a")
    clock.now += 59
    throttle.admit("a")
    clock.now += 1

    assert throttle.admit("a") == 1


def test_subjects_are_independent() -> None:
    """One subject does not hold back another."""
    throttle = Throttle(60, Clock())
    throttle.admit("a")

    assert throttle.admit("b") == 0


def test_storm_of_subjects_is_bounded() -> None:
    """Of more subjects than may be let through in an interval the later ones are held back."""
    throttle = Throttle(60, Clock())
    admitted = [throttle.admit(f"stranger {number}") for number in range(3 * MOST_SUBJECTS)]

    assert admitted == [0] * MOST_SUBJECTS + [None] * 2 * MOST_SUBJECTS


def test_room_is_made_when_an_interval_is_over() -> None:
    """A subject whose interval is over makes room for a new one, and is a new one itself then."""
    clock = Clock()
    throttle = Throttle(60, clock)
    for number in range(MOST_SUBJECTS):
        throttle.admit(f"stranger {number}")
    clock.now += 60

    assert throttle.admit("a new one") == 0
    assert throttle.admit("stranger 1") == 0
