"""What of a key decides its placement: protocol.md 4.3 step 4, design.md 4."""

from base64 import b64encode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioner.placement.session_id import HashKey, SessionRef, SessionRefs, placement_key, session_id
from partitioner.protocol.target import canonical_key
from tests.samples.exchanges import FIRST, SECOND_ANTI_XSS, SECOND_DOUBLE_SLASH
from tests.tables import each_case

ROOT = b"/LM/W3SVC/2/ROOT"
ROOT_HASH = b"oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5/HxWS854="  # of ROOT, as captured
MACHINE_KEY_HASH = b"Zk3c0vYq8T1mXhL5uWpRb7sJ2dM="  # 28 characters, of nothing that can be recomputed
ID = b"bpr4mimb2vjnvtn2jc4yp3uo"


def hash_of(app_id: bytes) -> bytes:
    return b64encode(sha256(app_id).digest())


IDS = [
    (ROOT + b"(" + ROOT_HASH + b")/" + ID, ID),
    (ROOT + b"(" + MACHINE_KEY_HASH + b")/" + ID, ID),
    (b"/5d9e7f84(" + hash_of(b"5d9e7f84") + b")/" + ID, ID),
    # Custom session IDs.
    (ROOT + b"(" + ROOT_HASH + b")/user/17", b"user/17"),
    (ROOT + b"(" + ROOT_HASH + b")/a b)/c", b"a b)/c"),
    (ROOT + b"(" + ROOT_HASH + b")/" + "ürsula".encode(), "ürsula".encode()),
    (ROOT + b"(" + ROOT_HASH + b")/line\nbreak", b"line\nbreak"),
    (ROOT + b"(" + ROOT_HASH + b")/", b""),
    # How long a hash may be, and what it is made of.
    (b"/app(" + b"h" * 16 + b")/" + ID, ID),
    (b"/app(" + b"h" * 128 + b"==)/" + ID, ID),
    (b"/app(" + b"Az09+/" * 4 + b"=)/" + ID, ID),
]

WHOLE_KEYS = [
    b"/",
    b"/" + ID,
    b"/LM/W3SVC/2/ROOT/" + ID,
    b"/app(" + b"h" * 15 + b")/" + ID,
    b"/app(" + b"h" * 129 + b")/" + ID,
    b"/app(" + b"h" * 20 + b"===)/" + ID,
    b"/app(" + b"h" * 10 + b"=" + b"h" * 10 + b")/" + ID,
    b"/app(" + b"h" * 10 + b"-" + b"h" * 10 + b")/" + ID,
    b"/app(" + ROOT_HASH + b")" + ID,
    b"/app[" + ROOT_HASH + b"]/" + ID,
    b"/app" + ROOT_HASH + b")/" + ID,
]


@each_case(("key", "expected"), IDS)
def test_session_id_follows_the_hash(key: bytes, expected: bytes) -> None:
    """The session ID is everything after `(hash)/`, of 16 to 128 base64 characters (protocol.md 4.3.4)."""
    assert expected == session_id(key)


@each_case("key", WHOLE_KEYS)
def test_key_without_a_hash_is_taken_whole(key: bytes) -> None:
    """Where there is no `(hash)/` the whole canonical key is taken; none is refused (protocol.md 4.3.4)."""
    assert key == session_id(key)


def test_of_several_hashes_the_one_that_fits_what_precedes_it() -> None:
    """An application ID may hold what looks like a hash; the real one is recomputed (protocol.md 4.3.4)."""
    app_id = b"/LM/W3SVC/2/ROOT(" + MACHINE_KEY_HASH + b")/shop"
    key = app_id + b"(" + hash_of(app_id) + b")/" + ID

    assert session_id(key) == ID


def test_of_several_hashes_the_first_if_it_fits() -> None:
    """A session ID may hold what looks like a hash, and even be one (protocol.md 4.3.4)."""
    users_choice = b"x(" + ROOT_HASH + b")/y"

    assert users_choice == session_id(ROOT + b"(" + ROOT_HASH + b")/" + users_choice)


def test_of_several_hashes_the_leftmost_if_none_fits() -> None:
    """App IDs are chosen by administrators, session IDs may come from users (protocol.md 4.3.4)."""
    users_choice = b"x(" + b"h" * 28 + b")/y"

    assert users_choice == session_id(ROOT + b"(" + MACHINE_KEY_HASH + b")/" + users_choice)


def test_a_parenthesis_before_the_hash_hides_nothing() -> None:
    """An application ID may hold a parenthesis of its own (protocol.md 4.3.4)."""
    app_id = b"/LM/W3SVC/2/ROOT/shop(2024"
    key = app_id + b"(" + hash_of(app_id) + b")/" + ID

    assert session_id(key) == ID


@pytest.mark.parametrize("target", [SECOND_ANTI_XSS, SECOND_DOUBLE_SLASH])
def test_session_id_is_found_in_every_spelling(target: bytes) -> None:
    """The hash is looked for in the decoded key, never in the raw target (protocol.md 4.3.5)."""
    expected = b"zz45nnecaiiqye55asxwtm5a"

    assert expected == session_id(canonical_key(target))


def test_placement_by_session_id() -> None:
    """By default the session ID is hashed: applications that share IDs share servers (design.md 4)."""
    assert placement_key(canonical_key(FIRST), HashKey.SESSION_ID) == ID


def test_placement_by_target() -> None:
    """With `hash_key: target` the whole canonical key is hashed (design.md 4)."""
    key = canonical_key(FIRST)

    assert key == placement_key(key, HashKey.TARGET)


_pieces = st.sampled_from(
    [b"%2f", b"%2F", b"/", b"%", b"+", b"(", b")", b"%28", b"LM", ID, b"(" + ROOT_HASH + b")%2f", b"%u00"]
)


@each_case("hash_key", HashKey)
@given(targets=st.lists(st.lists(_pieces, max_size=6).map(b"".join), min_size=1, max_size=5))
def test_applications_are_looked_at_once_and_all_the_same(hash_key: HashKey, targets: list[bytes]) -> None:
    """Whatever was asked before, a session is the one that its target alone says."""
    sessions = SessionRefs(hash_key)

    for each in targets * 2:
        assert SessionRef.of(each, hash_key) == sessions.of(each)


@given(key=st.binary(max_size=300) | st.text("()/=Ah", max_size=120).map(str.encode))
def test_session_id_is_an_end_of_the_key(key: bytes) -> None:
    """Whatever the key, what is hashed is its end, and follows a `)/` unless it is the whole."""
    found = session_id(key)

    assert key.endswith(found)
    assert found == key or key.removesuffix(found).endswith(b")/")
