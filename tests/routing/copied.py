"""A session and its copy, or more of them, for tests that look at who is written."""

import trio

from partitioner.membership.backend import BackendId
from partitioner.protocol.messages import Operation
from tests.doubles.backends import Hear, Say, ScriptedBackend, Step, greeting
from tests.doubles.observers import Fact
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import ID, request
from tests.identities import identities

OLD, NEW = b"old content", b"new content"
REMOVE = request(Operation.REMOVE)


class Pair:
    """A router in front of two backends that play a script each, in settled times: a primary and a copy."""

    def __init__(self, nursery: trio.Nursery, primary: list[Step], *copy: list[Step]) -> None:
        self.router = MemoryRouter(nursery, 2, copies=2)
        names = self.router.roster.pool.ranking.preference_list(ID)
        addresses = {each.name: each.address for each in self.router.backends}
        network = self.router.network
        self.names = names
        self.addresses = [addresses[name] for name in names]
        self.primary = ScriptedBackend(network, self.addresses[0], [*greeting(), *primary])
        self.copy = ScriptedBackend(network, self.addresses[1], *[[*greeting(), *each] for each in copy])

    async def ask(self, asked: bytes) -> bytes:
        self.router.take_in()
        await trio.sleep(self.router.ledger.longest_life + 1)
        self.began_at = trio.current_time()
        return await self.router.client().ask(asked)

    @property
    def took(self) -> float:
        return trio.current_time() - self.began_at

    @property
    def marked(self) -> list[BackendId]:
        return [each for each in identities(self.names) if self.router.ledger.marks_of(each)]

    @property
    def degraded(self) -> list[Fact]:
        return self.router.observer.named("write_degraded")


def exchange(asked: bytes, answer: bytes) -> list[Step]:
    return [Hear(asked), Say(answer)]
