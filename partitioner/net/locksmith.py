"""Gives back locks that nobody holds.

An acquire whose answer never reaches its client leaves the session locked, and nothing but the
client's own 110-second rule would ever unlock it (protocol.md 1, fact 5). Whoever finds such a ghost
lock hands its cookie in here. A cookie opens that one lock and no later one, so a release that comes
late does no harm; except where the session was removed and created again meanwhile, or saved with
another time-out, because then its cookies are counted anew (protocol.md 6, row 18).
"""

import trio

from partitioner.errors import (
    BackendFailure,
    ConnectionBroken,
    ConnectionEnded,
    MalformedAnswer,
)
from partitioner.membership.backend import Backend
from partitioner.net.client import ask
from partitioner.net.connecting import Connector
from partitioner.net.observer import Observer
from partitioner.protocol.messages import Operation
from partitioner.protocol.writer import write_request

ATTEMPTS = 5
PAUSE = 1.0
TIMEOUT = 2.0
"""Seconds for one attempt. All attempts together stay well below the client's 110 s."""


class Locksmith:
    """Releases ghost locks in the background, each over a connection of its own."""

    def __init__(self, connector: Connector, observer: Observer, background: trio.Nursery) -> None:
        self._connector = connector
        self._observer = observer
        self._background = background
        self._pending = 0
        self._is_done = trio.Event()

    def release(self, backend: Backend, life: bytes, target: bytes, cookie: int) -> None:
        """Release the lock with this cookie, if this life of the backend still lasts."""
        request = write_request(Operation.RELEASE, target, lock_cookie=cookie)
        self._pending += 1
        self._background.start_soon(self._release, backend, life, request)

    async def wait_until_done(self) -> None:
        """Wait until no release is under way."""
        while self._pending:
            await self._is_done.wait()

    async def _release(self, backend: Backend, life: bytes, request: bytes) -> None:
        try:
            for attempt in range(ATTEMPTS):
                if attempt:
                    await trio.sleep(PAUSE)
                trouble = await self._try_to_release(backend, life, request)
                if trouble is None:
                    return
            self._observer.ghost_lock_left(backend, trouble or "")
        finally:
            self._pending -= 1
            if not self._pending:
                self._is_done.set()
                self._is_done = trio.Event()

    async def _try_to_release(self, backend: Backend, life: bytes, request: bytes) -> str | None:
        """Try once; answer what went wrong, or None when there is nothing left to do."""
        try:
            with trio.fail_after(TIMEOUT):
                channel, token = await self._connector.connect(backend, TIMEOUT)
                try:
                    if token != life:
                        return None  # that life is over, and its locks with it
                    answer, _ = await ask(channel, Operation.RELEASE, request, 0)
                finally:
                    channel.close()
        except (BackendFailure, ConnectionBroken, ConnectionEnded, MalformedAnswer) as error:
            return str(error)
        except trio.TooSlowError:
            return "did not answer in time"
        match answer.status:
            case 200:
                self._observer.ghost_lock_released(backend)
                return None
            case 404 | 423:
                return None  # the session is gone, or the lock is by now somebody else's
        return f"answered {answer.status} to a release"
