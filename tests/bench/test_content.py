"""Bodies: whatever is not exactly what was composed is recognised, and told apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioner.bench.content import LEAST_SIZE, RUN_SIZE, Content, Damage, Stamp

RUN = bytes(range(RUN_SIZE))

runs = st.binary(min_size=RUN_SIZE, max_size=RUN_SIZE)
sizes = st.integers(LEAST_SIZE, 300)
stamps = st.builds(Stamp, session=st.integers(0, 2**32 - 1), version=st.integers(0, 2**64 - 1))


@given(runs, sizes, stamps)
def test_a_body_says_what_it_is(run: bytes, size: int, stamp: Stamp) -> None:
    """A body has the size wanted, and is read as the content that it was composed for."""
    content = Content(run, size)
    body = content.compose(stamp)

    assert (size, stamp) == (len(body), content.read(body))


@given(sizes, stamps, st.data())
def test_a_changed_byte_is_recognised(size: int, stamp: Stamp, data: st.DataObject) -> None:
    """Whichever byte is changed, and whatever into, the body is damaged."""
    content = Content(RUN, size)
    body = bytearray(content.compose(stamp))
    position = data.draw(st.integers(0, size - 1))
    body[position] ^= data.draw(st.integers(1, 255))

    assert isinstance(content.read(bytes(body)), Damage)


@given(sizes, stamps, st.data())
def test_a_cut_body_is_recognised(size: int, stamp: Stamp, data: st.DataObject) -> None:
    """Wherever a body is cut off, it is damaged."""
    content = Content(RUN, size)
    kept = data.draw(st.integers(0, size - 1))

    expected = Damage(f"a body of {kept} bytes; expected {size}")
    assert expected == content.read(content.compose(stamp)[:kept])


@given(stamps, stamps, st.integers(1, LEAST_SIZE * 2 - 1))
def test_a_torn_body_is_recognised(one: Stamp, other: Stamp, seam: int) -> None:
    """The beginning of one body and the end of another make a damaged one, unless it equals one of them."""
    content = Content(RUN, LEAST_SIZE * 2)
    body = content.compose(one)[:seam] + content.compose(other)[seam:]
    whole = {content.compose(stamp): stamp for stamp in (one, other)}

    seen = content.read(body)
    assert isinstance(seen, Damage) if body not in whole else seen == whole[body]


@given(sizes, st.binary(max_size=300))
def test_anything_else_is_recognised(size: int, body: bytes) -> None:
    """Bytes that nobody composed are damaged."""
    assert isinstance(Content(RUN, size).read(body), Damage)


def test_a_body_of_another_run_is_recognised() -> None:
    """What an earlier bench has left behind is damaged, and named."""
    theirs = Content(b"otherrun", 100).compose(Stamp(7, 1))

    expected = Damage("a body of the run 6f7468657272756e; expected 0001020304050607")
    assert expected == Content(RUN, 100).read(theirs)


@pytest.mark.parametrize("other", [Stamp(7, 2), Stamp(8, 3)])
def test_older_and_foreign_bodies_differ(other: Stamp) -> None:
    """A whole body of another version or session is read as just that, for its reader to judge."""
    content = Content(RUN, 100)

    assert other == content.read(content.compose(other))
