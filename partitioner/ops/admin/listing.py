"""Which sessions does a state server hold? The router's end of asking for them, page by page."""

import re
from collections.abc import Mapping

import httpx

from partitioner.errors import ListingFailed
from partitioner.membership.backend import Address
from partitioner.ops.admin.key_pages import USUAL_PAGE, page_of
from partitioner.routing.drain import ListKeys, Page
from partitioner.sessions.table import SessionTable

TIMEOUT = 5.0
"""Seconds: a page takes milliseconds."""

_TARGET = re.compile(rb"[!-~]+")
"""What may stand between two spaces of a request."""


class LocalListing:
    """Looks into the tables of this process's own state servers, and asks others. This is a ListKeys."""

    def __init__(self, tables: Mapping[Address, SessionTable], elsewhere: ListKeys) -> None:
        self._tables = tables
        self._elsewhere = elsewhere

    async def __call__(self, admin: Address, cursor: str | None) -> Page:
        if admin not in self._tables:
            return await self._elsewhere(admin, cursor)
        return page_of(self._tables[admin], int(cursor or 0), USUAL_PAGE)


class HttpListing:
    """Asks admin ports over HTTP. This is a ListKeys."""

    def __init__(self, client: httpx.AsyncClient, token: str | None = None) -> None:
        """`token` is that of the state servers; without one they refuse to list."""
        self._client = client
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def __call__(self, admin: Address, cursor: str | None) -> Page:
        """Ask for a page. Raises ListingFailed."""
        query = {} if cursor is None else {"after": cursor}
        try:
            answer = await self._client.get(
                f"http://{admin}/api/v1/keys", params=query, headers=self._headers, timeout=TIMEOUT
            )
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise ListingFailed(f"its admin port {admin} does not answer: {reason}") from error
        if answer.status_code == 401:
            lacks = "is not the one that this server expects" if self._headers else "is not set"
            raise ListingFailed(f"its admin port {admin} wants a token; backend_token_file {lacks}")
        if answer.status_code != 200:
            raise ListingFailed(f"its admin port {admin} answered {answer.status_code}: {_sentence(answer)}")
        return _page(answer, admin)


def _page(answer: httpx.Response, admin: Address) -> Page:
    """Read a page; what is none is not the listing of a state server of ours.

    Raises ListingFailed.
    """
    try:
        told = answer.json()
        targets = tuple(key.encode("ascii") for key in told["keys"])
        following, sessions = told["next"], told["sessions"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ListingFailed(f"its admin port {admin} answered what is not a listing") from error
    is_listing = isinstance(sessions, int) and (following is None or isinstance(following, str))
    if not is_listing or not all(_TARGET.fullmatch(target) for target in targets):
        raise ListingFailed(f"its admin port {admin} answered what is not a listing")
    return Page(targets, following, sessions)


def _sentence(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, TypeError, KeyError):
        return answer.reason_phrase
