"""Preference lists: specified to the bit in design.md 4."""

import json
from math import log, nextafter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from partitioner.errors import EmptyPool
from partitioner.placement.rendezvous import Ranking
from tests.tables import each_case

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "placement.json").read_text(encoding="utf-8"))

_names = st.text(min_size=1, max_size=12)
_weights = st.floats(min_value=0.1, max_value=100.0)
_servers = st.dictionaries(_names, _weights, min_size=1, max_size=8)
_several_servers = st.dictionaries(_names, _weights, min_size=2, max_size=8)
_keys = st.binary(max_size=80)


def golden_ranking(pool: str) -> Ranking:
    return Ranking({server["name"]: server["weight"] for server in GOLDEN["pools"][pool]})


def specified_score(key: bytes, name: str, weight: float) -> float:
    """The score of design.md 4, written down once more."""
    digest = xxh3_64_intdigest(key, seed=xxh3_64_intdigest(name.encode()))
    return weight / -log(((digest >> 12) + 0.5) * 2**-52)


@pytest.mark.parametrize("pool", GOLDEN["pools"])
def test_golden_lists(pool: str) -> None:
    """Every router in every release computes these very lists (design.md 4)."""
    ranking = golden_ranking(pool)
    cases = [case for case in GOLDEN["cases"] if case["pool"] == pool]

    assert cases
    assert [tuple(case["order"]) for case in cases] == [
        ranking.preference_list(case["session_id"].encode("utf-8", "surrogatepass")) for case in cases
    ]


@given(key=_keys, servers=_servers | st.dictionaries(_names, st.just(2.0), min_size=1, max_size=8))
def test_order_is_by_score(key: bytes, servers: dict[str, float]) -> None:
    """The highest weight / -ln(u) is first choice, and so on down (design.md 4)."""
    scores = [specified_score(key, name, servers[name]) for name in Ranking(servers).preference_list(key)]

    assert sorted(scores, reverse=True) == scores


@given(key=_keys, servers=_servers)
def test_list_names_each_server_once(key: bytes, servers: dict[str, float]) -> None:
    """A preference list holds every server, and holds it once (design.md 4)."""
    assert sorted(servers) == sorted(Ranking(servers).preference_list(key))


@given(key=_keys, servers=_servers, length=st.integers(0, 10))
def test_length_cuts_the_list(key: bytes, servers: dict[str, float], length: int) -> None:
    """A shorter list is the beginning of the whole one; a smaller pool yields all it has."""
    ranking = Ranking(servers)

    assert ranking.preference_list(key)[:length] == ranking.preference_list(key, length)


@given(key=_keys, servers=_servers, data=st.data())
def test_order_of_insertion_does_not_matter(
    key: bytes, servers: dict[str, float], data: st.DataObject
) -> None:
    """The same names and weights give the same list, in whatever order they are configured (design.md 4)."""
    shuffled = dict(data.draw(st.permutations(list(servers.items()))))

    assert Ranking(servers).preference_list(key) == Ranking(shuffled).preference_list(key)


@given(key=_keys, servers=_several_servers, data=st.data())
def test_removal_removes_a_name_and_nothing_else(
    key: bytes, servers: dict[str, float], data: st.DataObject
) -> None:
    """Removing a server takes its name out of all lists, and that is all (design.md 1, P6)."""
    removed = data.draw(st.sampled_from(sorted(servers)))
    rest = {name: weight for name, weight in servers.items() if name != removed}
    before = Ranking(servers).preference_list(key)

    assert tuple(name for name in before if name != removed) == Ranking(rest).preference_list(key)


@given(key=_keys, servers=_several_servers, factor=st.floats(1.0, 10.0), data=st.data())
def test_more_weight_moves_keys_only_to_its_server(
    key: bytes, servers: dict[str, float], factor: float, data: st.DataObject
) -> None:
    """A server that gains weight takes from the others, which take nothing from each other (design.md 4)."""
    heavier = data.draw(st.sampled_from(sorted(servers)))
    before = Ranking(servers).preference_list(key, 1)
    after = Ranking(servers | {heavier: servers[heavier] * factor}).preference_list(key, 1)

    assert after in (before, (heavier,))


@given(key=_keys, servers=_servers, data=st.data())
def test_first_choice_agrees_with_the_list(
    key: bytes, servers: dict[str, float], data: st.DataObject
) -> None:
    """The first choice among some servers is the first of them in the list."""
    among = data.draw(st.sets(st.sampled_from(sorted(servers))))
    expected = next((name for name in Ranking(servers).preference_list(key) if name in among), None)

    assert expected == Ranking(servers).first_choice(key, among)


def test_first_choice_among_strangers_is_nobody() -> None:
    """Names that are not on the map are not chosen."""
    assert Ranking({"a": 1.0}).first_choice(b"key", {"b"}) is None


def test_empty_pool_has_no_list() -> None:
    """A preference list cannot be made of no servers."""
    with pytest.raises(EmptyPool):
        Ranking({}).preference_list(b"key")


def test_empty_pool_has_no_first_choice() -> None:
    """Among no servers there is no first choice, and that is an answer."""
    assert Ranking({}).first_choice(b"key", {"a"}) is None


def equal_scores(key: bytes, one: str, other: str) -> dict[str, float]:
    """Weights with which two servers score exactly the same for this key."""
    target = specified_score(key, one, 1.0)
    weight = target / specified_score(key, other, 1.0)
    for candidate in (weight, nextafter(weight, 0.0), nextafter(weight, 2 * weight)):
        if specified_score(key, other, candidate) == target:
            return {one: 1.0, other: candidate}
    raise AssertionError("no weight gives the same score; take another key")


@each_case("key", [b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"])
def test_equal_scores_fall_by_hash(key: bytes) -> None:
    """Of equal scores the greater hash goes first (design.md 4)."""
    servers = equal_scores(key, "one", "other")
    hashes = {name: xxh3_64_intdigest(key, xxh3_64_intdigest(name.encode())) for name in servers}
    by_hash = sorted(servers, key=hashes.__getitem__, reverse=True)
    ranking = Ranking(servers)

    assert (tuple(by_hash), by_hash[0]) == (ranking.preference_list(key), ranking.first_choice(key, servers))


@given(name=_names, weight=_weights, key=_keys)
def test_lone_server_takes_everything(name: str, weight: float, key: bytes) -> None:
    """With one server there is one choice, whatever its weight."""
    assert (name,) == Ranking({name: weight}).preference_list(key)
