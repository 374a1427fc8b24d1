"""Notices that one session ID comes under two application hashes: the web servers are not set up as one farm.

Every exchange passes here, so it costs two look-ups and a hash (0.4 us), and no clock: a sweep turns
the minutes over. What is remembered is bounded, and it need not be everything: in a farm that is set up
wrongly every session shows it. Session IDs are remembered as 64-bit hashes that mean nothing to another
process; they are bearer secrets.
"""

from partitioner.placement.application import application_of, are_siblings, name_of
from partitioner.placement.session_id import session_id
from partitioner.transport.observer import Observer

A_MINUTE = 60.0

MOST_SESSIONS = 10_000
"""Remembered of each minute, in some 2 MB; further ones are not looked at."""


class FarmMismatch:
    """Remembers under which application each session ID came, for one to two minutes."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._seen: dict[int, bytes] = {}  # this minute's, hash of a session ID -> application
        self._seen_before: dict[int, bytes] = {}  # the last minute's
        self._told: set[int] = set()  # reported already, in this minute or the last
        self._told_before: set[int] = set()
        self._since = float("-inf")

    def __repr__(self) -> str:
        return f"<FarmMismatch, {len(self._seen)} sessions this minute>"

    def note(self, canonical_key: bytes, placement: bytes) -> None:
        """A request for this key came; `placement` is what of it is hashed, mostly the session ID."""
        found = placement if placement != canonical_key else session_id(canonical_key)
        application = application_of(canonical_key, found)
        mark = hash(found)
        seen = self._seen.get(mark)
        if seen is None:
            seen = self._seen_before.get(mark, application)
            if len(self._seen) < MOST_SESSIONS:
                self._seen[mark] = application
        if seen != application and found and seen and application:
            self._tell_once(mark, seen, application)

    def turn_over(self, now: float) -> None:
        """Forget what was seen more than a minute ago; called every few seconds."""
        if now - self._since >= A_MINUTE:
            self._seen_before, self._seen = self._seen, {}
            self._told_before, self._told = self._told, set()
            self._since = now

    def _tell_once(self, mark: int, first: bytes, second: bytes) -> None:
        if mark in self._told or mark in self._told_before or are_siblings(first, second):
            return
        if len(self._told) < MOST_SESSIONS:
            self._told.add(mark)
        self._observer.applications_mixed(*sorted((name_of(first), name_of(second))))
