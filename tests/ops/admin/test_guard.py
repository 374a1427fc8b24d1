"""Who may ask an admin port, and what others get (design.md 9.3)."""

import json
from base64 import b64encode
from ipaddress import ip_network

import pytest
import structlog
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

from partitioner.errors import AddressUnavailable
from partitioner.membership.backend import Address
from partitioner.ops.admin.guard import AccessPolicy, Guard, check_exposure, maybe_refuse
from partitioner.ops.event_log import EventLog
from partitioner.ops.log import ONCE_A_MINUTE
from partitioner.ops.log_output import configure_log
from tests.ops.admin.asking import Operator
from tests.tables import each_case

HERE = AccessPolicy(is_loopback=True)
HERE_WITH_TOKEN = AccessPolicy(is_loopback=True, token="secret")
ELSEWHERE = AccessPolicy(is_loopback=False, token="secret")
NETWORKS = (ip_network("10.0.0.0/24"), ip_network("fd00::/8"))
STATE_SERVER = AccessPolicy(is_loopback=False, token="secret", allow=NETWORKS)
STATE_SERVER_HERE = AccessPolicy(is_loopback=True, token="secret", allow=(ip_network("127.0.0.0/8"),))
WITHOUT_TOKEN = AccessPolicy(is_loopback=True, allow=(ip_network("127.0.0.0/8"),))

RIGHT = {"authorization": "Bearer secret"}
WRONG = {"authorization": "Bearer secreT"}
LOCAL = {"host": "127.0.0.1:9424"}
PAGE = {"origin": "https://example.org"}
REBOUND = {"host": "example.org:9424"}

# A policy, a method, headers, who asks; and the status of the refusal, or None.
ASKED: list[tuple[AccessPolicy, str, dict[str, str], str, int | None]] = [
    (HERE, "GET", LOCAL, "127.0.0.1", None),
    (HERE, "POST", LOCAL, "127.0.0.1", None),
    (HERE, "GET", {"host": "localhost"}, "127.0.0.1", None),
    (HERE, "GET", {"host": "LOCALHOST:9424"}, "127.0.0.1", None),
    (HERE, "GET", {"host": "[::1]:9424"}, "::1", None),
    (HERE, "GET", {"host": "[::1]"}, "::1", None),
    (HERE, "GET", LOCAL | PAGE, "127.0.0.1", None),
    (HERE, "POST", LOCAL | PAGE, "127.0.0.1", 403),
    (HERE, "DELETE", LOCAL | PAGE, "127.0.0.1", 403),
    (HERE, "POST", LOCAL | {"origin": "null"}, "127.0.0.1", 403),
    (HERE, "POST", LOCAL | PAGE | RIGHT, "127.0.0.1", 403),  # there is no token, so none is right
    (HERE, "POST", LOCAL | RIGHT, "127.0.0.1", None),
    (HERE, "GET", REBOUND, "127.0.0.1", 403),
    (HERE, "GET", {}, "127.0.0.1", None),  # every browser sends one, and so did no page of the web ask
    (HERE, "POST", {}, "127.0.0.1", 403),
    (HERE, "GET", {"host": ""}, "127.0.0.1", 403),
    (HERE, "GET", {"host": "127.0.0.1.example.org"}, "127.0.0.1", 403),
    (HERE_WITH_TOKEN, "POST", LOCAL, "127.0.0.1", None),
    (HERE_WITH_TOKEN, "POST", LOCAL | PAGE, "127.0.0.1", 403),
    (HERE_WITH_TOKEN, "POST", LOCAL | PAGE | RIGHT, "127.0.0.1", None),
    (HERE_WITH_TOKEN, "POST", LOCAL | PAGE | WRONG, "127.0.0.1", 401),
    (HERE_WITH_TOKEN, "GET", REBOUND | RIGHT, "127.0.0.1", 403),
    (ELSEWHERE, "GET", REBOUND, "10.0.0.9", 401),
    (ELSEWHERE, "GET", WRONG, "10.0.0.9", 401),
    (ELSEWHERE, "GET", {"authorization": "Basic secret"}, "10.0.0.9", 401),
    (ELSEWHERE, "GET", {"authorization": "Bearer"}, "10.0.0.9", 401),
    (ELSEWHERE, "GET", {"authorization": "Bearer s\u00e9cret"}, "10.0.0.9", 401),
    (ELSEWHERE, "GET", RIGHT, "10.0.0.9", None),
    (ELSEWHERE, "GET", {"authorization": "bearer secret"}, "10.0.0.9", None),
    (ELSEWHERE, "POST", RIGHT | PAGE, "10.0.0.9", None),
    (STATE_SERVER, "GET", REBOUND | RIGHT, "10.0.0.9", None),
    (STATE_SERVER, "GET", REBOUND | RIGHT, "10.0.1.9", 403),
    (STATE_SERVER, "GET", REBOUND | RIGHT, "::ffff:10.0.0.9", None),
    (STATE_SERVER, "GET", REBOUND | RIGHT, "fd00::1%eth0", None),
    (STATE_SERVER, "GET", PAGE | RIGHT, "10.0.0.9", 403),
    (STATE_SERVER, "GET", REBOUND | RIGHT, "", 403),
    (STATE_SERVER, "GET", REBOUND, "10.0.0.9", 401),
    (STATE_SERVER, "GET", REBOUND | WRONG, "10.0.0.9", 401),
    (STATE_SERVER_HERE, "GET", LOCAL, "127.0.0.1", 401),
    (STATE_SERVER_HERE, "GET", {}, "127.0.0.1", 401),
    (STATE_SERVER_HERE, "GET", LOCAL | RIGHT, "127.0.0.1", None),
    (STATE_SERVER_HERE, "GET", REBOUND | RIGHT, "127.0.0.1", 403),
    (WITHOUT_TOKEN, "GET", LOCAL, "127.0.0.1", 403),
    (WITHOUT_TOKEN, "GET", LOCAL | RIGHT, "127.0.0.1", 403),
    (WITHOUT_TOKEN, "GET", LOCAL | {"authorization": "Bearer "}, "127.0.0.1", 403),
]


@each_case(("policy", "method", "headers", "peer", "status"), ASKED)
def test_who_may_ask(
    policy: AccessPolicy, method: str, headers: dict[str, str], peer: str, status: int | None
) -> None:
    """A page of the web gets nothing done, a name that was rebound is none, and strangers need the token."""
    refusal = maybe_refuse(policy, method, "/api/v1/status", Headers(headers), peer)

    assert status == (None if refusal is None else refusal.status)


# A policy, a path, who asks; and the status of the refusal, or None.
FREE: list[tuple[AccessPolicy, str, str, int | None]] = [
    (ELSEWHERE, "/healthz", "10.0.0.9", None),
    (ELSEWHERE, "/readyz", "10.0.0.9", None),
    (ELSEWHERE, "/metrics", "10.0.0.9", 401),
    (ELSEWHERE, "/", "10.0.0.9", 401),
    (HERE, "/api/v1/session", "127.0.0.1", 403),
    (HERE, "/api/v1/unlock", "127.0.0.1", 403),
    (HERE_WITH_TOKEN, "/api/v1/session", "127.0.0.1", 401),
    (HERE_WITH_TOKEN, "/api/v1/sessions", "127.0.0.1", 401),
    (HERE_WITH_TOKEN, "/api/v1/unlock", "127.0.0.1", 401),
    (STATE_SERVER, "/healthz", "10.0.0.9", None),
    (STATE_SERVER, "/metrics", "10.0.0.9", None),
    (STATE_SERVER, "/metrics", "10.0.1.9", 403),
    (STATE_SERVER, "/api/v1/keys", "10.0.0.9", 401),
    (STATE_SERVER, "/api/v1/any/other/listing", "10.0.0.9", 401),
    (STATE_SERVER, "/metrics/", "10.0.0.9", 401),
    (WITHOUT_TOKEN, "/healthz", "127.0.0.1", None),
    (WITHOUT_TOKEN, "/metrics", "127.0.0.1", None),
]


@each_case(("policy", "path", "peer", "status"), FREE)
def test_what_is_free(policy: AccessPolicy, path: str, peer: str, status: int | None) -> None:
    """What tells no secret wants no token; all else of a state server wants it, whichever route it is."""
    refusal = maybe_refuse(policy, "GET", path, Headers(LOCAL), peer)

    assert status == (None if refusal is None else refusal.status)
    posted = maybe_refuse(policy, "POST", path, Headers(LOCAL), peer)
    assert policy in (HERE, HERE_WITH_TOKEN) or posted is not None


@each_case(
    ("policy", "headers", "peer", "identity"),
    [
        (HERE, {}, "127.0.0.1", "no token, from loopback"),
        (HERE_WITH_TOKEN, {}, "127.0.0.1", "no token, from loopback"),
        (HERE_WITH_TOKEN, RIGHT, "127.0.0.1", "admin_token"),
        (ELSEWHERE, RIGHT, "10.0.0.9", "admin_token"),
    ],
)
async def test_an_order_is_logged(
    policy: AccessPolicy, headers: dict[str, str], peer: str, identity: str
) -> None:
    """Who gave it, from where, and what came of it; reads and unknown paths leave no line."""
    event_log = EventLog()
    operator = Operator(Guard(JSONResponse({}, 409), policy, event_log), peer)
    await operator.post("/api/v1/backends/state-1/drain", **headers)
    await operator.get("/api/v1/status", **headers)
    await Operator(Guard(JSONResponse({}, 404), policy, event_log), peer).post("/made-up", **headers)

    [event] = event_log.events()
    assert "admin order" == event.what
    assert {
        "client": peer,
        "identity": identity,
        "order": "POST /api/v1/backends/state-1/drain",
        "status": "409",
    } == event.facts


def basic(credentials: bytes) -> dict[str, str]:
    return {"authorization": f"Basic {b64encode(credentials).decode()}"}


BY_PASSWORD = basic(b"anybody:secret")

# A policy, a method, a path, credentials; and the status of the refusal, or None.
WITH_PASSWORDS: list[tuple[AccessPolicy, str, str, dict[str, str], int | None]] = [
    (ELSEWHERE, "GET", "/", BY_PASSWORD, None),
    (ELSEWHERE, "HEAD", "/", BY_PASSWORD, None),
    (ELSEWHERE, "GET", "/", basic(b":secret"), None),
    (ELSEWHERE, "GET", "/", RIGHT, None),
    (ELSEWHERE, "GET", "/", {}, 401),
    (ELSEWHERE, "GET", "/", basic(b"secret:guessed"), 401),
    (ELSEWHERE, "GET", "/", basic(b"secret"), 401),
    (ELSEWHERE, "GET", "/", basic(b"anybody:"), 401),
    (ELSEWHERE, "GET", "/", {"authorization": "Basic ?"}, 401),
    (ELSEWHERE, "GET", "/", {"authorization": "Basic s\u00e9cret"}, 401),
    (ELSEWHERE, "GET", "/", {"authorization": "Basic secret"}, 401),
    (ELSEWHERE, "POST", "/", BY_PASSWORD, 401),
    (ELSEWHERE, "GET", "/api/v1/status", BY_PASSWORD, 401),
    (ELSEWHERE, "POST", "/api/v1/backends/state-1/drain", BY_PASSWORD, 401),
    (ELSEWHERE, "POST", "/api/v1/backends/state-1/drain", BY_PASSWORD | PAGE, 401),
    (HERE_WITH_TOKEN, "GET", "/", {}, None),
    (HERE_WITH_TOKEN, "GET", "/", basic(b"secret:guessed"), 401),
    (HERE_WITH_TOKEN, "POST", "/api/v1/reload", BY_PASSWORD | PAGE, 401),
    (HERE, "POST", "/api/v1/reload", basic(b":") | PAGE, 403),
]


@each_case(("policy", "method", "path", "headers", "status"), WITH_PASSWORDS)
def test_who_may_look_with_a_password(
    policy: AccessPolicy, method: str, path: str, headers: dict[str, str], status: int | None
) -> None:
    """Browsers prove themselves by a password on the status page alone: no other page can make use of it."""
    refusal = maybe_refuse(policy, method, path, Headers(LOCAL | headers), "10.0.0.9")

    assert status == (None if refusal is None else refusal.status)


@each_case(
    ("method", "path", "challenge"),
    [
        ("GET", "/", 'Basic realm="partitioner", charset="UTF-8"'),
        ("HEAD", "/", 'Basic realm="partitioner", charset="UTF-8"'),
        ("POST", "/", "Bearer"),
        ("GET", "/api/v1/status", "Bearer"),
    ],
)
async def test_browsers_ask_for_a_password_on_the_page_alone(method: str, path: str, challenge: str) -> None:
    """Elsewhere a browser that asked would have its user type the token where it is of no use."""
    answer = await Operator(Guard(PlainTextResponse("secret"), ELSEWHERE)).ask(method, path)

    assert (401, challenge) == (answer.status_code, answer.headers["www-authenticate"])


@each_case("token", [None, ""])
def test_an_exposed_address_without_a_token_is_refused(token: str | None) -> None:
    """Any program that reaches the port could take the pool apart."""
    with pytest.raises(AddressUnavailable, match=r"0\.0\.0\.0:9424 can be reached from other machines"):
        check_exposure([Address("127.0.0.1", 9424), Address("0.0.0.0", 9424)], token)


def test_an_exposed_address_with_a_token_is_fine() -> None:
    """So is one that no other machine can reach."""
    check_exposure([Address("0.0.0.0", 9424)], "secret")
    check_exposure([Address("127.0.0.1", 9424)], None)


async def test_a_refusal_is_a_sentence() -> None:
    """Programs find it under "error"; clients learn how to prove themselves (RFC 6750)."""
    answer = await Operator(Guard(PlainTextResponse("secret"), ELSEWHERE)).get("/metrics")

    assert (401, "Bearer") == (answer.status_code, answer.headers["www-authenticate"])
    assert "Bearer TOKEN" in answer.json()["error"]


async def test_a_fault_of_ours_is_logged_and_answered(capsys: pytest.CaptureFixture[str]) -> None:
    """The router goes on; the operator is sent to the log."""

    configure_log(as_json=True)

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("ours")

    answer = await Operator(Guard(broken, HERE)).get("/api/v1/locate?key=bpr4mimb2vjnvtn2jc4yp3uo")

    logged = capsys.readouterr().err
    structlog.reset_defaults()
    assert (500, {"error": "a fault of this program; its log says more"}) == (
        answer.status_code,
        answer.json(),
    )
    assert "ZeroDivisionError" in logged
    assert "bpr4mimb2vjnvtn2jc4yp3uo" not in logged


async def test_a_wrong_token_is_logged_once_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    """Who guesses fills no log, and how often it was tried is said; the token itself never is."""
    configure_log(as_json=True)
    now = 0.0
    guard = Guard(PlainTextResponse("secret"), ELSEWHERE, clock=lambda: now)
    mallory, prometheus = Operator(guard, "192.0.2.66"), Operator(guard, "192.0.2.7")
    for guess in range(50):
        await mallory.get("/metrics", authorization=f"Bearer guess-{guess}")
    await prometheus.get("/metrics")
    now = ONCE_A_MINUTE
    await mallory.get("/metrics", authorization="Bearer guess-50")

    logged = capsys.readouterr().err
    structlog.reset_defaults()
    lines = [json.loads(line) for line in logged.splitlines()]
    assert [
        ("192.0.2.66", "its admin_token is wrong", None),
        ("192.0.2.7", "it gave no admin_token", 49),
        ("192.0.2.66", "its admin_token is wrong", None),
    ] == [(line["client"], line["cause"], line.get("times_more_before")) for line in lines]
    assert {("warning", "admin request refused", 401)} == {
        (line["level"], line["event"], line["status"]) for line in lines
    }
    assert "guess" not in logged


async def test_a_guess_does_not_hide_behind_a_scrape_without_a_token(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From one address may come a Prometheus that has no token, and a program that guesses it."""
    configure_log(as_json=True)
    both = Operator(Guard(PlainTextResponse("secret"), ELSEWHERE), "192.0.2.7")
    for _ in range(2):
        await both.get("/metrics")
        await both.get("/metrics", authorization="Bearer guess")

    logged = capsys.readouterr().err
    structlog.reset_defaults()
    assert ["it gave no admin_token", "its admin_token is wrong"] == [
        json.loads(line)["cause"] for line in logged.splitlines()
    ]


async def test_a_made_up_host_cannot_fill_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """The name is what tells an operator which proxy to set right; its first characters will do."""
    configure_log(as_json=False)
    await Operator(Guard(PlainTextResponse("secret"), HERE)).get("/", host="x" * 5000)

    logged = capsys.readouterr().err
    structlog.reset_defaults()
    assert "is not this machine" in logged
    assert len(logged) < 300
