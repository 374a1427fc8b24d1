"""Messages out, as bytes: what this program says in its own words, in either role.

Relayed messages never pass through here; they travel as the bytes they came in.
"""

from partitioner.protocol.messages import Answer, Operation, Status

ASPNET_VERSION = "4.0.30319"  # protocol.md 5.1; a client refuses a server whose major number is below 2
_MAX_LOCK_AGE = 365 * 24 * 3600 - 1  # the client takes a year and more for 0 (protocol.md 14, A13)

_VERB = {
    Operation.GET: "GET",
    Operation.ACQUIRE: "GET",
    Operation.RELEASE: "GET",
    Operation.SET: "PUT",
    Operation.CREATE_UNINITIALIZED: "PUT",
    Operation.REMOVE: "DELETE",
    Operation.RESET_TIMEOUT: "HEAD",
}
_EXCLUSIVE = {Operation.ACQUIRE: "acquire", Operation.RELEASE: "release"}


def write_request(
    operation: Operation,
    target: bytes,
    *,
    host: str = "localhost",
    timeout_minutes: int | None = None,
    lock_cookie: int | None = None,
    body: bytes = b"",
) -> bytes:
    """Write a request, head and body."""
    head = write_request_head(
        operation,
        target,
        host=host,
        timeout_minutes=timeout_minutes,
        lock_cookie=lock_cookie,
        length=len(body),
    )
    return head + body


def write_request_head(
    operation: Operation,
    target: bytes,
    *,
    host: str = "localhost",
    timeout_minutes: int | None = None,
    lock_cookie: int | None = None,
    length: int = 0,
) -> bytes:
    """Write a request's head as the real client spells it: field order and blanks of protocol.md 3.1.

    `target` is percent-encoded already. Only a set or a create carries a time-out, and a body, which has
    `length` bytes.
    """
    lines = [f"Host: {host}"]
    if operation in _EXCLUSIVE:
        lines.append(f"Exclusive: {_EXCLUSIVE[operation]}")
    if timeout_minutes is not None:
        lines.append(f"Timeout:{timeout_minutes}")
    if _VERB[operation] == "PUT":
        lines.append(f"Content-Length:{length}")
        lines.append(f"ExtraFlags:{int(operation is Operation.CREATE_UNINITIALIZED)}")
    if lock_cookie is not None:
        lines.append(f"LockCookie:{lock_cookie}")
    request_line = b"%b %b HTTP/1.1\r\n" % (_VERB[operation].encode(), target)
    return request_line + "\r\n".join([*lines, "", ""]).encode()


def write_answer(answer: Answer, local_ticks: int = 0) -> bytes:
    """Write an answer, head and body."""
    return write_answer_head(answer, local_ticks) + answer.body


def write_answer_head(answer: Answer, local_ticks: int = 0) -> bytes:
    """Write the head of an answer as a stock server does: bare status line, fields in order, length last.

    `local_ticks` is the local time now, in 100 ns since the year 1; it is used for a lock's date only.
    Source: protocol.md 5.1.
    """
    head = f"{answer.status.code} {answer.status.reason}\r\nX-AspNet-Version: {ASPNET_VERSION}\r\n"
    if answer.action_flags:
        head += "ActionFlags: 1\r\n"
    if answer.lock_age is not None:
        head += f"LockDate: {local_ticks - round(answer.lock_age * 10_000_000)}\r\n"
        head += f"LockAge: {min(int(answer.lock_age), _MAX_LOCK_AGE)}\r\n"
    if answer.lock_cookie is not None:
        head += f"LockCookie: {answer.lock_cookie}\r\n"
    if answer.timeout_minutes is not None:
        head += f"Timeout: {answer.timeout_minutes}\r\n"
    return f"{head}Cache-Control: private\r\nContent-Length: {len(answer.body)}\r\n\r\n".encode()


REFUSAL = write_answer(Answer(Status.BAD_REQUEST))
"""What a malformed request gets, before its connection is closed (protocol.md 3.3)."""
