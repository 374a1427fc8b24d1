"""The HTTP server of the operator's port: hypercorn, on listeners that are open already.

That the port is taken has to be known before anything is served, and in our own words; so the
listeners are opened as all others are, and hypercorn is given their descriptors.
"""

import socket
from collections.abc import Sequence
from typing import cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.typing import ASGIFramework
from starlette.types import ASGIApp

STALLED = 5.0
"""Seconds after which a client that does not read its answer is cut off; it would hold up the end."""

LAST_ANSWERS = 1.0
"""Seconds for requests under way when the port is closed."""

REQUEST_TIMEOUT = 60
"""Seconds for the next bytes of a request."""


class AdminServer:
    """Serves an app until it is stopped."""

    def __init__(self, app: ASGIApp, listeners: Sequence[trio.SocketListener]) -> None:
        """The listeners are taken over."""
        self._app = app
        self._listeners = listeners
        self._is_stopping = trio.Event()
        self._has_stopped = trio.Event()

    async def run(self, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept and answer; `started` when connections are taken."""
        try:
            await serve(
                cast(ASGIFramework, self._app),  # the same protocol, in other words
                self._config(),
                shutdown_trigger=self._is_stopping.wait,
                task_status=task_status,
                mode="asgi",
            )
        finally:
            self._has_stopped.set()

    async def stop(self) -> None:
        """Take no connections any more, and finish what is under way."""
        self._is_stopping.set()
        await self._has_stopped.wait()

    def _config(self) -> Config:
        config = Config()
        config.bind = [f"fd://{_descriptor(listener)}" for listener in self._listeners]
        config.accesslog = config.errorlog = None  # the guard says what is worth a line
        config.include_server_header = False
        config.graceful_timeout = LAST_ANSWERS
        config.read_timeout = REQUEST_TIMEOUT
        return config


def _descriptor(listener: trio.SocketListener) -> int:
    """The descriptor of a listener, which belongs to the caller from now on."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # accepted sockets inherit it
        listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALLED * 1000))
    return listener.socket.detach()
