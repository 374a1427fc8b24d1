"""Steps of tests that live through a router: what backends play, where sessions go, and what is asked."""

import trio

from partitioner.errors import Phase
from partitioner.membership.ledger import LedgerPolicy
from partitioner.placement.rendezvous import Ranking
from partitioner.protocol.messages import Operation
from partitioner.transport.backend_connections import HELD_BODY
from tests.doubles.backends import Hear, MemoryStateServer, Say, Step, ok
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import CONTENT, request, target

TIMEOUT_FIELD = b"Timeout: 20"
ANSWER = ok(CONTENT, TIMEOUT_FIELD)
LARGE = b"x" * (HELD_BODY + 1)
SHORT = LedgerPolicy(session_timeout=60.0, session_timeout_max=60.0)
"""With a T_max of a minute, so that probes can go on until times are settled."""


def start_servers(router: MemoryRouter) -> dict[str, MemoryStateServer]:
    """Start a state server for each backend; all of them, by name."""
    return {each.name: MemoryStateServer(router.network, each.address) for each in router.backends}


def exchange(asked: bytes, answer: bytes = ANSWER) -> list[Step]:
    """The steps of one exchange that goes well."""
    return [Hear(asked), Say(answer)]


async def settle(router: MemoryRouter) -> None:
    """Let T_max pass since the last change of the pool: from then on a 404 is the truth (design.md 7.4)."""
    await trio.sleep(router.ledger.longest_life + 1)


async def times_are_settled(router: MemoryRouter) -> None:
    """Take all backends in, and let T_max pass."""
    router.take_in()
    await settle(router)


def preference_list(number: int, backends: int) -> tuple[str, ...]:
    """Whom the session of `target(number)` prefers, of so many backends."""
    ranking = Ranking({f"state-{each + 1}": 1.0 for each in range(backends)})
    return ranking.preference_list(b"s%023d" % number)


def a_session_of(name: str, backends: int) -> bytes:
    """The target of a session whose first choice is this backend."""
    return next(target(number) for number in range(1000) if preference_list(number, backends)[0] == name)


async def save(router: MemoryRouter, session: bytes, body: bytes = CONTENT) -> bytes:
    """Save a session over a connection of its own; the answer."""
    return await router.ask_once(request(Operation.SET, session, body=body))


async def read(router: MemoryRouter, session: bytes) -> bytes:
    """Read a session over a connection of its own; the answer, or nothing if the router hung up."""
    client = router.client()
    answer = await client.ask(request(Operation.GET, session))
    client.leave()
    return answer


def troubles(router: MemoryRouter) -> list[Phase]:
    """In which phases exchanges with backends were reported to have failed."""
    return [fact[1].phase for fact in router.observer.named("backend_troubled")]  # type: ignore[attr-defined]
