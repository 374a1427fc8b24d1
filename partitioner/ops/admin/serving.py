"""The HTTP server of the operator's port: HTTP/1.1 by h11, one request at a time on each connection.

It speaks nothing else. An upgrade is not taken up, and HTTP/2 is not understood: its settings and pings are
work that a client can order by the thousand without a token, and all of it would be done between the
exchanges of web servers. For the same reason there are few connections, and each has little time.
"""

import time
from collections.abc import Sequence
from email.utils import formatdate
from ipaddress import IPv6Address, ip_address
from urllib.parse import unquote_to_bytes

import h11
import structlog
import trio
from starlette.types import ASGIApp, Message, Scope

from partitioner.membership.backend import Network
from partitioner.ops.event_log import EventLog, EventLogger
from partitioner.ops.log import ONCE_A_MINUTE
from partitioner.ops.throttle import Throttle

MOST_CONNECTIONS = 64
"""A Prometheus, a browser with six connections, a few commands and health checks need a dozen."""

STALLED = 5.0
"""Seconds after which a client that does not read its answer is cut off; it would hold up the end."""

LAST_ANSWERS = 1.0
"""Seconds for requests under way when the port is closed."""

REQUEST_TIMEOUT = 60.0
"""Seconds for a request to come, from the end of the one before."""

MOST_OF_A_BODY = 64 * 1024
"""Bytes of a request's body; the largest one that is wanted has a name in it."""

_RECEIVE_SIZE = 64 * 1024
_BREATHER = 0.1
"""Seconds to wait before accepting again after the system could not, mostly for want of files."""


class AdminServer:
    """Serves an app until it is stopped."""

    def __init__(
        self,
        app: ASGIApp,
        listeners: Sequence[trio.SocketListener],
        allow: tuple[Network, ...],
        event_log: EventLog | None = None,
    ) -> None:
        """The listeners are taken over. A client from outside `allow` is closed at once, and told of."""
        self._app = app
        self._listeners = listeners
        self._allow = allow
        self._is_stopping = trio.Event()
        self._has_stopped = trio.Event()
        self._connections: dict[_Connection, None] = {}  # the one that has been idle for longest first
        self._log = EventLogger(structlog.get_logger(), EventLog() if event_log is None else event_log)
        self._throttle = Throttle(ONCE_A_MINUTE, time.monotonic)

    def __repr__(self) -> str:
        return f"<AdminServer, {len(self._connections)} connections>"

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept and answer; `started` when connections are taken."""
        try:
            async with trio.open_nursery() as serving:
                async with trio.open_nursery() as accepting:
                    for listener in self._listeners:
                        accepting.start_soon(self._accept, listener, serving)
                    task_status.started()
                    await self._is_stopping.wait()
                    accepting.cancel_scope.cancel()
                serving.cancel_scope.deadline = trio.current_time() + LAST_ANSWERS
                for connection in tuple(self._connections):
                    connection.end_when_idle()
        finally:
            for listener in self._listeners:
                listener.socket.close()
            self._has_stopped.set()

    async def stop(self) -> None:
        """Take no connections any more, and finish what is under way."""
        self._is_stopping.set()
        await self._has_stopped.wait()

    async def _accept(self, listener: trio.SocketListener, serving: trio.Nursery) -> None:
        while True:
            try:
                stream = await listener.accept()
            except OSError:
                await trio.sleep(_BREATHER)
                continue
            try:
                peer, own = stream.socket.getpeername(), stream.socket.getsockname()
            except OSError:
                stream.socket.close()  # it has left already
                continue
            if not is_within(peer[0], self._allow):
                self._turn_away(peer[0], "its address is not in the allowed networks")
            elif not self._has_place():
                self._turn_away(peer[0], f"{MOST_CONNECTIONS} connections are busy")
            else:
                serving.start_soon(self._serve, _Connection(stream, self._app, peer[:2], own[:2]))
                continue
            stream.socket.close()

    def _turn_away(self, peer: str, cause: str) -> None:
        if self._throttle.admit(f"{cause} {peer}"):
            self._log.warning("admin client turned away", client=peer, cause=cause)

    def _has_place(self) -> bool:
        """Whether another connection may be taken, if need be in place of an idle one."""
        if len(self._connections) < MOST_CONNECTIONS:
            return True
        idle = next((each for each in self._connections if each.is_idle), None)
        if idle is None:
            return False
        idle.end_when_idle()
        del self._connections[idle]
        return True

    async def _serve(self, connection: "_Connection") -> None:
        self._connections[connection] = None
        try:
            while await connection.serve_one():
                if connection in self._connections:  # it goes to the end of the line
                    del self._connections[connection]
                    self._connections[connection] = None
                if self._is_stopping.is_set():
                    return
        finally:
            self._connections.pop(connection, None)
            connection.close()


class _Connection:
    """One client's connection."""

    def __init__(
        self, stream: trio.SocketStream, app: ASGIApp, peer: tuple[str, int], own: tuple[str, int]
    ) -> None:
        self._stream = stream
        self._app = app
        self._peer = peer
        self._own = own
        self._http = h11.Connection(h11.SERVER)
        self._waiting = trio.CancelScope()  # for a request
        self._is_for_head = False
        self._is_broken = False
        self.is_idle = True

    def end_when_idle(self) -> None:
        """Wait for no further request."""
        self._waiting.cancel()

    def close(self) -> None:
        """Close at once."""
        self._stream.socket.close()

    async def serve_one(self) -> bool:
        """Take in a request and answer it; return whether there may be another one."""
        try:
            return await self._serve_one()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.LocalProtocolError):
            pass  # the client has left, or the app has broken off: no answer can be sent
        return False

    async def _serve_one(self) -> bool:
        request, body = None, b""
        with self._waiting:
            self._waiting.deadline = trio.current_time() + REQUEST_TIMEOUT
            event = await self._next_event()
            if isinstance(event, h11.Request):
                body, request = await self._body(), event
                self.is_idle = False
        if request is None:
            return False
        await self._answer(request, body)
        if self._is_broken or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self.is_idle, self._waiting = True, trio.CancelScope()
        return True

    async def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                await self._send(self._http.send(go_on))
            self._http.receive_data(await self._stream.receive_some(_RECEIVE_SIZE))
        return event

    async def _body(self) -> bytes:
        pieces, size = [], 0
        while isinstance(event := await self._next_event(), h11.Data):
            pieces.append(bytes(event.data))
            size += len(event.data)
            if size > MOST_OF_A_BODY:
                raise h11.RemoteProtocolError("a body that is too large", error_status_hint=413)
        return b"".join(pieces)

    async def _answer(self, request: h11.Request, body: bytes) -> None:
        path, _, query = request.target.partition(b"?")
        self._is_for_head = request.method == b"HEAD"
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": request.http_version.decode(),
            "method": request.method.decode("ascii").upper(),
            "scheme": "http",
            "path": _unquoted(path),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": list(request.headers),
            "client": self._peer,
            "server": self._own,
        }
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if not messages:
                await trio.sleep_forever()  # that the client leaves shows when it is sent something
            return messages.pop()

        await self._app(scope, receive, self._send_message)

    async def _send_message(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", ()), (b"date", formatdate(usegmt=True).encode())]
            response = h11.Response(status_code=message["status"], headers=headers)
            await self._send(self._http.send(response))
            return
        if not self._is_for_head and message.get("body"):
            await self._send(self._http.send(h11.Data(data=message["body"])))
        if not message.get("more_body", False):
            await self._send(self._http.send(h11.EndOfMessage()))

    async def _send(self, data: bytes | None) -> None:
        """Send it, unless the client has left, or has not read for so long: then it is discarded."""
        if not data or self._is_broken:
            return
        self._is_broken = True
        try:
            with trio.move_on_after(STALLED) as patience:
                await self._stream.send_all(data)
            self._is_broken = patience.cancelled_caught
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def _refuse(self, status: int) -> None:
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [(b"content-length", b"0"), (b"connection", b"close")]
            await self._send(self._http.send(h11.Response(status_code=status, headers=headers)))


def _unquoted(path: bytes) -> str:
    return unquote_to_bytes(path).decode("utf-8", "replace")


def is_within(peer: str | None, networks: tuple[Network, ...]) -> bool:
    """Whether an address, as a socket names it, is in one of these networks."""
    try:
        address = ip_address((peer or "").partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
