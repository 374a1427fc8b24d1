"""The routes of a router's admin port (design.md 9.3).

The app knows nothing of the router: an AdminApi answers. Every answer but those of
/healthz, /metrics and the status page is JSON; what is refused is `{"error": "one sentence"}`.
"""

from dataclasses import asdict, is_dataclass
from typing import Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from partitioner.errors import ConfigurationInvalid, Refused, UnknownBackend
from partitioner.membership.backend import Intent
from partitioner.ops.admin import page
from partitioner.ops.admin.guard import PAGE, AccessPolicy, Guard
from partitioner.ops.admin.refusals import refuse, refuse_http
from partitioner.ops.admin.reports import BackendReport, ClaimReport, EventReport, Locks, Status, VerifyReport
from partitioner.ops.event_log import EventLog
from partitioner.placement.location import Location

MOST_LOCKS = 1000
"""Locks that are told of at a time, the oldest first: those that an operator looks for."""


class AdminApi(Protocol):
    """Answers operators, and takes their orders."""

    def why_not_ready(self) -> tuple[str, ...]:
        """Why web servers should not be sent here; nothing if they should."""

    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the configuration, although requests are served, a sentence each."""

    def role(self) -> str:
        """Whether this router is the active one of its farm: active, claiming or standby."""

    def status(self) -> Status: ...

    def backends(self) -> tuple[BackendReport, ...]: ...

    def locate(self, key: bytes) -> Location:
        """Raises ValueError if that is not a key."""

    def locks(self, at_most: int) -> Locks: ...

    def events(self) -> tuple[EventReport, ...]:
        """The last lines of the log, the youngest first."""

    def set_intent(self, name: str, intent: Intent) -> BackendReport:
        """Raises UnknownBackend, or Refused if it would do harm or this router is not the active one."""

    async def claim(self) -> ClaimReport:
        """Make this router the active one of its farm. Raises Refused, with the reason, if that cannot be."""

    def begin_verify(self) -> VerifyReport:
        """Have a walk through all sessions begin. Raises Refused while one goes on, or as a standby."""

    def verify(self) -> VerifyReport | None:
        """What it has found so far; None if there was none."""

    async def reload(self) -> object:
        """Read the configuration again; returns a dataclass, or what JSON has a form for.

        Raises ConfigurationInvalid or Refused; nothing has changed then.
        """


def router_app(
    admin_api: AdminApi, policy: AccessPolicy, *more: Route, event_log: EventLog | None = None
) -> ASGIApp:
    """The app, guarded; with `more` routes that do not concern the admin API.

    Who was refused stands in `event_log`, where that is given.
    """
    page.template()
    routes = _Routes(admin_api)
    made = Starlette(
        routes=[
            Route(PAGE, routes.page),
            Route("/healthz", routes.healthz),
            Route("/readyz", routes.readyz),
            Route("/api/v1/status", routes.status),
            Route("/api/v1/backends", routes.backends),
            Route("/api/v1/locate", routes.locate),
            Route("/api/v1/locks", routes.locks),
            Route("/api/v1/events", routes.events),
            Route("/api/v1/backends/{name}/{intent}", routes.set_intent, methods=["POST"]),
            Route("/api/v1/verify", routes.verify),
            Route("/api/v1/verify", routes.begin_verify, methods=["POST"]),
            Route("/api/v1/claim", routes.claim, methods=["POST"]),
            Route("/api/v1/reload", routes.reload, methods=["POST"]),
            *more,
        ],
        exception_handlers={HTTPException: refuse_http},
    )
    made.router.redirect_slashes = False
    return Guard(made, policy, event_log)


class _Routes:
    def __init__(self, admin_api: AdminApi) -> None:
        self._admin_api = admin_api

    async def page(self, request: Request) -> Response:
        try:
            refresh = page.read_refresh(request.query_params.get("refresh"))
        except ValueError as error:
            return refuse(400, str(error))
        admin_api = self._admin_api
        shown = page.view(admin_api.status(), admin_api.locks(MOST_LOCKS), admin_api.events(), refresh)
        return HTMLResponse(await page.render(shown), headers=page.HEADERS)

    async def healthz(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        reasons = self._admin_api.why_not_ready()
        body = {
            "ready": not reasons,
            "role": self._admin_api.role(),
            "reasons": reasons,
            "warnings": self._admin_api.warnings(),
        }
        return JSONResponse(body, 503 if reasons else 200)

    async def status(self, request: Request) -> Response:
        return JSONResponse(asdict(self._admin_api.status()))

    async def backends(self, request: Request) -> Response:
        return JSONResponse({"backends": [asdict(each) for each in self._admin_api.backends()]})

    async def locate(self, request: Request) -> Response:
        keys = request.query_params.getlist("key")
        if len(keys) != 1 or not keys[0]:
            return refuse(400, "expected one key, as in /api/v1/locate?key=SESSION-ID")
        try:
            return JSONResponse(asdict(self._admin_api.locate(keys[0].encode("utf-8", "surrogatepass"))))
        except ValueError as error:
            return refuse(400, str(error))

    async def locks(self, request: Request) -> Response:
        return JSONResponse(asdict(self._admin_api.locks(MOST_LOCKS)))

    async def events(self, request: Request) -> Response:
        return JSONResponse({"events": [asdict(each) for each in self._admin_api.events()]})

    async def set_intent(self, request: Request) -> Response:
        name, order = request.path_params["name"], request.path_params["intent"]
        try:
            return JSONResponse(asdict(self._admin_api.set_intent(name, Intent(order))))
        except ValueError:
            return refuse(404, f"{order!r} is not an order; expected drain, ready or maint")
        except UnknownBackend as error:
            return refuse(404, str(error))
        except Refused as error:
            return refuse(409, str(error))

    async def claim(self, request: Request) -> Response:
        try:
            return JSONResponse(asdict(await self._admin_api.claim()))
        except Refused as error:
            return refuse(409, str(error))

    async def verify(self, request: Request) -> Response:
        report = self._admin_api.verify()
        if report is None:
            return refuse(404, "nothing was verified yet; POST to /api/v1/verify begins")
        return JSONResponse(asdict(report))

    async def begin_verify(self, request: Request) -> Response:
        try:
            return JSONResponse(asdict(self._admin_api.begin_verify()))
        except Refused as error:
            return refuse(409, str(error))

    async def reload(self, request: Request) -> Response:
        try:
            report = await self._admin_api.reload()
        except ConfigurationInvalid as error:
            return refuse(422, str(error), problems=[str(problem) for problem in error.problems])
        except Refused as error:
            return refuse(409, str(error))
        if is_dataclass(report) and not isinstance(report, type):
            report = asdict(report)
        return JSONResponse(report)
