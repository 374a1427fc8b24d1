"""What an ASP.NET web server sends, over a plain blocking socket."""

import socket
import time
from dataclasses import dataclass
from types import TracebackType

from partitioner.protocol.messages import AnswerHead, Operation
from partitioner.protocol.reader import BodyPiece, Event, answer_reader
from partitioner.protocol.target import encode_target
from partitioner.protocol.writer import write_request

APPLICATION = "/LM/W3SVC/2/ROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5/HxWS854=)/"
NETWORK_TIMEOUT = 10.0  # stateNetworkTimeout


class Closed(Exception):
    """The connection was closed instead of an answer: the page fails, and nothing is lost."""


@dataclass(frozen=True)
class Reply:
    """An answer, head and body."""

    head: AnswerHead
    body: bytes

    @property
    def status(self) -> int:
        return self.head.status


def request_bytes(
    operation: Operation, session_id: str, body: bytes = b"", cookie: int | None = None
) -> bytes:
    """A request as a web server of this application spells it."""
    return write_request(
        operation,
        encode_target(APPLICATION + session_id),
        timeout_minutes=20 if body else None,
        lock_cookie=cookie,
        body=body,
    )


class WebServer:
    """One pooled connection of a web server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def __enter__(self) -> "WebServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ask(
        self, operation: Operation, session_id: str, body: bytes = b"", cookie: int | None = None
    ) -> Reply:
        """Send one request and read its answer.

        Raises Closed; the next request opens a new connection.
        """
        return self.send(request_bytes(operation, session_id, body, cookie), operation)

    def send(self, request: bytes, operation: Operation = Operation.GET) -> Reply:
        """Send these bytes and read an answer."""
        try:
            if self._socket is None:
                self._socket = socket.create_connection(("127.0.0.1", self._port), NETWORK_TIMEOUT)
            self._socket.sendall(request)
            return self._receive(self._socket, operation)
        except (OSError, Closed) as error:
            self.close()
            raise Closed(str(error)) from error

    def is_closed_by_peer(self) -> bool:
        """Whether the other end closes the connection now, or within the network time-out."""
        assert self._socket is not None
        try:
            return self._socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def save(self, session_id: str, body: bytes, cookie: int = 0) -> None:
        assert self.ask(Operation.SET, session_id, body, cookie).status == 200

    def read(self, session_id: str) -> bytes | None:
        """The session's content, or None where there is none."""
        reply = self.ask(Operation.GET, session_id)
        assert reply.status in (200, 404)
        return reply.body if reply.status == 200 else None

    def _receive(self, connection: socket.socket, operation: Operation) -> Reply:
        reader = answer_reader(operation)
        head: AnswerHead | None = None
        body = b""
        while (event := reader.next_event()) is not Event.END_OF_MESSAGE:
            match event:
                case AnswerHead():
                    head = event
                case BodyPiece(data):
                    body += data
                case Event.NEED_DATA:
                    data = connection.recv(65536)
                    if not data:
                        raise Closed("closed without a whole answer")
                    reader.feed(data)
        assert head is not None
        return Reply(head, body)

    def read_within(self, seconds: float, session_id: str) -> bytes | None:
        """The same, asked for again where the connection was closed instead of an answer."""
        until = time.monotonic() + seconds
        while True:
            try:
                return self.read(session_id)
            except Closed:
                if time.monotonic() > until:
                    raise
