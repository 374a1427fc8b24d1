"""What goes over the fast path in most of its tests."""

from partitioner.protocol.messages import Operation
from partitioner.protocol.target import server_key
from tests.doubles.backends import ok
from tests.doubles.sessions import CONTENT, TARGET, request

KEY = server_key(TARGET)
REMOVE = request(Operation.REMOVE)
FOUND = ok(CONTENT, b"Timeout: 20")
GRANTED = ok(CONTENT, b"LockCookie: 7", b"Timeout: 20")
