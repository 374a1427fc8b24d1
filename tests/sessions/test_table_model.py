"""Random histories against a naive model: plain values in a dict, and protocol.md 6 as a chain of ifs."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from partitioner.protocol.messages import Answer, Operation, RequestHead, Status
from partitioner.sessions.table import SessionTable

WRITES = (Operation.SET, Operation.CREATE_UNINITIALIZED)


@dataclass(slots=True)
class Item:
    """A session as the table of protocol.md 6 has it."""

    body: bytes
    timeout: int
    cookie: int
    flag: bool
    locked_at: float | None
    expires_at: float


@dataclass(frozen=True, slots=True)
class Step:
    """One request, some time after the one before."""

    after: float
    key: bytes
    operation: Operation
    cookie: int | None
    timeout: int | None
    body: bytes

    @property
    def head(self) -> RequestHead:
        """The head of that request."""
        return RequestHead(
            b"",
            self.operation,
            self.key,
            len(self.body),
            timeout_minutes=self.timeout,
            lock_cookie=self.cookie,
        )


class Model:
    """The decision table once more, without regard to speed or memory."""

    def __init__(self) -> None:
        self.items: dict[bytes, Item] = {}

    def answer(self, step: Step, now: float) -> Answer:
        """Rows 1 to 25 of protocol.md 6, in their order."""
        timeout = 20 if step.timeout is None else step.timeout
        is_put = step.operation in WRITES
        if is_put and timeout > 525_600:  # 12
            return Answer(Status.BAD_REQUEST)
        item = self.items.get(step.key)
        if item is not None and item.expires_at < now:
            del self.items[step.key]
            item = None
        if item is None:
            if not is_put:  # 1, 4, 7, 20, 24
                return Answer(Status.NOT_FOUND)
            flag = step.operation is Operation.CREATE_UNINITIALIZED
            self.items[step.key] = Item(step.body, timeout, 1, flag, None, expiry(now, timeout))  # 13, 14
            return Answer(Status.OK)
        answer = self.answer_present(step, item, timeout, now)
        item.expires_at = expiry(now, item.timeout)
        return answer

    def answer_present(self, step: Step, item: Item, timeout: int, now: float) -> Answer:
        flag = item.flag
        is_locked = item.locked_at is not None
        is_locked_against = is_locked and step.cookie != item.cookie
        age = now - item.locked_at if item.locked_at is not None else None
        locked = Answer(Status.LOCKED, lock_age=age, lock_cookie=item.cookie)
        if step.operation in (Operation.GET, Operation.ACQUIRE):
            item.flag = False
            if is_locked:  # 3, 6
                return locked
            if step.operation is Operation.GET:  # 2
                return Answer(Status.OK, item.body, action_flags=flag, timeout_minutes=item.timeout)
            item.cookie = item.cookie + 1 if item.cookie < 2_147_483_645 else 2  # 5
            item.locked_at = now
            return Answer(
                Status.OK, item.body, action_flags=flag, lock_cookie=item.cookie, timeout_minutes=item.timeout
            )
        if step.operation is Operation.RELEASE:
            item.flag = False
            if step.cookie is None:  # 8
                return Answer(Status.BAD_REQUEST, action_flags=flag)
            if is_locked_against:  # 11
                return locked
            item.locked_at = None  # 9, 10
            return Answer(Status.OK, action_flags=flag)
        if step.operation is Operation.CREATE_UNINITIALIZED:  # 15
            return Answer(Status.OK)
        if step.operation is Operation.SET:
            if is_locked_against:  # 19
                return locked
            if timeout != item.timeout:  # 18
                item.cookie = -1 if step.cookie is None else step.cookie
                item.timeout = timeout
                item.flag = False
            item.body = step.body  # 16, 17, 18
            item.locked_at = None
            return Answer(Status.OK)
        if step.operation is Operation.REMOVE:
            if is_locked_against:  # 23
                return locked
            del self.items[step.key]  # 21, 22
            return Answer(Status.OK)
        return Answer(Status.OK)  # 25


def expiry(now: float, timeout: int) -> float:
    return now + timeout * 60.0 if timeout else float("inf")


_steps = st.builds(
    Step,
    # Whole and half seconds, and now and then a time-out's length to the second or just beyond it.
    after=st.sampled_from([0.0, 0.0, 0.5, 1.0, 20.0, 59.5, 60.0, 60.5, 120.0, 1_199.5, 1_200.5]),
    key=st.sampled_from([b"/a", b"/b", b"/c"]),
    operation=st.sampled_from(Operation),
    # Such as are likely to be the right one, or just not.
    cookie=st.none() | st.integers(0, 4) | st.sampled_from([2_147_483_645, 2_147_483_646]),
    timeout=st.none() | st.sampled_from([0, 1, 2, 20, 525_600, 525_601]),
    body=st.sampled_from([b"x", b"yy", b"zzz"]),
)


@settings(max_examples=1_500)
@given(history=st.lists(_steps, max_size=60), sweep_every=st.integers(1, 20))
def test_every_answer_is_the_models(history: list[Step], sweep_every: int) -> None:
    """Whatever is asked, the table answers as protocol.md 6 says, and sweeping changes nothing."""
    table, model = SessionTable(), Model()
    now = 1_000.0
    for number, step in enumerate(history):
        now += step.after
        if number % sweep_every == 0:
            table.sweep(now, at_most=10)

        assert model.answer(step, now) == table.apply(step.head, step.key, step.body, now)


_locking_steps = st.builds(
    Step,
    after=st.sampled_from([0.0, 1.0, 30.0]),
    key=st.just(b"/a"),
    operation=st.sampled_from(Operation),
    cookie=st.none() | st.integers(1, 4),
    timeout=st.sampled_from([20, 20, 20, 30]),
    body=st.sampled_from([b"x", b"yy"]),
)


@settings(max_examples=1_000)
@given(history=st.lists(_locking_steps, min_size=5, max_size=40))
def test_every_answer_about_one_busy_session(history: list[Step]) -> None:
    """Histories of one session that is locked and unlocked by right cookies and wrong ones."""
    table, model = SessionTable(), Model()
    now = 0.0
    first = Step(0.0, b"/a", Operation.CREATE_UNINITIALIZED, None, 20, b"first")
    for step in [first, *history]:
        now += step.after

        assert model.answer(step, now) == table.apply(step.head, step.key, step.body, now)
