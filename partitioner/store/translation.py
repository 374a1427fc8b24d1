"""Between the state protocol and the scripts: a request becomes a script's arguments, its reply an answer."""

from typing import Any

from partitioner.protocol.messages import Answer, Operation, RequestHead, Status
from partitioner.sessions.session import BAD_REQUEST, NOT_FOUND, OK
from partitioner.sessions.table import DEFAULT_TIMEOUT_MINUTES, LONGEST_TIMEOUT_MINUTES
from partitioner.store.scripts import (
    ACQUIRE,
    CREATE,
    GET,
    INSERT,
    NO_COOKIE,
    RELEASE,
    REMOVE,
    RESET,
    SET,
    Script,
)

Arguments = tuple[bytes, ...]

_SCRIPTS = {
    Operation.GET: GET,
    Operation.ACQUIRE: ACQUIRE,
    Operation.RELEASE: RELEASE,
    Operation.SET: SET,
    Operation.CREATE_UNINITIALIZED: CREATE,
    Operation.REMOVE: REMOVE,
    Operation.RESET_TIMEOUT: RESET,
}

_WRITES = (Operation.SET, Operation.CREATE_UNINITIALIZED)

# Looking up a member of an Enum takes a fifth of a microsecond, each time.
_GET, _ACQUIRE, _RELEASE = Operation.GET, Operation.ACQUIRE, Operation.RELEASE
_SET, _REMOVE = Operation.SET, Operation.REMOVE
_OK, _LOCKED, _BAD = Status.OK, Status.LOCKED, Status.BAD_REQUEST


_NOTHING = (b"",)  # each script gets an argument, whether it has a use for it or not


def is_out_of_range(head: RequestHead) -> bool:
    """Whether it is refused before anything is looked up: row 12 of protocol.md 6."""
    minutes = head.timeout_minutes
    return minutes is not None and minutes > LONGEST_TIMEOUT_MINUTES and head.operation in _WRITES


def script_call(head: RequestHead, body: bytes, request_id: bytes) -> tuple[Script, Arguments]:
    """The script that carries a request out, and its own arguments. The id has 8 bytes."""
    operation = head.operation
    if operation is _ACQUIRE or operation is _GET:
        return _SCRIPTS[operation], (request_id,)
    if operation is _SET:
        return SET, (request_id, b"%d" % _minutes(head), _cookie(head), body)
    if operation is _RELEASE:
        return RELEASE, (_cookie(head), request_id)
    if operation is _REMOVE:
        return REMOVE, (_cookie(head),)
    return _SCRIPTS[operation], _NOTHING


def insert_call(head: RequestHead, body: bytes, request_id: bytes) -> tuple[Script, Arguments]:
    """The script that adds the session which a set or create has not found."""
    is_uninitialized = head.operation is Operation.CREATE_UNINITIALIZED
    flags = b"1" if is_uninitialized else b"0"
    cookie = b"0" if is_uninitialized else _cookie(head)
    return INSERT, (request_id, b"%d" % _minutes(head), cookie, body, flags)


def answer_of(operation: Operation, reply: object) -> tuple[Answer, float]:
    """What a script's reply is in the state protocol; and since when the session is locked.

    That is Unix time by the engine's clock, and 0 where the answer is no 423.
    """
    if isinstance(reply, list):
        return _answer_of_list(operation, reply)
    if reply == 200:
        return OK, 0.0
    if reply == 404:
        return NOT_FOUND, 0.0
    raise AssertionError(f"{operation.value} was replied {reply!r}")


def _answer_of_list(operation: Operation, reply: list[object]) -> tuple[Answer, float]:
    told: list[Any] = reply  # what the script with this operation says
    status, first = told[0], told[1] == 1
    if status == 423:
        _, _, age, cookie, since = told
        return Answer(_LOCKED, b"", first, age / 1000, cookie), since / 1000
    if operation is _RELEASE:
        if status == 400:
            return (Answer(_BAD, b"", True) if first else BAD_REQUEST), 0.0
        return (Answer(_OK, b"", True) if first else OK), 0.0
    _, _, cookie, minutes, body = told
    return Answer(_OK, body, first, None, None if cookie == NO_COOKIE else cookie, minutes), 0.0


def _minutes(head: RequestHead) -> int:
    return DEFAULT_TIMEOUT_MINUTES if head.timeout_minutes is None else head.timeout_minutes


def _cookie(head: RequestHead) -> bytes:
    return b"" if head.lock_cookie is None else b"%d" % head.lock_cookie
