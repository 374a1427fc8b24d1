"""What has come of requests counts against a state server's memory."""

from partitioner.transport.limits import BytesInFlight


def test_up_to_what_there_may_be() -> None:
    """Beyond that it is not counted, and its sender is refused."""
    in_flight = BytesInFlight(lambda: 100)

    assert [True, True, False] == [in_flight.take(count) for count in (60, 40, 1)]
    assert 100 == in_flight.used


def test_what_is_given_back_is_free_again() -> None:
    """However much there may be meanwhile."""
    most = [100]
    in_flight = BytesInFlight(lambda: most[0])
    in_flight.take(100)
    most[0] = 50
    in_flight.give_back(100)

    assert (True, False) == (in_flight.take(50), in_flight.take(1))
