"""What the store decides without an engine: names, canaries, URLs, slots, and what Sentinels say."""

from dataclasses import replace

import pytest

from partitioner.membership.backend import Address
from partitioner.membership.losses import LostSessions
from partitioner.store.canary import KEPT_EVERY, LOST, Canary, Finding
from partitioner.store.cluster import CANARY_DISTANCE, SLOTS, ShardView, canary_of_slot, slot_of
from partitioner.store.facts import read_facts
from partitioner.store.policy import Credentials, Engine, StorePolicy, Tls, parse_store_url
from partitioner.store.records import read_header, record_name
from partitioner.store.topology import Opinion, Primary, Tenure, tenure_told
from tests.tables import each_case

HERE = Address("127.0.0.1", 6379)
OPINION = Opinion(HERE, frozenset({"master"}), config_epoch=4, replicas=1, vote_epoch=4, sentinels=3)


def test_a_name_is_a_hash() -> None:
    """Prefix and 27 characters, whatever the key; two keys have two names."""
    one, other = (record_name(b"aspnet:", key) for key in (b"/app(hash)/one", b"/app(hash)/other"))

    assert [len(one), len(other)] == [34, 34]
    assert one != other
    assert b"one" not in one


@pytest.mark.parametrize("record", [b"", b"short", b"\xff" * 41])
def test_what_is_no_session_has_no_header(record: bytes) -> None:
    assert read_header(record) is None


# --- canaries ---


def test_an_engine_without_a_canary_is_new_to_us() -> None:
    assert Canary(LostSessions.CLOSE).judge(None) is Finding.PLANT_FIRST


def test_an_engine_with_a_canary_is_taken_by_who_knows_none() -> None:
    kept: list[bytes] = []
    canary = Canary(LostSessions.CLOSE, keep=kept.append)

    assert canary.judge(b"token") is Finding.FITS
    assert [canary.value, kept] == [b"token", [b"token"]]


@pytest.mark.parametrize("found", [None, b"another", b"another older"])
def test_an_engine_with_another_canary_has_lost_its_sessions(found: bytes | None) -> None:
    """Unless losses are taken as they come, or an operator has accepted this one."""
    canary = Canary(LostSessions.CLOSE, b"token")

    assert canary.judge(found) is Finding.LOST
    assert Canary(LostSessions.NEW, b"token").judge(found) is Finding.PLANT_ANEW
    canary.accept_loss()
    assert canary.judge(found) is Finding.PLANT_ANEW


def test_a_canary_that_was_planted_anew_names_those_before_it() -> None:
    """So all who knew the former one accept it."""
    planter, other = (Canary(LostSessions.CLOSE, b"token older") for _ in range(2))
    value = planter.next_value(b"stranger")

    assert value.split()[1:] == [b"token", b"older", b"stranger"]
    assert other.judge(value) is Finding.FITS


@each_case(
    ("found", "finding"),
    [
        (b"token:7:a7.a6", Finding.FITS),
        (b"token:8:a8.a7", Finding.FITS),
        (b"token:80:c2.c1", Finding.FITS),  # it does not know any more what it was at 7
        (b"token:6:a6.a5", Finding.LOST),
        (b"token:8:b8.b7", Finding.LOST),  # somebody has gone on with one that had gone back
        (LOST, Finding.LOST),
    ],
)
def test_an_engine_with_an_older_canary_has_gone_back(found: bytes, finding: Finding) -> None:
    """It has lost what was saved since."""
    canary = Canary(LostSessions.CLOSE, b"token:7:a7.a6 older")

    assert (finding is Finding.LOST) == canary.has_gone_back(found)
    assert canary.judge(found) is finding


def test_an_engine_that_somebody_has_found_to_have_gone_back_is_not_taken_by_anybody() -> None:
    """Until the loss is accepted: by one state server, for all that know its token."""
    for known in (None, b"token:7:a7"):
        canary = Canary(LostSessions.CLOSE, known)

        assert canary.judge(LOST) is Finding.LOST

    assert canary.judge(canary.next_value(LOST)) is Finding.FITS


def test_a_canary_that_was_planted_anew_may_have_any_number() -> None:
    """The loss was accepted, and counting begins anew."""
    assert Canary(LostSessions.CLOSE, b"token:7:a7").judge(b"newer:1:b1 token") is Finding.FITS


def test_an_engine_may_go_back_where_replicas_need_not_have_what_is_answered() -> None:
    assert Canary(LostSessions.CLOSE, b"token:7:a7", may_go_back=True).judge(b"token:6:a6") is Finding.FITS


def test_the_number_of_a_batch_that_was_overtaken_is_forgotten() -> None:
    canary = Canary(LostSessions.CLOSE, b"token:7:a7")
    canary.remember(b"token:9:a9.a8.a7")
    canary.remember(b"token:8:a8.a7")

    assert canary.mark == (9, b"a9")


def test_a_number_is_kept_now_and_then() -> None:
    """Not twice a second: what the next start does not know is only noticed a little less."""
    kept: list[bytes] = []
    canary = Canary(LostSessions.CLOSE, keep=kept.append)
    for number in range(1, 2 * KEPT_EVERY + 2):
        canary.remember(b"token:%d" % number)

    assert [b"token", *(b"token:%d" % (KEPT_EVERY * each) for each in (1, 2))] == kept


def test_a_number_that_was_only_read_does_not_count() -> None:
    """A primary that was frozen may have counted on while another one took its place."""
    canary = Canary(LostSessions.CLOSE, b"token:7:a7")
    canary.judge(b"token:9:a9.a8.a7")

    assert canary.judge(b"token:8:b8.a7") is Finding.FITS


# --- Sentinels ---

PRIMARY = Primary(HERE, 1, epoch=4)
OTHER = replace(OPINION, address=Address("127.0.0.1", 6380), config_epoch=3)
REPLACING = replace(OPINION, flags=frozenset({"master", "failover_in_progress"}))
VOTED = replace(OPINION, vote_epoch=5)
LATER = replace(OPINION, config_epoch=5)

TENURES: list[tuple[list[Opinion], Tenure]] = [
    ([OPINION, OPINION], Tenure.LASTED),
    ([OPINION, OPINION, OTHER], Tenure.LASTED),
    ([OPINION, OPINION, REPLACING], Tenure.LASTED),  # it has no majority, and will not get one without a vote
    ([OPINION], Tenure.IN_DOUBT),
    ([OPINION, OTHER, OTHER], Tenure.IN_DOUBT),
    ([OPINION, VOTED], Tenure.IN_DOUBT),  # the third one may be replacing it
    ([VOTED, VOTED, REPLACING], Tenure.IN_DOUBT),
    ([VOTED, VOTED, VOTED], Tenure.LASTED),  # an election that came to nothing
    ([replace(each, sentinels=5) for each in (OPINION, OPINION, VOTED)], Tenure.IN_DOUBT),
    ([OPINION, OPINION, LATER], Tenure.ENDED),  # it was replaced, and has replaced the other one
    ([OPINION, OPINION, replace(OTHER, config_epoch=5)], Tenure.ENDED),
]


@each_case(("opinions", "expected"), TENURES)
def test_a_majority_of_sentinels_knows_whether_a_primary_has_lasted(
    opinions: list[Opinion], expected: Tenure
) -> None:
    """Each names it and has not voted for another one; or all of them name it, and replace it by none."""
    assert tenure_told(PRIMARY, opinions, 3) is expected


def test_who_leads_a_failover_knows_less_than_those_it_has_told() -> None:
    """It has the new epoch, and names the former primary until all replicas follow the next one."""
    told = replace(OTHER, config_epoch=5)
    leader = replace(REPLACING, config_epoch=5)

    assert max([leader, told, OPINION], key=lambda each: each.rank) is told
    assert max([leader, OPINION], key=lambda each: each.rank) is leader


# --- Clusters ---


def test_slots_are_those_of_the_cluster_specification() -> None:
    assert [slot_of(b"123456789"), slot_of(b"foo")] == [0x31C3, 12182]


def test_a_shard_has_a_canary_in_its_own_slots() -> None:
    view = ShardView(((5000, 5100), (5461, 10922)), frozenset({"node"}), HERE, 1)

    assert view.canary == canary_of_slot(-(-5461 // CANARY_DISTANCE) * CANARY_DISTANCE)
    assert replace(view, ranges=((5000, 5100),)).canary is None


@each_case("slot", range(0, SLOTS, 16 * CANARY_DISTANCE))
def test_a_canary_belongs_to_its_slot(slot: int) -> None:
    """Of a name with a hash tag only the tag counts."""
    name = canary_of_slot(slot)
    tag = name.partition(b"{")[2].partition(b"}")[0]

    assert slot_of(tag) == slot


# --- what is written ---

URLS = [
    ("redis://10.0.0.1", StorePolicy(Address("10.0.0.1", 6379), engine=Engine.REDIS)),
    ("valkey://10.0.0.1:7000/3", StorePolicy(Address("10.0.0.1", 7000), database=3)),
    (
        "valkeys://me:p%40ss@localhost",
        StorePolicy(Address("localhost", 6379), credentials=Credentials("me", "p@ss"), tls=Tls()),
    ),
    (
        "redis://:secret@[::1]:6379",
        StorePolicy(Address("::1", 6379), engine=Engine.REDIS, credentials=Credentials("", "secret")),
    ),
]


@each_case(("url", "policy"), URLS)
def test_a_url_says_where_the_engine_is(url: str, policy: StorePolicy) -> None:
    assert parse_store_url(url) == policy


@each_case("url", ["http://10.0.0.1", "10.0.0.1:6379", "redis://", "redis://host/name", "redis://host:no"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        parse_store_url(url)


def test_a_policy_that_drops_sessions_is_trouble() -> None:
    usual = b"used_memory:50\r\nmaxmemory:200\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n"
    facts = read_facts(usual)

    assert [facts.memory_ratio, facts.is_persistent, facts.trouble] == [0.25, True, None]
    evicting = read_facts(usual.replace(b"noeviction", b"allkeys-lru"))
    assert evicting.trouble is not None
    assert "allkeys-lru" in evicting.trouble
