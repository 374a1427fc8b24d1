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

is_ordinary_target = re.compile(rb"[!-~]{1,8192}").fullmatch
"""Matches a target of printable ASCII: no two programs differ about where that ends. Here as below all has a
bound, so that no head is recognised that is longer than heads may be (grammar.MAX_HEAD_BYTES)."""

_BEGIN = rb"HTTP/1\.1\r\n(?:Host: [^\r\n]{0,1024}\r\n)?"
_END = rb"(?:LockCookie:" + _NUMBER + rb"\r\n)?\r\n"
_CONTENT = rb"Timeout:([0-9]{1,9})\r\nContent-Length:([1-9][0-9]{0,8})\r\nExtraFlags:0\r\n"

_get = re.compile(_BEGIN + rb"(?:Exclusive: (acquire|release)\r\n)?" + _END).match
_put = re.compile(_BEGIN + _CONTENT + _END).match
_other = re.compile(_BEGIN + _END).match

_SET = Operation.SET
_GETS = {None: Operation.GET, b"acquire": Operation.ACQUIRE, b"release": Operation.RELEASE}
_OTHERS = {b"DELETE": Operation.REMOVE, b"HEAD": Operation.RESET_TIMEOUT}


# Plain tuples, because a name for each field would cost as much as finding out what they are.

Frame: TypeAlias = tuple[Operation, int, int, bytes | None, bytes | None]
"""What an ordinary request says besides its target: the operation, where its head ends, counted from the
blank after the target, the size of its content, the time-out in minutes and the lock cookie, both as they are
written."""

AnswerFrame: TypeAlias = tuple[int, int, bytes | None, bytes | None]
"""Of an ordinary success: where its head ends, the size of its content, lock cookie, and time-out in minutes,
both as they are written."""


def recognise_frame(verb: bytes, rest: bytes) -> Frame | None:
    """Recognise the frame of a request: its verb, and all that follows the blank after its target.

    None if it is not ordinary, or its head is not whole.
    """
    if verb == b"GET":
        match = _get(rest)
        if match is None:
            return None
        exclusive, cookie = match.groups()
        return _GETS[exclusive], match.end(), 0, None, cookie
    if verb == b"PUT":
        match = _put(rest)
        if match is None:
            return None
        minutes, length, cookie = match.groups()
        return _SET, match.end(), int(length), minutes, cookie
    operation = _OTHERS.get(verb)
    match = _other(rest)
    if operation is None or match is None:
        return None
    return operation, match.end(), 0, None, match[1]


_answer = re.compile(
    rb"200 OK\r\nX-AspNet-Version: [0-9.]{1,64}\r\n"
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
    rb"(?:404 Not Found\r\nX-AspNet-Version: [0-9.]{1,64}\r\n"
    rb"|423 Locked\r\nX-AspNet-Version: [0-9.]{1,64}\r\n"
    rb"LockDate: [0-9]{1,18}\r\nLockAge: [0-9]{1,9}\r\nLockCookie: " + _NUMBER + rb"\r\n)"
    rb"Cache-Control: private\r\n"
    rb"Content-Length: 0\r\n\r\n"
).fullmatch


def recognise_refusal(data: bytes) -> int | None:
    """Recognise a whole answer that says that a session is not there, or locked; its status, else None."""
    return None if _refusal(data) is None else int(data[:3])


_SHORT = 256  # bytes: an answer without content
_MOST_REMEMBERED = 64  # answers without content


class AnswerRecogniser:
    """Recognises successes of backends; those that come again and again are looked up whole."""

    def __init__(self) -> None:
        self._empty_answers: dict[bytes, AnswerFrame] = {}  # those without content or numbers, whole

    def recognise(self, data: bytes) -> AnswerFrame | None:
        """The frame of a success; None if this is something else, or not its whole head."""
        if len(data) >= _SHORT:
            return recognise_answer(data)
        answer = self._empty_answers.get(data)
        if answer is None:
            answer = recognise_answer(data)
            if answer is not None and _is_empty(answer, data) and len(self._empty_answers) < _MOST_REMEMBERED:
                self._empty_answers[data] = answer
        return answer

    def is_empty_success(self, data: bytes) -> bool:
        """Whether this is a whole success that says nothing more."""
        return len(data) < _SHORT and _is_empty(self.recognise(data), data)


def _is_empty(answer: AnswerFrame | None, data: bytes) -> bool:
    """Whether this is a success without content or numbers, and nothing comes after it."""
    return answer == (len(data), 0, None, None)
