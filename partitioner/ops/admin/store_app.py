"""The routes of the admin port of a state server whose sessions are on an engine."""

from dataclasses import asdict
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from partitioner.errors import ConfigurationInvalid, Refused, StoreFailure
from partitioner.ops.admin import page
from partitioner.ops.admin.event_reports import event_reports
from partitioner.ops.admin.guard import PAGE, AccessPolicy, Guard
from partitioner.ops.admin.refusals import refuse, refuse_http
from partitioner.ops.admin.reports import Locks, StoreLocation, StoreStatus
from partitioner.ops.admin.store_page import render_store, store_template, store_view
from partitioner.ops.event_log import EventLog


class StoreApi(Protocol):
    """Answers operators, and takes their orders."""

    async def status(self) -> StoreStatus: ...

    async def locate(self, key: bytes) -> StoreLocation: ...

    async def locks(self) -> Locks:
        """The oldest locks. Raises StoreFailure."""

    async def accept_loss(self) -> str:
        """Take the engine as it stands; what that means now, in a sentence."""

    async def reload(self) -> object:
        """Read the configuration again. Raises ConfigurationInvalid or Refused; nothing has changed then."""


def store_app(
    api: StoreApi, policy: AccessPolicy, *more: Route, event_log: EventLog | None = None
) -> ASGIApp:
    """The app, guarded; with `more` routes that do not concern the API."""

    store_template()
    events = EventLog() if event_log is None else event_log

    async def status_page(request: Request) -> Response:
        try:
            refresh = page.read_refresh(request.query_params.get("refresh"))
        except ValueError as error:
            return refuse(400, str(error))
        shown = store_view(await api.status(), event_reports(events), refresh)
        return HTMLResponse(await render_store(shown), headers=page.HEADERS)

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        seen = await api.status()
        return JSONResponse({"ready": seen.ready, "reasons": seen.reasons}, 200 if seen.ready else 503)

    async def status(request: Request) -> Response:
        return JSONResponse(asdict(await api.status()))

    async def locate(request: Request) -> Response:
        keys = request.query_params.getlist("key")
        if len(keys) != 1 or not keys[0]:
            return refuse(400, "expected one target, as in /api/v1/locate?key=TARGET")
        return JSONResponse(asdict(await api.locate(keys[0].encode("utf-8", "surrogatepass"))))

    async def locks(request: Request) -> Response:
        try:
            return JSONResponse(asdict(await api.locks()))
        except StoreFailure as failure:
            return refuse(503, str(failure))

    async def accept_loss(request: Request) -> Response:
        return JSONResponse({"said": await api.accept_loss()})

    async def reload(request: Request) -> Response:
        try:
            return JSONResponse(await api.reload())
        except ConfigurationInvalid as error:
            return refuse(422, str(error), problems=[str(problem) for problem in error.problems])
        except Refused as error:
            return refuse(409, str(error))

    made = Starlette(
        routes=[
            Route(PAGE, status_page),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/api/v1/status", status),
            Route("/api/v1/locate", locate),
            Route("/api/v1/locks", locks),
            Route("/api/v1/accept-loss", accept_loss, methods=["POST"]),
            Route("/api/v1/reload", reload, methods=["POST"]),
            *more,
        ],
        exception_handlers={HTTPException: refuse_http},
    )
    made.router.redirect_slashes = False
    return Guard(made, policy, event_log)
