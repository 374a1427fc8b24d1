"""Asks a running router over its admin port, for the verbs that steer it.

What goes wrong is one sentence. Exit codes: 1 where the router refuses an order, 2 where the command line is
wrong (an unknown name, a URL that is none, a token that is missing), 3 where no router answers.
"""

import json
import os
from typing import Any, TypeVar
from urllib.parse import quote

import click
from pydantic import TypeAdapter, ValidationError

from partitioner.cli.http_client import HttpClient, NotHttp, NotReached
from partitioner.cli.options import DEFAULT_URL, TOKEN, Refused
from partitioner.errors import UnknownBackend
from partitioner.ops.admin.reports import (
    AcceptedLoss,
    BackendReport,
    ClaimReport,
    EventReport,
    HistoryReport,
    Locks,
    ReloadReport,
    Status,
    StoreStatus,
    VerifyReport,
)
from partitioner.ops.admin.session_reports import (
    ItemsReport,
    LargestReport,
    SessionReport,
    UnlockReport,
)
from partitioner.ops.printable import printable

TIMEOUT = 10.0
"""Seconds for an answer."""

_FORCE = b'{"force": true}'

T = TypeVar("T")


class NoRouterAnswers(click.ClickException):
    """Nothing answers at the admin address: it is not known what the router would say."""

    exit_code = 3


class AdminClient:
    """The admin port of one router."""

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        """`timeout` is for each answer, in seconds. Raises Refused if the URL is none."""
        self._url = url if "//" in url else f"http://{url}"
        try:
            self._client = HttpClient(self._url, os.environ.get(TOKEN), timeout)
        except ValueError as error:
            reason = f"{error}; expected one such as {DEFAULT_URL}"
            raise Refused(f"--admin {url} is not a URL, or ${TOKEN} is not a token: {reason}") from error

    def status(self) -> Status:
        return self._read(self._request("GET", "/api/v1/status"), Status)

    def has_store(self) -> bool:
        """Whether it is a state server whose sessions are on an engine, and no router."""
        told = self._request("GET", "/api/v1/status")
        return isinstance(told, dict) and "shards" in told

    def store_status(self) -> StoreStatus:
        return self._read(self._request("GET", "/api/v1/status"), StoreStatus)

    def backends(self) -> list[BackendReport]:
        return self._read(self._request("GET", "/api/v1/backends")["backends"], list[BackendReport])

    def backend(self, name: str, *, removed: bool = False) -> BackendReport:
        """The backend of this name; with `removed` also one that has left, and is asked for what it holds.

        Raises Refused if there is none.
        """
        found = [each for each in self.backends() if removed or not each.removed]
        for each in sorted(found, key=lambda each: each.removed):
            if each.name == name:
                return each
        raise Refused(str(UnknownBackend.called(name, [each.name for each in found])))

    def history(self) -> HistoryReport:
        """What the last hour was like."""
        return self._read(self._request("GET", "/api/v1/history"), HistoryReport)

    def locks(self) -> Locks:
        return self._read(self._request("GET", "/api/v1/locks"), Locks)

    def events(self) -> list[EventReport]:
        """The last lines of the log, the youngest first."""
        return self._read(self._request("GET", "/api/v1/events")["events"], list[EventReport])

    def set_intent(self, name: str, intent: str, *, force: bool = False) -> BackendReport:
        """Have a backend drained, made ready or put aside; with `force`, whatever that puts at stake.

        Raises Refused if there is none of that name, ClickException where sessions would be lost.
        """
        self.backend(name)  # asked first: with a slash or two dots in it, a name would make another path
        told = self._request("POST", f"/api/v1/backends/{quote(name, safe='')}/{intent}", force=force)
        return self._read(told, BackendReport)

    def reload(self, *, force: bool = False) -> ReloadReport:
        """Have the router read its configuration again; with `force`, whatever that puts at stake.

        Raises Refused where the file is wrong, ClickException where it cannot be applied.
        """
        return self._read(self._request("POST", "/api/v1/reload", force=force), ReloadReport)

    def claim(self) -> ClaimReport:
        """Make this router the active one of its farm. Raises ClickException where it cannot be.

        How long that may take is the router's business: it waits for state servers, `lost_after` at most.
        """
        return self._read(self._request("POST", "/api/v1/claim", waits=True), ClaimReport)

    def accept_loss(self) -> str:
        """Have a state server with a store take its engine as it stands; what that means, in a sentence."""
        told = self._request("POST", "/api/v1/accept-loss")
        return self._read(told, AcceptedLoss).said

    def begin_verify(self) -> VerifyReport:
        """Have a walk through all sessions begin. Raises ClickException where another one goes on."""
        return self._read(self._request("POST", "/api/v1/verify"), VerifyReport)

    def verify(self) -> VerifyReport:
        """What that walk has found so far."""
        return self._read(self._request("GET", "/api/v1/verify"), VerifyReport)

    def session(self, key: str) -> SessionReport:
        """What is known of the sessions for which a key stands. Raises Refused if it is none."""
        path = f"/api/v1/session?key={quote(key, safe='', errors='surrogateescape')}"
        return self._read(self._request("GET", path, waits=True), SessionReport)

    def largest_sessions(self, at_most: int) -> LargestReport:
        """The largest sessions. Raises ClickException where that is not to be had."""
        told = self._request("GET", f"/api/v1/sessions?largest={at_most}", waits=True)
        return self._read(told, LargestReport)

    def heaviest_items(self, at_most: int) -> ItemsReport:
        """The items that take most memory. Raises ClickException where that is not to be had."""
        told = self._request("GET", f"/api/v1/sessions/items?largest={at_most}", waits=True)
        return self._read(told, ItemsReport)

    def unlock(self, target: str, cookie: int, *, force: bool) -> UnlockReport:
        """Have the lock of a session released. Raises ClickException where that may not or cannot be."""
        order = {"target": target, "cookie": cookie, "force": force}
        told = self._request("POST", "/api/v1/unlock", waits=True, body=json.dumps(order).encode())
        return self._read(told, UnlockReport)

    def _request(
        self, method: str, path: str, *, waits: bool = False, force: bool = False, body: bytes = b""
    ) -> Any:
        """Ask, and return the JSON that is told; if it `waits`, however long that takes.

        Raises ClickException (exit 1), Refused (exit 2) or NoRouterAnswers (exit 3).
        """
        try:
            answer = self._client.request(method, path, waits=waits, body=_FORCE if force else body)
            told = json.loads(answer.body)
        except NotHttp as error:
            raise click.ClickException(
                f"what answers at {self._url} does not speak HTTP; expected the router's admin address (key "
                "`admin`), not the one on which it serves web servers"
            ) from error
        except NotReached as error:
            reason = printable(str(error))
            raise NoRouterAnswers(f"no router answers at {self._url}: {reason}") from error
        except (ValueError, RecursionError) as error:
            raise self._no_router() from error
        if answer.is_success:
            return told
        sentence = told.get("error") if isinstance(told, dict) else None
        if not isinstance(sentence, str):
            raise self._no_router()
        if answer.status == 401:
            raise Refused(f"the router at {self._url} wants its admin_token; set ${TOKEN} to it")
        sentence = printable(sentence)  # whatever answers at that address has written it
        if method == "GET" and answer.status == 404:  # a state server's admin port, for example
            raise self._no_router()
        raise Refused(sentence) if answer.status in (400, 404, 422) else click.ClickException(sentence)

    def _read(self, told: Any, kind: type[T]) -> T:
        """What was told, as a value; a router of a later version may tell more than is known here."""
        try:
            return TypeAdapter(kind).validate_python(told)
        except ValidationError as error:
            raise self._no_router() from error

    def _no_router(self) -> click.ClickException:
        return click.ClickException(f"what answers at {self._url} is not a router of this version")
