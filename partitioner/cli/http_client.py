"""Sends requests over HTTP to one place, for the verbs that ask a running router.

With the standard library's `http.client`: to import httpx takes more CPU than all else that such a verb does.
Each request has a connection of its own. A verb makes one or two of them, and `--watch` makes one at a time;
a connection that is kept may be closed by the router just when it is used again.

No proxy is asked, whatever the environment says: an admin port is near. Over TLS the certificate is verified
against the authorities that this system trusts.
"""

from base64 import b64encode
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from urllib.parse import SplitResult, quote, unquote, urlsplit

_SAFE_IN_PATHS = "/%:@!$&'()*+,;=~"
"""What stands in a path as it is (RFC 3986 3.3), and what has been quoted already."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class NotReached(Exception):
    """No answer came. The message says why."""


class NotHttp(NotReached):
    """Something answers there, and does not speak HTTP. The message does not quote what came."""


class HttpClient:
    """Whatever listens at one URL."""

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        """`url` begins with http:// or https://; its path comes before that of each request.

        A user and a password in it are sent with each request, or else the token, if there is one. `timeout`
        is for connecting, and for each time that something has to be sent or received, in seconds.

        Raises ValueError if the URL is not one, or the token cannot be sent.
        """
        parts = urlsplit(_without_blanks(url))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("it does not name a host to be asked over http or https")
        parts.hostname.encode("idna")  # as connecting does, which could not say what is wrong
        self._connection = HTTPConnection if parts.scheme == "http" else HTTPSConnection
        self._host = parts.hostname
        self._port = self._connection.default_port if parts.port is None else parts.port
        self._prefix = quote(parts.path, safe=_SAFE_IN_PATHS).rstrip("/")
        self._headers = _headers(parts, token)
        self._timeout = timeout

    def request(self, method: str, path: str, *, waits: bool = False, body: bytes = b"") -> Answer:
        """Ask, and return what came back; if it `waits`, however long that takes. Raises NotReached."""
        connection = self._connection(self._host, self._port, timeout=self._timeout)
        try:
            connection.connect()
            if waits:
                connection.sock.settimeout(None)
            connection.request(method, self._prefix + path, body or None, self._headers)
            response = connection.getresponse()
            return Answer(response.status, response.read())
        except OSError as error:
            raise NotReached(_sentence(error)) from error
        except IncompleteRead as error:
            raise NotReached("the connection broke off in the middle of its answer") from error
        except HTTPException as error:
            raise NotHttp("what it says is not HTTP") from error
        finally:
            connection.close()


def _sentence(error: OSError) -> str:
    """What went wrong, in the words of the operating system, without its number."""
    return error.strerror or str(error) or type(error).__name__


def _without_blanks(url: str) -> str:
    """The same URL. Raises ValueError if there is in it what `urlsplit` would drop without a word."""
    if not url.isprintable() or " " in url:
        raise ValueError("it has blanks or control characters in it")
    return url


def _headers(parts: SplitResult, token: str | None) -> dict[str, str]:
    headers = {"Accept": "application/json"}
    if parts.username or parts.password:
        user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {b64encode(user.encode()).decode()}"
    elif token:
        if not (token.isascii() and token.isprintable()):
            raise ValueError("a token consists of printable ASCII characters")
        headers["Authorization"] = f"Bearer {token}"
    return headers
