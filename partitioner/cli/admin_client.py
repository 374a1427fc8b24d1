"""Asks a running router over its admin port, for the verbs that steer it.

What goes wrong is one sentence. Exit codes: 1 where the router is away or refuses an order, 2 where the
command line is wrong: an unknown name, a URL that is none, a token that is missing.
"""

import json
import os
from typing import Any, TypeVar
from urllib.parse import quote

import click
from pydantic import TypeAdapter, ValidationError

from partitioner.cli.http_client import HttpClient, NotReached
from partitioner.cli.options import DEFAULT_URL, TOKEN, Refused
from partitioner.errors import UnknownBackend
from partitioner.ops.admin.reports import (
    AcceptedLoss,
    BackendReport,
    ClaimReport,
    Locks,
    Status,
    StoreStatus,
    VerifyReport,
)
from partitioner.ops.printable import printable

TIMEOUT = 10.0
"""Seconds for an answer."""

T = TypeVar("T")


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
        return self._read(self._ask("GET", "/api/v1/status"), Status)

    def has_store(self) -> bool:
        """Whether it is a state server whose sessions are on an engine, and no router."""
        told = self._ask("GET", "/api/v1/status")
        return isinstance(told, dict) and "shards" in told

    def store_status(self) -> StoreStatus:
        return self._read(self._ask("GET", "/api/v1/status"), StoreStatus)

    def backends(self) -> list[BackendReport]:
        return self._read(self._ask("GET", "/api/v1/backends")["backends"], list[BackendReport])

    def backend(self, name: str) -> BackendReport:
        """The backend that has this name now. Raises Refused if there is none."""
        found = self.backends()
        for each in found:
            if each.name == name and not each.removed:
                return each
        raise Refused(str(UnknownBackend.called(name, [each.name for each in found if not each.removed])))

    def locks(self) -> Locks:
        return self._read(self._ask("GET", "/api/v1/locks"), Locks)

    def set_intent(self, name: str, intent: str) -> BackendReport:
        """Have a backend drained, made ready or put aside. Raises Refused if there is none of that name."""
        self.backend(name)  # asked first: with a slash or two dots in it, a name would make another path
        told = self._ask("POST", f"/api/v1/backends/{quote(name, safe='')}/{intent}")
        return self._read(told, BackendReport)

    def claim(self) -> ClaimReport:
        """Make this router the active one of its farm. Raises ClickException where it cannot be.

        How long that may take is the router's business: it waits for state servers, `lost_after` at most.
        """
        return self._read(self._ask("POST", "/api/v1/claim", waits=True), ClaimReport)

    def accept_loss(self) -> str:
        """Have a state server with a store take its engine as it stands; what that means, in a sentence."""
        told = self._ask("POST", "/api/v1/accept-loss")
        return self._read(told, AcceptedLoss).said

    def begin_verify(self) -> VerifyReport:
        """Have a walk through all sessions begin. Raises ClickException where another one goes on."""
        return self._read(self._ask("POST", "/api/v1/verify"), VerifyReport)

    def verify(self) -> VerifyReport:
        """What that walk has found so far."""
        return self._read(self._ask("GET", "/api/v1/verify"), VerifyReport)

    def _ask(self, method: str, path: str, *, waits: bool = False) -> Any:
        """Ask, and return the JSON that is told; if it `waits`, however long that takes.

        Raises ClickException (exit 1) or Refused (exit 2).
        """
        try:
            answer = self._client.request(method, path, waits=waits)
            told = json.loads(answer.body)
        except NotReached as error:
            reason = printable(str(error))
            raise click.ClickException(f"no router answers at {self._url}: {reason}") from error
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
        raise Refused(sentence) if answer.status in (400, 404) else click.ClickException(sentence)

    def _read(self, told: Any, kind: type[T]) -> T:
        """What was told, as a value; a router of a later version may tell more than is known here."""
        try:
            return TypeAdapter(kind).validate_python(told)
        except ValidationError as error:
            raise self._no_router() from error

    def _no_router(self) -> click.ClickException:
        return click.ClickException(f"what answers at {self._url} is not a router of this version")
