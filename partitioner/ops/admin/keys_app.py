"""The routes of a state server's admin port: that it lives, which sessions it holds, and others beside.

A router walks through the listings page by page: through the keys to drain the server, and through the
inventory, which also tells each session's time-out, idle age, size, lock and digest, to heal. For
operators it asks about single sessions, and what kind of items is in them. Keys are bearer secrets, so the
guard lets no client list them without the token, whatever the route: only what tells no secret is free.
"""

import time
from collections.abc import Callable
from dataclasses import asdict

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from partitioner.ops.admin.guard import AccessPolicy, Guard
from partitioner.ops.admin.key_pages import INVENTORY_PAGE, USUAL_PAGE, inventory_of, page_of
from partitioner.ops.admin.refusals import refuse, refuse_http
from partitioner.ops.admin.session_views import find_in, look_at, outline_in, weigh
from partitioner.protocol.target import Spellings, server_key, target_of
from partitioner.routing.inventory import InventoryPage
from partitioner.sessions.table import SessionTable

LONGEST_PAGE = 10_000
"""Keys: a megabyte of JSON, made in about ten milliseconds."""


LONGEST_INVENTORY = 2_000
"""Sessions: 200 KB of JSON, made in about ten milliseconds."""


def keys_app(
    table: SessionTable,
    policy: AccessPolicy,
    *more: Route,
    clock: Callable[[], float] = time.monotonic,
) -> ASGIApp:
    """The app, guarded; with `more` routes that do not concern the table. `clock` is that of the table."""

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def keys(request: Request) -> Response:
        try:
            after = _whole_number(request, "after", 0)
            limit = _limit(request, USUAL_PAGE, LONGEST_PAGE)
            page = page_of(table, after, limit)
        except ValueError as error:
            return refuse(400, str(error))
        keys = [target.decode() for target in page.targets]
        return JSONResponse({"keys": keys, "next": page.following, "sessions": page.sessions})

    async def sessions(request: Request) -> Response:
        try:
            limit = _limit(request, INVENTORY_PAGE, LONGEST_INVENTORY)
        except ValueError as error:
            return refuse(400, str(error))
        first = server_key(request.query_params.get("from", "").encode())
        return JSONResponse(_written(inventory_of(table, first, limit, clock())))

    async def session(request: Request) -> Response:
        return JSONResponse(asdict(look_at(table, _key(request), clock())))

    async def session_items(request: Request) -> Response:
        outline = await outline_in(table, _key(request), clock)
        return JSONResponse({"outline": None if outline is None else asdict(outline)})

    async def session_targets(request: Request) -> Response:
        wanted = request.query_params.get("id", "").encode()
        return JSONResponse({"targets": await find_in(table, wanted) if wanted else ()})

    async def items(request: Request) -> Response:
        first = server_key(request.query_params.get("from", "").encode())
        return JSONResponse(asdict(await weigh(table, first, clock)))

    listings = [
        Route("/api/v1/keys", keys),
        Route("/api/v1/sessions", sessions),
        Route("/api/v1/items", items),
        Route("/api/v1/session", session),
        Route("/api/v1/session/items", session_items),
        Route("/api/v1/session/targets", session_targets),
    ]
    made = Starlette(
        routes=[Route("/healthz", healthz), *listings, *more],
        exception_handlers={HTTPException: refuse_http},
    )
    made.router.redirect_slashes = False
    return Guard(made, policy)


def _key(request: Request) -> bytes:
    """The key of the session whose target is in the query."""
    return server_key(request.query_params.get("target", "").encode())


def _written(page: InventoryPage) -> dict[str, object]:
    """A page as JSON. A digest is text, because not every reader of JSON has numbers of 64 bits."""
    spell = Spellings().target_of
    return {
        "sessions": page.sessions,
        "canaries": {farm: content.decode("ascii", "replace") for farm, content in page.canaries.items()},
        "listed": [
            [spell(key).decode(), minutes, idle, size, is_locked, f"{digest:016x}"]
            for key, minutes, idle, size, is_locked, digest in page.listed
        ],
        "next": None if page.following is None else target_of(page.following).decode(),
    }


def _limit(request: Request, usual: int, most: int) -> int:
    """How long a page may be. Raises ValueError."""
    limit = _whole_number(request, "limit", usual)
    if not 1 <= limit <= most:
        raise ValueError(f"limit={limit} is out of range; expected 1 to {most}")
    return limit


def _whole_number(request: Request, name: str, default: int) -> int:
    """A number of the query, as its page before has written it.

    Raises ValueError.
    """
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(f"{name}={text!r} is not a whole number")
    return int(text)
