"""Sizes of sessions by application: how they are counted, and which applications have a name."""

from hypothesis import given, settings
from hypothesis import strategies as st

from partitioner.ops.metrics.application_sizes import (
    MOST_KNOWN,
    MOST_NAMED,
    MOST_SPELLINGS,
    RECONSIDERED_EVERY,
    REST,
    ApplicationSizes,
)
from partitioner.ops.metrics.catalog import SIZES_BY_TWO
from partitioner.placement.application import spelling_of
from partitioner.transport.traffic import Histogram
from tests.doubles.sessions import APPLICATION, ID

SPELLINGS = [
    APPLICATION + ID,
    APPLICATION + b"an%2fID%2fof%2fone's%2fown",
    APPLICATION.replace(b"%2f", b"/") + ID,
    APPLICATION.replace(b"%2f", b"%2F") + ID,
    b"//" + APPLICATION[3:].replace(b"%2f", b"/") + ID,
]


def target(application: int, session: bytes = ID) -> bytes:
    return b"%%2fLM%%2fW3SVC%%2f%d%%2fROOT(oXvpnxcuEWqKAgOETha32JavYZ6e%06d)%%2f%s" % (
        application,
        application,
        session,
    )


class Clocked:
    """Sizes by application, and the clock that they go by."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sizes = ApplicationSizes(lambda: self.now)

    def read(self) -> dict[str, Histogram]:
        return dict(self.sizes.read())


def test_saves_are_counted_by_size_and_application() -> None:
    """A size that is a bound lies below it; all spellings of one application are one."""
    counted = Clocked()
    sizes = [7, 256, 257, 2**20, 2**20 + 1, 2**26, 2**26 + 1]
    for spelling in SPELLINGS:
        for size in sizes:
            counted.sizes.add(spelling_of(spelling), size)
    [(name, told), (rest, nothing)] = counted.read().items()
    expected = Histogram(SIZES_BY_TWO)
    for size in sizes * len(SPELLINGS):
        expected.add(size)

    assert ("/LM/W3SVC/2/ROOT(oXvpnxcu...)", REST) == (name, rest)
    assert (expected.counts, expected.total) == (told.counts, told.total)
    assert (0, 0.0) == (nothing.count, nothing.total)
    assert [APPLICATION] == [each for each in counted.sizes.spellings() if each == APPLICATION]


def test_what_clients_make_up_is_bounded() -> None:
    """Ten names and one for the rest, however many applications there seem to be; nothing grows for ever."""
    counted = Clocked()
    for number in range(1000):
        counted.sizes.add(spelling_of(target(number)), 1000)
    for number in range(1000):
        counted.sizes.add(spelling_of(b"%d" % number), 1000)
        counted.sizes.add(spelling_of(APPLICATION + b"%2f" * number + ID), 1000)
    told = counted.read()

    assert MOST_NAMED + 1 == len(told)
    assert 3000 == sum(each.count for each in told.values())
    assert 3_000_000 == sum(each.total for each in told.values())
    assert len(counted.sizes.spellings()) <= MOST_SPELLINGS
    assert f"<ApplicationSizes of {MOST_KNOWN} applications>" == repr(counted.sizes)


def test_the_heaviest_applications_have_the_names() -> None:
    """One that saves more takes the place of the lightest when they are reconsidered."""
    counted = Clocked()
    for number in range(MOST_NAMED + 2):
        counted.sizes.add(spelling_of(target(number)), 100 * (number + 1))
    before = counted.read()
    counted.now = RECONSIDERED_EVERY
    after = counted.read()
    counted.sizes.add(spelling_of(target(11)), 5000)
    then = counted.read()
    name = "/LM/W3SVC/11/ROOT(oXvpnxcu...)"

    assert (before.keys() - after.keys(), {name}) == (
        {"/LM/W3SVC/0/ROOT(oXvpnxcu...)"},
        after.keys() - before.keys(),
    )
    assert (0, 1, 5000.0) == (after[name].count, then[name].count, then[name].total)
    assert (2, 2300.0) == (then[REST].count, then[REST].total)


SAVES = st.tuples(st.integers(0, 14), st.integers(1, 2**20))


@given(st.lists(st.lists(SAVES, max_size=20), max_size=12))
@settings(deadline=None)
def test_no_series_ever_falls(periods: list[list[tuple[int, int]]]) -> None:
    """As counters have to be, whoever gets or loses a name; bytes and counts of each go together."""
    counted, last = Clocked(), dict[str, Histogram]()
    for saves in periods:
        for application, size in saves:
            counted.sizes.add(spelling_of(target(application)), size)
        counted.now += RECONSIDERED_EVERY
        told = counted.read()

        assert len(told) <= MOST_NAMED + 1
        for name in told.keys() & last.keys():
            assert all(
                now >= before for now, before in zip(told[name].counts, last[name].counts, strict=True)
            )
            assert told[name].total >= last[name].total
        assert all((each.total > 0) == (each.count > 0) for each in told.values())
        last = told
