"""What does a state server hold? The router's end of asking for its keys or its inventory, page by page."""

import json
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, cast

import httpx
import trio

from partitioner.errors import ListingFailed
from partitioner.membership.backend import Address
from partitioner.ops.admin.key_pages import INVENTORY_PAGE, USUAL_PAGE, inventory_of, page_of
from partitioner.protocol.target import Applications, server_key, target_of
from partitioner.routing.drain import ListKeys, Page
from partitioner.routing.inventory import InventoryPage, ListSessions
from partitioner.sessions.table import Listed, SessionTable

TIMEOUT = 5.0
"""Seconds: a page takes milliseconds."""

MOST_BYTES = 2 * 1024 * 1024
"""Of a page of an inventory: 500 sessions take 50 KB, and a server stops at 512 KB of keys."""

PIECE = 64 * 1024

_DIGEST = re.compile(r"[0-9a-f]{16}")

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


class LocalInventory:
    """Looks into the tables of this process's own state servers, and asks others. This is a ListSessions."""

    def __init__(self, tables: Mapping[Address, SessionTable], elsewhere: ListSessions) -> None:
        self._tables = tables
        self._elsewhere = elsewhere

    async def __call__(self, admin: Address, first: bytes) -> InventoryPage:
        if admin not in self._tables:
            return await self._elsewhere(admin, first)
        await trio.lowlevel.checkpoint()
        return inventory_of(self._tables[admin], first, INVENTORY_PAGE, time.monotonic())


class BoundedHttp:
    """Asks admin ports of state servers over HTTP, for what has a bounded size and comes in bounded time."""

    def __init__(self, client: httpx.AsyncClient, token: str | None = None) -> None:
        """`token` is that of the state servers; without one they refuse to list."""
        self._client = client
        self._headers = _headers(token)

    async def get(self, admin: Address, path: str, query: dict[str, str], what: str) -> Any:
        """The JSON that is told; `what` says in failures what that is. Raises ListingFailed."""
        try:
            with trio.fail_after(TIMEOUT):
                status, told = await self._get_page(admin, path, query)
        except trio.TooSlowError as error:
            sentence = f"its admin port {admin} took more than {TIMEOUT:g} s for a page of its {what}"
            raise ListingFailed(sentence) from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise ListingFailed(f"its admin port {admin} does not answer: {reason}") from error
        if status == 401:
            raise _lacks_token(admin, self._headers)
        if status == 404:
            raise ListingFailed(f"its admin port {admin} has no {what}: the server is of an older release")
        if status != 200:
            said = told[:200].decode(errors="replace")
            raise ListingFailed(f"its admin port {admin} answered {status}: {said}")
        try:
            return json.loads(told)
        except (ValueError, RecursionError) as error:
            raise ListingFailed(f"its admin port {admin} answered what is not an {what}") from error

    async def _get_page(self, admin: Address, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        """The status and the body. Raises ListingFailed where that is too long."""
        told = bytearray()
        async with self._client.stream(
            "GET", f"http://{admin}{path}", params=query, headers=self._headers, timeout=TIMEOUT
        ) as answer:
            async with aclosing(cast(AsyncGenerator[bytes, None], answer.aiter_bytes(PIECE))) as pieces:
                async for piece in pieces:
                    told += piece
                    if len(told) > MOST_BYTES:
                        sentence = f"its admin port {admin} sent a page of more than {MOST_BYTES} bytes"
                        raise ListingFailed(sentence)
            return answer.status_code, bytes(told)


class HttpInventory:
    """Asks admin ports over HTTP for pages of what servers hold. This is a ListSessions."""

    def __init__(self, client: httpx.AsyncClient, token: str | None = None) -> None:
        """`token` is that of the state servers; without one they refuse to list."""
        self._http = BoundedHttp(client, token)

    async def __call__(self, admin: Address, first: bytes) -> InventoryPage:
        """Ask for a page. Raises ListingFailed."""
        query = {"from": target_of(first).decode()}
        told = await self._http.get(admin, "/api/v1/sessions", query, "inventory")
        try:
            return _inventory(told)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ListingFailed(f"its admin port {admin} answered what is not an inventory") from error


class HttpListing:
    """Asks admin ports over HTTP. This is a ListKeys."""

    def __init__(self, client: httpx.AsyncClient, token: str | None = None) -> None:
        """`token` is that of the state servers; without one they refuse to list."""
        self._client = client
        self._headers = _headers(token)

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
            raise _lacks_token(admin, self._headers)
        if answer.status_code != 200:
            raise ListingFailed(f"its admin port {admin} answered {answer.status_code}: {_sentence(answer)}")
        return _page(answer, admin)


def _headers(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def _lacks_token(admin: Address, headers: dict[str, str]) -> ListingFailed:
    lacks = "is not the one that this server expects" if headers else "is not set"
    return ListingFailed(f"its admin port {admin} wants a token; backend_token_file {lacks}")


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


def _inventory(told: Any) -> InventoryPage:
    """Read a page of an inventory. Raises ValueError, TypeError, KeyError or AttributeError if it is none."""
    key_of = Applications(server_key).key_of
    following = told["next"]
    canaries = {str(farm): content.encode() for farm, content in told["canaries"].items()}
    return InventoryPage(
        tuple(_listed(key_of, *each) for each in told["listed"]),
        None if following is None else _key(key_of, following),
        _count(told["sessions"]),
        canaries,
    )


def _listed(
    key_of: Callable[[bytes], bytes],
    target: str,
    minutes: int,
    idle: float | None,
    size: int,
    is_locked: bool,
    digest: str,
) -> Listed:
    if not isinstance(is_locked, bool) or not isinstance(idle, int | float | None):
        raise ValueError(f"{target!r} is not listed as sessions are")
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is no digest")
    return Listed(_key(key_of, target), _count(minutes), idle, _count(size), is_locked, int(digest, 16))


def _key(key_of: Callable[[bytes], bytes], target: str) -> bytes:
    spelt = target.encode("ascii")
    if not _TARGET.fullmatch(spelt):
        raise ValueError(f"{target!r} is no target")
    return key_of(spelt)


def _count(number: object) -> int:
    if not isinstance(number, int) or number < 0:
        raise ValueError(f"{number!r} is no number of things")
    return number


def _sentence(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, TypeError, KeyError):
        return answer.reason_phrase
