"""The routes of a state server's admin port: that it lives, and which sessions it holds.

A router that drains the server walks through the listing, page by page. Keys are bearer secrets, so the
port is open to the same networks as the port for sessions, where whoever comes in can read them all.
"""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from partitioner.net.canary import CANARIES
from partitioner.ops.admin.guard import AccessPolicy, Guard
from partitioner.ops.admin.router_app import refuse, refuse_http
from partitioner.protocol.target import target_of
from partitioner.sessions.table import SessionTable

USUAL_PAGE = 1000
LONGEST_PAGE = 10_000
"""Keys: a megabyte of JSON, made in about ten milliseconds."""

_CANARIES = CANARIES.encode()


def keys_app(table: SessionTable, policy: AccessPolicy) -> ASGIApp:
    """The app, guarded."""

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def keys(request: Request) -> Response:
        try:
            after = _whole_number(request, "after", 0)
            limit = _whole_number(request, "limit", USUAL_PAGE)
            if not 1 <= limit <= LONGEST_PAGE:
                raise ValueError(f"limit={limit} is out of range; expected 1 to {LONGEST_PAGE}")
            page, following = table.page(after, limit)
        except ValueError as error:
            return refuse(400, str(error))
        targets = [target_of(key).decode() for key in page if not key.startswith(_CANARIES)]
        following_cursor = None if following is None else str(following)
        return JSONResponse({"keys": targets, "next": following_cursor, "sessions": len(table)})

    made = Starlette(
        routes=[Route("/healthz", healthz), Route("/api/v1/keys", keys)],
        exception_handlers={HTTPException: refuse_http},
    )
    made.router.redirect_slashes = False
    return Guard(made, policy)


def _whole_number(request: Request, name: str, default: int) -> int:
    """A number of the query, as its page before has written it.

    Raises ValueError.
    """
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(f"{name}={text!r} is no whole number")
    return int(text)
