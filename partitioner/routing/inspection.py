"""Looks at single sessions for operators: where one is and should be, and what each server tells of it.

A state server of our own tells by its admin port, and nothing changes by that. Of any other one a session is
read as a page reads it, by a plain get behind the key gate. That starts its time-out anew, and would consume
the one-shot flag of a new session, which is therefore given back. A body is here for as long as its outline
takes, one at a time.

A lock is released as a page releases it: by a request through the router, with the cookie that was seen.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import trio
from xxhash import xxh3_64_intdigest

from partitioner.errors import ListingFailed, MalformedAnswer, Refused
from partitioner.membership.backend import Address, BackendId
from partitioner.membership.entry import LONGEST_PAGE, Lock
from partitioner.membership.items import ITEMS, read_canary
from partitioner.membership.pool import Member
from partitioner.payload import Outline
from partitioner.placement.location import is_target
from partitioner.placement.session_id import SessionRef
from partitioner.protocol.target import canonical_form, encode_target, server_key, target_of
from partitioner.routing.core import RouterCore
from partitioner.routing.internal_requests import BackendReply, put, release
from partitioner.routing.ledger_keeper import LOCK_AGE
from partitioner.routing.session_looks import Look, SeenLock, SeenSession, outlined
from partitioner.transport.messages import Request

GATE_PATIENCE = 2.0
"""Seconds for which other requests of the session are waited for; then it is not read by the protocol."""

_TARGET = re.compile(rb"[!-~]+")

RELEASE_PATIENCE = 8.0
"""Seconds for a release: `timeouts.exchange` as it is unless configured."""


class SessionSource(Protocol):
    """Asks admin ports of our own state servers about single sessions."""

    async def find(self, admin: Address, session_id: str) -> tuple[str, ...]:
        """Targets of the sessions with this ID, of all applications. Raises ListingFailed."""

    async def look(self, admin: Address, target: str) -> Look:
        """What it knows of a session. Raises ListingFailed."""

    async def outline(self, admin: Address, target: str) -> Outline | None:
        """What is in it; None where it is not there. Raises ListingFailed."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A session on one server."""

    server: BackendId
    is_expected: bool  # whether it belongs there
    is_marked: bool  # whether the server is not read for it
    session: SeenSession | None  # None: it is not there, or that is unknown
    trouble: str | None = None  # why that is unknown


@dataclass(frozen=True, slots=True)
class Looked:
    """A session, wherever it is."""

    session: SessionRef
    copies: tuple[Copy, ...]  # of all servers that were asked or could not be; the acting primary's first
    is_settled: bool
    lock: Lock | None  # that the router knows of
    outline: Outline | None  # None: no server could be asked for its body
    read_from: BackendId | None

    @property
    def seen_lock(self) -> SeenLock | None:
        """The lock, as the server tells it that granted it, or else as the router knows it."""
        told = [each.session.lock for each in self.copies if each.session is not None and each.session.lock]
        if self.lock is None:
            return max(told, key=lambda each: each.age, default=None)
        age = trio.current_time() - self.lock.since
        same = [each for each in told if each.cookie == self.lock.cookie]
        return same[0] if same else SeenLock(self.lock.cookie, age)

    @property
    def exists(self) -> bool:
        """Whether anything is known of it."""
        return self.lock is not None or any(each.session is not None for each in self.copies)


@dataclass(frozen=True, slots=True)
class Candidates:
    """The sessions that an ID may stand for."""

    targets: tuple[bytes, ...]
    not_searched: Mapping[BackendId, str]  # servers whose keys could not be searched, and why


class Inspection:
    """Looks at sessions of one router."""

    def __init__(
        self,
        core: RouterCore,
        farm: str,
        source: SessionSource,
        applications: Callable[[], Iterable[bytes]] = tuple,
    ) -> None:
        """`applications` gives what stands before session IDs in the targets that were seen lately."""
        self._core = core
        self._farm = farm
        self._source = source
        self._applications = applications
        self._one_body_at_a_time = trio.CapacityLimiter(1)

    # --- which session is meant ---

    async def candidates(self, key: bytes) -> Candidates:
        """The targets for which a key may stand: its own, if it is one; or those of a session ID.

        Raises ValueError if it is neither.
        """
        if is_target(key):
            return Candidates((checked(key),), {})
        session_id = key.decode("utf-8", "replace")
        found: dict[bytes, bytes] = {}  # targets, by the session's key
        not_searched: dict[BackendId, str] = {}
        for identity, member in self._core.roster.pool.members.items():
            if not member.is_reachable:
                not_searched[identity] = "it is away"
                continue
            if member.backend.admin is None:
                not_searched[identity] = "it has no admin port that lists its sessions"
                continue
            try:
                targets = await self._source.find(member.backend.admin, session_id)
            except ListingFailed as error:
                not_searched[identity] = str(error)
                continue
            for each in targets:
                found.setdefault(server_key(each.encode()), each.encode())
        if not_searched:
            for application in self._applications():
                target = application + encode_target(session_id)
                found.setdefault(server_key(target), target)
        return Candidates(tuple(found.values()), not_searched)

    # --- what is known of it ---

    async def look(self, target: bytes) -> Looked:
        """Look at one session on all servers that may have it.

        A save that is under way may be on one server and not yet on the next one.
        """
        core, now = self._core, trio.current_time()
        session, pool = core.ledger_keeper.session_of(target), core.roster.pool
        acting = core.ledger_keeper.acting_set(pool, session)
        expected = () if acting is None else acting.written
        is_settled = core.ledger.is_settled(session.key, pool.unchanged_since(session.placement), now)
        seen: list[_Seen] = []
        for server in (*expected, *(each for each in pool.members if each not in expected)):
            is_asked = server in expected or not is_settled or pool.members[server].backend.admin is not None
            if is_asked:
                wants_outline = all(each.outline is None for each in seen)
                seen.append(await self._ask(session, server, pool.members[server], wants_outline))
        copies = tuple(self._copy(session, each, expected) for each in seen)
        read = next((each for each in seen if each.outline is not None), None)
        return Looked(
            session,
            copies,
            is_settled,
            core.ledger.maybe_lock(session.key, now),
            None if read is None else read.outline,
            None if read is None else read.server,
        )

    def _copy(self, session: SessionRef, seen: "_Seen", expected: tuple[BackendId, ...]) -> Copy:
        is_marked = seen.server in self._core.ledger.marks(session.key)
        return Copy(seen.server, seen.server in expected, is_marked, seen.session, seen.trouble)

    async def _ask(
        self, session: SessionRef, server: BackendId, member: Member, wants_outline: bool
    ) -> "_Seen":
        if not member.is_reachable:
            return _Seen(server, trouble="it is away")
        if member.backend.admin is not None:
            return await self._ask_admin(session, member, member.backend.admin, wants_outline)
        if not member.is_readable or server in self._core.ledger.marks(session.key):
            return _Seen(server, trouble="it may be out of date and is not read")
        return await self._read(session, server, wants_outline)

    # --- of a server of our own ---

    async def _ask_admin(
        self, session: SessionRef, member: Member, admin: Address, wants_outline: bool
    ) -> "_Seen":
        server, target = member.backend.identity, session.target.decode()
        try:
            look = await self._source.look(admin, target)
            check_owner(look.canaries, self._farm, member)
            outline = None
            if look.session is not None and wants_outline:
                outline = await self._source.outline(admin, target)
        except ListingFailed as error:
            return _Seen(server, trouble=str(error))
        return _Seen(server, look.session, outline)

    # --- of any other server: by the protocol, behind the gate ---

    async def _read(self, session: SessionRef, server: BackendId, wants_outline: bool) -> "_Seen":
        async with self._one_body_at_a_time:
            return await self._read_behind_the_gate(session, server, wants_outline)

    async def _read_behind_the_gate(
        self, session: SessionRef, server: BackendId, wants_outline: bool
    ) -> "_Seen":
        gate = self._core.gate
        with trio.move_on_after(GATE_PATIENCE) as waiting:
            await gate.enter(session.key)
        if waiting.cancelled_caught:
            return _Seen(server, trouble="other requests of the session keep it busy")
        try:
            return await self._get(session, server, wants_outline)
        finally:
            gate.leave(session.key)

    async def _get(self, session: SessionRef, server: BackendId, wants_outline: bool) -> "_Seen":
        core = self._core
        async with core.internal_requests.fetched(server, session.target) as reply:
            if reply is None or reply.status not in (200, 404, 423):
                return _Seen(server, trouble="it could not be asked")
            if reply.status == 404:
                return _Seen(server)
            core.expiry_sync.note_renewed(session, server, reply.head.timeout_minutes)
            if reply.status == 423:
                return _Seen(server, _locked(reply))
            outline = None
            if wants_outline and reply.unheld is None:
                outline = await outlined(reply.body)
            if reply.hands_out_flag:
                await self._give_flag_back(session, server, reply)
            return _Seen(server, _told(reply), outline)

    async def _give_flag_back(self, session: SessionRef, server: BackendId, reply: BackendReply) -> None:
        """To read a new session has consumed its flag, and no page has seen it."""
        core = self._core
        with trio.CancelScope(shield=True):
            stored = await core.replicator.replace(session.key, server, put(session.target, reply))
        if stored is None or stored.status != 200:
            core.ledger_keeper.mark(session, server, is_stale=True)

    async def maybe_outline(self, key: bytes, servers: Iterable[BackendId]) -> Outline | None:
        """What is in a session that these servers of our own hold; None where that cannot be told."""
        members = self._core.roster.pool.members
        for server in servers:
            admin = members[server].backend.admin if server in members else None
            if admin is None:
                continue
            try:
                outline = await self._source.outline(admin, target_of(key).decode())
            except ListingFailed:
                continue
            if outline is not None:
                return outline
        return None

    # --- to unlock it ---

    async def unlock(self, target: bytes, cookie: int, *, force: bool) -> Looked:
        """Release the lock with this cookie, as its page would; return what was seen of the session before.

        With `force` also where a page may still hold it.

        Raises Refused where there is no such lock or a page may hold it, NoBackendLeft or BackendFailure.
        """
        looked = await self.look(target)
        lock = looked.seen_lock
        if lock is None:
            raise Refused("the session is not locked" if looked.exists else "there is no such session")
        if lock.cookie != cookie:
            raise Refused(f"the session was locked anew: its lock has cookie {lock.cookie}, not {cookie}")
        if lock.age < LONGEST_PAGE and not force:
            raise Refused(
                f"the lock is {lock.age:.0f} s old, and a page may run for {LONGEST_PAGE:.0f} s: "
                "what it saves would be lost; force releases it all the same"
            )
        deadline = trio.current_time() + RELEASE_PATIENCE
        head = release(target, cookie).head
        response = await self._core.router.respond(Request(head, b"", None, deadline))
        response.finish(True)
        if response.status != 200:
            raise Refused("another page has locked the session" if response.status == 423 else "it has gone")
        return looked


def check_owner(canaries: Mapping[str, str], farm: str, member: Member) -> None:
    """See that an admin port tells of the memory that the router knows. Raises ListingFailed."""
    try:
        token = read_canary(canaries.get(farm, "").encode()).token
    except MalformedAnswer:
        token = None
    if token is None or token != member.record.incarnation:
        raise ListingFailed("its admin port is another server's, or it was restarted just now")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What came of asking one server."""

    server: BackendId
    session: SeenSession | None = None
    outline: Outline | None = None
    trouble: str | None = None


def _locked(reply: BackendReply) -> SeenSession:
    """What a 423 tells."""
    cookie, age = reply.head.lock_cookie, LOCK_AGE.search(reply.head.raw)
    lock = None if cookie is None else SeenLock(cookie, 0.0 if age is None else float(age[1]))
    return SeenSession(None, None, None, None, None, is_new=False, lock=lock)


def _told(reply: BackendReply) -> SeenSession:
    """What a 200 tells. To ask has started the time-out anew."""
    minutes, is_new = reply.head.timeout_minutes, reply.hands_out_flag
    digest = reply.fingerprint if not is_new else xxh3_64_intdigest(reply.body, seed=1)
    left = minutes * 60.0 if minutes else None
    return SeenSession(minutes, reply.head.content_length, f"{digest:016x}", 0.0, left, is_new, lock=None)


def checked(target: bytes) -> bytes:
    """A target that may stand in a request and is a session's. Raises ValueError."""
    if not _TARGET.fullmatch(target) or not is_target(target):
        raise ValueError(f"{target.decode('utf-8', 'replace')!r} is not the target of a request")
    if canonical_form(server_key(target)).startswith(ITEMS.encode()):
        raise ValueError("a key that is kept for routers is not a session")
    return target
