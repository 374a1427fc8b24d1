"""How full the project's own state servers are, as their metrics say."""

from collections.abc import Mapping

import httpx
import trio
from trio.testing import MockClock

from partitioner.membership.backend import Address, Backend, Intent
from partitioner.ops.admin.memory_watch import PATIENCE, MemoryWatch
from partitioner.sessions.table import SessionTable
from tests.tables import each_case

ADMIN = Address("10.0.0.1", 9425)
NO_TABLES: Mapping[Address, SessionTable] = {}
BACKEND = Backend("state-1", Address("10.0.0.1", 42424), admin=ADMIN)
METRICS = """# TYPE partitioner_sessions gauge
partitioner_sessions 7
partitioner_session_bytes 2.5e+06
partitioner_session_bytes_limit {limit}
"""


def client_of(answer: httpx.Response) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(lambda request: answer))


def watching(answer: httpx.Response, tables: Mapping[Address, SessionTable] = NO_TABLES) -> MemoryWatch:
    return MemoryWatch(client_of(answer), tables)


@each_case(("limit", "expected"), [("4e+06", 4_000_000), ("0", None)])
async def test_what_is_told(limit: str, expected: int | None) -> None:
    """Sessions, their bytes, and how many there may be; 0 stands for no limit."""
    watch = watching(httpx.Response(200, text=METRICS.format(limit=limit)))
    await watch.ask_all([BACKEND])
    held = watch.held_by(BACKEND)

    assert held is not None
    assert (7, 2_500_000, expected) == (held.sessions, held.used, held.limit)


@each_case(
    "answer",
    [
        httpx.Response(200, text="another program"),
        httpx.Response(403, text=METRICS.format(limit="1")),
        httpx.Response(200, content=b"x" * 2_000_000),
    ],
)
async def test_what_is_not_told(answer: httpx.Response) -> None:
    """Nothing is known then, and what was known before is out of date."""
    watch = watching(httpx.Response(200, text=METRICS.format(limit="1")))
    await watch.ask_all([BACKEND])
    watch._client = client_of(answer)
    await watch.ask_all([BACKEND])

    assert watch.held_by(BACKEND) is None


async def test_one_that_does_not_answer_is_not_waited_for(autojump_clock: MockClock) -> None:
    """Others are asked meanwhile."""

    async def never(request: httpx.Request) -> httpx.Response:
        await trio.sleep_forever()
        raise AssertionError

    watch = MemoryWatch(httpx.AsyncClient(transport=httpx.MockTransport(never)), {})
    await watch.ask_all([BACKEND])

    assert watch.held_by(BACKEND) is None
    assert PATIENCE == trio.current_time()


async def test_who_is_not_asked() -> None:
    """Who has no admin port, and who is left alone; servers of this process tell at once."""
    table = SessionTable(1000)
    watch = watching(httpx.Response(500), {ADMIN: table})
    plain = Backend("state-2", BACKEND.address)
    aside = Backend("state-3", BACKEND.address, intent=Intent.MAINT, admin=Address("10.0.0.3", 1))
    await watch.ask_all([BACKEND, plain, aside])
    held = watch.held_by(BACKEND)

    assert held is not None
    assert (0, 1000) == (held.sessions, held.limit)
    assert [None, None] == [watch.held_by(each) for each in (plain, aside)]
