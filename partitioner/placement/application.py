"""Which application does a session belong to, and have two been mixed up that are meant to be one?

    /LM/W3SVC/2/ROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5/HxWS854=)/bpr4mimb2vjnvtn2jc4yp3uo
    \\________________ what stands here for the application ________/  \\_____ session ID _____/

A web farm is one application, so a session ID comes under one of these. Where the web servers do not
share their site ID in IIS, or their machine key, it comes under one from each of them: every user has
a session on every web server, and loses the others with each change of server. It is the classic
mistake, and its victims look for it in the session store.

Applications of one site share the session ID too, by the cookie, and rightly have a session each. They
are told apart by their IDs: the same site, and then another path.
"""

import re

from partitioner.placement.session_id import session_id
from partitioner.protocol.target import canonical_key

_SITE = re.compile(r"(?P<site>/LM/W3SVC/[^/(]+)/(?P<path>[^(]*)", re.IGNORECASE)
_SHOWN_OF_ID = 60
_SHOWN_OF_HASH = 8
"""Enough to tell two hashes apart, and what an operator can compare at a glance."""


def application_of(canonical_key: bytes, session_id: bytes) -> bytes:
    """What stands before the session ID in a canonical key: nothing, where all of it was taken for the ID."""
    return canonical_key[: len(canonical_key) - len(session_id)]


def spelling_of(target: bytes) -> bytes:
    """What stands before the session ID in a target, as its client spells it; nothing of the ID.

    Where that is not seen at once, it is the beginning of the canonical key, and nothing where all of it was
    taken for the ID. Whatever it is, an ID put behind it makes it a target of the same application.
    """
    spelling, separator, tail = target.rpartition(b"%2f")
    if tail.isalnum():
        return spelling + separator
    canonical = canonical_key(target)
    return application_of(canonical, session_id(canonical))


def are_siblings(one: bytes, other: bytes) -> bool:
    """Whether these are two applications of one site, which share the session ID in good order."""
    sites = [_SITE.match(each.decode("utf-8", "replace")) for each in (one, other)]
    if sites[0] is None or sites[1] is None:
        return False
    return sites[0]["site"] == sites[1]["site"] and sites[0]["path"].lower() != sites[1]["path"].lower()


def name_of(application: bytes) -> str:
    """An application for people: its ID, and the beginning of its hash."""
    app_id, _, rest = application.decode("utf-8", "replace").rpartition("(")
    shown = app_id if len(app_id) <= _SHOWN_OF_ID else f"{app_id[:_SHOWN_OF_ID]}..."
    return f"{shown}({rest[:_SHOWN_OF_HASH]}...)"
