"""A state server's listing, from its table to a router's hand-off and back."""

from ipaddress import ip_network

import httpx
import pytest

from partitioner.errors import ListingFailed
from partitioner.membership.backend import Address
from partitioner.ops.admin.guard import AccessPolicy
from partitioner.ops.admin.keys_app import LONGEST_PAGE, keys_app
from partitioner.ops.admin.listing import HttpListing
from partitioner.protocol.messages import Operation, RequestHead
from partitioner.protocol.target import server_key
from partitioner.routing.drain import Page
from partitioner.sessions.table import SessionTable
from tests.doubles.backends import CANARY_TARGET
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


@pytest.mark.parametrize(("query", "sentence"), BAD.items())
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
    """The same where nobody answers at all."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("All connection attempts failed")

    with pytest.raises(ListingFailed, match=r"127\.0\.0\.1:9425 does not answer: All connection"):
        await HttpListing(httpx.AsyncClient(transport=httpx.MockTransport(refuse)))(ADMIN, None)


async def test_an_empty_listing() -> None:
    """What a drained server says."""
    told: dict[str, object] = {"keys": [], "next": None, "sessions": 0}

    assert Page((), None, 0) == await listing_of(httpx.Response(200, json=told))(ADMIN, None)
