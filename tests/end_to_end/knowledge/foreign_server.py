"""A state server of another make: it never closes a connection of which the other end has finished.

It runs in threads of the test's process, one for each connection. What it says is what our session table
says; it can be told to take its time over saves.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from partitioner.protocol.grammar import Dialect
from partitioner.protocol.messages import Operation, RequestHead
from partitioner.protocol.reader import BodyPiece, Event, request_reader
from partitioner.protocol.target import server_key
from partitioner.protocol.writer import write_answer
from partitioner.sessions.table import SessionTable
from tests.end_to_end.knowledge.site import LOOPBACK


class ForeignServer:
    """Serves sessions at a port of its own."""

    def __init__(self, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self.saves_take = 0.0  # seconds
        self._listener = listener
        self._table = SessionTable()
        self._one_at_a_time = threading.Lock()
        self._connections: list[socket.socket] = []

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def accept_forever(self) -> None:
        """Serve until the listener is shut down."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in (*self._connections, self._listener):
            connection.close()

    def _serve(self, connection: socket.socket) -> None:
        """Answer one connection; at its end of file stop reading, and leave it open."""
        reader = request_reader(Dialect.LIBERAL)
        head: RequestHead | None = None
        body = b""
        while True:
            match reader.next_event():
                case RequestHead() as head:
                    body = b""
                case BodyPiece(data):
                    body += data
                case Event.END_OF_MESSAGE:
                    assert head is not None
                    if not self._answer(connection, head, body):
                        return
                case Event.NEED_DATA:
                    data = _receive(connection)
                    if not data:
                        return
                    reader.feed(data)

    def _answer(self, connection: socket.socket, head: RequestHead, body: bytes) -> bool:
        """Returns whether the other end could be told."""
        if head.operation is Operation.SET:
            time.sleep(self.saves_take)
        with self._one_at_a_time:
            answer = self._table.apply(head, server_key(head.target), body, time.monotonic())
        try:
            connection.sendall(write_answer(answer))
        except OSError:
            return False
        return True


def _receive(connection: socket.socket) -> bytes:
    """What comes next; nothing at the end of file, and where the connection is broken."""
    try:
        return connection.recv(65536)
    except OSError:
        return b""


@contextmanager
def foreign_server() -> Iterator[ForeignServer]:
    server = ForeignServer(socket.create_server((LOOPBACK, 0)))
    acceptor = threading.Thread(target=server.accept_forever, daemon=True)
    acceptor.start()
    try:
        yield server
    finally:
        server.close()
        acceptor.join()
