"""Answers operators about single sessions."""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from heapq import nlargest

import structlog

from partitioner.errors import Refused
from partitioner.membership.backend import BackendId
from partitioner.membership.tenure import Role
from partitioner.ops.admin.session_reports import (
    ApplicationWeight,
    ContentsReport,
    CopyReport,
    ItemReport,
    ItemsReport,
    KindReport,
    LargeSessionReport,
    LargestReport,
    LockSeen,
    SessionReport,
    SessionSeen,
    UnlockReport,
    UnreadReport,
)
from partitioner.ops.event_log import EventLog, EventLogger
from partitioner.ops.standing import IS_STANDBY, role_of
from partitioner.payload import Outline
from partitioner.placement.session_id import SessionRef
from partitioner.routing.core import RouterCore
from partitioner.routing.inspection import Copy, Inspection, Looked, checked
from partitioner.routing.item_weights import ApplicationNames
from partitioner.routing.memory_survey import LargeSession, MemorySurvey
from partitioner.routing.session_looks import SeenLock

ITEMS_OF_A_LARGE_ONE = 3
"""That are told of each of the largest sessions."""


@dataclass(frozen=True, slots=True)
class SessionsApi:
    """Looks at sessions of one router, finds out what takes the memory, and releases locks."""

    core: RouterCore
    inspection: Inspection
    survey: MemorySurvey
    event_log: EventLog

    async def session(self, key: str) -> SessionReport:
        """All that can be told of the sessions for which a key stands.

        Raises ValueError if it is no key, or Refused if this router is not the active one.
        """
        self._see_that_it_is_active()
        candidates = await self.inspection.candidates(key.encode("utf-8", "surrogatepass"))
        looked = [await self.inspection.look(target) for target in candidates.targets]
        not_searched = {self._name(each): why for each, why in candidates.not_searched.items()}
        return SessionReport(key, tuple(self._seen(each) for each in looked if each.exists), not_searched)

    async def unlock(self, target: str, cookie: int, *, force: bool) -> UnlockReport:
        """Release the lock of a session that has this cookie; with `force` also a young one.

        Raises ValueError if that is not the target of a session; Refused with the reason; NoBackendLeft where
        its server cannot be asked.
        """
        self._see_that_it_is_active()
        checked_target = checked(target.encode("utf-8", "surrogatepass"))
        looked = await self.inspection.unlock(checked_target, cookie, force=force)
        lock = looked.seen_lock
        assert lock is not None  # or there would be nothing to release
        application = _application(looked.session)
        EventLogger(structlog.get_logger(), self.event_log).warning(
            "lock released by an operator",
            session=_hash_of(looked.session.key),
            application=application,
            age=round(lock.age, 1),
            forced=force,
        )
        return UnlockReport(application, self._lock(lock))

    async def largest(self, at_most: int) -> LargestReport:
        """The largest sessions, so many of them. Raises Refused."""
        self._see_that_it_is_active()
        found = await self.survey.largest(at_most)
        return LargestReport(
            sessions=found.sessions.count,
            bytes=found.sessions.size,
            applications=tuple(
                ApplicationWeight(name, weight.count, weight.size)
                for name, weight in sorted(found.applications.items(), key=lambda each: -each[1].size)
            ),
            largest=tuple([await self._large(each) for each in found.largest]),
            refused={self._name(each): why for each, why in found.refused.items()},
            complete=found.is_complete,
        )

    async def items(self, at_most: int) -> ItemsReport:
        """The items that take most memory, so many kinds of them. Raises Refused."""
        self._see_that_it_is_active()
        found = await self.survey.by_kind()
        heaviest = nlargest(at_most, found.kinds.items(), key=lambda each: each[1].size)
        return ItemsReport(
            sessions=found.sessions.count,
            bodies=found.sessions.size,
            bytes=sum(weight.size for weight in found.kinds.values()),
            unread=found.unread,
            items=tuple(
                KindReport(kind.application, kind.name, kind.type, weight.count, weight.size)
                for kind, weight in heaviest
            ),
            left_out=len(found.kinds) - len(heaviest),
            refused={self._name(each): why for each, why in found.refused.items()},
            complete=found.is_complete,
        )

    # --- how it is told ---

    async def _large(self, large: LargeSession) -> LargeSessionReport:
        outline = await self.inspection.maybe_outline(large.key, large.servers)
        return LargeSessionReport(
            session=_hash_of(large.key),
            application=large.application,
            bytes=large.size,
            servers=tuple(self._name(each) for each in large.servers),
            idle=large.idle,
            locked=large.is_locked,
            items=() if outline is None else _items(outline.largest(ITEMS_OF_A_LARGE_ONE)),
        )

    def _see_that_it_is_active(self) -> None:
        if role_of(self.core) is not Role.ACTIVE:
            raise Refused(IS_STANDBY)

    def _name(self, identity: BackendId) -> str:
        member = self.core.roster.pool.members.get(identity)
        return identity if member is None else member.backend.name

    def _seen(self, looked: Looked) -> SessionSeen:
        lock = looked.seen_lock
        return SessionSeen(
            application=_application(looked.session),
            target=looked.session.target.decode(),
            belongs=tuple(self._name(each.server) for each in looked.copies if each.is_expected),
            settled=looked.is_settled,
            lock=None if lock is None else self._lock(lock),
            copies=tuple(self._copy(each) for each in looked.copies),
            contents=None if looked.outline is None else self._contents(looked, looked.outline),
        )

    def _copy(self, copy: Copy) -> CopyReport:
        session = copy.session
        lock = None if session is None or session.lock is None else self._lock(session.lock)
        return CopyReport(
            server=self._name(copy.server),
            belongs=copy.is_expected,
            marked=copy.is_marked,
            held=None if copy.trouble is not None else session is not None,
            trouble=copy.trouble,
            size=None if session is None else session.size,
            digest=None if session is None else session.digest,
            timeout_minutes=None if session is None else session.minutes,
            idle=None if session is None else session.idle,
            left=None if session is None else session.left,
            is_new=session is not None and session.is_new,
            lock=lock,
        )

    def _lock(self, lock: SeenLock) -> LockSeen:
        since = datetime.fromtimestamp(self.core.policy.wall_clock() - lock.age, UTC)
        return LockSeen(lock.cookie, lock.age, since.isoformat(timespec="seconds"))

    def _contents(self, looked: Looked, outline: Outline) -> ContentsReport:
        assert looked.read_from is not None
        unread = outline.unread
        return ContentsReport(
            server=self._name(looked.read_from),
            compressed=outline.is_compressed,
            size=outline.size,
            items=_items(outline),
            left_out=outline.left_out,
            unread=None if unread is None else UnreadReport(unread.at, unread.why),
        )


def _items(outline: Outline) -> tuple[ItemReport, ...]:
    return tuple(
        ItemReport(each.name, each.type, each.size, each.offset, each.is_static) for each in outline.items
    )


def _hash_of(key: bytes) -> str:
    """What stands for a session where its ID was not typed."""
    return sha256(key).hexdigest()[:8]


def _application(session: SessionRef) -> str:
    return ApplicationNames().of(session.key)
