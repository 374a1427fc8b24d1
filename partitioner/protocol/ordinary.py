"""Ordinary heads, recognised at a glance: those that real clients and real servers send all day.

Reading a head line by line costs as much as all the rest of relaying it. Nearly every head has the one form
that ASP.NET gives it (protocol.md 3.1, 5.1), and a pattern tells that form from all others. What stands
here never decides what a head means: whatever it recognises, grammar.py reads in the same way, and whatever
it does not is for grammar.py to judge. So it may miss what it likes, and must not take anything that has
two meanings: every byte of a head is accounted for.

A request is recognised in parts: its target, and the *frame* around it, which is one of few as long as
there are no numbers in it.
"""

import re
from typing import TypeAlias

from partitioner.protocol.messages import Operation

_NUMBER = rb"([0-9]{1,9}|1[0-9]{9})"  # surely within 0..MAX_NUMBER, and within what a client can store

is_ordinary_target = re.compile(rb"[!-~]+").fullmatch
"""Matches a target of printable ASCII: no two programs differ about where that ends."""

_frame = re.compile(
    rb"(GET|PUT|HEAD|DELETE)HTTP/1\.1\r\n"
    rb"(?:Host: [^\r\n]*\r\n)?"
    rb"(?:Exclusive: (acquire|release)\r\n)?"
    rb"(?:Timeout:([0-9]{1,9})\r\nContent-Length:([1-9][0-9]{0,8})\r\nExtraFlags:0\r\n)?"
    rb"(?:LockCookie:" + _NUMBER + rb"\r\n)?"
).fullmatch

_OPERATIONS: dict[tuple[bytes, bytes | None, bool], Operation] = {
    (b"GET", None, False): Operation.GET,
    (b"GET", b"acquire", False): Operation.ACQUIRE,
    (b"GET", b"release", False): Operation.RELEASE,
    (b"PUT", None, True): Operation.SET,
    (b"DELETE", None, False): Operation.REMOVE,
    (b"HEAD", None, False): Operation.RESET_TIMEOUT,
}
"""What is asked, by verb, exclusive, and whether there is content. Other combinations are not ordinary."""


# Plain tuples, because a name for each field would cost as much as finding out what they are.

Frame: TypeAlias = tuple[Operation, int, bytes | None, bytes | None]
"""What an ordinary request says besides its target: the operation, the size of its content, the time-out in
minutes and the lock cookie, both as they are written."""

AnswerFrame: TypeAlias = tuple[int, int, bytes | None, bytes | None]
"""Of an ordinary success: where its head ends, the size of its content, lock cookie, and time-out in minutes,
both as they are written."""


def recognise_frame(frame: bytes) -> Frame | None:
    """Recognise the frame of a request: its verb, and what follows the blank after its target, joined.

    Up to the last line's end: the empty line does not belong to it. None if it is not ordinary.
    """
    match = _frame(frame)
    if match is None:
        return None
    verb, exclusive, minutes, length, cookie = match.groups()
    operation = _OPERATIONS.get((verb, exclusive, length is not None))
    if operation is None:
        return None
    size = 0 if length is None else int(length)
    return operation, size, minutes, cookie


_answer = re.compile(
    rb"200 OK\r\nX-AspNet-Version: [0-9.]+\r\n"
    rb"(?:LockCookie: " + _NUMBER + rb"\r\n)?"
    rb"(?:Timeout: ([0-9]{1,9})\r\n)?"
    rb"Cache-Control: private\r\n"
    rb"Content-Length: ([0-9]{1,9})\r\n\r\n"
).match


def recognise_answer(data: bytes) -> AnswerFrame | None:
    """Recognise the head of a success at the beginning of an answer. None if it is not ordinary."""
    match = _answer(data)
    if match is None:
        return None
    cookie, minutes, length = match.groups()
    return match.end(), int(length), cookie, minutes


_refusal = re.compile(
    rb"(?:404 Not Found\r\nX-AspNet-Version: [0-9.]+\r\n"
    rb"|423 Locked\r\nX-AspNet-Version: [0-9.]+\r\n"
    rb"LockDate: [0-9]{1,18}\r\nLockAge: [0-9]{1,9}\r\nLockCookie: " + _NUMBER + rb"\r\n)"
    rb"Cache-Control: private\r\n"
    rb"Content-Length: 0\r\n\r\n"
).fullmatch


def recognise_refusal(data: bytes) -> int | None:
    """Recognise a whole answer that says that a session is not there, or locked; its status, else None."""
    return None if _refusal(data) is None else int(data[:3])
