"""Draws what hostile clients say: valid requests, cut, mutated, joined, and junk."""

from random import Random

from partitioner.protocol.messages import Operation
from partitioner.protocol.writer import write_request
from tests.doubles.sessions import target

TOKENS = (
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\0", b" ", b":", b"%2f", b"%", b"\xff\xfe", b"a" * 11_000),
    *(b"HTTP/1.0", b"GET ", b"PUT ", b"Exclusive: release\r\n", b"Exclusive: acquire\r\n"),
    *(b"Content-Length: 99999999999\r\n", b"Content-Length:-1\r\n", b"LockCookie: 4294967296\r\n"),
    *(b"Timeout:525601\r\n", b"Lock-Cookie: 1\r\n", b"ExtraFlags:1\r\n"),
)
SESSIONS = 50


def draw_request(rng: Random) -> bytes:
    """A request that a state server takes."""
    operation = rng.choice(list(Operation))
    is_put = operation in (Operation.SET, Operation.CREATE_UNINITIALIZED)
    body = rng.randbytes(rng.choice((1, 7, 300, 5000))) if is_put else b""
    cookie = rng.randrange(5) if operation not in (Operation.GET, Operation.ACQUIRE) else None
    minutes = 20 if is_put else None
    session = target(rng.randrange(SESSIONS))
    return write_request(operation, session, timeout_minutes=minutes, lock_cookie=cookie, body=body)


def mutate(rng: Random, said: bytes) -> bytes:
    """Something like it, that mostly is none."""
    where = rng.randrange(len(said))
    match rng.randrange(5):
        case 0:
            return said[:where]
        case 1:
            return said[:where] + rng.choice(TOKENS) + said[where:]
        case 2:
            return said[:where] + bytes([rng.randrange(256)]) + said[where + 1 :]
        case 3:
            return said[where:] + said[:where]
        case _:
            return said[:where] + said[min(len(said), where + rng.randrange(1, 30)) :]


def draw_hostile(rng: Random) -> bytes:
    """What one client says on one connection."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(1, 400))
    said = b"".join(draw_request(rng) for _ in range(rng.randrange(1, 4)))
    for _ in range(rng.randrange(4)):
        said = mutate(rng, said) or b"G"
    return said
