"""What the clients saw: every exchange from its first byte to its outcome, and notes between them."""

from dataclasses import dataclass, field
from itertools import count

from partitioner.protocol.messages import Operation


@dataclass(slots=True)
class Exchange:
    """One exchange of one page. Times are virtual seconds; without a status it was closed, or given up."""

    number: int
    page: int
    session: int
    operation: Operation
    began_at: float
    cookie: int | None = None
    version: int | None = None  # of the content that is written
    ended_at: float | None = None
    status: int | None = None
    seen_session: int | None = None  # in the content that was read
    seen_version: int | None = None
    has_flag: bool = False  # the answer says that the session is new
    lock_cookie: int | None = None
    lock_age: int | None = None
    is_forced: bool = False  # the release of somebody else's lock, because it is too old
    good_copies: tuple[str, ...] = ()  # of a 404: who could have been asked, and had it

    def __str__(self) -> str:
        asked = [f"s{self.session}", self.operation.value]
        if self.is_forced:
            asked.append("FORCED")
        if self.cookie is not None:
            asked.append(f"cookie {self.cookie}")
        if self.version is not None:
            asked.append(f"writes v{self.version}")
        answer = "closed" if self.status is None else str(self.status)
        if self.has_flag:
            answer += " new"
        if self.seen_version is not None:
            answer += f" v{self.seen_version}"
        if self.lock_cookie is not None:
            answer += f" cookie {self.lock_cookie}"
        if self.lock_age is not None:
            answer += f" age {self.lock_age}"
        end = "     never" if self.ended_at is None else f"{self.ended_at:10.4f}"
        return f"{self.began_at:10.4f} {end}  page {self.page:<4} {' '.join(asked)} -> {answer}"


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened beside the exchanges."""

    at: float
    text: str

    def __str__(self) -> str:
        return f"{self.at:10.4f}             -- {self.text}"


@dataclass(slots=True)
class History:
    """Everything, in the order in which it began."""

    exchanges: list[Exchange] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    crashed_pages: set[int] = field(default_factory=set)  # their web server died while they ran
    failures: list[tuple[float, float]] = field(default_factory=list)  # until all was well again
    beyond: list[tuple[float, float]] = field(default_factory=list)  # when more failed than may fail
    cut_off: set[int] = field(default_factory=set)  # sessions that a dying router was at
    claims: list[float] = field(default_factory=list)  # when a router became the active one
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def begin(
        self,
        page: int,
        session: int,
        operation: Operation,
        now: float,
        *,
        cookie: int | None = None,
        version: int | None = None,
    ) -> Exchange:
        exchange = Exchange(
            next(self._numbers), page, session, operation, now, cookie=cookie, version=version
        )
        self.exchanges.append(exchange)
        return exchange

    def note(self, now: float, text: str) -> None:
        self.notes.append(Note(now, text))

    def is_beyond(self, since: float, until: float) -> bool:
        """Whether at some time between these two more had failed than may fail."""
        return any(began_at <= until and ended_at >= since for began_at, ended_at in self.beyond)

    def has_failed(self, since: float, until: float) -> bool:
        """Whether at some time between these two anything had failed."""
        return any(began_at <= until and ended_at >= since for began_at, ended_at in self.failures)

    def lines(self) -> list[str]:
        """All of it as text, in order of time."""
        told: list[tuple[float, int, str]] = [(each.began_at, 1, str(each)) for each in self.exchanges]
        told += [(each.at, 0, str(each)) for each in self.notes]
        return [text for _, _, text in sorted(told, key=lambda one: one[:2])]
