"""Random histories: scripts on a real engine answer as the session table does, and as their model does."""

import time
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partitioner.protocol.messages import Answer, Operation, RequestHead
from partitioner.sessions.table import SessionTable
from partitioner.store.calls import OtherCall
from partitioner.store.scripts import HEADER, SCRIPTS, Script
from tests.store import script_model
from tests.store.talk import NAME, Talk

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


IDS = st.integers(1, 4).map(lambda number: number.to_bytes(8, "big"))
NUMBERS = st.integers(0, 3).map(lambda number: b"%d" % number)
_OWN = {  # the arguments of each script
    "get": (IDS,),
    "acquire": (IDS,),
    "release": (st.just(b"") | NUMBERS, IDS),
    "set": (IDS, NUMBERS, st.just(b"") | NUMBERS, st.binary(max_size=3)),
    "create": (st.just(b""),),
    "insert": (IDS, NUMBERS, NUMBERS, st.binary(max_size=3), st.sampled_from((b"0", b"1"))),
    "remove": (st.just(b"") | NUMBERS,),
    "reset": (st.just(b""),),
    "unlock": (IDS,),
    "free": (NUMBERS,),
}
repeated_steps = st.lists(
    st.sampled_from(SCRIPTS).flatmap(
        lambda script: st.tuples(
            st.just(script),
            st.tuples(*_OWN[script.name]),
            st.booleans(),  # whether it may have been carried out already
            st.sampled_from((-60_000, -100, 100, 60_000)),  # when its request began, from now
            st.sampled_from((-60_000, 60_000)),  # until when it is to be carried out
        )
    ),
    max_size=30,
)


def test_the_model_of_the_scripts_does_what_they_do(talk: Talk) -> None:
    """Every reply, and every record afterwards, but for the moments by two clocks."""

    @settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(repeated_steps)
    def compare(history: list[tuple[Script, tuple[bytes, ...], bool, int, int]]) -> None:
        talk.ask(b"DEL", NAME)
        items: script_model.Items = {}
        for script, own, is_again, began, until in history:
            now = time.time()
            call = OtherCall(script, NAME, own, now + began / 1000, now + until / 1000)
            call.is_again, call.by_source = is_again, True
            seen = talk.exchange(call.write(0.0))
            words = [b"%d" % int(now * 1000 + until), b"%d" % is_again, b"%d" % int(now * 1000 + began), *own]
            expected = script_model.run(script.name, items, NAME, words, int(now * 1000))

            assert _without_moments(expected) == _without_moments(seen), script
            assert _as_kept(items.get(NAME)) == _as_kept_there(talk), script

    compare()


def _without_moments(reply: object) -> object:
    if isinstance(reply, list) and reply[0] == 423:
        return [*reply[:2], reply[3]]
    return reply


def _as_kept(item: script_model.Item | None) -> object:
    """Without the moment of the lock; whether it expires."""
    if item is None:
        return None
    flags, minutes, cookie, _, *ids = HEADER.unpack_from(item.value)
    return (flags, minutes, cookie, ids, item.value[HEADER.size :], item.expires_at is not None)


def _as_kept_there(talk: Talk) -> object:
    value, remaining = talk.ask(b"GET", NAME), talk.ask(b"PTTL", NAME)
    assert isinstance(remaining, int)
    if not isinstance(value, bytes):
        return None
    return _as_kept(script_model.Item(value, None if remaining < 0 else 1.0))


def _timeless(answer: Answer) -> Answer:
    """Time stands still for the table, and does not for the engine."""
    return answer if answer.lock_age is None else answer._replace(lock_age=0.0)
