"""One session ID under two application hashes: noticed once, within a minute, in bounded memory."""

import trio
from trio.testing import MockClock

from partitioner.placement.session_id import HashKey, placement_key
from partitioner.protocol.messages import Operation
from partitioner.protocol.target import encode_target
from partitioner.routing.farm_mismatch import A_MINUTE, MOST_SESSIONS, FarmMismatch
from tests.doubles.backends import MemoryStateServer
from tests.doubles.observers import RecordingObserver
from tests.doubles.routers import MemoryRouter
from tests.doubles.sessions import ID, request

SITE_2 = b"/LM/W3SVC/2/ROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5/HxWS854=)/"
SITE_3 = b"/LM/W3SVC/3/ROOT(Q382tQy2MH/DtwC0WQWxEWXoa3ZAQAq6kSajzPcAmuk=)/"
SIBLING = b"/LM/W3SVC/2/ROOT/shop(Q382tQy2MH/DtwC0WQWxEWXoa3ZAQAq6kSajzPcAmuk=)/"
FACT = ("applications_mixed", "/LM/W3SVC/2/ROOT(oXvpnxcu...)", "/LM/W3SVC/3/ROOT(Q382tQy2...)")


class Setting:
    """Keys come by, and it is recorded what was noticed."""

    def __init__(self, hash_key: HashKey = HashKey.SESSION_ID) -> None:
        self.observer = RecordingObserver()
        self.farm_mismatch = FarmMismatch(self.observer)
        self.farm_mismatch.turn_over(0.0)
        self._hash_key = hash_key

    def note(self, *keys: bytes) -> None:
        for key in keys:
            self.farm_mismatch.note(key, placement_key(key, self._hash_key))


def test_noticed_once_for_each_session() -> None:
    """However often it goes to and fro between the web servers."""
    setting = Setting()
    setting.note(*[SITE_2 + ID, SITE_3 + ID] * 5, SITE_3 + b"other", SITE_2 + b"other")

    assert [FACT, FACT] == setting.observer.facts


def test_noticed_where_whole_targets_are_hashed() -> None:
    """`hash_key: target` does not hide it."""
    setting = Setting(HashKey.TARGET)
    setting.note(SITE_2 + ID, SITE_3 + ID)

    assert [FACT] == setting.observer.facts


def test_what_is_in_order_is_no_news() -> None:
    """Sessions of their own, applications of one site that share the cookie, and keys without any ID."""
    setting = Setting()
    setting.note(SITE_2 + b"one", SITE_3 + b"two", SITE_2 + b"one", b"/one", SITE_2, SITE_3)
    setting.note(SITE_2 + b"shared", SIBLING + b"shared")

    assert [] == setting.observer.facts


def test_a_minute_apart_is_noticed_and_two_are_not() -> None:
    """What was seen is remembered for one to two minutes, and then forgotten."""
    setting = Setting()
    setting.note(SITE_2 + ID, SITE_2 + b"older")
    setting.farm_mismatch.turn_over(A_MINUTE)
    setting.note(SITE_3 + ID)
    setting.farm_mismatch.turn_over(A_MINUTE * 1.5)  # nothing turns: the minute is not over
    setting.note(SITE_2 + ID)
    setting.farm_mismatch.turn_over(A_MINUTE * 2)
    setting.note(SITE_3 + b"older", SITE_2 + ID)

    assert [FACT] == setting.observer.facts


def test_memory_is_bounded() -> None:
    """Beyond the bound a minute's further sessions are not looked at; those before are."""
    setting = Setting()
    setting.note(*[SITE_2 + b"%d" % number for number in range(MOST_SESSIONS)], SITE_2 + b"further")
    setting.note(SITE_3 + b"further", SITE_3 + b"17")

    assert [FACT] == setting.observer.facts
    assert f"<FarmMismatch, {MOST_SESSIONS} sessions this minute>" == repr(setting.farm_mismatch)


async def test_a_router_notices(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Two web servers of one farm, with two site IDs, are each answered as they always were."""
    router = MemoryRouter(nursery)
    MemoryStateServer(router.network, router.backends[0].address)
    await router.probe_on()
    client = router.client()
    answers = [
        await client.ask(request(Operation.GET, encode_target((site + ID).decode())))
        for site in (SITE_2, SITE_3)
    ]

    assert [FACT] == router.observer.named("applications_mixed")
    assert [True, True] == [b"404 Not Found" in answer for answer in answers]
