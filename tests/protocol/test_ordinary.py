"""What is recognised at a glance, grammar.py reads in the same way; everything else is left to it."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from partitioner.errors import MalformedAnswer, MalformedRequest
from partitioner.protocol.grammar import MAX_HEAD_BYTES, Dialect, parse_answer_head, parse_request_head
from partitioner.protocol.messages import Answer, Operation, Status
from partitioner.protocol.ordinary import (
    is_ordinary_target,
    recognise_answer,
    recognise_frame,
    recognise_refusal,
)
from partitioner.protocol.writer import write_answer
from tests.doubles.sessions import TARGET, request
from tests.tables import each_case

LINES = [
    b"Host: localhost",
    b"Host: ",
    b"Exclusive: acquire",
    b"Exclusive: release",
    b"Exclusive: Acquire",
    b"Exclusive:acquire",
    b"Timeout:20",
    b"Timeout: 20",
    b"Timeout:525601",
    b"Content-Length:7",
    b"Content-Length:0",
    b"content-length:7",
    b"Content-Length:07",
    b"ExtraFlags:0",
    b"ExtraFlags:1",
    b"LockCookie:5",
    b"LockCookie:2147483646",
    b"LockCookie:1999999999",
    b"LockCookie:9999999999",
    b"Transfer-Encoding: chunked",
    b"X: \n",
    b"",
]
ORDER = [
    b"Host: localhost",
    b"Exclusive: acquire",
    b"Timeout:20",
    b"Content-Length:7",
    b"ExtraFlags:0",
    b"LockCookie:5",
]

heads = st.builds(
    lambda verb, target, version, lines: (verb, target, b"\r\n".join([version, *lines, b""])),
    st.sampled_from([b"GET", b"PUT", b"HEAD", b"DELETE", b"POST", b"get", b""]),
    st.sampled_from([TARGET, b"/", b"", b"a b", b"\x00", b"\xe9"]) | st.binary(max_size=8),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.1 "]),
    st.lists(st.sampled_from(LINES), max_size=7)
    | st.sets(st.sampled_from(ORDER)).map(lambda chosen: [line for line in ORDER if line in chosen]),
)


@pytest.mark.parametrize("dialect", Dialect)
@given(head=heads)
@example(head=(b"GET", TARGET, b"HTTP/1.1\r\n"))
@example(
    head=(
        b"PUT",
        TARGET,
        b"HTTP/1.1\r\nExclusive: acquire\r\nTimeout:1\r\nContent-Length:1\r\nExtraFlags:0\r\n",
    )
)
def test_a_frame_that_is_recognised_says_what_the_grammar_reads(
    dialect: Dialect, head: tuple[bytes, bytes, bytes]
) -> None:
    """Operation, length, time-out and cookie; and never a head that a router or state server refuses."""
    verb, target, rest = head
    whole = rest + b"\r\n"
    end = whole.index(b"\r\n\r\n") + 4
    frame = recognise_frame(verb, whole + b"and more")
    if frame is None or not is_ordinary_target(target):
        return
    parsed = parse_request_head(b" ".join([verb, target, whole[:end]]), dialect)

    operation, seen_end, size, minutes, cookie = frame
    assert end == seen_end
    assert parsed == (parsed.raw, operation, target, size, _number(minutes), _number(cookie))


@each_case("operation", [each for each in Operation if each is not Operation.CREATE_UNINITIALIZED])
def test_what_web_servers_send_is_recognised(operation: Operation) -> None:
    """The form of protocol.md 3.1, of every operation that is served by the fast path."""
    asked = request(operation, cookie=7)
    verb, _, rest = asked.split(b" ", 2)
    frame = recognise_frame(verb, rest)

    assert frame is not None
    assert operation is frame[0]


def test_a_create_is_not_ordinary() -> None:
    """It takes two exchanges."""
    asked = request(Operation.CREATE_UNINITIALIZED)
    verb, _, rest = asked.split(b" ", 2)

    assert recognise_frame(verb, rest) is None


@pytest.mark.parametrize(("size", "is_ordinary"), [(1024, True), (1025, False)])
def test_how_long_a_host_may_be(size: int, is_ordinary: bool) -> None:
    """With the longest target there is, a head stays well below the longest that is taken."""
    frame = recognise_frame(b"GET", b"HTTP/1.1\r\nHost: " + b"h" * size + b"\r\n\r\n")

    assert is_ordinary is (frame is not None)
    assert 8192 + size < MAX_HEAD_BYTES - 512


@pytest.mark.parametrize(("size", "is_ordinary"), [(8192, True), (8193, False)])
def test_how_long_a_target_may_be(size: int, is_ordinary: bool) -> None:
    """The same."""

    assert is_ordinary is (is_ordinary_target(b"t" * size) is not None)


@pytest.mark.parametrize(("size", "is_ordinary"), [(64, True), (65, False)])
def test_how_long_a_version_may_be(size: int, is_ordinary: bool) -> None:
    """The same for the heads of answers, of which it is all whose length is the server's choice."""
    version = b"X-AspNet-Version: " + b"4" * size
    lengths = [b"Cache-Control: private", b"Content-Length: 0", b"", b""]
    not_found = b"\r\n".join([b"404 Not Found", version, *lengths])
    locked = b"\r\n".join([b"423 Locked", version, *LOCK_LINES, *lengths])
    success = b"\r\n".join([b"200 OK", version, *lengths])

    assert is_ordinary is (recognise_refusal(not_found) is not None)
    assert is_ordinary is (recognise_refusal(locked) is not None)
    assert is_ordinary is (recognise_answer(success) is not None)


ANSWER_LINES = [
    b"X-AspNet-Version: 4.0.30319",
    b"LockCookie: 7",
    b"LockCookie: 3000000000",
    b"Timeout: 20",
    b"ActionFlags: 1",
    b"Cache-Control: private",
    b"Content-Length: 12",
    b"Content-Length: 0",
    b"content-length: 12",
    b"Transfer-Encoding: chunked",
]
ANSWER_ORDER = [
    b"X-AspNet-Version: 4.0.30319",
    b"LockCookie: 7",
    b"Timeout: 20",
    b"Cache-Control: private",
    b"Content-Length: 12",
]

answers = st.builds(
    lambda status, lines, body: b"\r\n".join([status, *lines, b"", b""]) + body,
    st.sampled_from([b"200 OK", b"200 OK", b"HTTP/1.1 200 OK", b"404 Not Found", b"2000 OK"]),
    st.lists(st.sampled_from(ANSWER_LINES), max_size=6)
    | st.sets(st.sampled_from(ANSWER_ORDER)).map(
        lambda chosen: [line for line in ANSWER_ORDER if line in chosen]
    ),
    st.binary(max_size=20),
)


@given(answers)
def test_an_answer_that_is_recognised_says_what_the_grammar_reads(data: bytes) -> None:
    """A success, with the same lengths, lock cookie and time-out; and no flag."""
    answer = recognise_answer(data)
    if answer is None:
        return
    end, size, cookie, minutes = answer
    head = parse_answer_head(data[:end])

    assert (200, size, False) == (head.status, head.content_length, head.has_action_flags)
    assert (head.lock_cookie, head.timeout_minutes) == (_number(cookie), _number(minutes))


LOCK_LINES = [b"LockDate: 638000000000000000", b"LockAge: 3", b"LockCookie: 7"]
REFUSAL_ORDER = [ANSWER_LINES[0], *LOCK_LINES, b"Cache-Control: private", b"Content-Length: 0"]

refusals = st.builds(
    lambda status, lines: b"\r\n".join([status, *lines, b"", b""]),
    st.sampled_from(
        [b"404 Not Found", b"423 Locked", b"423 Not Found", b"HTTP/1.1 404 Not Found", b"200 OK"]
    ),
    st.lists(st.sampled_from([*REFUSAL_ORDER, *ANSWER_LINES]), max_size=7)
    | st.sets(st.sampled_from(REFUSAL_ORDER)).map(
        lambda chosen: [line for line in REFUSAL_ORDER if line in chosen]
    ),
)


@given(refusals)
def test_a_refusal_that_is_recognised_is_what_the_grammar_reads(data: bytes) -> None:
    """With the same status, without content; a lock has its cookie, and what is not there has none."""
    status = recognise_refusal(data)
    if status is None:
        return
    head = parse_answer_head(data)

    assert (status, 0) == (head.status, head.content_length)
    assert (status == 423) is (head.lock_cookie is not None)


@pytest.mark.parametrize("status", [Status.NOT_FOUND, Status.LOCKED])
@given(place=st.integers(0, 200), inserted=st.binary(min_size=1, max_size=2))
def test_no_byte_of_a_recognised_refusal_is_skipped(status: Status, place: int, inserted: bytes) -> None:
    """Whatever is put somewhere into what servers write is noticed, or makes a number another number."""
    answer = Answer(Status.LOCKED, lock_age=3.0, lock_cookie=7) if status is Status.LOCKED else Answer(status)
    whole = write_answer(answer, 638_000_000_000_000)
    changed = whole[:place] + inserted + whole[place:]

    recognised = recognise_refusal(changed)

    assert status.code == recognise_refusal(whole)
    assert recognised is None or recognised == parse_answer_head(changed).status


@given(st.integers(0, len(b"".join(ANSWER_ORDER))), st.binary(min_size=1, max_size=2))
def test_no_byte_of_a_recognised_answer_is_skipped(place: int, inserted: bytes) -> None:
    """Whatever is put somewhere into it is noticed, or makes a number another number."""
    whole = b"\r\n".join([b"200 OK", *ANSWER_ORDER, b"", b""])
    changed = whole[:place] + inserted + whole[place:]
    answer = recognise_answer(changed)
    if answer is None:
        return
    try:
        head = parse_answer_head(changed[: answer[0]])
    except MalformedAnswer:
        pytest.fail("it was recognised")

    assert (head.content_length, head.lock_cookie) == (answer[1], _number(answer[2]))


@given(st.integers(0, 400), st.binary(min_size=1, max_size=2))
def test_no_byte_of_a_recognised_frame_is_skipped(place: int, inserted: bytes) -> None:
    """The same for requests: a recognised one is one that the router takes."""
    asked = request(Operation.SET, cookie=7)
    head = asked[: asked.index(b"\r\n\r\n") + 4]
    changed = head[:place] + inserted + head[place:]
    parts = changed.split(b" ", 2)
    if len(parts) < 3 or re.search(b"\r\n\r\n.", changed, re.DOTALL):
        return
    frame = recognise_frame(parts[0], parts[2])
    if frame is None or not is_ordinary_target(parts[1]):
        return
    try:
        parsed = parse_request_head(changed, Dialect.GUARDED)
    except MalformedRequest:
        pytest.fail("it was recognised")

    operation, _, size, _, _ = frame
    assert (parsed.operation, parsed.content_length) == (operation, size)


def _number(written: bytes | None) -> int | None:
    return None if written is None else int(written)
