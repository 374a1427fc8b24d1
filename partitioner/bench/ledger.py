"""What the bench knows of each session, and so which answers about it are true.

All workers share one record a session. A read is judged by what was known when it was *sent*:

    stale           older than the last save that had been acknowledged by then
    wrong           damaged, another session's, or newer than anything that was ever sent
    lost            not found, although a save had been acknowledged
    double holder   an acquire was granted while another worker held the lock

A save whose answer never came may have happened or not, and so both contents are true until the next
acknowledged save.

A worker saves as soon as it holds the lock, so two holders hardly ever meet before one of them has
sent its save. But a second holder gives itself away later as well: a page that is granted the lock after
another one has saved under it must see that save. Where the save is still under way that is a
*suspicion*: it proves true when the save is acknowledged or refused, and false when it is never
answered. A router that gives up on a save ends its lock, and the news of that may come later than the
next grant.
"""

from dataclasses import dataclass

from partitioner.bench.content import Damage, Stamp
from partitioner.bench.findings import Finding, Kind


@dataclass(frozen=True, slots=True)
class Expectation:
    """What was known of a session when a request was sent."""

    acknowledged: int
    is_stored: bool
    life: int


class Record:
    """What is known of one session. Versions count up from 1, in the order in which they are sent."""

    __slots__ = (
        "_acknowledged",
        "_holder",
        "_is_being_created",
        "_is_stored",
        "_life",
        "_promised",
        "_sent",
        "_suspicion",
        "number",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self._sent = 0  # the newest version that was ever sent
        self._acknowledged = 0  # the newest one whose save was acknowledged; a creation raises nothing
        self._promised = 0  # what the next holder of the lock has to see at least
        self._is_stored = False  # whether "not found" would be a lie
        self._is_being_created = False
        self._life = 0  # counts losses: what was sent in one life says nothing about the next
        self._holder: int | None = None  # the worker that holds the lock and has not let go yet
        self._suspicion: tuple[int, Finding] | None = None  # the save that was missed, and by whom

    def __repr__(self) -> str:
        return f"<Record {self.number}, version {self._acknowledged} of {self._sent}, holder {self._holder}>"

    def expect(self) -> Expectation:
        """Note what is known, before a request is sent."""
        return Expectation(self._acknowledged, self._is_stored, self._life)

    # --- answers to a get or an acquire ---

    def judge_content(self, seen: Stamp | Damage, expectation: Expectation) -> Finding | None:
        """Judge the body of a get or an acquire that was sent with this expectation."""
        if isinstance(seen, Damage):
            return Finding(Kind.WRONG, self.number, f"got {seen.detail}")
        if seen.session != self.number:
            return Finding(Kind.WRONG, self.number, f"got the body of session {seen.session}")
        if seen.version > self._sent:
            detail = f"got version {seen.version}; no more than {self._sent} was ever sent"
            return Finding(Kind.WRONG, self.number, detail)
        if seen.version < expectation.acknowledged and expectation.life == self._life:
            detail = f"got version {seen.version}; expected {expectation.acknowledged} or newer"
            return Finding(Kind.STALE, self.number, detail)
        return None

    def judge_absence(self, expectation: Expectation) -> Finding | None:
        """Judge a "not found". The first one begins a new life, so that a loss is found but once."""
        if not expectation.is_stored or expectation.life != self._life:
            return None
        self._life += 1
        self._is_stored = False
        self._holder = None
        self._promised = 0
        return Finding(
            Kind.LOST, self.number, f"not found; expected version {self._acknowledged or 1} or newer"
        )

    def take_lock(self, worker: int, version: int | None, expectation: Expectation) -> Finding | None:
        """Note that a worker was granted the lock, and judge whether it may have been.

        `version` is that of the body that came with it; None if that was found wrong or stale already.
        """
        finding = None
        if self._holder is not None:
            detail = f"worker {worker} was granted the lock while worker {self._holder} held it"
            finding = Finding(Kind.DOUBLE_HOLDER, self.number, detail)
        elif version is not None and version < self._promised and expectation.life == self._life:
            detail = f"worker {worker} was granted the lock with version {version}, "
            detail += f"after the holder before it had sent version {self._promised}"
            finding = Finding(Kind.DOUBLE_HOLDER, self.number, detail)
            if self._promised > self._acknowledged:
                self._suspicion, finding = (self._promised, finding), None
        self._holder = worker
        return finding

    # --- how a lock ends ---

    def let_go(self, worker: int) -> None:
        """Note that a worker is about to send what ends its lock."""
        if self._holder == worker:
            self._holder = None

    def note_broken_lock(self) -> None:
        """Note that the lock is being broken, as clients do to one that is too old (protocol.md 8.1)."""
        self._holder = None
        self._promised = self._acknowledged

    def begin_save(self, worker: int) -> int:
        """Let go of the lock by saving; return the version to send."""
        self._sent += 1
        if self._holder == worker:
            self._holder = None
            self._promised = self._sent
        return self._sent

    def note_saved(self, version: int, expectation: Expectation) -> Finding | None:
        """Note that a save was acknowledged; who was granted the lock without it held it as a second one."""
        if expectation.life == self._life:
            self._acknowledged = max(self._acknowledged, version)
        else:
            # It was sent before the loss and may have overwritten what was saved after it.
            self._acknowledged = min(self._acknowledged, version)
        self._is_stored = True
        return self._maybe_proven(version)

    def note_refused(self, version: int) -> Finding | None:
        """Note that a save was refused because another page holds the lock: who was granted it meanwhile?"""
        finding = self._maybe_proven(version)
        self.note_unsaved(version)
        return finding

    def note_unsaved(self, version: int) -> None:
        """Note that a save went unanswered. It may have been carried out all the same."""
        if self._promised == version:
            self._promised = self._acknowledged
        self._maybe_proven(version)

    def _maybe_proven(self, version: int) -> Finding | None:
        """What this save proves of a suspicion, which is over with it."""
        if self._suspicion is None or self._suspicion[0] != version:
            return None
        (_, finding), self._suspicion = self._suspicion, None
        return finding

    # --- creation ---

    def maybe_begin_creation(self) -> int | None:
        """Claim the creation of a session that is not there; return the version to send.

        None if it is stored, or if another worker is at it. It ends with `end_creation`.
        """
        if self._is_stored or self._is_being_created:
            return None
        self._is_being_created = True
        self._sent += 1
        return self._sent

    def end_creation(self, *, is_acknowledged: bool) -> None:
        """Note how a creation ended. It inserts only, so it never overwrites a save that came first."""
        self._is_being_created = False
        self._is_stored = self._is_stored or is_acknowledged
