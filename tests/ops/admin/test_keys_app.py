"""A state server's listing, from its table to a router's hand-off and back."""

from collections.abc import AsyncIterator
from ipaddress import ip_network

import httpx
import pytest
import trio
from trio.testing import MockClock
from xxhash import xxh3_64_intdigest

from partitioner.errors import ListingFailed
from partitioner.membership.backend import Address
from partitioner.ops.admin.guard import AccessPolicy
from partitioner.ops.admin.keys_app import LONGEST_PAGE, keys_app
from partitioner.ops.admin.listing import MOST_BYTES, HttpInventory, HttpListing
from partitioner.protocol.messages import Operation, RequestHead
from partitioner.protocol.target import listing_place, server_key
from partitioner.routing.drain import Page
from partitioner.sessions.table import Listed, SessionTable
from tests.doubles.backends import CANARY_TARGET, ROUTER_NAME
from tests.doubles.sessions import target
from tests.ops.admin.asking import Operator
from tests.tables import each_case

ADMIN = Address("127.0.0.1", 9425)
TOKEN = "f81c1d33a8fe1f4e"
GIVEN = {"authorization": f"Bearer {TOKEN}"}
ACCESS = AccessPolicy(True, TOKEN, (ip_network("127.0.0.0/8"),))
TARGETS = [target(number) for number in range(2500)]


@pytest.fixture
def table() -> SessionTable:
    made = SessionTable()
    for each in [CANARY_TARGET, *TARGETS]:
        made.apply(RequestHead(b"", Operation.SET, each, 4), server_key(each), b"body", 0.0)
    return made


def listing_of(answer: httpx.Response) -> HttpListing:
    """A listing whose admin port always says this."""
    return HttpListing(httpx.AsyncClient(transport=httpx.MockTransport(lambda request: answer)))


async def test_a_router_reads_the_whole_listing(table: SessionTable) -> None:
    """Page by page, every session; canaries are no sessions, and are not counted."""
    client = httpx.AsyncClient(transport=httpx.ASGITransport(keys_app(table, ACCESS)))
    listing = HttpListing(client, TOKEN)
    page = await listing(ADMIN, None)
    pages = [page]
    while page.following is not None:
        page = await listing(ADMIN, page.following)
        pages.append(page)

    assert sorted(TARGETS) == sorted(each for page in pages for each in page.targets)
    assert {2500} == {page.sessions for page in pages}
    assert len(pages) == 3


async def test_a_page_has_the_length_that_is_asked_for(table: SessionTable) -> None:
    """Or a few keys more: pages end where pieces of the table do."""
    answer = (await Operator(keys_app(table, ACCESS)).get("/api/v1/keys?limit=10", **GIVEN)).json()

    assert 10 <= len(answer["keys"]) < 20
    assert answer["next"].isdigit()


async def test_healthz(table: SessionTable) -> None:
    """The process lives."""
    answer = await Operator(keys_app(table, ACCESS)).get("/healthz")

    assert (200, "ok\n") == (answer.status_code, answer.text)


BAD = {
    "after=-1": "is not a whole number",
    "after=x": "is not a whole number",
    "after=4096": "is no cursor",
    "after=99999999999999999999": "is not a whole number",
    "after=%D9%A3": "is not a whole number",
    "limit=0": "expected 1 to",
    f"limit={LONGEST_PAGE + 1}": "expected 1 to",
    "limit=": "is not a whole number",
}


@each_case(("query", "sentence"), BAD.items())
async def test_a_bad_query_is_explained(table: SessionTable, query: str, sentence: str) -> None:
    """400 and a sentence."""
    answer = await Operator(keys_app(table, ACCESS)).get(f"/api/v1/keys?{query}", **GIVEN)

    assert 400 == answer.status_code
    assert sentence in answer.json()["error"]


@each_case(
    ("token", "held", "sentence"),
    [
        (None, TOKEN, "wants a token; backend_token_file is not set"),
        ("0" * 32, TOKEN, "wants a token; backend_token_file is not the one that this server expects"),
        (TOKEN, None, "answered 403: this state server lists no session IDs"),
    ],
)
async def test_a_listing_without_its_token_is_refused(
    token: str | None, held: str | None, sentence: str, table: SessionTable
) -> None:
    """The drain says which side lacks the token."""
    app = keys_app(table, AccessPolicy(True, held, (ip_network("127.0.0.0/8"),)))
    listing = HttpListing(httpx.AsyncClient(transport=httpx.ASGITransport(app)), token)

    with pytest.raises(ListingFailed, match=sentence):
        await listing(ADMIN, None)


async def test_there_is_nothing_to_change(table: SessionTable) -> None:
    """A state server's admin port only tells."""
    operator = Operator(keys_app(table, ACCESS))

    assert [405, 404] == [
        (await operator.post(path, **GIVEN)).status_code for path in ("/api/v1/keys", "/api/v1/reload")
    ]


NO_LISTINGS = {
    "another program": (httpx.Response(200, text="<html>"), "what is not a listing"),
    "a list": (httpx.Response(200, json=[]), "what is not a listing"),
    "no keys": (httpx.Response(200, json={"next": None, "sessions": 1}), "what is not a listing"),
    "no numbers": (
        httpx.Response(200, json={"keys": [], "next": 1, "sessions": "x"}),
        "what is not a listing",
    ),
    "keys that are none": (
        httpx.Response(200, json={"keys": ["a b\r\n"], "next": None, "sessions": 1}),
        "what is not a listing",
    ),
    "not for us": (
        httpx.Response(403, json={"error": "your address is not allowed"}),
        "answered 403: your address",
    ),
    "an error page": (httpx.Response(502, text="<html>"), "answered 502: Bad Gateway"),
}


@each_case(("answer", "sentence"), NO_LISTINGS.values(), ids=NO_LISTINGS)
async def test_what_is_no_listing_is_explained(answer: httpx.Response, sentence: str) -> None:
    """The drain stalls with this reason, and tries again."""
    with pytest.raises(ListingFailed, match=sentence):
        await listing_of(answer)(ADMIN, None)


async def test_a_port_that_is_closed_is_explained() -> None:
    """The same where no server answers at all."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("All connection attempts failed")

    with pytest.raises(ListingFailed, match=r"127\.0\.0\.1:9425 does not answer: All connection"):
        await HttpListing(httpx.AsyncClient(transport=httpx.MockTransport(refuse)))(ADMIN, None)


async def test_an_empty_listing() -> None:
    """What a drained server says."""
    told: dict[str, object] = {"keys": [], "next": None, "sessions": 0}

    assert Page((), None, 0) == await listing_of(httpx.Response(200, json=told))(ADMIN, None)


# --- the inventory ---


def inventory_of_app(table: SessionTable) -> HttpInventory:
    app = keys_app(table, ACCESS, clock=lambda: 90.0)
    return HttpInventory(httpx.AsyncClient(transport=httpx.ASGITransport(app)), TOKEN)


def inventory_that_says(answer: httpx.Response) -> HttpInventory:
    """An inventory whose admin port always says this."""
    return HttpInventory(httpx.AsyncClient(transport=httpx.MockTransport(lambda request: answer)))


async def test_a_router_reads_the_whole_inventory(table: SessionTable) -> None:
    """Page by page, in the order of listing_place, each session with what is told of it."""
    table.apply(RequestHead(b"", Operation.ACQUIRE, TARGETS[0], 0), server_key(TARGETS[0]), b"", 60.0)
    listing = inventory_of_app(table)
    listed: list[Listed] = []
    first = b""
    pages = 0
    while True:
        page = await listing(ADMIN, first)
        pages += 1
        listed += page.listed
        assert {ROUTER_NAME: b"body"} == page.canaries
        assert 2500 == page.sessions
        if page.following is None:
            break
        first = page.following
    by_key = {each.key: each for each in listed}

    assert sorted(map(server_key, TARGETS), key=listing_place) == [each.key for each in listed]
    assert 5 == pages
    digest = xxh3_64_intdigest(b"body")
    assert Listed(server_key(TARGETS[1]), 20, 90.0, 4, False, digest) == by_key[server_key(TARGETS[1])]
    assert Listed(server_key(TARGETS[0]), 20, 30.0, 4, True, digest) == by_key[server_key(TARGETS[0])]


NO_INVENTORIES = {
    "no JSON": (httpx.Response(200, text="<html>"), "what is not an inventory"),
    "a list": (httpx.Response(200, json=[]), "what is not an inventory"),
    "deep": (httpx.Response(200, text="[" * 100_000), "what is not an inventory"),
    "a session that is none": (
        httpx.Response(200, json={"listed": [["a"]], "next": None, "sessions": 1, "canaries": {}}),
        "what is not an inventory",
    ),
    "a digest that is none": (
        httpx.Response(
            200,
            json={"listed": [["a", 20, 0, 1, False, "x"]], "next": None, "sessions": 1, "canaries": {}},
        ),
        "what is not an inventory",
    ),
    "a negative number": (
        httpx.Response(200, json={"listed": [], "next": None, "sessions": -1, "canaries": {}}),
        "what is not an inventory",
    ),
    "a key that is none": (
        httpx.Response(200, json={"listed": [], "next": "a b\r\n", "sessions": 1, "canaries": {}}),
        "what is not an inventory",
    ),
    "huge": (httpx.Response(200, content=b" " * (MOST_BYTES + 1)), "sent a page of more than"),
    "an older release": (httpx.Response(404, json={"error": "nothing"}), "is of an older release"),
    "not for us": (httpx.Response(403, json={"error": "not allowed"}), "answered 403"),
    "no token": (httpx.Response(401, json={"error": "no token"}), "backend_token_file is not set"),
}


@each_case(("answer", "sentence"), NO_INVENTORIES.values(), ids=NO_INVENTORIES)
async def test_what_is_no_inventory_is_explained(answer: httpx.Response, sentence: str) -> None:
    """That server is not walked, for this reason."""
    with pytest.raises(ListingFailed, match=sentence):
        await inventory_that_says(answer)(ADMIN, b"")


async def test_an_inventory_that_never_ends(autojump_clock: MockClock) -> None:
    """A page that trickles has a few seconds, however often something comes."""

    async def trickle() -> AsyncIterator[bytes]:
        while True:
            await trio.sleep(1)
            yield b" "

    with pytest.raises(ListingFailed, match="took more than 5 s"):
        await inventory_that_says(httpx.Response(200, content=trickle()))(ADMIN, b"")


async def test_a_page_of_large_sessions_is_short(table: SessionTable) -> None:
    """No more than some megabytes are digested in one go: the server has clients."""
    large = SessionTable()
    for each in TARGETS[:40]:
        body = bytes(1024 * 1024)
        large.apply(RequestHead(b"", Operation.SET, each, len(body)), server_key(each), body, 0.0)
    page = await inventory_of_app(large)(ADMIN, b"")

    assert 1 < len(page.listed) < 12
    assert page.following is not None
