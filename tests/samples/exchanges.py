"""The example exchanges of protocol.md 13, X1 to X45: bytes on the wire, and what they say.

One table for reader, writer and target tests. X34 is two requests in one segment, and stands here as two
exchanges. The exchanges from X1 to X40 are one story; see tests/sessions/test_decision_table.py.
"""

from dataclasses import dataclass

from partitioner.protocol.messages import Answer, Operation, Status

APPLICATION = b"%2fLM%2fW3SVC%2f2%2fROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5%2fHxWS854%3d)%2f"
FIRST = APPLICATION + b"bpr4mimb2vjnvtn2jc4yp3uo"
SECOND = APPLICATION + b"zz45nnecaiiqye55asxwtm5a"
SECOND_LITERAL_SLASHES = (
    b"/LM/W3SVC/2/ROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5/HxWS854%3d)/zz45nnecaiiqye55asxwtm5a"
)
SECOND_DOUBLE_SLASH = b"/" + SECOND_LITERAL_SLASHES
SECOND_ANTI_XSS = (
    b"%2FLM%2FW3SVC%2F2%2FROOT%28oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5%2FHxWS854%3D%29"
    b"%2Fzz45nnecaiiqye55asxwtm5a"
)

NEW_SESSION = b"\x14\x00\x00\x00\x00\x00\xff"  # an empty session of 20 minutes
NEW_SESSION_60 = b"<\x00\x00\x00\x00\x00\xff"  # the same, of 60 minutes
KEY_VALUE = (
    b"\x14\x00\x00\x00\x01\x00\x01\x00\x00\x00\xff\xff\xff\xff\x03key\x07\x00\x00\x00\x01\x05value\xff"
)

PLAIN_OK = b"200 OK\r\nX-AspNet-Version: 4.0.30319\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n"
PLAIN_NOT_FOUND = (
    b"404 Not Found\r\nX-AspNet-Version: 4.0.30319\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n"
)
PLAIN_BAD_REQUEST = (
    b"400 Bad Request\r\nX-AspNet-Version: 4.0.30319\r\nCache-Control: private\r\nContent-Length: 0\r\n\r\n"
)
HANGS_UP = b""


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """What a request says, in the words of write_request."""

    operation: Operation
    target: bytes
    host: str = "localhost"
    timeout_minutes: int | None = None
    lock_cookie: int | None = None
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, as bytes and in words."""

    name: str
    title: str
    request: bytes
    asked: SampleRequest | None  # None where a stock server refuses to read it
    answer: bytes  # nothing where it hangs up
    said: Answer | None  # None where it hangs up, or says what we never say
    local_ticks: int = 0  # the server's clock, where the answer has a LockDate
    is_spelt_as_the_client_does: bool = True


EXCHANGES = [
    Exchange(
        "X1",
        "acquire an absent item",
        b"GET " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\nExclusive: acquire\r\n\r\n",
        SampleRequest(Operation.ACQUIRE, FIRST),
        PLAIN_NOT_FOUND,
        Answer(Status.NOT_FOUND),
    ),
    Exchange(
        "X2",
        "create-uninitialized (the client's automatic reaction to X1)",
        b"PUT " + FIRST + b" HTTP/1.1\r\n"
        b"Host: localhost\r\n"
        b"Timeout:20\r\n"
        b"Content-Length:7\r\n"
        b"ExtraFlags:1\r\n"
        b"LockCookie:0\r\n\r\n" + NEW_SESSION,
        SampleRequest(
            Operation.CREATE_UNINITIALIZED, FIRST, timeout_minutes=20, lock_cookie=0, body=NEW_SESSION
        ),
        PLAIN_OK,
        Answer(Status.OK),
    ),
    Exchange(
        "X3",
        "acquire the fresh item: one-shot ActionFlags and the first lock cookie, which is 2",
        b"GET " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\nExclusive: acquire\r\n\r\n",
        SampleRequest(Operation.ACQUIRE, FIRST),
        b"200 OK\r\n"
        b"X-AspNet-Version: 4.0.30319\r\n"
        b"ActionFlags: 1\r\n"
        b"LockCookie: 2\r\n"
        b"Timeout: 20\r\n"
        b"Cache-Control: private\r\n"
        b"Content-Length: 7\r\n\r\n" + NEW_SESSION,
        Answer(Status.OK, body=NEW_SESSION, action_flags=True, lock_cookie=2, timeout_minutes=20),
    ),
    Exchange(
        "X4",
        "second web server tries to acquire 3 s later",
        b"GET " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\nExclusive: acquire\r\n\r\n",
        SampleRequest(Operation.ACQUIRE, FIRST),
        b"423 Locked\r\n"
        b"X-AspNet-Version: 4.0.30319\r\n"
        b"LockDate: 638456778001234560\r\n"
        b"LockAge: 3\r\n"
        b"LockCookie: 2\r\n"
        b"Cache-Control: private\r\n"
        b"Content-Length: 0\r\n\r\n",
        Answer(Status.LOCKED, lock_age=3.0, lock_cookie=2),
        local_ticks=638_456_778_031_234_560,
    ),
    Exchange(
        "X5",
        "plain (read-only page) GET of the locked item",
        b"GET " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        SampleRequest(Operation.GET, FIRST),
        b"423 Locked\r\n"
        b"X-AspNet-Version: 4.0.30319\r\n"
        b"LockDate: 638456778001234560\r\n"
        b"LockAge: 4\r\n"
        b"LockCookie: 2\r\n"
        b"Cache-Control: private\r\n"
        b"Content-Length: 0\r\n\r\n",
        Answer(Status.LOCKED, lock_age=4.0, lock_cookie=2),
        local_ticks=638_456_778_041_234_560,
    ),
    Exchange(
        "X6",
        "owner saves and releases in one PUT",
        b"PUT " + FIRST + b" HTTP/1.1\r\n"
        b"Host: localhost\r\n"
        b"Timeout:20\r\n"
        b"Content-Length:30\r\n"
        b"ExtraFlags:0\r\n"
        b"LockCookie:2\r\n\r\n" + KEY_VALUE,
        SampleRequest(Operation.SET, FIRST, timeout_minutes=20, lock_cookie=2, body=KEY_VALUE),
        PLAIN_OK,
        Answer(Status.OK),
    ),
    Exchange(
        "X7",
        "plain GET of an unlocked item: no LockCookie header, no ActionFlags",
        b"GET " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        SampleRequest(Operation.GET, FIRST),
        b"200 OK\r\n"
        b"X-AspNet-Version: 4.0.30319\r\n"
        b"Timeout: 20\r\n"
        b"Cache-Control: private\r\n"
        b"Content-Length: 30\r\n\r\n" + KEY_VALUE,
        Answer(Status.OK, body=KEY_VALUE, timeout_minutes=20),
    ),
    Exchange(
        "X8",
        "acquire again: counter is now 3 (capture-shaped answer)",
        b"GET " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\nExclusive: acquire\r\n\r\n",
        SampleRequest(Operation.ACQUIRE, FIRST),
        b"200 OK\r\n"
        b"X-AspNet-Version: 4.0.30319\r\n"
        b"LockCookie: 3\r\n"
        b"Timeout: 20\r\n"
        b"Cache-Control: private\r\n"
        b"Content-Length: 30\r\n\r\n" + KEY_VALUE,
        Answer(Status.OK, body=KEY_VALUE, lock_cookie=3, timeout_minutes=20),
    ),
    Exchange(
        "X9",
        "release with a wrong cookie",
        b"GET " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\nExclusive: release\r\nLockCookie:2\r\n\r\n",
        SampleRequest(Operation.RELEASE, FIRST, lock_cookie=2),
        b"423 Locked\r\n"
        b"X-AspNet-Version: 4.0.30319\r\n"
        b"LockDate: 638456778041234560\r\n"
        b"LockAge: 5\r\n"
        b"LockCookie: 3\r\n"
        b"Cache-Control: private\r\n"
        b"Content-Length: 0\r\n\r\n",
        Answer(Status.LOCKED, lock_age=5.0, lock_cookie=3),
        local_ticks=638_456_778_091_234_560,
    ),
    Exchange(
        "X10",
        "release with the right cookie",
        b"GET " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\nExclusive: release\r\nLockCookie:3\r\n\r\n",
        SampleRequest(Operation.RELEASE, FIRST, lock_cookie=3),
        PLAIN_OK,
        Answer(Status.OK),
    ),
    Exchange(
        "X11",
        "release of an item that is not locked (cookie is not compared)",
        b"GET " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\nExclusive: release\r\nLockCookie:999\r\n\r\n",
        SampleRequest(Operation.RELEASE, FIRST, lock_cookie=999),
        PLAIN_OK,
        Answer(Status.OK),
    ),
    Exchange(
        "X12",
        "release without LockCookie on an existing item",
        b"GET " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\nExclusive: release\r\n\r\n",
        SampleRequest(Operation.RELEASE, FIRST),
        PLAIN_BAD_REQUEST,
        Answer(Status.BAD_REQUEST),
    ),
    Exchange(
        "X13",
        "release of an absent item",
        b"GET " + SECOND + b" HTTP/1.1\r\nHost: localhost\r\nExclusive: release\r\nLockCookie:3\r\n\r\n",
        SampleRequest(Operation.RELEASE, SECOND, lock_cookie=3),
        PLAIN_NOT_FOUND,
        Answer(Status.NOT_FOUND),
    ),
    Exchange(
        "X14",
        "reset timeout of an existing item (HEAD)",
        b"HEAD " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        SampleRequest(Operation.RESET_TIMEOUT, FIRST),
        PLAIN_OK,
        Answer(Status.OK),
    ),
    Exchange(
        "X15",
        "reset timeout of an absent item",
        b"HEAD " + SECOND + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        SampleRequest(Operation.RESET_TIMEOUT, SECOND),
        PLAIN_NOT_FOUND,
        Answer(Status.NOT_FOUND),
    ),
    Exchange(
        "X16",
        "create-uninitialized on an existing item is a successful no-op",
        b"PUT " + FIRST + b" HTTP/1.1\r\n"
        b"Host: localhost\r\n"
        b"Timeout:20\r\n"
        b"Content-Length:7\r\n"
        b"ExtraFlags:1\r\n"
        b"LockCookie:0\r\n\r\n" + NEW_SESSION,
        SampleRequest(
            Operation.CREATE_UNINITIALIZED, FIRST, timeout_minutes=20, lock_cookie=0, body=NEW_SESSION
        ),
        PLAIN_OK,
        Answer(Status.OK),
    ),
    Exchange(
        "X17",
        "acquire (cookie 4), used by X18-X19",
        b"GET " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\nExclusive: acquire\r\n\r\n",
        SampleRequest(Operation.ACQUIRE, FIRST),
        b"200 OK\r\n"
        b"X-AspNet-Version: 4.0.30319\r\n"
        b"LockCookie: 4\r\n"
        b"Timeout: 20\r\n"
        b"Cache-Control: private\r\n"
        b"Content-Length: 30\r\n\r\n" + KEY_VALUE,
        Answer(Status.OK, body=KEY_VALUE, lock_cookie=4, timeout_minutes=20),
    ),
    Exchange(
        "X18",
        "PUT with a foreign cookie while locked",
        b"PUT " + FIRST + b" HTTP/1.1\r\n"
        b"Host: localhost\r\n"
        b"Timeout:20\r\n"
        b"Content-Length:7\r\n"
        b"ExtraFlags:0\r\n"
        b"LockCookie:3\r\n\r\n" + NEW_SESSION,
        SampleRequest(Operation.SET, FIRST, timeout_minutes=20, lock_cookie=3, body=NEW_SESSION),
        b"423 Locked\r\n"
        b"X-AspNet-Version: 4.0.30319\r\n"
        b"LockDate: 638456778101234560\r\n"
        b"LockAge: 2\r\n"
        b"LockCookie: 4\r\n"
        b"Cache-Control: private\r\n"
        b"Content-Length: 0\r\n\r\n",
        Answer(Status.LOCKED, lock_age=2.0, lock_cookie=4),
        local_ticks=638_456_778_121_234_560,
    ),
    Exchange(
        "X19",
        "PUT without LockCookie while locked",
        b"PUT " + FIRST + b" HTTP/1.1\r\n"
        b"Host: localhost\r\n"
        b"Timeout:20\r\n"
        b"Content-Length:7\r\n"
        b"ExtraFlags:0\r\n\r\n" + NEW_SESSION,
        SampleRequest(Operation.SET, FIRST, timeout_minutes=20, body=NEW_SESSION),
        b"423 Locked\r\n"
        b"X-AspNet-Version: 4.0.30319\r\n"
        b"LockDate: 638456778101234560\r\n"
        b"LockAge: 2\r\n"
        b"LockCookie: 4\r\n"
        b"Cache-Control: private\r\n"
        b"Content-Length: 0\r\n\r\n",
        Answer(Status.LOCKED, lock_age=2.0, lock_cookie=4),
        local_ticks=638_456_778_121_234_560,
    ),
    Exchange(
        "X20",
        "owner changes Session.Timeout to 60: item is re-created, its counter is set to the cookie sent",
        b"PUT " + FIRST + b" HTTP/1.1\r\n"
        b"Host: localhost\r\n"
        b"Timeout:60\r\n"
        b"Content-Length:7\r\n"
        b"ExtraFlags:0\r\n"
        b"LockCookie:4\r\n\r\n" + NEW_SESSION_60,
        SampleRequest(Operation.SET, FIRST, timeout_minutes=60, lock_cookie=4, body=NEW_SESSION_60),
        PLAIN_OK,
        Answer(Status.OK),
    ),
    Exchange(
        "X21",
        "next acquire after a timeout change: 4+1",
        b"GET " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\nExclusive: acquire\r\n\r\n",
        SampleRequest(Operation.ACQUIRE, FIRST),
        b"200 OK\r\n"
        b"X-AspNet-Version: 4.0.30319\r\n"
        b"LockCookie: 5\r\n"
        b"Timeout: 60\r\n"
        b"Cache-Control: private\r\n"
        b"Content-Length: 7\r\n\r\n" + NEW_SESSION_60,
        Answer(Status.OK, body=NEW_SESSION_60, lock_cookie=5, timeout_minutes=60),
    ),
    Exchange(
        "X22",
        "DELETE with a foreign cookie",
        b"DELETE " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\nLockCookie:4\r\n\r\n",
        SampleRequest(Operation.REMOVE, FIRST, lock_cookie=4),
        b"423 Locked\r\n"
        b"X-AspNet-Version: 4.0.30319\r\n"
        b"LockDate: 638456778121234560\r\n"
        b"LockAge: 2\r\n"
        b"LockCookie: 5\r\n"
        b"Cache-Control: private\r\n"
        b"Content-Length: 0\r\n\r\n",
        Answer(Status.LOCKED, lock_age=2.0, lock_cookie=5),
        local_ticks=638_456_778_141_234_560,
    ),
    Exchange(
        "X23",
        "DELETE by the owner (Session.Abandon)",
        b"DELETE " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\nLockCookie:5\r\n\r\n",
        SampleRequest(Operation.REMOVE, FIRST, lock_cookie=5),
        PLAIN_OK,
        Answer(Status.OK),
    ),
    Exchange(
        "X24",
        "DELETE of an absent item",
        b"DELETE " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\nLockCookie:5\r\n\r\n",
        SampleRequest(Operation.REMOVE, FIRST, lock_cookie=5),
        PLAIN_NOT_FOUND,
        Answer(Status.NOT_FOUND),
    ),
    Exchange(
        "X25",
        "first save of a new session without prior lock (new id, something was stored)",
        b"PUT " + SECOND + b" HTTP/1.1\r\n"
        b"Host: localhost\r\n"
        b"Timeout:20\r\n"
        b"Content-Length:30\r\n"
        b"ExtraFlags:0\r\n"
        b"LockCookie:0\r\n\r\n" + KEY_VALUE,
        SampleRequest(Operation.SET, SECOND, timeout_minutes=20, lock_cookie=0, body=KEY_VALUE),
        PLAIN_OK,
        Answer(Status.OK),
    ),
    Exchange(
        "X26",
        "PUT to an UNLOCKED item is accepted whatever the cookie says",
        b"PUT " + SECOND + b" HTTP/1.1\r\n"
        b"Host: localhost\r\n"
        b"Timeout:20\r\n"
        b"Content-Length:7\r\n"
        b"ExtraFlags:0\r\n"
        b"LockCookie:12345\r\n\r\n" + NEW_SESSION,
        SampleRequest(Operation.SET, SECOND, timeout_minutes=20, lock_cookie=12345, body=NEW_SESSION),
        PLAIN_OK,
        Answer(Status.OK),
    ),
    Exchange(
        "X27",
        "PUT without Timeout header: 20 minutes are assumed",
        b"PUT " + SECOND + b" HTTP/1.1\r\n"
        b"Host: localhost\r\n"
        b"Content-Length:7\r\n"
        b"ExtraFlags:0\r\n"
        b"LockCookie:0\r\n\r\n" + NEW_SESSION,
        SampleRequest(Operation.SET, SECOND, lock_cookie=0, body=NEW_SESSION),
        PLAIN_OK,
        Answer(Status.OK),
    ),
    Exchange(
        "X28",
        "largest legal timeout (1 year)",
        b"PUT " + SECOND + b" HTTP/1.1\r\n"
        b"Host: localhost\r\n"
        b"Timeout:525600\r\n"
        b"Content-Length:7\r\n"
        b"ExtraFlags:0\r\n"
        b"LockCookie:0\r\n\r\n" + NEW_SESSION,
        SampleRequest(Operation.SET, SECOND, timeout_minutes=525600, lock_cookie=0, body=NEW_SESSION),
        PLAIN_OK,
        Answer(Status.OK),
    ),
    Exchange(
        "X29",
        "timeout above one year",
        b"PUT " + SECOND + b" HTTP/1.1\r\n"
        b"Host: localhost\r\n"
        b"Timeout:525601\r\n"
        b"Content-Length:7\r\n"
        b"ExtraFlags:0\r\n"
        b"LockCookie:0\r\n\r\n" + NEW_SESSION,
        SampleRequest(Operation.SET, SECOND, timeout_minutes=525601, lock_cookie=0, body=NEW_SESSION),
        PLAIN_BAD_REQUEST,
        Answer(Status.BAD_REQUEST),
    ),
    Exchange(
        "X30",
        "same key, spec-style spelling: literal slashes and a leading slash",
        b"HEAD " + SECOND_LITERAL_SLASHES + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        SampleRequest(
            Operation.RESET_TIMEOUT,
            SECOND_LITERAL_SLASHES,
        ),
        PLAIN_OK,
        Answer(Status.OK),
    ),
    Exchange(
        "X31",
        "same key, emitted by an app that configured AntiXssEncoder (upper-case hex, parentheses escaped)",
        b"HEAD " + SECOND_ANTI_XSS + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        SampleRequest(
            Operation.RESET_TIMEOUT,
            SECOND_ANTI_XSS,
        ),
        PLAIN_OK,
        Answer(Status.OK),
    ),
    Exchange(
        "X32",
        "same key, ASP.NET 1.1 style double leading slash",
        b"HEAD " + SECOND_DOUBLE_SLASH + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        SampleRequest(
            Operation.RESET_TIMEOUT,
            SECOND_DOUBLE_SLASH,
        ),
        PLAIN_OK,
        Answer(Status.OK),
    ),
    Exchange(
        "X33",
        "health probe (any unlikely key); 404 means the server is alive",
        b"HEAD %2fasp-probe HTTP/1.1\r\nHost: probe\r\n\r\n",
        SampleRequest(Operation.RESET_TIMEOUT, b"%2fasp-probe", host="probe"),
        PLAIN_NOT_FOUND,
        Answer(Status.NOT_FOUND),
    ),
    Exchange(
        "X34a",
        "first of two pipelined requests in one segment (the client never does this)",
        b"HEAD " + SECOND + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        SampleRequest(Operation.RESET_TIMEOUT, SECOND),
        PLAIN_OK,
        Answer(Status.OK),
    ),
    Exchange(
        "X34b",
        "second of two pipelined requests in one segment",
        b"HEAD " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        SampleRequest(Operation.RESET_TIMEOUT, FIRST),
        PLAIN_NOT_FOUND,
        Answer(Status.NOT_FOUND),
    ),
    Exchange(
        "X35",
        "value not lower-case: Exclusive: Acquire (as printed in the spec's examples)",
        b"GET " + SECOND + b" HTTP/1.1\r\nHost: localhost\r\nExclusive: Acquire\r\n\r\n",
        None,
        HANGS_UP,
        None,
    ),
    Exchange(
        "X36",
        "header NAME in the wrong case is ignored: this silently becomes a plain GET and takes no lock",
        b"GET " + SECOND + b" HTTP/1.1\r\nHost: localhost\r\nexclusive: acquire\r\n\r\n",
        SampleRequest(Operation.GET, SECOND),
        b"200 OK\r\n"
        b"X-AspNet-Version: 4.0.30319\r\n"
        b"Timeout: 525600\r\n"
        b"Cache-Control: private\r\n"
        b"Content-Length: 7\r\n\r\n" + NEW_SESSION,
        Answer(Status.OK, body=NEW_SESSION, timeout_minutes=525600),
        is_spelt_as_the_client_does=False,
    ),
    Exchange(
        "X37",
        "Lock-Cookie (spec examples) is an unknown header to the real server: release without cookie",
        b"GET " + SECOND + b" HTTP/1.1\r\nHost: localhost\r\nExclusive: release\r\nLock-Cookie: 3\r\n\r\n",
        SampleRequest(Operation.RELEASE, SECOND),
        PLAIN_BAD_REQUEST,
        Answer(Status.BAD_REQUEST),
        is_spelt_as_the_client_does=False,
    ),
    Exchange(
        "X38",
        "wrong HTTP version",
        b"GET " + SECOND + b" HTTP/1.0\r\nHost: localhost\r\n\r\n",
        None,
        HANGS_UP,
        None,
    ),
    Exchange(
        "X39",
        "GET with a body length (the spec's section 4 examples show Content-Length: 184 on GET)",
        b"GET " + SECOND + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 184\r\n\r\n",
        None,
        HANGS_UP,
        None,
    ),
    Exchange(
        "X40",
        "PUT with Content-Length 0",
        b"PUT " + SECOND + b" HTTP/1.1\r\n"
        b"Host: localhost\r\n"
        b"Timeout:20\r\n"
        b"Content-Length:0\r\n"
        b"ExtraFlags:0\r\n"
        b"LockCookie:0\r\n\r\n",
        None,
        HANGS_UP,
        None,
    ),
    Exchange(
        "X41",
        "service shutting down: managed runtime refuses the request",
        b"HEAD " + SECOND + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        SampleRequest(Operation.RESET_TIMEOUT, SECOND),
        b"503 Server Too Busy\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 0\r\n\r\n",
        None,
    ),
    Exchange(
        "X42",
        "abandoned lock, part 1: a waiting request polls and sees LockAge reach executionTimeout (110 s)",
        b"GET " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\nExclusive: acquire\r\n\r\n",
        SampleRequest(Operation.ACQUIRE, FIRST),
        b"423 Locked\r\n"
        b"X-AspNet-Version: 4.0.30319\r\n"
        b"LockDate: 638456778001234560\r\n"
        b"LockAge: 110\r\n"
        b"LockCookie: 9\r\n"
        b"Cache-Control: private\r\n"
        b"Content-Length: 0\r\n\r\n",
        Answer(Status.LOCKED, lock_age=110.0, lock_cookie=9),
        local_ticks=638_456_779_101_234_560,
    ),
    Exchange(
        "X43",
        "abandoned lock, part 2: the waiter releases the foreign lock with the cookie from the 423",
        b"GET " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\nExclusive: release\r\nLockCookie:9\r\n\r\n",
        SampleRequest(Operation.RELEASE, FIRST, lock_cookie=9),
        PLAIN_OK,
        Answer(Status.OK),
    ),
    Exchange(
        "X44",
        "abandoned lock, part 3: next poll (0.5 s later) succeeds",
        b"GET " + FIRST + b" HTTP/1.1\r\nHost: localhost\r\nExclusive: acquire\r\n\r\n",
        SampleRequest(Operation.ACQUIRE, FIRST),
        b"200 OK\r\n"
        b"X-AspNet-Version: 4.0.30319\r\n"
        b"LockCookie: 10\r\n"
        b"Timeout: 20\r\n"
        b"Cache-Control: private\r\n"
        b"Content-Length: 30\r\n\r\n" + KEY_VALUE,
        Answer(Status.OK, body=KEY_VALUE, lock_cookie=10, timeout_minutes=20),
    ),
    Exchange(
        "X45",
        "abandoned lock, part 4: the old owner's late save is refused, and its client ignores that",
        b"PUT " + FIRST + b" HTTP/1.1\r\n"
        b"Host: localhost\r\n"
        b"Timeout:20\r\n"
        b"Content-Length:7\r\n"
        b"ExtraFlags:0\r\n"
        b"LockCookie:9\r\n\r\n" + NEW_SESSION,
        SampleRequest(Operation.SET, FIRST, timeout_minutes=20, lock_cookie=9, body=NEW_SESSION),
        b"423 Locked\r\n"
        b"X-AspNet-Version: 4.0.30319\r\n"
        b"LockDate: 638456779101234560\r\n"
        b"LockAge: 4\r\n"
        b"LockCookie: 10\r\n"
        b"Cache-Control: private\r\n"
        b"Content-Length: 0\r\n\r\n",
        Answer(Status.LOCKED, lock_age=4.0, lock_cookie=10),
        local_ticks=638_456_779_141_234_560,
    ),
]

READABLE = [each for each in EXCHANGES if each.asked is not None]
"""The exchanges whose request a stock server reads."""

REFUSED = [each for each in EXCHANGES if each.asked is None]
"""The exchanges whose request a stock server hangs up on."""

ANSWERED = [each for each in EXCHANGES if each.answer != HANGS_UP]
"""The exchanges that have an answer."""
