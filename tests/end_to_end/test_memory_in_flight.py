"""What is on its way to a state server or to a router counts against its memory, too."""

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from partitioner.protocol.messages import Operation
from tests.end_to_end.farm import FAST_PATH, farm_in
from tests.end_to_end.knowledge.site import wait_until
from tests.end_to_end.processes import state_server
from tests.end_to_end.web_server import WebServer, request_bytes

MIB = 1024 * 1024
LIMIT = 256 * MIB
BODY = 64 * MIB
UNTIL = 60.0
SESSION = "bpr4mimb2vjnvtn2jc4yp3uo"


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


def send_most_of_a_session(connection: socket.socket, number: int) -> bool:
    """All but the last MiB; whether the server has taken it."""
    head = request_bytes(Operation.SET, f"{number:024}", b"").replace(
        b"Content-Length:0", b"Content-Length:%d" % BODY
    )
    assert b"%d" % BODY in head
    connection.settimeout(UNTIL)
    try:
        connection.sendall(head)
        for _ in range(63):
            connection.sendall(b"x" * MIB)
    except OSError:
        return False
    return True


def test_half_sent_sessions_stay_within_the_limit() -> None:
    """25 clients send 63 of 64 MiB and stop: those that do not fit are refused, and others are served."""
    with state_server(0, "--max-memory", "256MiB") as server, ExitStack() as stack:
        pid = server.program.process.pid
        taken = 0
        for number in range(25):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), UNTIL))
            taken += send_most_of_a_session(connection, number)
        most = resident(pid)
        with WebServer(server.port) as web:
            web.save(SESSION, b"content")
            assert web.read(SESSION) == b"content"

    assert 1 <= taken < 25
    assert most <= 1.3 * LIMIT, f"{most / MIB:.0f} MiB"


def was_refused(connection: socket.socket) -> bool:
    """Whether a client that waits for nothing was told 400."""
    connection.settimeout(0.0)
    try:
        return connection.recv(1024).startswith(b"400 ")
    except OSError:
        return False


@pytest.mark.parametrize("path", FAST_PATH)
def test_half_sent_small_sessions_stay_within_the_routers_limit(path: str, tmp_path: Path) -> None:
    """400 clients send 40 of 50 KiB and stop: those that do not fit are refused, and others are served."""
    settings = f"{path}limits: {{body_memory: 8MiB, body: 8MiB}}\ntimeouts: {{exchange: 60s}}\n"
    with farm_in(tmp_path, settings) as farm, ExitStack() as stack:
        head = request_bytes(Operation.SET, SESSION, b"x").replace(b":1\r\n", b":50000\r\n", 1)
        assert b"50000" in head
        clients = []
        for _ in range(400):
            client = socket.create_connection(("127.0.0.1", farm.in_front.port), UNTIL)
            clients.append(stack.enter_context(client))
            client.sendall(head[:-1] + b"x" * 1000)
            client.sendall(b"x" * 39_000)
        refused: set[socket.socket] = set()

        def are_refused() -> bool:
            refused.update(client for client in clients if client not in refused and was_refused(client))
            return len(refused) >= len(clients) - 8 * MIB // 40_000

        wait_until(are_refused, "what does not fit is refused")
        farm.web.save(SESSION, b"content")

        assert b"content" == farm.web.read(SESSION)
        assert len(refused) < len(clients)
