"""Asks state servers of our own about single sessions: those in this process, and others over HTTP."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from partitioner.errors import ListingFailed
from partitioner.membership.backend import Address
from partitioner.ops.admin.listing import BoundedHttp
from partitioner.ops.admin.session_views import find_in, look_at, outline_in, weigh
from partitioner.payload import Outline
from partitioner.protocol.target import server_key
from partitioner.routing.inspection import SessionSource
from partitioner.routing.item_weights import WeighedPage
from partitioner.routing.memory_survey import WeightSource
from partitioner.routing.session_looks import Look
from partitioner.sessions.table import SessionTable

T = TypeVar("T")


class Source(SessionSource, WeightSource, Protocol):
    """Answers all that is asked about single sessions."""


_TARGETS = TypeAdapter(tuple[str, ...])
_LOOK = TypeAdapter(Look)
_WEIGHED = TypeAdapter(WeighedPage)
_OUTLINE: TypeAdapter[Outline | None] = TypeAdapter(Outline | None)


class LocalSessions:
    """Looks into the tables of this process's own state servers, and asks others. This is a Source."""

    def __init__(
        self,
        tables: Mapping[Address, SessionTable],
        elsewhere: Source,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is that of the tables."""
        self._tables = tables
        self._elsewhere = elsewhere
        self._clock = clock

    async def find(self, admin: Address, session_id: str) -> tuple[str, ...]:
        if admin not in self._tables:
            return await self._elsewhere.find(admin, session_id)
        return await find_in(self._tables[admin], session_id.encode())

    async def look(self, admin: Address, target: str) -> Look:
        if admin not in self._tables:
            return await self._elsewhere.look(admin, target)
        return look_at(self._tables[admin], server_key(target.encode()), self._clock())

    async def outline(self, admin: Address, target: str) -> Outline | None:
        if admin not in self._tables:
            return await self._elsewhere.outline(admin, target)
        return await outline_in(self._tables[admin], server_key(target.encode()), self._clock)

    async def weigh(self, admin: Address, first: str) -> WeighedPage:
        if admin not in self._tables:
            return await self._elsewhere.weigh(admin, first)
        return await weigh(self._tables[admin], server_key(first.encode()), self._clock)


class HttpSessions:
    """Asks admin ports over HTTP. This is a Source."""

    def __init__(self, client: httpx.AsyncClient, token: str | None = None) -> None:
        """`token` is that of the state servers; without one they tell nothing of sessions."""
        self._http = BoundedHttp(client, token)

    async def find(self, admin: Address, session_id: str) -> tuple[str, ...]:
        told = await self._http.get(admin, "/api/v1/session/targets", {"id": session_id}, "search")
        return _read(_TARGETS, _field(told, "targets"), admin)

    async def look(self, admin: Address, target: str) -> Look:
        told = await self._http.get(admin, "/api/v1/session", {"target": target}, "look at a session")
        return _read(_LOOK, told, admin)

    async def outline(self, admin: Address, target: str) -> Outline | None:
        told = await self._http.get(admin, "/api/v1/session/items", {"target": target}, "list of items")
        return _read(_OUTLINE, _field(told, "outline"), admin)

    async def weigh(self, admin: Address, first: str) -> WeighedPage:
        told = await self._http.get(admin, "/api/v1/items", {"from": first}, "sum of items")
        return _read(_WEIGHED, told, admin)


def _field(told: Any, name: str) -> Any:
    return told.get(name) if isinstance(told, dict) else told


def _read(kind: TypeAdapter[T], told: Any, admin: Address) -> T:
    try:
        return kind.validate_python(told)
    except ValidationError as error:
        raise ListingFailed(f"its admin port {admin} answered what is not of this release") from error
