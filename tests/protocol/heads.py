"""Heads of requests for one key, and whether a dialect refuses them."""

from partitioner.errors import MalformedRequest
from partitioner.protocol.grammar import Dialect, parse_request_head
from partitioner.protocol.messages import Operation
from tests.tables import each_case

STOCK, GUARDED, LIBERAL = Dialect.STOCK, Dialect.GUARDED, Dialect.LIBERAL
GET, ACQUIRE, RELEASE = Operation.GET, Operation.ACQUIRE, Operation.RELEASE
SET, CREATE = Operation.SET, Operation.CREATE_UNINITIALIZED

every_dialect = each_case("dialect", list(Dialect))


def put(*lines: bytes) -> bytes:
    return b"\r\n".join([b"PUT /key HTTP/1.1", *lines, b"", b""])


def is_refused(raw: bytes, dialect: Dialect) -> bool:
    try:
        parse_request_head(raw, dialect)
    except MalformedRequest:
        return True
    return False
