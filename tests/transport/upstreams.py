"""An upstream to one backend, which plays a script on each of its connections."""

import pytest
import trio

from partitioner.errors import BackendFailure, Phase
from partitioner.protocol.messages import Operation
from partitioner.transport.backend_connections import HELD_BODY, Upstream
from partitioner.transport.messages import Response
from tests.doubles.backends import Hear, Say, ScriptedBackend, Step, ok
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import CONTENT, GET, request, target, whole
from tests.identities import STATE_1

LARGE = b"x" * (2 * HELD_BODY)


class Setting:
    """An upstream to a backend that is UP, and what the backend plays on its connections."""

    def __init__(self, nursery: trio.Nursery, *scripts: list[Step], connections: int = 256) -> None:
        self._router = MemoryRouter(nursery, connections=connections)
        self.network = self._router.network
        self.observer = self._router.observer
        self.address = self._router.backends[0].address
        self.backend = ScriptedBackend(self.network, self.address, *scripts)
        self.upstream: Upstream = self._router.roster.upstreams[STATE_1]
        self._router.take_in()

    async def ask(self, asked: bytes, *, within: float = 8.0) -> bytes:
        """Have a whole request answered, by now plus `within`; the answer's bytes, streamed or not."""
        response = await self.begin(asked, within=within)
        pieces = [response.head.raw, response.body]
        while response.rest is not None and (piece := await response.rest()):
            pieces.append(piece)
        return b"".join(pieces)

    async def begin(self, asked: bytes, *, within: float = 8.0) -> Response:
        return await self.upstream.exchange(whole(asked, trio.current_time() + within))

    async def fail(self, asked: bytes, *, within: float = 8.0) -> tuple[type[BackendFailure], Phase]:
        """Have a request fail; how, and in which phase."""
        with pytest.raises(BackendFailure) as caught:
            await self.ask(asked, within=within)
        return type(caught.value), caught.value.phase


def get(number: int) -> bytes:
    return request(Operation.GET, target(number))


def asked_and_answered(asked: bytes = GET, answer: bytes | None = None) -> list[Step]:
    return [Hear(asked), Say(ok(CONTENT) if answer is None else answer)]


async def fail_as(setting: Setting, asked: bytes, kind: type[BackendFailure], phase: Phase) -> None:
    assert await setting.fail(asked) == (kind, phase)
