"""What the verbs say over HTTP, and what they make of what comes back, over real sockets."""

import socket
import ssl
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from partitioner.cli.http_client import Answer, HttpClient, NotReached
from tests.tables import each_case

PATIENCE = 60.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Listener:
    """Says the same to each that connects, one after the other, and keeps what they said."""

    def __init__(self, host: str, answer: bytes, context: ssl.SSLContext | None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.heard: list[bytes] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self._socket = socket.create_server((host, 0), family=family)
        self._answer, self._context = answer, context
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(PATIENCE)
                try:
                    self._talk(connection)
                except OSError:
                    continue  # it has gone away, or wants no TLS

    def _talk(self, connection: socket.socket) -> None:
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_side=True)
        with connection:
            self.heard.append(connection.recv(65536))
            self.go_on.wait(PATIENCE)
            connection.sendall(self._answer)


@contextmanager
def listening(
    host: str = "127.0.0.1", answer: bytes = ANSWER, context: ssl.SSLContext | None = None
) -> Iterator[Listener]:
    listener = Listener(host, answer, context)
    try:
        yield listener
    finally:
        listener.close()


def heads_of(listener: Listener) -> list[list[str]]:
    """The lines of all requests, without what ends them."""
    return [each.decode().rstrip().split("\r\n") for each in listener.heard]


def test_what_is_asked_and_answered() -> None:
    """The path, the host and the token; and whatever comes back, whether it is good or not."""
    refusal = b"HTTP/1.1 409 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    with listening(answer=refusal) as there:
        answer = HttpClient(f"http://127.0.0.1:{there.port}", "secret", PATIENCE).request("POST", "/a%20b")
    (head,) = heads_of(there)

    assert (409, b"{}", False) == (answer.status, answer.body, answer.is_success)
    assert "POST /a%20b HTTP/1.1" == head[0]
    assert {f"Host: 127.0.0.1:{there.port}", "Authorization: Bearer secret", "Content-Length: 0"} <= {*head}


def test_a_path_comes_first() -> None:
    """Of a router behind a proxy that tells its sites apart so."""
    with listening() as there:
        HttpClient(f"http://localhost:{there.port}/a b/c%2Fd/".replace(" ", "%20"), None, PATIENCE).request(
            "GET", "/e"
        )
    (head,) = heads_of(there)

    assert "GET /a%20b/c%2Fd/e HTTP/1.1" == head[0]
    assert not any(line.startswith("Authorization") for line in head)


def test_a_user_and_a_password() -> None:
    """An operator who writes them into the URL means them, and not the token."""
    with listening() as there:
        HttpClient(f"http://u%40x:p%3Aq@127.0.0.1:{there.port}", "secret", PATIENCE).request("GET", "/")
    (head,) = heads_of(there)

    assert f"Authorization: Basic {b64encode(b'u@x:p:q').decode()}" in head
    assert f"Host: 127.0.0.1:{there.port}" in head


def test_an_address_of_ipv6() -> None:
    """In brackets, as in any URL."""
    with listening("::1") as there:
        answer = HttpClient(f"http://[::1]:{there.port}", None, PATIENCE).request("GET", "/")
    (head,) = heads_of(there)

    assert Answer(200, b"{}") == answer
    assert f"Host: [::1]:{there.port}" in head


def test_a_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with listening() as there:
        answer = HttpClient(f"http://127.0.0.1:{there.port}", None, PATIENCE).request("GET", "/")

    assert 200 == answer.status


def test_what_answers_too_late() -> None:
    """And not, where the request may take as long as it takes."""
    with listening() as there:
        there.go_on.clear()
        client = HttpClient(f"http://127.0.0.1:{there.port}", None, 0.05)
        with pytest.raises(NotReached, match="timed out"):
            client.request("GET", "/")
        there.go_on.set()
        there.go_on = threading.Event()
        threading.Timer(0.5, there.go_on.set).start()

        assert 200 == client.request("GET", "/", waits=True).status


BROKEN = {
    "nothing": (b"", "Remote end closed connection without response"),
    "another protocol": (b"SSH-2.0-\x1b[2J\r\n", "its answer is broken: BadStatusLine"),
    "half a body": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        "its answer is broken: IncompleteRead",
    ),
    "a header without end": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "its answer is broken: LineTooLong"),
}


@each_case(("answer", "sentence"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_answer(answer: bytes, sentence: str) -> None:
    """It is said what came instead."""
    with listening(answer=answer) as there, pytest.raises(NotReached, match=sentence):
        HttpClient(f"http://127.0.0.1:{there.port}", None, PATIENCE).request("GET", "/")


def certificate(directory: Path) -> Path:
    """A certificate for localhost that nobody has signed, with its key."""
    both = directory / "both.pem"
    made = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost")
    names = ("-addext", "subjectAltName=DNS:localhost", "-keyout", str(both), "-out", str(directory / "cert"))
    subprocess.run(("openssl", *made, *names), check=True, capture_output=True, timeout=PATIENCE)
    both.write_text(both.read_text() + (directory / "cert").read_text())
    return both


def test_tls_with_a_certificate_that_is_trusted_and_one_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The authorities are those of the system, as everywhere with OpenSSL."""
    both = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(both)
    with listening(context=context) as there:
        client = HttpClient(f"https://localhost:{there.port}", None, PATIENCE)
        with pytest.raises(NotReached, match="certificate verify failed"):
            client.request("GET", "/")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert"))
        answer = client.request("GET", "/")

    assert Answer(200, b"{}") == answer


NO_URLS = {
    **{url: url for url in ("127.0.0.1:9424", "ftp://x", "http://", "https:///path", "//x", "http://u@")},
    "half an address": "http://[::1",
    "port": "http://x:65536",
    "port that is a word": "http://x:port",
    "empty label": "http://a..b",
    "long label": f"http://{'a' * 64}",
    "blank": "http://a b",
    "newline": "http://x/\r\nX-Header:y",
    "not text": "http://x/\udcff",
}


@each_case("url", NO_URLS.values(), ids=NO_URLS)
def test_what_is_no_url(url: str) -> None:
    """It is found before anything is asked."""
    with pytest.raises(ValueError, match=r"."):
        HttpClient(url, None, PATIENCE)


@each_case("token", ["s\u00e9same", "two\nlines", "null\0"])
def test_a_token_that_cannot_be_sent(token: str) -> None:
    """It would be another header, or none; and it is not told to whoever reads the screen."""
    with pytest.raises(ValueError, match="printable ASCII") as caught:
        HttpClient("http://x", token, PATIENCE)

    assert token not in str(caught.value)
