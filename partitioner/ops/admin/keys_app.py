"""The routes of a state server's admin port: that it lives, which sessions it holds, and others beside.

A router that drains the server walks through the listing, page by page. Keys are bearer secrets, so the
guard lets nobody list them without the token, whatever the route: only what tells no secret is free.
"""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from partitioner.ops.admin.guard import AccessPolicy, Guard
from partitioner.ops.admin.key_pages import USUAL_PAGE, page_of
from partitioner.ops.admin.refusals import refuse, refuse_http
from partitioner.sessions.table import SessionTable

LONGEST_PAGE = 10_000
"""Keys: a megabyte of JSON, made in about ten milliseconds."""


def keys_app(table: SessionTable, policy: AccessPolicy, *more: Route) -> ASGIApp:
    """The app, guarded; with `more` routes that do not concern the table."""

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def keys(request: Request) -> Response:
        try:
            after = _whole_number(request, "after", 0)
            limit = _whole_number(request, "limit", USUAL_PAGE)
            if not 1 <= limit <= LONGEST_PAGE:
                raise ValueError(f"limit={limit} is out of range; expected 1 to {LONGEST_PAGE}")
            page = page_of(table, after, limit)
        except ValueError as error:
            return refuse(400, str(error))
        keys = [target.decode() for target in page.targets]
        return JSONResponse({"keys": keys, "next": page.following, "sessions": page.sessions})

    made = Starlette(
        routes=[Route("/healthz", healthz), Route("/api/v1/keys", keys), *more],
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
        raise ValueError(f"{name}={text!r} is not a whole number")
    return int(text)
