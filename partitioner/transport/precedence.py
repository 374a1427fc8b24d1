"""Large bodies of clients come in one after the other, the oldest first.

A dozen pages that save 30 MiB at once share one network and one processor. Side by side each of them takes as
long as all together, and all are too late. One after the other, the first are stored early, and most in time.

So only so many bytes of large bodies come in at once, by what was told, and the rest is not read yet. This
reserves nothing: a body that does not come on, because its sender or its state server is slow, keeps the
others waiting for a moment only, and then has to wait for its own turn again.
"""

import trio

LARGE = 1024 * 1024
"""Bytes; smaller bodies wait for nobody."""

STALLED = 0.25
"""Seconds without a byte after which a body keeps no others waiting."""

STORED = 1.0
"""Seconds for which one does that is here as a whole, and is written to state servers."""


class Precedence:
    """Lets so many bytes of large bodies come in at once."""

    def __init__(self, window: int) -> None:
        self.window = window
        self._coming: set[ComingBody] = set()
        self._waiting: dict[ComingBody, trio.Event] = {}
        self._bodies = 0  # so far

    def __repr__(self) -> str:
        return f"<Precedence, {len(self._coming)} come in, {len(self._waiting)} wait>"

    def begin(self, told: int) -> "ComingBody":
        """A body of so many bytes, none of which was read."""
        self._bodies += 1
        return ComingBody(self, told, self._bodies)

    async def wait_for_turn(self, body: "ComingBody") -> None:
        """Wait until this body may come on."""
        if body in self._coming:
            return
        turn = self._waiting[body] = trio.Event()
        self._admit()
        try:
            while not turn.is_set():
                is_next = next(iter(self._waiting)) is body
                with trio.move_on_after(STALLED if is_next else STORED):
                    await turn.wait()
                if is_next:
                    self._pass_by_stalled()
        finally:
            self._waiting.pop(body, None)

    def leave(self, body: "ComingBody") -> None:
        """This body keeps nobody waiting any more."""
        if body in self._coming:
            self._coming.discard(body)
            self._admit()

    def _pass_by_stalled(self) -> None:
        now = trio.current_time()
        self._coming.difference_update([each for each in self._coming if each.has_stalled(now)])
        self._admit()

    def _admit(self) -> None:
        """Those that have their turn now: as many as fit, and one in any case."""
        used = sum(each.told for each in self._coming)
        while self._waiting:
            body = min(self._waiting, key=lambda each: each.number)
            if self._coming and used + body.told > self.window:
                return
            used += body.told
            body.note_progress()
            self._coming.add(body)
            self._waiting.pop(body).set()


class ComingBody:
    """One body, from its first byte to the end of its exchange."""

    __slots__ = ("_patience", "_precedence", "_seen_at", "number", "told")

    def __init__(self, precedence: Precedence, told: int, number: int) -> None:
        self._precedence = precedence
        self.told = told
        self.number = number
        self._patience = STALLED
        self._seen_at = 0.0

    def note_progress(self) -> None:
        """It comes on."""
        self._seen_at = trio.current_time()

    def has_stalled(self, now: float) -> bool:
        """Whether it has not come on for too long to keep others waiting."""
        return now - self._seen_at >= self._patience

    async def wait_for_turn(self) -> None:
        """Wait until a piece more of it may be read."""
        if self.told > LARGE:
            self.note_progress()
            await self._precedence.wait_for_turn(self)

    def complete(self) -> None:
        """All of it is here."""
        self._patience = STORED
        self.note_progress()

    def end(self) -> None:
        """Its exchange is over, however that went."""
        self._precedence.leave(self)
