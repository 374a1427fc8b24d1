"""How large the sessions are that clients save, by application; in plain integers, because every save counts.

An application shows by what stands before the session ID in a target. Ten have a name of their own in the
metrics, the rest go by one, so labels are bounded whatever clients send. Which ten is reconsidered now and
then: one that saves more than the least of them takes its place. Every series only ever grows, as counters
have to: what an application has saved while it was one of the rest stays there.
"""

from collections.abc import Callable, Iterator
from math import log2

from partitioner.ops.metrics.catalog import SIZES_BY_TWO
from partitioner.placement.application import application_of, name_of
from partitioner.placement.session_id import session_id
from partitioner.protocol.target import canonical_key
from partitioner.transport.traffic import Histogram

_SMALLEST, _LARGEST = (round(log2(bound)) for bound in (SIZES_BY_TWO[0], SIZES_BY_TWO[-1]))

MOST_NAMED = 10
MOST_KNOWN = 64
"""Applications of which is counted what they save; further ones never get a name."""

MOST_SPELLINGS = 256

RECONSIDERED_EVERY = 600.0
"""Seconds."""

REST = "other"
"""What applications without a name of their own are called together."""

_SOME_ID = b"a" * 24

_SLOTS = 64
"""Powers of two that a size may lie below."""


class _Application:
    """One application. `counts` are shared by all that have no name of their own."""

    __slots__ = ("canonical", "counts", "name", "named_at", "saved", "seen_before")

    def __init__(self, canonical: bytes, counts: list[int]) -> None:
        self.canonical = canonical
        self.counts = counts  # saves, by the power of two below which their sizes lie
        self.saved = 0  # bytes, since the start
        self.name: str | None = None
        self.named_at = 0  # what was saved when it got its name
        self.seen_before = 0  # what was saved when it was considered last


class ApplicationSizes:
    """Counts saves by application and size."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._considered_at = clock()
        self._rest = [0] * _SLOTS  # the counts of all that have no name
        self._ended = 0  # bytes that were saved under names that have ended
        self._unknown = _Application(b"", self._rest)  # all that are too many to be known
        self._by_spelling: dict[bytes, _Application] = {}  # by what stands before the ID in targets
        self._known: dict[bytes, _Application] = {}  # by their canonical beginnings of keys

    def __repr__(self) -> str:
        return f"<ApplicationSizes of {len(self._known)} applications>"

    def add(self, spelling: bytes, size: int) -> None:
        """A session of so many bytes was saved, of the application that clients spell like this."""
        application = self._by_spelling.get(spelling) or self._find(spelling)
        application.counts[(size - 1).bit_length()] += 1
        application.saved += size

    def _find(self, spelling: bytes) -> _Application:
        canonical = canonical_key(spelling + _SOME_ID)
        beginning = application_of(canonical, session_id(canonical))
        application = self._known.get(beginning)
        if application is None:
            application = self._new(beginning)
        if len(self._by_spelling) < MOST_SPELLINGS:
            self._by_spelling[spelling] = application
        return application

    def _new(self, beginning: bytes) -> _Application:
        if not beginning or len(self._known) >= MOST_KNOWN:
            return self._unknown
        application = self._known[beginning] = _Application(beginning, self._rest)
        if sum(each.name is not None for each in self._known.values()) < MOST_NAMED:
            self._give_name(application)
        return application

    def spellings(self) -> list[bytes]:
        """What stands before session IDs in the targets that were seen."""
        return list(self._by_spelling)

    # --- what is read at a scrape ---

    def read(self) -> Iterator[tuple[str, Histogram]]:
        """The names of applications, and what was saved under each, as it is now."""
        if self._clock() - self._considered_at >= RECONSIDERED_EVERY:
            self._considered_at = self._clock()
            self._reconsider()
        of_rest = self._unknown.saved - self._ended
        for application in self._known.values():
            if application.name is None:
                of_rest += application.saved
            else:
                of_rest += application.named_at
                saved = application.saved - application.named_at
                yield application.name, _histogram(application.counts, saved)
        yield REST, _histogram(self._rest, of_rest)

    def _reconsider(self) -> None:
        """Have the heaviest of the rest take the place of the lightest that has a name, if it is heavier."""
        lately = {each: each.saved - each.seen_before for each in self._known.values()}
        for each in lately:
            each.seen_before = each.saved
        named = [each for each in lately if each.name is not None]
        others = [each for each in lately if each.name is None]
        if len(named) < MOST_NAMED or not others:
            return
        lightest, heaviest = min(named, key=lately.__getitem__), max(others, key=lately.__getitem__)
        if lately[heaviest] > lately[lightest]:
            self._take_name(lightest)
            self._give_name(heaviest)

    def _give_name(self, application: _Application) -> None:
        name = name_of(application.canonical)
        while any(each.name == name for each in self._known.values()):
            name += "'"  # their IDs and hashes begin alike
        application.name, application.named_at = name, application.saved
        application.counts = [0] * _SLOTS

    def _take_name(self, application: _Application) -> None:
        self._ended += application.saved - application.named_at
        application.name, application.counts = None, self._rest


def _histogram(counts: list[int], saved: int) -> Histogram:
    """These saves of so many bytes in all, by the bounds of the metric."""
    histogram = Histogram(SIZES_BY_TWO)
    histogram.counts = [
        sum(counts[: _SMALLEST + 1]),
        *counts[_SMALLEST + 1 : _LARGEST + 1],
        sum(counts[_LARGEST + 1 :]),
    ]
    histogram.total = float(saved)
    return histogram
