"""How full the project's own state servers are: their metrics are read, which need no token.

What `aspnet_state.exe` holds nobody can ask it; its metrics are those of Windows.
"""

import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import cast

import httpx
import trio

from partitioner.membership.backend import Address, Backend, Intent
from partitioner.sessions.table import SessionTable

EVERY = 30.0
"""Seconds."""

PATIENCE = 2.0
MOST_AT_ONCE = 8
MOST_BYTES = 1024 * 1024

_WANTED = re.compile(rb"^partitioner_(sessions|session_bytes|session_bytes_limit) ([0-9.e+]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Held:
    """What a state server holds."""

    sessions: int
    used: int  # bytes
    limit: int | None  # bytes; None: no limit
    seen_at: float  # trio's time


class MemoryWatch:
    """Asks all servers that can be asked, again and again."""

    def __init__(self, client: httpx.AsyncClient, tables: Mapping[Address, SessionTable]) -> None:
        """`tables` are those of embedded servers, by the address that stands for their admin ports."""
        self._client = client
        self._tables = tables
        self._seen: dict[Address, Held] = {}

    def held_by(self, backend: Backend) -> Held | None:
        """What this backend holds, as far as that is known."""
        if backend.admin is None:
            return None
        table = self._tables.get(backend.admin)
        if table is None:
            return self._seen.get(backend.admin)
        return Held(table.sessions_held, table.used_memory, table.max_memory, trio.current_time())

    async def run(self, backends: Callable[[], Iterable[Backend]]) -> None:
        """Ask the admin ports of these, again and again, for as long as the router runs."""
        while True:
            await self.ask_all(backends())
            await trio.sleep(EVERY)

    async def ask_all(self, backends: Iterable[Backend]) -> None:
        """Ask each once. Of one that does not answer nothing is known any more."""
        at_once = trio.CapacityLimiter(MOST_AT_ONCE)
        wanted = {
            each.admin for each in backends if each.admin is not None and each.intent is not Intent.MAINT
        }
        self._seen = {admin: held for admin, held in self._seen.items() if admin in wanted}

        async def ask(admin: Address) -> None:
            async with at_once:
                held = await self._read_metrics(admin)
            if held is None:
                self._seen.pop(admin, None)
            else:
                self._seen[admin] = held

        async with trio.open_nursery() as asking:
            for admin in wanted - self._tables.keys():
                asking.start_soon(ask, admin)

    async def _read_metrics(self, admin: Address) -> Held | None:
        with trio.move_on_after(PATIENCE), suppress(httpx.HTTPError):
            async with self._client.stream("GET", f"http://{admin}/metrics") as answer:
                told = await _body_of(answer)
            return _read(told) if answer.status_code == 200 else None
        return None


async def _body_of(answer: httpx.Response) -> bytes:
    """What was answered, up to MOST_BYTES."""
    told = bytearray()
    async with aclosing(cast(AsyncGenerator[bytes, None], answer.aiter_bytes())) as pieces:
        async for piece in pieces:
            told += piece
            if len(told) > MOST_BYTES:
                break
    return bytes(told)


def _read(metrics: bytes) -> Held | None:
    found = {name.decode(): float(value) for name, value in _WANTED.findall(metrics)}
    if len(found) < 3:
        return None  # another program's
    limit = int(found["session_bytes_limit"])
    return Held(int(found["sessions"]), int(found["session_bytes"]), limit or None, trio.current_time())
