"""Who may ask? An operator's port is one HTTP request away from every browser.

On loopback any user of this machine may ask, without a token. But a page of the web, opened in a browser
on this machine, can post to it as well (such a request carries an Origin), or reach it under a name
of its own that suddenly means 127.0.0.1 (DNS rebinding: such a request carries that name as its Host).
So a post with an Origin needs the token, and a Host has to be a name of this machine. Elsewhere than on
loopback every request needs the token.

Programs send it as a bearer. A person's browser cannot: it knows names and passwords (Basic), so the status
page, and nothing else, takes the token as a password too. A browser sends a password that it knows along
with whatever any page of the web makes it ask of the same port; were Basic taken for posts, such a page
could drain a server. To look at the page does nothing, and what it shows no other page can read.

What is told of single sessions needs the token on loopback as well, and so does to unlock one: it names what
is in a user's session, and a page may lose what it saves.

A state server of our own lists session IDs, and who has one of those is its user. So there every request
needs the token, on loopback as well, and where no token is set the listing is refused. Its port is also
guarded as its port for sessions is: by networks. What tells no secret is free: whether the process lives, and
at a state server its metrics.
"""

import time
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hmac import compare_digest

import structlog
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from partitioner.errors import AddressUnavailable
from partitioner.membership.backend import Address, Network
from partitioner.ops.admin.serving import is_within
from partitioner.ops.event_log import EventLog, EventLogger
from partitioner.ops.log import ONCE_A_MINUTE
from partitioner.ops.throttle import Throttle

CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
"""Methods that may change something."""

MOST_OF_HOST = 80
"""Characters of a name that is refused, for the log: the client may have made it up."""

READING = frozenset({"GET", "HEAD"})

FREE = frozenset({"/healthz", "/readyz"})
"""Paths that load balancers and service managers read without a token, wherever the port is."""

SESSION = "/api/v1/session"
SESSIONS = "/api/v1/sessions"
ITEMS = "/api/v1/sessions/items"
UNLOCK = "/api/v1/unlock"

ABOUT_SESSIONS = (SESSION, UNLOCK)
"""Where paths begin by which single sessions are looked at: they need the token on loopback as well."""

FREE_AT_STATE_SERVERS = FREE | {"/metrics"}

MOST_OF_ORDER = 200
"""Characters of an order's path in the log; names of servers are shorter."""

PAGE = "/"
"""The one path at which persons look, with a browser: the status page."""


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """Who may ask."""

    is_loopback: bool  # the address that is listened on
    token: str | None = None
    allow: tuple[Network, ...] | None = None  # a state server's: who may ask; None: a router


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused: a status and a sentence."""

    status: int
    sentence: str  # for the client
    cause: str  # for the log


def check_exposure(addresses: Sequence[Address], token: str | None) -> None:
    """Refuse an admin port that others can reach without a token.

    Raises AddressUnavailable.
    """
    exposed = next((address for address in addresses if not address.is_loopback), None)
    if exposed is not None and not token:
        raise AddressUnavailable(
            f"the admin address {exposed} can be reached from other machines, and there is no admin_token; "
            "expected a token, or an address such as 127.0.0.1:9424"
        )


def maybe_refuse(
    policy: AccessPolicy, method: str, path: str, headers: Headers, peer: str | None
) -> Refusal | None:
    """Say why this request is refused, if it is."""
    if policy.allow is not None and not is_within(peer, policy.allow):
        return Refusal(
            403, "your address is not in the allowed networks", "its address is not in the allowed networks"
        )
    if policy.is_loopback and not _names_this_machine(method, headers.get("host")):
        return Refusal(
            403,
            f"the Host {headers.get('host', '')!r} is not this machine; expected localhost",
            f"its Host {headers.get('host', '')[:MOST_OF_HOST]!r} is not this machine",
        )
    if policy.allow is not None and "origin" in headers:
        return Refusal(403, "this port is for programs, not for pages", "it is a page of the web")
    if method in READING and path in (FREE if policy.allow is None else FREE_AT_STATE_SERVERS):
        return None
    if policy.allow is not None:
        return _maybe_refuse_secret(policy, headers, LISTING)
    if path.startswith(ABOUT_SESSIONS):
        return _maybe_refuse_secret(policy, headers, SINGLE_SESSIONS)
    if _has_token(policy, headers, takes_password=_is_for_persons(method, path)):
        return None
    if not policy.is_loopback or (policy.token and "authorization" in headers):
        return Refusal(
            401,
            "expected the header `Authorization: Bearer TOKEN` with the admin_token",
            "its admin_token is wrong" if "authorization" in headers else "it gave no admin_token",
        )
    if method in CHANGING and "origin" in headers:
        return Refusal(
            403,
            "a page of the web may not do that; expected no Origin, or the admin_token",
            "it is a page of the web, without the admin_token",
        )
    return None


@dataclass(frozen=True, slots=True)
class Secret:
    """What is told to nobody without the token."""

    withheld: str  # where there is no token
    why: str
    token: str  # which one


LISTING = Secret(
    "this state server lists no session IDs, because it was started without --admin-token-file",
    "it was started without --admin-token-file",
    "token of --admin-token-file",
)
SINGLE_SESSIONS = Secret(
    "this router tells nothing of single sessions, because its configuration has no admin_token",
    "its configuration has no admin_token",
    "admin_token",
)


def _maybe_refuse_secret(policy: AccessPolicy, headers: Headers, secret: Secret) -> Refusal | None:
    """Say why this client is not told."""
    if not policy.token:
        return Refusal(403, secret.withheld, secret.why)
    if _has_token(policy, headers, takes_password=False):
        return None
    return Refusal(
        401,
        f"expected the header `Authorization: Bearer TOKEN` with the {secret.token}",
        "its token is wrong" if "authorization" in headers else "it gave no token",
    )


class Guard:
    """ASGI middleware: refuses, and says in one line of the log what went wrong inside."""

    def __init__(
        self,
        app: ASGIApp,
        policy: AccessPolicy,
        event_log: EventLog | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """What is said is also remembered in `event_log`, for the status page."""
        self._app = app
        self._policy = policy
        self._log = EventLogger(structlog.get_logger(), EventLog() if event_log is None else event_log)
        self._throttle = Throttle(ONCE_A_MINUTE, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        method, path = scope["method"], scope["path"]
        refusal = maybe_refuse(
            self._policy, method, path, Headers(scope=scope), client[0] if client else None
        )
        if refusal is not None:
            self._tell(refusal, client[0] if client else "unknown")
            challenge = {"WWW-Authenticate": _challenge(method, path)} if refusal.status == 401 else None
            response = JSONResponse({"error": refusal.sentence}, refusal.status, challenge)
            await response(scope, receive, send)
            return
        status = await self._respond(scope, receive, send)
        if method in CHANGING and status not in (404, 405):
            self._note_order(scope, status)

    def _note_order(self, scope: Scope, status: int | None) -> None:
        """Write down who ordered what, and what came of it."""
        client, headers = scope.get("client"), Headers(scope=scope)
        has_token = _has_token(self._policy, headers, takes_password=False)
        self._log.info(
            "admin order",
            client=client[0] if client else "unknown",
            identity="admin_token" if has_token else "no token, from loopback",
            order=f"{scope['method']} {scope['path']}"[:MOST_OF_ORDER],
            status=status,
        )

    def _tell(self, refusal: Refusal, peer: str) -> None:
        """Say of each who is refused, once a minute: a token is guessed at, or a scrape has none."""
        # A guess at the token must not hide behind a scrape that has none. A Host is what the client says.
        subject = f"{refusal.cause if refusal.status == 401 else refusal.status} {peer}"
        if self._throttle.admit(subject):
            self._log.warning(
                "admin request refused",
                client=peer,
                status=refusal.status,
                cause=refusal.cause,
                **self._times_more(),
            )

    def _times_more(self) -> dict[str, int]:
        """How many were refused without a line since the last line."""
        held_back = self._throttle.take_held_back().total()
        return {"times_more_before": held_back} if held_back else {}

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> int | None:
        """Have the app respond; the status of its response, or None where there was none."""
        status: int | None = None

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # the one place for a fault of ours in an admin request
            log = self._log
            log.error("an admin request ended in a fault of this program", path=scope["path"], exc_info=error)
            if status is None:
                response = JSONResponse({"error": "a fault of this program; its log says more"}, 500)
                await response(scope, receive, watched)
        return status


def _has_token(policy: AccessPolicy, headers: Headers, *, takes_password: bool) -> bool:
    """Compared in constant time: how long it takes does not say how much of it is right."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    token = given.strip().encode()
    if scheme.lower() == "basic" and takes_password:
        token = _password(token)
    elif scheme.lower() != "bearer":
        return False
    return bool(policy.token) and compare_digest(token, (policy.token or "").encode())


def _password(credentials: bytes) -> bytes:
    """The password of Basic credentials, whatever the name; nothing if they are malformed (RFC 7617)."""
    try:
        return b64decode(credentials, validate=True).partition(b":")[2]
    except NotBase64:
        return b""


def _is_for_persons(method: str, path: str) -> bool:
    """Whether a person with a browser asks for this, and the answer changes nothing."""
    return method in READING and path == PAGE


def _challenge(method: str, path: str) -> str:
    """How to prove oneself. Only Basic makes a browser ask its user for a password."""
    return 'Basic realm="partitioner", charset="UTF-8"' if _is_for_persons(method, path) else "Bearer"


def _names_this_machine(method: str, host: str | None) -> bool:
    """Whether the Host is a name of this machine. Without any it was no browser: it may read."""
    if host is None:
        return method in READING
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return Address(name.strip("[]").lower(), 0).is_loopback
