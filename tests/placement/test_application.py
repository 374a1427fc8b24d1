"""Which application a key belongs to, and which two of them are a sign of a farm that is set up wrongly."""

from base64 import b64encode
from hashlib import sha256

import pytest

from partitioner.placement.application import application_of, are_siblings, name_of
from tests.tables import each_case

ID = b"bpr4mimb2vjnvtn2jc4yp3uo"
MACHINE_KEY_HASH = b"Zk3c0vYq8T1mXhL5uWpRb7sJ2dM="


def application(app_id: bytes, app_hash: bytes | None = None) -> bytes:
    return app_id + b"(" + (app_hash or b64encode(sha256(app_id).digest())) + b")/"


ROOT = application(b"/LM/W3SVC/2/ROOT")


@pytest.mark.parametrize(("key", "session_id", "expected"), [(ROOT + ID, ID, ROOT), (b"/x", b"/x", b"")])
def test_application_of_a_key(key: bytes, session_id: bytes, expected: bytes) -> None:
    """What stands before the session ID; nothing where no session ID can be told."""
    assert expected == application_of(key, session_id)


PAIRS = {
    "another site": (application(b"/LM/W3SVC/3/ROOT"), False),
    "another letter case": (application(b"/LM/W3SVC/2/Root"), False),
    "another machine key": (application(b"/LM/W3SVC/2/ROOT", MACHINE_KEY_HASH), False),
    "an application of another site": (application(b"/LM/W3SVC/3/ROOT/shop"), False),
    "not of IIS": (application(b"/5d9e7f84"), False),
    "an application of the same site": (application(b"/LM/W3SVC/2/ROOT/shop"), True),
}


@each_case(("other", "siblings"), PAIRS.values(), ids=PAIRS)
def test_siblings_are_applications_of_one_site(other: bytes, siblings: bool) -> None:
    """They share a session cookie in good order; everything else that shares an ID does not."""
    assert [siblings, siblings] == [are_siblings(ROOT, other), are_siblings(other, ROOT)]


NAMES = {
    "usual": (ROOT, "/LM/W3SVC/2/ROOT(oXvpnxcu...)"),
    "parentheses": (application(b"/LM/W3SVC/2/ROOT/a (b)", b"h" * 20), "/LM/W3SVC/2/ROOT/a (b)(hhhhhhhh...)"),
    "long": (application(b"/" + b"x" * 500, b"h" * 20), "/" + "x" * 59 + "...(hhhhhhhh...)"),
    "no UTF-8": (application(b"/\xff", b"h" * 20), "/\ufffd(hhhhhhhh...)"),
}


@each_case(("spelt", "name"), NAMES.values(), ids=NAMES)
def test_names_are_short(spelt: bytes, name: str) -> None:
    """An operator sees which site it is, and enough of the hash to compare."""
    assert name == name_of(spelt)
