"""The fingerprint of a map: the same where sessions are placed in the same way, and else another."""

from dataclasses import replace

from partitioner.membership.backend import Address, Backend, Intent
from partitioner.membership.fingerprint import BITS, fingerprint_text, map_fingerprint
from partitioner.membership.health import Health, HealthPolicy, HealthRecord
from partitioner.membership.pool import Pool, first_pool
from partitioner.placement.session_id import HashKey
from tests.identities import STATE_1, STATE_3
from tests.tables import each_case

POLICY = HealthPolicy()
ONE = Backend("state-1", Address("10.0.0.1", 42424))
TWO = Backend("state-2", Address("10.0.0.2", 42424), weight=2.0)
THREE = Backend("state-3", Address("10.0.0.3", 42424))


def fingerprint(*backends: Backend, copies: int = 2, hash_key: HashKey = HashKey.SESSION_ID) -> int:
    return map_fingerprint(first_pool(backends, POLICY, copies), hash_key)


MAP = fingerprint(ONE, TWO)

SAME = {
    "in another order": fingerprint(TWO, ONE),
    "at another address": fingerprint(replace(ONE, address=Address("10.1.1.1", 1)), TWO),
    "with an admin port": fingerprint(replace(ONE, admin=Address("10.0.0.1", 9425)), TWO),
    "with a weight that is no float": fingerprint(replace(ONE, weight=1), TWO),
}

OTHERS = {
    "another name": fingerprint(replace(ONE, name="state-9"), TWO),
    "another weight": fingerprint(replace(ONE, weight=1.5), TWO),
    "one more": fingerprint(ONE, TWO, THREE),
    "one less": fingerprint(ONE),
    "one that is drained": fingerprint(replace(ONE, intent=Intent.DRAIN), TWO),
    "one copy": fingerprint(ONE, TWO, copies=1),
    "whole targets": fingerprint(ONE, TWO, hash_key=HashKey.TARGET),
    "names that run into each other": fingerprint(replace(ONE, name='state-1",1.0,true],["state-2'), TWO),
}


@each_case("other", SAME.values(), ids=SAME)
def test_the_same_map(other: int) -> None:
    """What does not change where a session belongs does not count."""
    assert MAP == other


def test_another_map() -> None:
    """Everything that changes where a session belongs changes the number."""
    numbers = [MAP, *OTHERS.values()]

    assert len(set(numbers)) == len(numbers)


def test_it_is_the_same_in_every_release() -> None:
    """Routers of two releases must agree, so the number is written down here."""
    assert "1b21ec5c92deb5" == fingerprint_text(MAP)


def test_a_metric_can_hold_it() -> None:
    """A float knows every whole number of so many bits."""
    assert all(number < 2**BITS and int(float(number)) == number for number in OTHERS.values())


def test_health_does_not_count() -> None:
    """Two routers may see a server differently, and still place sessions in the same way."""
    pool = first_pool((ONE, TWO), POLICY, 2)
    down = pool.with_record(STATE_1, HealthRecord(Health.DOWN), 1.0)

    assert MAP == map_fingerprint(down, HashKey.SESSION_ID)


def test_a_removed_backend_does_not_count() -> None:
    """It is asked for what it holds, but nothing is placed on it."""
    pool = first_pool((ONE, TWO, THREE), POLICY, 2)
    members = dict(pool.members) | {STATE_3: replace(pool.members[STATE_3], removed_at=1.0)}

    assert MAP == map_fingerprint(Pool(1, members, pool.ranking, 2), HashKey.SESSION_ID)
