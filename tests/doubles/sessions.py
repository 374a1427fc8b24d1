"""Requests as web servers send them, for tests that care where they go more than what they say."""

from partitioner.protocol.grammar import Dialect, parse_request_head
from partitioner.protocol.messages import Operation
from partitioner.protocol.writer import write_request
from partitioner.transport.messages import Request

APPLICATION = b"%2fLM%2fW3SVC%2f2%2fROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5%2fHxWS854%3d)%2f"
ID = b"bpr4mimb2vjnvtn2jc4yp3uo"
TARGET = APPLICATION + ID
CONTENT = b"\x14\x00\x00\x00\x00\x00\xff"


def target(number: int) -> bytes:
    """The target of one of many sessions."""
    return APPLICATION + b"s%023d" % number


def request(
    operation: Operation,
    target: bytes = TARGET,
    *,
    cookie: int = 0,
    body: bytes = CONTENT,
    minutes: int = 20,
) -> bytes:
    """A whole request of this operation, with the fields that go with it."""
    match operation:
        case Operation.SET | Operation.CREATE_UNINITIALIZED:
            return write_request(operation, target, timeout_minutes=minutes, lock_cookie=cookie, body=body)
        case Operation.RELEASE | Operation.REMOVE:
            return write_request(operation, target, lock_cookie=cookie)
        case _:
            return write_request(operation, target)


def whole(asked: bytes, deadline: float) -> Request:
    """These bytes as a request that is here whole."""
    end = asked.index(b"\r\n\r\n") + 4
    return Request(parse_request_head(asked[:end], Dialect.GUARDED), asked[end:], None, deadline)


GET = request(Operation.GET)
ACQUIRE = request(Operation.ACQUIRE)
RELEASE = request(Operation.RELEASE)
SET = request(Operation.SET)
CREATE = request(Operation.CREATE_UNINITIALIZED)
HEAD = request(Operation.RESET_TIMEOUT)
