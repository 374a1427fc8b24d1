"""A connection to an engine over which scripts are run one at a time."""

import socket
import time
from itertools import count
from types import TracebackType

import hiredis

from partitioner.protocol.messages import Answer, RequestHead
from partitioner.sessions.session import BAD_REQUEST
from partitioner.store.calls import OtherCall
from partitioner.store.resp import write_command
from partitioner.store.scripts import ABSENT, PRESENT, Script
from partitioner.store.translation import answer_of, insert_call, is_out_of_range, script_call

NAME = b"aspnet:session"
HOUR = 3600.0


class Talk:
    """Runs scripts as a state server does, without its connections. The time is Unix time here."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20.0)
        self._reader = hiredis.Reader(notEnoughData=Ellipsis)
        self._ids = count(1)

    def __enter__(self) -> "Talk":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, *words: bytes) -> object:
        """One command."""
        return self.exchange(write_command(*words))

    def run(
        self,
        script: Script,
        *arguments: bytes,
        name: bytes = NAME,
        is_again: bool = False,
        began: float | None = None,
        until: float | None = None,
    ) -> object:
        """One script. Without times it begins now, and has an hour."""
        now = time.time()
        deadline = now + HOUR if until is None else until
        call = OtherCall(script, name, arguments, now if began is None else began, deadline)
        call.is_again = is_again
        call.by_source = True
        return self.exchange(call.write(0.0))

    def new_id(self) -> bytes:
        return next(self._ids).to_bytes(8, "big")

    def answer(self, head: RequestHead, body: bytes, name: bytes = NAME) -> Answer:
        """Carry a request out, as store/sessions.py does where nothing fails."""
        if is_out_of_range(head):
            return BAD_REQUEST
        request_id = self.new_id()
        script, arguments = script_call(head, body, request_id)
        reply = self.run(script, *arguments, name=name)
        if reply == ABSENT:
            script, arguments = insert_call(head, body, request_id)
            reply = self.run(script, *arguments, name=name)
            assert reply != PRESENT
        answer, _ = answer_of(head.operation, reply)
        return answer

    def exchange(self, command: bytes) -> object:
        """Bytes that are one command."""
        self._socket.sendall(command)
        while (reply := self._reader.gets()) is Ellipsis:
            data = self._socket.recv(1 << 20)
            assert data, "the engine has closed the connection"
            self._reader.feed(data)
        return reply
