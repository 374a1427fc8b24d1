"""The judge of histories: what it holds against the router, and what it does not."""

from partitioner.protocol.messages import Operation
from tests.simulation.checker import Kind, judge
from tests.simulation.history import History
from tests.tables import each_case


class Strict:
    """A world in which nothing is excused."""

    may_lose = False
    may_stay_thin = False


def add(
    history: History, page: int, operation: Operation, at: float, status: int, *, granted_at: float = 0.0
) -> None:
    """An exchange that takes 0.1 s; of a release by force, or of a page that is shown a lock."""
    exchange = history.begin(page, 0, operation, at, cookie=2 if operation is Operation.RELEASE else None)
    exchange.ended_at, exchange.status = at + 0.1, status
    exchange.is_forced = operation is Operation.RELEASE
    if status == 423:
        exchange.lock_cookie, exchange.lock_age = 2, int(at - granted_at)


@each_case(
    ("releases", "claims", "is_stuck"),
    [
        ([(11.0, 200)], [0.0], True),
        ([(11.0, 200)], [0.0, 15.0], False),  # it may not know that another server has missed the release
        ([(11.0, 200), (16.0, 200)], [0.0, 15.0], True),
        ([(11.0, 200)], [0.0, 20.05], False),  # it claims while it is asked
        ([(11.0, 200)], [0.0, 30.0], True),
        ([], [0.0], False),
    ],
)
def test_a_lock_that_was_released_by_force_is_not_shown_again(
    releases: list[tuple[float, int]], claims: list[float], is_stuck: bool
) -> None:
    """Unless a router has claimed since."""
    history = History(claims=claims)
    for page, (at, status) in enumerate(releases):
        add(history, page, Operation.ACQUIRE, at - 1.0, 423)
        add(history, page, Operation.RELEASE, at, status)
    add(history, 9, Operation.ACQUIRE, 20.0, 423)
    found = [each.kind for each in judge(Strict(), history, execution_timeout=1000.0)]

    assert ([Kind.STUCK_LOCK] if is_stuck else []) == found
