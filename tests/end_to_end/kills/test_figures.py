"""What is reckoned from a history: a wrong figure would call a long outage a short one."""

from datetime import UTC, datetime

from partitioner.protocol.messages import Operation
from tests.end_to_end.kills.figures import Outage, claims, longest_neglect, outages, puts_in_place, touches
from tests.simulation.history import Exchange


def exchange(
    began_at: float,
    ended_at: float | None,
    status: int | None = 200,
    *,
    session: int = 1,
    operation: Operation = Operation.GET,
) -> Exchange:
    return Exchange(0, 0, session, operation, began_at, ended_at=ended_at, status=status)


def found(*exchanges: Exchange) -> list[Outage]:
    return outages(exchanges)


def test_an_answer_takes_its_time() -> None:
    """Who waits for an answer is out of reach as long."""
    assert [Outage(1, 10.0, 13.0)] == found(exchange(10.0, 13.0))


def test_asked_in_vain() -> None:
    """It counts from the beginning of the first that failed, through all that failed, to the answer's end."""
    assert [Outage(1, 10.0, 15.0)] == found(
        exchange(14.0, 15.0), exchange(10.0, 11.0, None), exchange(12.0, 13.0, None)
    )


def test_an_answer_to_somebody_else_in_between() -> None:
    """While one waited in vain another one was answered: it counts from then."""
    assert [Outage(1, 11.0, 12.0), Outage(1, 12.0, 16.0)] == found(
        exchange(10.0, 14.0, None), exchange(11.0, 12.0), exchange(15.0, 16.0)
    )


def test_locked_is_an_answer() -> None:
    assert [Outage(1, 10.0, 11.0)] == found(exchange(10.0, 11.0, 423))


def test_no_answer_any_more() -> None:
    """It has no end, whether or not the last one was given up."""
    assert [Outage(1, 10.0, float("inf"))] == found(exchange(10.0, 11.0, None), exchange(12.0, None, None))


def test_sessions_are_told_apart() -> None:
    """The answer for one is none for another."""
    assert [Outage(1, 10.0, float("inf")), Outage(2, 11.0, 12.0)] == found(
        exchange(10.0, 11.0, None), exchange(11.0, 12.0, session=2)
    )


def test_neglected_between_two_touches() -> None:
    """From the beginning of one to the end of the next; what failed has touched nothing."""
    exchanges = [exchange(9.0, 10.0), exchange(11.0, 12.0, None), exchange(16.0, 17.0), exchange(17.0, 18.0)]

    assert 8.0 == longest_neglect([*exchanges, exchange(1.0, 2.0, session=2)], touches)


def test_a_fresh_start() -> None:
    """A router that has just begun takes nothing to have expired."""
    exchanges = [exchange(1.0, 2.0), exchange(11.0, 12.0), exchange(13.0, 14.0)]

    assert 4.0 == longest_neglect(exchanges, touches, fresh_starts=[0.5, 8.0])


def test_a_save_puts_a_session_in_place() -> None:
    """Reading does not, unless there is nothing to be anywhere."""
    exchanges = [
        exchange(1.0, 2.0, operation=Operation.SET),
        exchange(3.0, 4.0),
        exchange(5.0, 6.0, 423, operation=Operation.SET),
        exchange(7.0, 8.0, 404),
        exchange(9.0, 10.0, operation=Operation.REMOVE),
    ]

    assert [True, False, False, True, True] == [puts_in_place(each) for each in exchanges]
    assert 7.0 == longest_neglect(exchanges, puts_in_place)


def test_a_claim_is_when_a_router_says_so() -> None:
    """Its process was started before, a standby's long before."""
    said = (
        "2026-11-28 15:28:55.197+0000 [info     ] router started as a standby name=router-1\n"
        "2026-11-28 15:29:01.250+0000 [info     ] this router is the active one term=2-4596a831 took=90ms\n"
        "2026-11-28 15:29:01.500+0000 [warning  ] superseded: another router is the active one term=3-e0\n"
        "2026-11-28 17:29:02.750+0200 [info     ] this router is the active one term=3-e0 took=1s\n"
    )
    began_at = datetime(2026, 11, 28, 15, 29, tzinfo=UTC).timestamp()

    assert [1.25, 2.75] == [each - began_at for each in claims(said)]
