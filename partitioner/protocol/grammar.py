"""Heads, from bytes to meaning: which requests are taken, and how their fields are read.

A request goes through two parsers on its way, the router's and the backend's. Where they could read
it differently, one user's body may become another's request; so there is one set of rules, the stock
server's own (protocol.md 3.2), in three dialects:

STOCK    what `aspnet_state.exe` takes, and nothing else. Known fields are recognised by their exact
         spelling, case included; every other line is skipped. The state server's default.
GUARDED  STOCK, and whatever a backend that is not the stock one might read differently is refused
         instead of skipped: a known field in an odd spelling (`Lock-Cookie` is one), two differing
         lengths, a line break within a line, a Transfer-Encoding. The router's.
LIBERAL  also takes what other implementations and the specification's examples send (protocol.md
         10.2.3). For a state server that serves such clients without a router.
"""

import re
from dataclasses import dataclass
from enum import Enum

from partitioner.errors import MalformedAnswer, MalformedRequest
from partitioner.protocol.messages import AnswerHead, Operation, RequestHead

MAX_HEAD_BYTES = 10_240  # protocol.md 3.2; empty line included
MAX_NUMBER = 2_147_483_646  # protocol.md 3.2: lengths, time-outs and lock cookies

_HEAD_END = b"\r\n\r\n"
_VERSION = b"HTTP/1.1"
_VERBS = frozenset({b"GET", b"PUT", b"HEAD", b"DELETE"})
_FIELDS = frozenset({b"Content-Length", b"Exclusive", b"ExtraFlags", b"LockCookie", b"Timeout"})
_FIELD_OF_LOWER_CASE = {field.lower(): field for field in _FIELDS}
_LIBERAL_FIELDS = _FIELD_OF_LOWER_CASE | {b"lock-cookie": b"LockCookie"}  # protocol.md 14, A3

# strtol takes leading blanks and a sign. It takes line breaks for blanks too; a value that is empty
# on its own line is refused here, because strtol would go on to read the next line (protocol.md 3.2).
_NUMBER = re.compile(rb"[ \t]*([+-]?)0*([0-9]+)")
_MOST_DIGITS = 10
_EXCERPT = 8
_MOST_SHOWN = 100
_CONTROL = re.compile(rb"[\x00-\x20\x7f]")
_LIKE_A_STATUS = re.compile(rb"(?:HTTP/|[0-9]{3} )[ -~]*\Z")
_STATUS = re.compile(rb"(?:HTTP/1\.[01] )?([1-9][0-9][0-9])(?: .*)?", re.DOTALL)


class Dialect(Enum):
    """How strictly the head of a request is read; see the top of this module."""

    STOCK = "stock"
    GUARDED = "guarded"
    LIBERAL = "liberal"


@dataclass(slots=True)
class _Fields:
    """The known fields of a request head, as its lines come by; of duplicates the last one wins."""

    content_length: int | None = None
    exclusive: bytes | None = None
    extra_flags: int = -1  # protocol.md 3.2: -1 equals absent
    lock_cookie: int | None = None
    timeout_minutes: int | None = None


def parse_request_head(raw: bytes, dialect: Dialect) -> RequestHead:
    """Read the head of a request: `raw` ends with its empty line.

    Raises MalformedRequest for whatever a stock server would hang up on, and for more in GUARDED.
    Source: protocol.md 3.2 and 10.1.2; design.md 6 step 1.
    """
    lines = raw.removesuffix(_HEAD_END).split(b"\r\n")
    verb, target = _parse_request_line(lines[0])
    fields = _Fields()
    for line in lines[1:]:
        _take_field(fields, line, dialect)
    content_length = fields.content_length or 0
    if verb == b"PUT" and content_length == 0:
        raise MalformedRequest("a PUT has no content; expected a Content-Length of 1 or more")
    if verb != b"PUT" and content_length > 0:
        raise MalformedRequest(
            f"a {verb.decode()} has a Content-Length of {content_length}; expected none or 0"
        )
    return RequestHead(
        raw=raw,
        operation=_operation(verb, fields),
        target=target,
        content_length=content_length,
        timeout_minutes=fields.timeout_minutes,
        lock_cookie=fields.lock_cookie,
    )


def parse_answer_head(raw: bytes) -> AnswerHead:
    """Read the head of an answer: `raw` ends with its empty line.

    Field names compare without regard to case, and `200 OK` is as good as `HTTP/1.1 200 OK`: what
    other servers send is relayed as well. A missing length is 0, except for a 200, which then cannot
    be framed.

    Raises MalformedAnswer.
    Source: protocol.md 10.1.3.
    """
    lines = raw.removesuffix(_HEAD_END).split(b"\r\n")
    status_line = _STATUS.fullmatch(lines[0])
    if status_line is None:
        raise MalformedAnswer(f"the status line is {_shown_line(lines[0])}; expected one like '200 OK'")
    status = int(status_line[1])
    content_length: int | None = None
    lock_cookie: int | None = None
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        match name.lower():
            case b"content-length":
                length = _answer_number(name, value, range(MAX_NUMBER + 1))
                if content_length not in (None, length):
                    raise MalformedAnswer(f"two lengths, {content_length} and {length}")
                content_length = length
            case b"lockcookie":
                lock_cookie = _answer_number(name, value, range(-(2**31), 2**31))
            case b"transfer-encoding":
                raise MalformedAnswer("a Transfer-Encoding; expected a Content-Length")
    if content_length is None and status == 200:
        raise MalformedAnswer("a 200 without a Content-Length")
    return AnswerHead(raw=raw, status=status, content_length=content_length or 0, lock_cookie=lock_cookie)


def _parse_request_line(line: bytes) -> tuple[bytes, bytes]:
    """Split a request line into verb and target, exactly as a stock server would."""
    verb, _, rest = line.partition(b" ")
    if verb not in _VERBS:
        raise MalformedRequest(f"the verb is {_excerpt(verb)}; expected GET, PUT, HEAD or DELETE")
    target, _, version = rest.partition(b" ")
    if not target:
        raise MalformedRequest("the target is empty")
    if version != _VERSION:
        raise MalformedRequest(f"after the target comes {_excerpt(version)}; expected 'HTTP/1.1'")
    if _CONTROL.search(target):
        # A stock server might read on. No client sends one, and no two programs agree on what it means.
        raise MalformedRequest("the target has a control character in it")
    return verb, target


def _take_field(fields: _Fields, line: bytes, dialect: Dialect) -> None:
    """Note the value of a header line, if a stock server would recognise it (or the dialect does)."""
    name, colon, value = line.partition(b":")
    is_known = name in _FIELDS and colon == b":"
    if name == b"Exclusive" and not value.startswith(b" "):
        is_known = False  # the stock parser looks for `Exclusive: `, its space included
    if dialect is Dialect.GUARDED and not is_known:
        _refuse_what_others_may_recognise(line, name)
    if dialect is Dialect.LIBERAL and colon:
        name, value = _LIBERAL_FIELDS.get(name.strip().lower(), b""), b" " + value.strip().lower()
        is_known = True
    if not is_known:
        return
    match name:
        case b"Content-Length":
            length = _request_number(name, value)
            if dialect is not Dialect.STOCK and fields.content_length not in (None, length):
                raise MalformedRequest(f"two lengths, {fields.content_length} and {length}")
            fields.content_length = length
        case b"Exclusive":
            if value not in (b" acquire", b" release"):
                raise MalformedRequest(f"Exclusive is {_excerpt(value[1:])}; expected 'acquire' or 'release'")
            fields.exclusive = value[1:]
        case b"ExtraFlags":
            fields.extra_flags = _signed_32_bit(name, value)
        case b"LockCookie":
            fields.lock_cookie = _request_number(name, value)
        case b"Timeout":
            fields.timeout_minutes = _request_number(name, value)


def _refuse_what_others_may_recognise(line: bytes, name: bytes) -> None:
    """Refuse a line that the stock parser skips if another parser might not (protocol.md 10.1.2)."""
    lower = name.strip().lower()
    if lower in _LIBERAL_FIELDS:
        expected = _LIBERAL_FIELDS[lower].decode()
        raise MalformedRequest(f"the field {_excerpt(name)} is oddly spelt; expected {expected!r}")
    if lower == b"transfer-encoding":
        raise MalformedRequest("a Transfer-Encoding; expected a Content-Length")
    if b"\n" in line or b"\r" in line:
        raise MalformedRequest(f"the line {_excerpt(line)} has half a line break in it")


def _excerpt(seen: bytes) -> str:
    """The beginning of what was seen: enough to recognise it, too little to give a session ID away."""
    return repr(seen[:_EXCERPT].decode("latin-1")) + ("..." if len(seen) > _EXCERPT else "")


def _shown(seen: bytes) -> str:
    """What a backend wrote as a name or a number, whole: an operator has to find it, and it is no secret."""
    return repr(seen[:_MOST_SHOWN].decode("latin-1")) + ("..." if len(seen) > _MOST_SHOWN else "")


def _shown_line(seen: bytes) -> str:
    """What stands for a status line; where it does not begin like one it may be a piece of a session."""
    return _shown(seen) if _LIKE_A_STATUS.match(seen) else _excerpt(seen)


def _operation(verb: bytes, fields: _Fields) -> Operation:
    match verb:
        case b"PUT":
            is_insert_only = fields.extra_flags != -1 and fields.extra_flags & 1
            return Operation.CREATE_UNINITIALIZED if is_insert_only else Operation.SET
        case b"DELETE":
            return Operation.REMOVE
        case b"HEAD":
            return Operation.RESET_TIMEOUT
    match fields.exclusive:
        case b"acquire":
            return Operation.ACQUIRE
        case b"release":
            return Operation.RELEASE
    return Operation.GET


def _request_number(name: bytes, value: bytes) -> int:
    number = _signed(value)
    if number is None or not 0 <= number <= MAX_NUMBER:
        raise MalformedRequest(
            f"{name.decode()} is {_excerpt(value)}; expected a number from 0 to {MAX_NUMBER}"
        )
    return number


def _signed_32_bit(name: bytes, value: bytes) -> int:
    """Read a number as strtol does where a long has 32 bits: what is out of range becomes the nearest."""
    number = _signed(value)
    if number is None:
        raise MalformedRequest(f"{name.decode()} is {_excerpt(value)}; expected a number")
    return max(-(2**31), min(number, 2**31 - 1))


def _answer_number(name: bytes, value: bytes, allowed: range) -> int:
    number = _signed(value.rstrip(b" \t"))
    if number is None or number not in allowed:
        expected = f"a number from {allowed.start} to {allowed.stop - 1}"
        raise MalformedAnswer(f"{_shown(name)} is {_shown(value.strip())}; expected {expected}")
    return number


def _signed(value: bytes) -> int | None:
    """Read a decimal number; a ridiculously long one is cut to a merely very large one."""
    match = _NUMBER.fullmatch(value)
    if match is None:
        return None
    magnitude = int(match[2]) if len(match[2]) <= _MOST_DIGITS else 10**_MOST_DIGITS
    return -magnitude if match[1] == b"-" else magnitude
