"""Random histories: the scripts on a real engine answer as the session table does."""

from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partitioner.protocol.messages import Answer, Operation, RequestHead
from partitioner.sessions.table import SessionTable
from tests.store.talk import Talk

KEYS = (b"one", b"two")
COOKIES = st.none() | st.integers(0, 6)
MINUTES = st.none() | st.sampled_from((0, 1, 20, 525_600, 525_601))

steps = st.lists(
    st.tuples(
        st.sampled_from(KEYS), st.sampled_from(Operation), COOKIES, MINUTES, st.binary(min_size=1, max_size=4)
    ),
    max_size=30,
)

_histories = count()


@pytest.mark.parametrize("examples", [150, pytest.param(2000, marks=pytest.mark.slow)])
def test_scripts_answer_as_the_table_does(talk: Talk, examples: int) -> None:
    """Every answer of every history is the same but for the age of a lock (protocol.md 6)."""

    @settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(steps)
    def compare(history: list[tuple[bytes, Operation, int | None, int | None, bytes]]) -> None:
        number = next(_histories)
        table = SessionTable()
        for key, operation, cookie, minutes, body in history:
            head = RequestHead(b"", operation, key, len(body), minutes, cookie)
            expected = table.apply(head, key, body, 0.0)
            seen = talk.answer(head, body, b"aspnet:%d-%b" % (number, key))

            assert _timeless(expected) == _timeless(seen)

    compare()


def _timeless(answer: Answer) -> Answer:
    """Time stands still for the table, and does not for the engine."""
    return answer if answer.lock_age is None else answer._replace(lock_age=0.0)
