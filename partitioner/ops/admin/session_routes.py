"""The routes of a router's admin port that tell of single sessions, or release their locks.

They need the admin token on loopback as well (ops.admin.guard). A key stands in the query or the body and
never in the path: the path of an order is logged.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from partitioner.errors import BackendFailure, NoBackendLeft, NotActive, Refused
from partitioner.ops.admin.guard import ITEMS, SESSION, SESSIONS, UNLOCK
from partitioner.ops.admin.refusals import refuse
from partitioner.ops.admin.session_reports import ItemsReport, LargestReport
from partitioner.ops.admin.sessions_api import SessionsApi

MOST_LARGEST = 1000
"""Sessions, or kinds of items, that are told of at a time."""

Report = LargestReport | ItemsReport

_EXPECTED = 'expected {"target": TARGET, "cookie": NUMBER}, and "force": true where a page may hold the lock'


def session_routes(api: SessionsApi) -> tuple[Route, ...]:
    """The routes; an API answers."""
    routes = _Routes(api)
    return (
        Route(SESSION, routes.session),
        Route(SESSIONS, routes.sessions),
        Route(ITEMS, routes.items),
        Route(UNLOCK, routes.unlock, methods=["POST"]),
    )


class _Routes:
    def __init__(self, api: SessionsApi) -> None:
        self._api = api

    async def session(self, request: Request) -> Response:
        keys = request.query_params.getlist("key")
        if len(keys) != 1 or not keys[0]:
            return refuse(400, f"expected one key, as in {SESSION}?key=SESSION-ID")
        try:
            return JSONResponse(asdict(await self._api.session(keys[0])))
        except ValueError as error:
            return refuse(400, str(error))
        except Refused as error:
            return refuse(409, str(error))

    async def sessions(self, request: Request) -> Response:
        return await self._survey(request, self._api.largest)

    async def items(self, request: Request) -> Response:
        return await self._survey(request, self._api.items)

    async def _survey(self, request: Request, survey: Callable[[int], Awaitable[Report]]) -> Response:
        text = request.query_params.get("largest", "10")
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST_LARGEST):
            return refuse(400, f"largest={text!r} is out of range; expected 1 to {MOST_LARGEST}")
        try:
            return JSONResponse(asdict(await survey(int(text))))
        except Refused as error:
            return refuse(409, str(error))

    async def unlock(self, request: Request) -> Response:
        try:
            order = _order(await request.body())
            report = await self._api.unlock(order.target, order.cookie, force=order.force)
        except ValueError as error:
            return refuse(400, str(error))
        except Refused as error:
            return refuse(409, str(error))
        except (NoBackendLeft, NotActive, BackendFailure) as error:
            return refuse(409, f"the server of the session could not be asked: {error}")
        return JSONResponse(asdict(report))


@dataclass(frozen=True, slots=True)
class _Order:
    target: str
    cookie: int
    force: bool


def _order(body: bytes) -> _Order:
    """What is to be unlocked. Raises ValueError."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is not JSON; {_EXPECTED}") from error
    if not isinstance(told, dict) or not told.keys() <= {"target", "cookie", "force"}:
        raise ValueError(f"the body says something else; {_EXPECTED}")
    target, cookie, force = told.get("target"), told.get("cookie"), told.get("force", False)
    if not isinstance(target, str) or type(cookie) is not int or not isinstance(force, bool):
        raise ValueError(f"the body says something else; {_EXPECTED}")
    return _Order(target, cookie, force)
