"""Locks whose page has failed are given back: their web server never will, and others wait for 110 s.

An acquire without an answer may have taken a lock; a save, release or remove without an answer may have left
one. What may still be carried out is waited for first: until its deadline, and a little, since clocks differ.
"""

import trio

from partitioner.errors import StoreFailure
from partitioner.store.calls import OtherCall, Reply, ReplyError
from partitioner.store.engine import EngineClient
from partitioner.store.observer import StoreObserver
from partitioner.store.scripts import FREE, UNLOCK, Script

AFTER_DEADLINE = 0.3
"""Seconds after a deadline from which on a script surely does nothing more."""

ATTEMPT, PAUSE = 5.0, 1.0
"""Seconds for an attempt, and between two."""

PATIENCE = 110.0
"""Seconds after which it is pointless: by then the client breaks the lock itself (protocol.md 7)."""

MOST = 10_000
"""How many are under way at most: those of a busy second."""


class GivingBack:
    """Gives locks back, in the background."""

    def __init__(self, engine: EngineClient, observer: StoreObserver) -> None:
        self._engine = engine
        self._observer = observer
        self._nursery: trio.Nursery | None = None
        self._under_way = 0
        self._none_left = trio.Event()

    def __repr__(self) -> str:
        return f"<GivingBack, {self._under_way} locks under way>"

    @property
    def under_way(self) -> int:
        return self._under_way

    async def run(self) -> None:
        """Do it until it is cancelled."""
        async with trio.open_nursery() as self._nursery:
            await trio.sleep_forever()

    def unlock(self, name: bytes, request_id: bytes, not_before: float) -> None:
        """Give back what the acquire with this id has taken, if it has."""
        self._begin(UNLOCK, name, request_id, trio.current_time(), not_before)

    def free(self, name: bytes, cookie: int, began_at: float, deadline: float) -> None:
        """Give back the lock with this cookie, if it was taken before the request that was to end it."""
        self._begin(FREE, name, b"%d" % cookie, began_at, deadline + AFTER_DEADLINE)

    async def wait_until_done(self) -> None:
        """Return when none is under way."""
        while self._under_way:
            self._none_left = trio.Event()
            await self._none_left.wait()

    def _begin(
        self, script: Script, name: bytes, argument: bytes, began_at: float, not_before: float
    ) -> None:
        if self._nursery is None or self._under_way >= MOST:
            self._observer.lock_left("too many locks have to be given back")
            return
        self._under_way += 1
        self._nursery.start_soon(self._give_back, script, name, argument, began_at, not_before)

    async def _give_back(
        self, script: Script, name: bytes, argument: bytes, began_at: float, not_before: float
    ) -> None:
        try:
            await trio.sleep_until(not_before)
            last_attempt_at = trio.current_time() + PATIENCE
            while trio.current_time() < last_attempt_at:
                reply = await self._attempt(script, name, argument, began_at)
                if isinstance(reply, int) and reply > 0:
                    self._observer.lock_given_back()
                    return
                await trio.sleep(PAUSE)
            self._observer.lock_left("the engine could not be asked in time")
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._none_left.set()

    async def _attempt(
        self, script: Script, name: bytes, argument: bytes, began_at: float
    ) -> Reply | StoreFailure:
        outcomes: list[Reply | StoreFailure] = []
        is_settled = trio.Event()

        def take(outcome: Reply | StoreFailure) -> None:
            outcomes.append(outcome)
            is_settled.set()

        deadline = trio.current_time() + ATTEMPT
        self._engine.submit(OtherCall(script, name, (argument,), began_at, deadline, take))
        await is_settled.wait()
        (outcome,) = outcomes
        return None if isinstance(outcome, ReplyError) else outcome
